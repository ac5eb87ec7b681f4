"""How many files a process that serves many groups may have open."""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

MOST: Final = 65_536
"""What is asked for at most: a thousand agents take five thousand, and some systems allow a billion,
for which some programs make a table each time that they start another."""


def raise_descriptor_limit() -> None:
    """Let this process open as many files as the system allows it, MOST at most.

    By default it may open 1,024, for the sake of programs that wait by select(2). That is reached by
    two hundred agents, and where there is a credential proxy by fewer that mean harm. Nothing happens
    where the system refuses.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS allows less than it says.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit_within(soft, hard), hard))


def limit_within(soft: int, hard: int) -> int:
    """The limit to ask for where there are these. Pure."""
    if resource.RLIM_INFINITY in {soft, hard}:
        return soft if soft == resource.RLIM_INFINITY else max(soft, MOST)
    return max(soft, min(hard, MOST))
