"""The memory of a process that runs for months: one heap of the C library's, and a calm collector."""

from __future__ import annotations

import gc
import sys
from contextlib import suppress
from typing import Final

M_ARENA_MAX: Final = -8
"""The number of mallopt(3)'s option, from the GNU C library's malloc.h."""

COLLECTOR_THRESHOLDS: Final = (300, 1, 5_000) if sys.version_info < (3, 14) else (300, 10, 5_000)
"""When Python's collector looks through the young, the middle-aged and all objects (gc.set_threshold):
of the latter after three million more were made than went away. The young are several times as many as
the first number says, since old ones that go away are counted against them: with a thousand runs and a
threshold of 2,000 there were twelve thousand, and a look through the middle-aged took 20 ms. From Python
3.14 on the second number says into how many looks the old are divided: a hundred times as many."""


def keep_one_heap() -> None:
    """Let all threads share one heap, from now on; elsewhere than in the GNU C library, nothing.

    That library gives threads heaps of their own, up to eight for each processor, and worker threads
    come and go: what one has freed another doesn't find, and the process grows for hours. With one
    heap it doesn't (docs/testing has both). Python's own small objects aren't in these heaps at all.
    """
    import ctypes

    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def calm_collector() -> None:
    """Let Python's collector pass over what is there now, and look at the rest more rarely.

    Call it when everything is imported. While it looks nobody else's turn comes, a tenth of a second
    with a thousand runs at once: every output in the meantime is late by that. A run and
    a conversation leave nothing for it to find (test_no_cycles.py in tests/unit/run and
    tests/unit/engine), so that memory doesn't grow by looking rarely.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
