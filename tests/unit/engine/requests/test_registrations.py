"""What is registered where something was registered before: what isn't said stays as it was."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from attrs import evolve

from nanoclaw_trio.engine.requests.registrations import GroupWish, make_registration
from nanoclaw_trio.protocol.models import AdditionalMount, ContainerConfig, RegisteredGroup
from nanoclaw_trio.store.models import Registration

NOW = datetime(2026, 2, 1, tzinfo=UTC)
CONFIG = ContainerConfig(additional_mounts=(AdditionalMount(host_path="~/notes"),))
KNOWN = Registration(
    jid="1@chat",
    group=RegisteredGroup(
        name="Family",
        folder="family",
        trigger="hey",
        added_at="2025-01-01T00:00:00.000Z",
        requires_trigger=False,
        container_config=CONFIG,
    ),
    is_main=True,
)
BARE = GroupWish(jid="1@chat", folder="family")


def test_a_new_group_has_defaults():
    """Its name is the folder's, its trigger the usual one, and it isn't the main group."""
    group = RegisteredGroup(
        name="family", folder="family", trigger="@Andy", added_at="2026-02-01T00:00:00.000Z"
    )
    found = make_registration(BARE, None, trigger="@Andy", now=NOW)
    assert found == Registration(jid="1@chat", group=group)


def test_what_is_not_said_stays():
    """Registered again without a word, the group is what it was: main, and with its mounts."""
    assert make_registration(BARE, KNOWN, trigger="@Andy", now=NOW) == KNOWN


@pytest.mark.parametrize(
    "said",
    [
        {"name": "Kin"},
        {"name": ""},
        {"trigger": "@Bob"},
        {"requires_trigger": True},
        {"container_config": ContainerConfig(timeout=5)},
    ],
)
def test_what_is_said_counts(said):
    """Each thing that is said replaces what was known, and only that."""
    found = make_registration(evolve(BARE, **said), KNOWN, trigger="@Andy", now=NOW)
    assert found == evolve(KNOWN, group=evolve(KNOWN.group, **said))


def test_main_is_given_up_by_word_only():
    """It takes a word to make a group the main one, or to make it cease to be that."""
    found = make_registration(evolve(BARE, is_main=False), KNOWN, trigger="@Andy", now=NOW)
    assert found == evolve(KNOWN, is_main=False)
    assert make_registration(evolve(BARE, is_main=True), found, trigger="", now=NOW) == KNOWN


def test_another_folder_is_another_group():
    """Nothing is taken over from a group that has only the chat in common with it."""
    wish = evolve(BARE, folder="work")
    new = make_registration(wish, None, trigger="@Andy", now=NOW)
    assert make_registration(wish, KNOWN, trigger="@Andy", now=NOW) == new
