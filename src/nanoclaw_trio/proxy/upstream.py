"""The API's host: where requests go, whatever they say themselves. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

from nanoclaw_trio.errors import InvalidSetting

BASE_URL: Final = "ANTHROPIC_BASE_URL"

DEFAULT_BASE_URL: Final = "https://api.anthropic.com"

_PORTS: Final = {"http": 80, "https": 443}


@frozen(kw_only=True)
class Upstream:
    """Where the API is.

    Attributes:
        has_tls: Whether it is spoken to in private.
        name: The host's name or address.
        port: Its port.
        path: What comes before the paths of requests; without a '/' at its end.
    """

    has_tls: bool
    name: str
    port: int
    path: bytes

    @property
    def host(self) -> bytes:
        """As the header Host has it."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        is_usual = self.port == _PORTS["https" if self.has_tls else "http"]
        return (name if is_usual else f"{name}:{self.port}").encode()

    def target(self, target: bytes) -> bytes:
        """A request's target as the API gets it."""
        return self.path + target


def parse_upstream(text: str | None) -> Upstream:
    """From ANTHROPIC_BASE_URL; None or "" stands for Anthropic's own.

    Raises:
        InvalidSetting: it is none; its value isn't repeated.
    """
    upstream = _parse(text or DEFAULT_BASE_URL)
    if upstream is None:
        raise InvalidSetting(
            BASE_URL, ".env or the environment", "isn't http:// or https:// with a host and a path"
        )
    return upstream


def _parse(text: str) -> Upstream | None:
    try:
        parts = urlsplit(text)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    has_more = "@" in parts.netloc or "?" in text or "#" in text
    if not re.fullmatch(r"[!-~]+", text) or has_more or not parts.hostname:
        return None
    return Upstream(
        has_tls=parts.scheme == "https",
        name=parts.hostname,
        port=port,
        path=parts.path.rstrip("/").encode(),
    )
