"""What a workload's process tells of itself, and where its files go."""

from __future__ import annotations

import os
import resource
from pathlib import Path

RAM_DISK = Path("/dev/shm")


def peak_of_this():
    """KiB that were resident at most of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def processor_seconds():
    """CPU seconds of this process and of those that it has waited for."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def percentiles(delays):
    """Milliseconds at p50 and p99 of delays in nanoseconds; nothing for none."""
    if not delays:
        return {}
    ordered = sorted(delays)
    at = {f"p{part}": ordered[len(ordered) * part // 100] / 1e6 for part in (50, 99)}
    return {"heard": len(ordered), **at}


def project_home():
    """Where a project is made: in memory, where that can be, so that no disk is measured.

    An ext4 without a journal looks at each inode that was freed in the last minute before it gives
    one out, which in a benchmark costs more than everything else.
    """
    return str(RAM_DISK) if os.access(RAM_DISK, os.W_OK | os.X_OK) else None
