"""What the kernel can do to keep this process's memory from the tools that the model runs.

They have the same user, and would find the secrets at /proc/PID/environ, mem or in a core file.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

PR_SET_DUMPABLE: Final = 4
"""The number of prctl(2)'s option, from linux/prctl.h."""

log: Final = logging.getLogger(__name__)


def keep_memory_private() -> None:
    """Make this process undumpable: not to be read, traced or dumped by others of its user.

    Only Linux can; elsewhere there is no container that shows processes to each other either.
    """
    if not _prctl(PR_SET_DUMPABLE, 0):  # pragma: no cover - a sandbox may filter the call
        log.warning("this process's memory can't be hidden from the agent's tools")


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":  # pragma: no cover - Linux's own
        return True
    import ctypes

    status: int = ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
    return status == 0
