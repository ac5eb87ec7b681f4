"""One heap of the C library's for a process that runs for months."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

M_ARENA_MAX: Final = -8
"""The number of mallopt(3)'s option, from the GNU C library's malloc.h."""


def keep_one_heap() -> None:
    """Let all threads share one heap, from now on; elsewhere than in the GNU C library, nothing.

    That library gives threads heaps of their own, up to eight for each processor, and worker threads
    come and go: what one has freed another doesn't find, and the process grows for hours. With one
    heap it doesn't (docs/testing has both). Python's own small objects aren't in these heaps at all.
    """
    import ctypes

    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
