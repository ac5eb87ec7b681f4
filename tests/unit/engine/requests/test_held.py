"""Which requests are left alone, and for how long."""

from __future__ import annotations

from nanoclaw_trio.engine.requests.held import HELD_FOR, HeldRequests


def test_what_is_held():
    """Files are held, and so are the chats that they are for."""
    held = HeldRequests()
    assert (held.names, held.chats) == (frozenset(), frozenset())
    held.hold("messages/1.json", "a@chat", 0)
    held.hold("messages/2.json", "b@chat", 0)
    held.hold("messages/3.json", "a@chat", 0)
    assert held.names == {"messages/1.json", "messages/2.json", "messages/3.json"}
    assert held.chats == {"a@chat", "b@chat"}
    assert held.is_for("a@chat")
    assert not held.is_for("c@chat")


def test_for_how_long():
    """They are looked at again after a while, counted from the first of them."""
    held = HeldRequests()
    held.hold("messages/1.json", "a@chat", 5)
    held.hold("messages/2.json", "a@chat", 50)
    held.begin_visit(4 + HELD_FOR)
    assert len(held.names) == 2
    held.begin_visit(5 + HELD_FOR)
    assert held.names == frozenset()
    held.hold("messages/1.json", "a@chat", 100)
    held.begin_visit(101)
    assert held.names == {"messages/1.json"}


def test_released():
    """Once there is room they are looked at again, from the next visit on: one that is under way is
    behind the first of them."""
    held = HeldRequests()
    held.hold("messages/1.json", "a@chat", 0)
    held.release()
    assert held.chats == {"a@chat"}
    held.hold("messages/2.json", "a@chat", 0)
    held.begin_visit(0)
    assert held.chats == frozenset()
