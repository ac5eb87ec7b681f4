"""Structured logs on standard error, unless the embedder configured structlog otherwise."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

LEVELS: Final = {
    "trace": logging.NOTSET,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}
"""The names LOG_LEVEL takes (the original's, and Python's for the same), as numbers."""

CONTROL_CHARACTERS: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
"""What an agent could steer a terminal with, and how it is shown instead."""


class Logger(Protocol):
    """What the library asks of a logger: an event's name and its fields."""

    def debug(self, event: str, /, **fields: Any) -> Any: ...
    def info(self, event: str, /, **fields: Any) -> Any: ...
    def warning(self, event: str, /, **fields: Any) -> Any: ...
    def error(self, event: str, /, **fields: Any) -> Any: ...


class _LazyLogger:
    """A logger that looks for its configuration at each event.

    An embedder may configure structlog after it imported us, and importing structlog costs more
    than everything else here: who logs nothing doesn't pay for it.
    """

    def debug(self, event: str, /, **fields: Any) -> None:
        _current().debug(event, **fields)

    def info(self, event: str, /, **fields: Any) -> None:
        _current().info(event, **fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        _current().warning(event, **fields)

    def error(self, event: str, /, **fields: Any) -> None:
        _current().error(event, **fields)


log: Final[Logger] = _LazyLogger()
"""The library's logger."""


def _current() -> FilteringBoundLogger:
    import structlog

    if structlog.is_configured():
        configured: FilteringBoundLogger = structlog.get_logger()
        return configured
    return _standard_error_logger("info")


@cache
def _standard_error_logger(level: str) -> FilteringBoundLogger:
    # structlog's own default prints to standard output, where only answers belong.
    import structlog

    logger: FilteringBoundLogger = structlog.wrap_logger(
        _StandardErrorLogger(),
        processors=_processors(),
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
    )
    return logger


def _processors() -> list[Any]:
    import structlog

    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.LogfmtRenderer(key_order=("timestamp", "level", "event")),
    ]


class _StandardErrorLogger:
    """Writes each line to whatever sys.stderr is at that moment.

    Nobody reads it any more, or it is closed: then nothing is written. A log line must not stand
    between a container and its end.
    """

    def msg(self, message: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{message.translate(CONTROL_CHARACTERS)}\n")
            sys.stderr.flush()

    log = debug = info = warn = warning = error = fatal = critical = exception = msg


def configure_logging(level: str) -> None:
    """Log to standard error from this level on, one logfmt line an event.

    For programs; a library that embeds us configures structlog itself. The level is one of
    LEVELS; KeyError otherwise, and the settings have checked it before.
    """
    import structlog

    structlog.configure(
        processors=_processors(),
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _StandardErrorLogger(),
        cache_logger_on_first_use=False,
    )
