"""Standard error, which the host logs line by line, without a secret in it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nanoclaw_agent.secrets import Secrets

FORMAT: Final = "%(levelname)s %(name)s: %(message)s"


def log_to_stderr(secrets: Secrets) -> None:
    """Log warnings and worse to standard error from now on, tracebacks and other packages' too.

    The secrets are taken out of all of it.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_RedactingFormatter(secrets))
    logging.basicConfig(handlers=[handler], force=True)


class _RedactingFormatter(logging.Formatter):
    def __init__(self, secrets: Secrets) -> None:
        super().__init__(FORMAT)
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        return self._secrets.redact(super().format(record))
