"""How long work that failed waits before it is tried again, and when it is given up."""

from __future__ import annotations

from typing import Final

MAX_RETRIES: Final = 5
"""How often work that failed is tried again, as the original has it; the next failure gives it up."""

FIRST_DELAY: Final = 5.0
"""Seconds before the first retry, as the original has it. Each delay after that doubles, so that
there are two and a half minutes between the first failure and the last: a service that restarts is
back by then, and whoever waits for an answer hasn't waited for ever."""


def retry_delay(attempt: int) -> float | None:
    """Seconds to wait after that many failed attempts; None if the work is to be given up.

    Raises:
        ValueError: `attempt` is below 1: nothing has failed yet.
    """
    if attempt < 1:
        raise ValueError(f"attempt is {attempt}; the first attempt that fails is number 1")
    if attempt > MAX_RETRIES:
        return None
    return FIRST_DELAY * 2.0 ** (attempt - 1)
