"""Exceptions on their way to the user."""

from __future__ import annotations

import traceback


def unwrap(error: Exception) -> Exception:
    """An exception without the groups of one that nurseries put it in."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def origin(error: BaseException) -> str:
    """Where an exception came from: its frames, those of its group, and its type.

    Not its text, nor that of its causes: that may hold what must not be shown.
    """
    frames = "".join(traceback.format_tb(error.__traceback__))
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return "".join([f"{frames}{type(error).__name__}\n", *map(origin, inner)])
