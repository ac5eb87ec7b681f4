"""What is to be said: in order, once, until it was said or can't be."""

from __future__ import annotations

import pytest

from nanoclaw_trio.store import deliveries, groups
from nanoclaw_trio.store.deliveries import Backlog
from nanoclaw_trio.store.models import DeliveryKind


def ids(found):
    return [delivery.id for delivery in found]


@pytest.mark.parametrize("kind", list(DeliveryKind))
def test_a_delivery_comes_back_whole(call, make, kind):
    """All of it is read as it was recorded, messages and all."""
    delivery = make.delivery(
        "d1",
        kind=kind,
        text="no\0answer, \N{SNOWMAN}",
        sender="Researcher",
        in_reply_to=("m1", "m2"),
        task_id="t1",
        messages=(make.message("m1"), make.message("m2", text='"\n')),
        created_at=make.moment(1.5),
    )
    assert call(deliveries.record, delivery) is True
    assert call(deliveries.pending) == (delivery,)
    assert call(deliveries.pending, "family@test") == (delivery,)


def test_an_id_that_is_known(call, make):
    """It is recorded once, also when it was said already."""
    first = make.delivery("d1")
    assert call(deliveries.record, first)
    assert not call(deliveries.record, make.delivery("d1", text="other"))
    assert call(deliveries.pending) == (first,)
    call(deliveries.mark_delivered, "d1", make.moment())
    assert not call(deliveries.record, first)
    assert call(deliveries.pending) == ()


def test_order(call, make):
    """They come in the order of their recording, each chat's for itself; so do the chats."""
    for id_, chat in (("z", "b"), ("y", "a"), ("x", "b"), ("w", "c")):
        call(deliveries.record, make.delivery(id_, chat))
    assert ids(call(deliveries.pending)) == ["z", "y", "x", "w"]
    assert ids(call(deliveries.pending, "b")) == ["z", "x"]
    assert call(deliveries.chats_with_pending) == ("b", "a", "c")
    assert call(deliveries.count_pending) == 4


def test_what_has_ended(call, make):
    """What was said, or can't be, isn't pending any more, and ends once."""
    for id_ in ("d1", "d2", "d3"):
        call(deliveries.record, make.delivery(id_, f"{id_}@test"))
    call(deliveries.mark_delivered, "d1", make.moment(1))
    call(deliveries.mark_undeliverable, "d2", make.moment(2), "the chat is gone")
    call(deliveries.mark_delivered, "d2", make.moment(3))
    assert ids(call(deliveries.pending)) == ["d3"]
    assert call(deliveries.chats_with_pending) == ("d3@test",)
    assert call(deliveries.count_pending) == 1
    rows = call(lambda tx: [tuple(row) for row in tx.rows("SELECT state, why FROM deliveries")])
    assert rows == [
        ("delivered", None),
        ("undeliverable", "the chat is gone"),
        ("pending", None),
    ]


def test_which_rows_are_forgotten(call, make, database):
    """They are found by an index: what waits, of which there may be 64 MiB, isn't read for it."""
    call(deliveries.record, make.delivery("d1"))

    def ask(tx):
        statements = []
        tx.connection.set_trace_callback(statements.append)
        deliveries.mark_delivered(tx, "d1", make.moment())
        tx.connection.set_trace_callback(None)
        (statement,) = (line for line in statements if line.startswith("DELETE"))
        return [row["detail"] for row in tx.rows(f"EXPLAIN QUERY PLAN {statement}")]

    assert any("deliveries_ended" in line for line in database.transact(ask))


def test_forgotten(call, make):
    """What ended before a moment is deleted; what ended later or is pending stays."""
    for id_ in ("d1", "d2", "d3", "d4"):
        call(deliveries.record, make.delivery(id_))
    call(deliveries.mark_delivered, "d1", make.moment(1))
    call(deliveries.mark_undeliverable, "d2", make.moment(2), "gone")
    call(deliveries.mark_delivered, "d3", make.moment(3))
    assert call(deliveries.forget_old, make.moment(3)) == 2
    known = call(lambda tx: [row["id"] for row in tx.rows("SELECT id FROM deliveries")])
    assert known == ["d3", "d4"]


def test_no_more_than_asked_for(call, make):
    """With a limit the first are read, of all chats or of one, and the others wait."""
    for id_, chat in (("z", "b"), ("y", "a"), ("x", "b"), ("w", "b")):
        call(deliveries.record, make.delivery(id_, chat))
    assert ids(call(deliveries.pending, limit=3)) == ["z", "y", "x"]
    assert ids(call(deliveries.pending, "b", limit=2)) == ["z", "x"]
    assert ids(call(deliveries.pending, "b", limit=9)) == ["z", "x", "w"]


def test_backlog(call, make):
    """What waits in a chat is counted, with the bytes of it and of what people said, as a disk has
    them; what is over isn't."""
    assert call(deliveries.backlog, "family@test") == Backlog(number=0, size=0)
    nothing = len("[]")
    call(deliveries.record, make.delivery("d1", text="é\0x\ud800"))
    call(deliveries.record, make.delivery("d2", "other@test"))
    call(deliveries.record, make.delivery("d3", text="", messages=(make.message("m1"),)))
    whole = call(deliveries.backlog, "family@test")
    assert whole.number == 2
    assert whole.size > len("é\0x".encode()) + 3 + nothing + len('[{"id":"m1"}]')
    call(deliveries.mark_delivered, "d3", make.moment())
    size = len("é\0x".encode()) + 3 + nothing
    assert call(deliveries.backlog, "family@test") == Backlog(number=1, size=size)


def test_backlog_elsewhere(call, make):
    """What waits in chats that no group is registered for is counted together."""
    call(groups.register, make.registration())
    for number, chat in enumerate(("family@test", "a@test", "b@test")):
        call(deliveries.record, make.delivery(f"d{number}", chat, text="1234"))
    assert call(deliveries.backlog_elsewhere) == Backlog(number=2, size=2 * len("1234[]"))


def test_what_is_over_takes_little(call, make, monkeypatch):
    """Of what is over so many are known by their ids, however quickly they come; what waits stays. A
    lot of them is forgotten by and by."""
    call(deliveries.record, make.delivery("waits"))
    for number in range(10):
        call(deliveries.record, make.delivery(f"d{number}", "other@test"))
        if number == 5:
            monkeypatch.setattr(deliveries, "ENDED_KEPT", 3)
            monkeypatch.setattr(deliveries, "ENDED_FORGOTTEN", 2)
        call(deliveries.mark_delivered, f"d{number}", make.moment())
    rows = call(lambda tx: tx.rows("SELECT id FROM deliveries ORDER BY seq"))
    assert [row["id"] for row in rows] == ["waits", "d7", "d8", "d9"]
