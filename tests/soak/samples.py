"""What is measured: of this process, of its project's files, and of its store."""

from __future__ import annotations

import gc
import os
from collections import Counter
from pathlib import Path

import trio
from growth import Allowance

from nanoclaw_trio.files import in_thread

PAGE = os.sysconf("SC_PAGE_SIZE")

TABLES = ("messages", "deliveries", "tasks", "task_runs", "requests", "sessions", "chats")

ALLOWANCES = {
    "memory": Allowance(number=3072, part=0.05),
    "objects": Allowance(number=3000, part=0.03),
    "tasks": Allowance(number=20, part=0.1),
    "threads": Allowance(number=5, part=0.1),
    "descriptors": Allowance(number=20, part=0.1),
    "children": Allowance(number=5, part=0.1),
    "files": Allowance(number=50, part=0.05),
    "disk": Allowance(number=4096, part=0.1),
    "rows": Allowance(number=200, part=0.15),
    "open": Allowance(number=1000, part=0.0),
}
"""By how much each may be more at the end. Memory and disk in KiB; rows are those of all tables of
the store, disk is without the journal, whose size is bounded, and open are the messages that were
handed in and are neither answered nor told as failed: how busy the machine is, and bounded by
MOST_OPEN."""


def resident():
    """KiB of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE // 1024


def threads():
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def descriptors():
    # Less the one that looks.
    return sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1


def children():
    """Children of this process, zombies among them."""
    pids = []
    for thread in Path("/proc/self/task").iterdir():
        try:
            pids += (thread / "children").read_text().split()
        except OSError:
            continue
    return len(pids)


def process():
    """What the kernel counts, by name, and what there is after the end of everything."""
    return {"threads": threads(), "descriptors": descriptors(), "children": children()}


async def take(project, store, outstanding):
    """One sample, by the names of ALLOWANCES; and the rows of each table."""
    count, size = await in_thread(walk, project)
    rows = await store.transact(count_rows)
    # An exact count would mean to stop for a whole collection; the youngest objects are the noise.
    gc.collect(1)
    values = {
        "memory": resident(),
        "objects": len(gc.get_objects()),
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        **process(),
        "files": count,
        "disk": size // 1024,
        "rows": sum(rows.values()),
        "open": outstanding,
    }
    return values, rows


def count_rows(tx):
    return {table: tx.number(f"SELECT count(*) FROM {table}") for table in TABLES}  # noqa: S608


def walk(directory):
    """How many files there are below a directory, and their bytes without the journal's."""
    count = size = 0
    for place, _, names in os.walk(directory):
        count += len(names)
        for name in names:
            if not name.startswith("journal."):
                size += size_of(os.path.join(place, name))  # noqa: PTH118 - thousands of them
    return count, size


def size_of(path):
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0


def count_places(directory):
    """How many files each of the places below a directory has, for whoever asks what grew."""
    places = Counter()
    for place, _, names in os.walk(directory):
        parts = Path(place).relative_to(directory).parts
        places[
            "/".join(
                "*" if part.startswith("group") and part != "groups" else part for part in parts
            )
        ] += len(names)
    return places


def leftovers(mark):
    """The processes in whose environment a text stands, this one left out."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if mark.encode() in environment and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found
