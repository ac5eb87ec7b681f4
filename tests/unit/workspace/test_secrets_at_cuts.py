"""Secrets at the edges of a text that was cut out of a longer one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.workspace.secrets import REDACTED, Secrets

reproducible = settings(derandomize=True, deadline=None)

CUTS = [
    # the values, the text, and what is left of it if it was cut at its start, and at its end
    (("abcdef",), "", ("", "")),
    (("abcdef",), "def said abc", ("[redacted] said abc", "def said [redacted]")),
    (("abcdef",), "f said a", ("[redacted] said a", "f said [redacted]")),
    (("abcdef",), "abc said def", ("abc said def", "abc said def")),
    (("abcdef",), "abcde", ("abcde", "[redacted]")),
    (("abcdef",), "bcdef", ("[redacted]", "bcdef")),
    (("abcdef",), "abcdef", ("[redacted]", "[redacted]")),
    (("abcdef",), "fabcdefa", ("[redacted]a", "f[redacted]")),
    (("ababX",), "- abab", ("- abab", "- [redacted]")),
    (("abcdef", "defghi"), "x abcdef", ("x [redacted]", "x [redacted]")),
    (("abcdef", "abxxxx"), "- ab", ("- ab", "- [redacted]")),
    (('a"bcde',), '- a\\"b', ('- a\\"b', "- [redacted]")),
    (("abc",), "c ab", ("c ab", "c ab")),
    ((), "c ab", ("c ab", "c ab")),
]


def secret(*values):
    """Secrets with these values."""
    return Secrets({f"KEY_{index}": value for index, value in enumerate(values)})


@pytest.mark.parametrize(("values", "text", "redacted"), CUTS)
def test_redact_at_a_cut(values, text, redacted):
    """What may be the rest of a secret is replaced where the text was cut, and only there."""
    assert secret(*values).redact(text, cut_start=True) == redacted[0]
    assert secret(*values).redact(text, cut_end=True) == redacted[1]
    both = secret(*values).redact(text, cut_start=True, cut_end=True)
    assert len(both.replace(REDACTED, "")) <= min(
        len(each.replace(REDACTED, "")) for each in redacted
    )


@reproducible
@given(st.text("abAB", min_size=4, max_size=12), st.data())
def test_no_part_of_a_cut_value_stays(value, data):
    """Wherever a value is cut in two, neither half is left of it."""
    at = data.draw(st.integers(1, len(value) - 1))
    before, after = f"...{value[:at]}", f"{value[at:]}..."
    assert not set(secret(value).redact(before, cut_end=True).replace(REDACTED, "")) & set("abAB")
    assert not set(secret(value).redact(after, cut_start=True).replace(REDACTED, "")) & set("abAB")
