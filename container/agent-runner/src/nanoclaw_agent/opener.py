"""How files are opened that somebody else may have put in their place (Trap A28)."""

from __future__ import annotations

import os


def open_without_following(path: str, flags: int) -> int:
    """An opener for :func:`open`: a link isn't followed, and a pipe isn't waited for."""
    # Without O_NONBLOCK, opening a named pipe waits for somebody to write into it.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
