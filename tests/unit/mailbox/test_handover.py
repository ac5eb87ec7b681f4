"""Follow-ups between two threads, one of which may stop waiting."""

from __future__ import annotations

import threading

from nanoclaw_trio.mailbox.handover import Handover


def test_in_order() -> None:
    """What was handed over comes out in order, as often as it is asked for."""
    handover = Handover()
    assert handover.offer("one")
    assert handover.offer("two")
    assert handover.close() == ("one", "two")
    assert handover.close() == ("one", "two")


def test_nothing_is_taken_any_more() -> None:
    """Trap A22. Whoever offers to nobody is told so, and can put it back."""
    handover = Handover()
    handover.close()
    assert not handover.offer("late")
    assert handover.close() == ()


def test_two_threads() -> None:
    """Trap A22. Each one is with exactly one of the two, whenever the waiting stops."""
    for _ in range(50):
        handover, kept = Handover(), []

        def take(handover: Handover = handover, kept: list[str] = kept) -> None:
            kept.extend(text for text in map(str, range(200)) if not handover.offer(text))

        thread = threading.Thread(target=take)
        thread.start()
        taken = handover.close()
        thread.join()
        assert [*taken, *kept] == list(map(str, range(200)))
