"""What the proxy doesn't pass on, and how it says so: in the shape of the API's errors. Pure.

https://docs.anthropic.com/en/api/errors has the shape and the types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

import orjson
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nanoclaw_trio.proxy.keys import Header

METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE"})
"""What the API is asked by. TRACE would have the key in its answer, CONNECT lead elsewhere."""


@frozen
class Refusal:
    """An answer of the proxy's own.

    Attributes:
        status: The HTTP status.
        type: The API's name for that kind of error.
        why: What is wrong, and what to do.
        retry_after: Seconds after which to try again; None where that won't help.
    """

    status: int
    type: str
    why: str
    retry_after: int | None = None

    def document(self) -> bytes:
        """It as the API writes errors."""
        message = f"nanoclaw's credential proxy: {self.why}"
        return orjson.dumps(
            {"type": "error", "error": {"type": self.type, "message": message}, "request_id": None}
        )

    def headers(self) -> list[Header]:
        """Its headers, but for those of the connection."""
        retry = [] if self.retry_after is None else [(b"retry-after", b"%d" % self.retry_after)]
        return [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(self.document())),
            *retry,
        ]


NOT_HTTP: Final = Refusal(
    400, "invalid_request_error", "this isn't HTTP/1.1; send requests as the API's clients do"
)
TOO_LARGE: Final = Refusal(
    431, "request_too_large", "the request's headers are too large; leave out what isn't needed"
)
FORBIDDEN_METHOD: Final = Refusal(
    405,
    "invalid_request_error",
    "this method isn't passed on; use GET, POST or another of the API's",
)
FORBIDDEN_TARGET: Final = Refusal(
    400,
    "invalid_request_error",
    "only paths of the API are passed on, beginning with '/' and without '.', '..' and '#'",
)
FORBIDDEN_UPGRADE: Final = Refusal(
    400, "invalid_request_error", "protocols aren't changed here; leave out the header Upgrade"
)
UNKNOWN: Final = Refusal(
    401,
    "authentication_error",
    "the key isn't the placeholder of a run under way; use the one that came on standard input",
)
NO_KEY: Final = Refusal(
    401,
    "authentication_error",
    "the host has no key to add; set ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN there",
)
TOO_MANY: Final = Refusal(
    429, "rate_limit_error", "the group has too many requests under way; wait for one to end", 1
)
UNREACHABLE: Final = Refusal(
    502,
    "api_error",
    "the API can't be reached from the host; look at its network and at its ANTHROPIC_BASE_URL",
    5,
)
BROKEN: Final = Refusal(502, "api_error", "the API broke off before it answered; try again", 1)
SILENT: Final = Refusal(504, "timeout_error", "the API was silent for too long; try again")


def find_refusal(method: bytes, target: bytes, headers: Iterable[Header]) -> Refusal | None:
    """Why a request can't be passed on, whoever sent it; None if it can."""
    if method not in METHODS:
        return FORBIDDEN_METHOD
    # Clients keep what is behind a '#' to themselves, and servers differ in what it is to them.
    if not target.startswith(b"/") or b"#" in target or _has_dots(target):
        return FORBIDDEN_TARGET
    return FORBIDDEN_UPGRADE if any(name == b"upgrade" for name, _ in headers) else None


def _has_dots(target: bytes) -> bool:
    """Whether a path leads up, in one of the ways in which servers take it so."""
    path = unquote_to_bytes(target.partition(b"?")[0]).replace(b"\\", b"/")
    return any(part.partition(b";")[0] in {b".", b".."} for part in path.split(b"/"))
