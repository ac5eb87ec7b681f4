"""Which chats the bridge has told of."""

from __future__ import annotations

import pytest

from nanoclaw_trio.store import chats
from nanoclaw_trio.store.models import Chat


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (("A", 1), ("B", 2), ("B", 2)),
        (("A", 2), ("B", 1), ("B", 2)),
        (("A", 1), ("", 2), ("A", 2)),
        (("", 1), ("B", None), ("B", 1)),
        (("A", None), ("A", 1), ("A", 1)),
        (("A", None), ("", None), ("A", None)),
    ],
)
def test_noted_twice(call, make, first, second, expected):
    """The later activity stays, and the last name that isn't empty."""

    def chat(name, seconds):
        last = None if seconds is None else make.moment(seconds)
        return Chat(jid="a@test", name=name, last_activity=last)

    call(chats.note_chat, chat(*first))
    call(chats.note_chat, chat(*second))
    assert call(chats.chats) == (chat(*expected),)


def test_order(call, make):
    """Those heard from last are at the front, those never heard from at the end."""
    for jid, last in (("a", None), ("b", make.moment(1)), ("c", make.moment(2)), ("d", None)):
        call(chats.note_chat, Chat(jid=jid, name="", last_activity=last))
    assert [chat.jid for chat in call(chats.chats)] == ["c", "b", "a", "d"]
