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

_TURNING: Final = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Unicode's marks, embeddings, overrides and isolates of a text's direction."""

_SEPARATORS: Final = (0x2028, 0x2029)
"""Unicode's ends of a line and of a paragraph."""

CONTROL_CHARACTERS: Final = {
    **{code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))},
    **{code: f"\\u{code:04x}" for code in (*_TURNING, *_SEPARATORS)},
}
"""What an agent could steer a terminal with, or a reader's eye, and how it is shown instead."""


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

    def __init__(self) -> None:
        self._level: str | None = None

    def configure_at_first_event(self, level: str) -> None:
        """Configure structlog when there is something to log."""
        self._level = level

    def debug(self, event: str, /, **fields: Any) -> None:
        self._log("debug", event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        self._log("info", event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        self._log("warning", event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        self._log("error", event, fields)

    def _log(self, method: str, event: str, fields: dict[str, Any]) -> None:
        if self._level is not None:
            if LEVELS[method] < LEVELS[self._level]:
                return
            level, self._level = self._level, None
            _configure_unless_configured(level)
        getattr(_current(), method)(event, **fields)


_lazy_logger: Final = _LazyLogger()

log: Final[Logger] = _lazy_logger
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
    if "structlog" in sys.modules:
        _configure(level)
        return
    # A run that goes well logs nothing before its end: its start doesn't wait for the import.
    _ = LEVELS[level]
    _lazy_logger.configure_at_first_event(level)


def _configure_unless_configured(level: str) -> None:
    import structlog

    if not structlog.is_configured():
        _configure(level)


def _configure(level: str) -> None:
    import structlog

    structlog.configure(
        processors=_processors(),
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _StandardErrorLogger(),
        cache_logger_on_first_use=False,
    )
