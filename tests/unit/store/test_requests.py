"""Which files of the mailboxes were handled."""

from __future__ import annotations

from nanoclaw_trio.store import requests


def test_a_name_is_its_groups(call):
    """What is noted is noted for one group's file, and noting it twice changes nothing."""
    call(requests.note_handled, "family", "messages/1.json")
    call(requests.note_handled, "family", "messages/1.json")
    assert call(requests.was_handled, "family", "messages/1.json")
    assert not call(requests.was_handled, "family", "tasks/1.json")
    assert not call(requests.was_handled, "friends", "messages/1.json")


def test_forgotten(call):
    """A file that was deleted is forgotten, and others aren't; unknown names do no harm."""
    for name in ("messages/1.json", "messages/2.json", "messages/3.json"):
        call(requests.note_handled, "family", name)
    call(requests.note_handled, "friends", "messages/1.json")
    call(requests.forget, "family", ["messages/1.json", "messages/2.json", "messages/9.json"])
    assert call(requests.handled, "family") == ("messages/3.json",)
    assert call(requests.handled, "friends") == ("messages/1.json",)
    assert not call(requests.was_handled, "family", "messages/1.json")
