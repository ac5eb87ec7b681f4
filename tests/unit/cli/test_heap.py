"""A host that runs for months has one heap of the C library's."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

COUNT_HEAPS = """
import ctypes, sys, threading
from nanoclaw_trio.cli.heap import keep_one_heap

if sys.argv[1] == "one":
    keep_one_heap()
all_there = threading.Barrier(9)

def work():
    kept = [bytearray(100_000) for _ in range(10)]
    all_there.wait()

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
all_there.wait()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, file)
libc.fflush(file)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs the GNU C library")
@pytest.mark.parametrize(("heaps", "is_one"), [("one", True), ("many", False)])
def test_threads_share_one_heap(heaps, is_one):
    """Eight threads that allocate at once make no heaps of their own."""
    program = [sys.executable, "-c", COUNT_HEAPS, heaps]
    said = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert (said.count("<heap nr=") == 1) is is_one


LOOK_AT_THE_COLLECTOR = """
import gc
from nanoclaw_trio.cli.heap import COLLECTOR_THRESHOLDS, calm_collector

calm_collector()
print(gc.isenabled(), gc.get_freeze_count() > 1000, gc.get_threshold() == COLLECTOR_THRESHOLDS)
"""


def test_the_collector_passes_over_what_is_imported():
    """What is there from the start isn't looked through again; what comes after it still is."""
    program = [sys.executable, "-c", LOOK_AT_THE_COLLECTOR]
    said = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert said == "True True True\n"
