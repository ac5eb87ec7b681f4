"""The keys that the proxy adds, and the placeholder that an agent gets in their stead. Pure."""

from __future__ import annotations

import hmac
import re
import secrets
from typing import TYPE_CHECKING, Final, NoReturn

from nanoclaw_trio.errors import InvalidSetting
from nanoclaw_trio.workspace.secrets import SHORTEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Header = tuple[bytes, bytes]

API_KEY: Final = "ANTHROPIC_API_KEY"

_BEARERS: Final = ("ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
"""In the order in which Claude's CLI prefers them."""

API_KEY_HEADER: Final = b"x-api-key"
BEARER_HEADER: Final = b"authorization"

CREDENTIAL_HEADERS: Final = frozenset({API_KEY_HEADER, BEARER_HEADER})


class Keys:
    """The host's keys, as headers. No repr shows them, and no pickle has them.

    Attributes:
        variables: The names of those that there are.
    """

    __slots__ = ("_headers", "variables")

    def __init__(self, values: Mapping[str, str]) -> None:
        """From the secrets by their variables.

        Raises:
            InvalidSetting: one can't be in a header; its value isn't repeated.
        """
        self.variables = tuple(name for name in (API_KEY, *_BEARERS) if values.get(name))
        keys = {name: _as_header(name, values[name]) for name in self.variables}
        self._headers: dict[bytes, bytes] = {}
        if API_KEY in keys:
            self._headers[API_KEY_HEADER] = keys[API_KEY]
        for name in reversed(_BEARERS):
            if name in keys:
                self._headers[BEARER_HEADER] = b"Bearer " + keys[name]

    def headers(self, shown: Iterable[bytes]) -> list[Header]:
        """What a request gets that showed its placeholder in these headers.

        The same ones as far as the host has such a key; else the one that it has.
        """
        fitting = [(name, self._headers[name]) for name in shown if name in self._headers]
        return fitting or list(self._headers.items())[:1]

    def appear_in(self, text: bytes) -> bool:
        """Whether one of the keys stands in a text."""
        return any(
            len(key) >= SHORTEST and key in text
            for key in (value.removeprefix(b"Bearer ") for value in self._headers.values())
        )

    def __bool__(self) -> bool:
        return bool(self._headers)

    def __repr__(self) -> str:
        return f"<Keys: {len(self._headers)} not shown>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys aren't pickled or copied")


def _as_header(name: str, value: str) -> bytes:
    # An HTTP library would repeat it in its error.
    if not re.fullmatch(r"[!-~]+", value):
        raise InvalidSetting(name, ".env or the environment", "has a character that no key has")
    return value.encode()


def new_placeholder() -> str:
    """What an agent gets as its key: it opens nothing but the proxy, for one run."""
    return f"sk-nanoclaw-{secrets.token_urlsafe(32)}"


def shown_in(headers: Iterable[Header], placeholder: bytes) -> frozenset[bytes]:
    """The names of the headers in which a request shows this placeholder as its key.

    Compared in a time that doesn't depend on how much of it is right.
    """
    return frozenset(
        name
        for name, value in headers
        if name in CREDENTIAL_HEADERS and hmac.compare_digest(_credential(name, value), placeholder)
    )


def _credential(name: bytes, value: bytes) -> bytes:
    if name == API_KEY_HEADER:
        return value
    scheme, _, credential = value.partition(b" ")
    return credential.strip() if scheme.lower() == b"bearer" else b""
