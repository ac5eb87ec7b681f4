"""Which chat a group answers in: one chat, one group, one main group."""

from __future__ import annotations

import pytest

from nanoclaw_trio.errors import InputError
from nanoclaw_trio.protocol.models import AdditionalMount, ContainerConfig
from nanoclaw_trio.store import groups
from nanoclaw_trio.store.groups import GroupConflict


def test_a_registration_comes_back_whole(call, make):
    """All that was registered is found by the chat and by the folder, mounts and all."""
    mount = AdditionalMount(host_path="~/notes", readonly=False)
    registration = make.registration(
        is_main=True,
        trigger="@Andy",
        added_at="2026-01-01T00:00:00.000Z",
        requires_trigger=False,
        container_config=ContainerConfig(additional_mounts=(mount,), timeout=1000),
    )
    call(groups.register, registration)
    assert call(groups.by_jid, "family@test") == registration
    assert call(groups.by_folder, "family") == registration


def test_what_is_not_registered(call):
    """It isn't found, and can't be unregistered."""
    assert call(groups.by_jid, "family@test") is None
    assert call(groups.by_folder, "family") is None
    assert call(groups.unregister, "family") is False
    assert call(groups.registrations) == ()


def test_registrations_are_sorted(call, make):
    """They come by folder, whatever the order they were made in."""
    for folder in ("work", "family", "friends"):
        call(groups.register, make.registration(folder, f"{folder}@test"))
    folders = [registration.folder for registration in call(groups.registrations)]
    assert folders == ["family", "friends", "work"]


def test_once_more(call, make):
    """The same chat and folder again replace what was said of the group."""
    call(groups.register, make.registration(is_main=True))
    call(groups.register, make.registration(is_main=True, trigger="@Bob"))
    assert call(groups.registrations) == (make.registration(is_main=True, trigger="@Bob"),)


def test_unregistered(call, make):
    """What is unregistered is gone, and its chat, its folder and its being main are free."""
    call(groups.register, make.registration(is_main=True))
    assert call(groups.unregister, "family") is True
    call(groups.register, make.registration("friends", is_main=True))
    assert [group.folder for group in call(groups.registrations)] == ["friends"]


@pytest.mark.parametrize(
    ("folder", "jid", "is_main", "why"),
    [
        ("friends", "family@test", False, "chat 'family@test' is group 'family''s"),
        ("family", "friends@test", False, "the folder is chat 'family@test''s"),
        ("friends", "friends@test", True, "'family' is the main group"),
    ],
)
def test_a_conflict_changes_nothing(call, make, folder, jid, is_main, why):
    """Another's chat or folder, or a second main group, is refused with the reason."""
    first = make.registration(is_main=True)
    call(groups.register, first)
    with pytest.raises(GroupConflict) as caught:
        call(groups.register, make.registration(folder, jid, is_main=is_main))
    assert (caught.value.folder, caught.value.why) == (folder, why)
    assert call(groups.registrations) == (first,)


def test_folders_that_differ_in_case_only(call, make):
    """They are one and the same directory on some disks, and no two groups share one."""
    call(groups.register, make.registration("family"))
    with pytest.raises(GroupConflict, match="the folder differs from 'family' in case only"):
        call(groups.register, make.registration("Family", "other@test"))
    assert len(call(groups.registrations)) == 1


@pytest.mark.parametrize(
    ("jid", "why"),
    [
        ("", "it is empty"),
        (" \u00a0", "it is empty"),
        ("a@test\n", "it has line breaks or control characters"),
        ("a\x00@test", "it has line breaks or control characters"),
        ("a\u2028@test", "it has line breaks or control characters"),
        ("\ud800@test", "it has line breaks or control characters"),
        ("a" * 1025, "it has more than 1024 bytes"),
    ],
)
def test_what_is_no_chats_address(call, make, jid, why):
    """A chat that nobody can name in a line is refused, and nothing is registered."""
    with pytest.raises(InputError, match=why):
        call(groups.register, make.registration(jid=jid))
    assert call(groups.registrations) == ()


def test_any_other_address(call, make):
    """What an address looks like is the platform's business."""
    for number, jid in enumerate(("-100123", "Family, the 2nd", "é" * 512)):
        call(groups.register, make.registration(f"g{number}", jid))
    assert len(call(groups.registrations)) == 3
