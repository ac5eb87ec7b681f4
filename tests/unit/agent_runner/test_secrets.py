"""Secrets are shown nowhere but in one environment."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_agent.secrets import SHORTEST, Secrets

reproducible = settings(derandomize=True, deadline=None)


def test_values_are_in_the_environment_alone():
    """The environment has the values; the names and the repr don't."""
    values = {"KEY": "canary-1", "URL": "canary-2"}
    secrets = Secrets(values)
    assert secrets.environment() == values
    assert set(secrets.names) == {"KEY", "URL"}
    assert "canary" not in f"{secrets} {secrets!r}"


def test_environment_is_a_copy():
    """Who changes the environment doesn't change the secrets."""
    secrets = Secrets({"KEY": "canary"})
    secrets.environment().clear()
    assert secrets.environment() == {"KEY": "canary"}


@pytest.mark.parametrize(
    ("values", "text", "redacted"),
    [
        ({}, "canary", "canary"),
        ({"A": "canary"}, "a canary, two canary birds", "a [A], two [A] birds"),
        ({"A": "canary", "B": "canary-and-more"}, "canary-and-more", "[B]"),
        ({"A": "short"}, "too short to be looked for", "too short to be looked for"),
        ({"A": ""}, "nothing", "nothing"),
    ],
)
def test_values_are_taken_out_of_a_text(values, text, redacted):
    """A value is replaced by its name, the longest first, and short ones are left alone."""
    assert Secrets(values).redact(text) == redacted


@reproducible
@given(st.lists(st.text("abc", min_size=SHORTEST), min_size=1), st.text("abc"))
def test_no_value_stays_in_a_text(values, text):
    """Whatever the values have in common, none of them is left in a text that held all."""
    secrets = Secrets({f"N{number}": value for number, value in enumerate(values)})
    redacted = secrets.redact("|".join([*values, text]))
    assert not any(value in redacted for value in values)
