"""How long work that failed waits, and when it is given up."""

from __future__ import annotations

import pytest

from nanoclaw_trio.engine.queue.retry import MAX_RETRIES, retry_delay


@pytest.mark.parametrize(
    ("attempt", "delay"),
    [(1, 5), (2, 10), (3, 20), (4, 40), (5, 80), (6, None), (7, None), (10_000, None)],
)
def test_retry_delay(attempt, delay):
    """Five retries, each after twice the time of the one before; the sixth failure is the last."""
    assert retry_delay(attempt) == delay


def test_max_retries():
    """Whatever failed more often than this is given up, and nothing else is."""
    delays = [retry_delay(attempt) for attempt in range(1, 20)]
    assert [delay is None for delay in delays].index(True) == MAX_RETRIES


@pytest.mark.parametrize("attempt", [0, -1])
def test_nothing_failed(attempt):
    """A delay before the first failure is the caller's mistake."""
    with pytest.raises(ValueError, match=f"attempt is {attempt}; the first attempt that fails"):
        retry_delay(attempt)
