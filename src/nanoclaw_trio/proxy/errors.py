"""Why there is no proxy: the operator's to mend."""

from __future__ import annotations

from nanoclaw_trio.errors import ConfigurationError


class ProxyUnusable(ConfigurationError):
    """The credential proxy can't be opened here; without it nothing is started, and no key leaves."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the credential proxy can't be used: {why}")
        self.why = why
