"""Which headers pass, in both directions. Pure; names are in lower case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nanoclaw_trio.proxy.keys import CREDENTIAL_HEADERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nanoclaw_trio.proxy.keys import Header, Keys

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""What is between two neighbours only (RFC 9110, 7.6.1)."""

_LENGTH: Final = b"content-length"

OURS: Final = frozenset(
    {
        *CREDENTIAL_HEADERS,
        b"host",
        b"cookie",
        b"expect",
        # Counts are read from the bytes as they pass: no answer is to be compressed.
        b"accept-encoding",
        # Who asks, and for which host, is not for the agent to say.
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
    }
)
"""What the proxy says itself in a request, or leaves out."""


def request_headers(
    given: Iterable[Header], *, host: bytes, keys: Keys, shown: Iterable[bytes]
) -> list[Header]:
    """The headers of a request as the API gets it.

    `shown`: where the request showed its placeholder (see :meth:`Keys.headers`).
    """
    given = list(given)
    passing = [(name, value) for name, value in _end_to_end(given) if name not in OURS]
    return [
        (b"host", host),
        *passing,
        *_framing(given),
        (b"accept-encoding", b"identity"),
        *keys.headers(shown),
    ]


def response_headers(given: Iterable[Header], keys: Keys) -> list[Header]:
    """The headers of an answer as the agent gets it: without any that has a key in it."""
    return [
        (name, value)
        for name, value in _end_to_end(list(given))
        if not keys.appear_in(name) and not keys.appear_in(value)
    ]


def _end_to_end(given: list[Header]) -> Iterator[Header]:
    named = {
        word.strip().lower()
        for name, value in given
        if name == b"connection"
        for word in value.split(b",")
    }
    # The length is no matter of one connection, whatever somebody says; but of a body in chunks
    # there is none, and whoever believes one there takes the rest for another request.
    dropped = HOP_BY_HOP | (named - {_LENGTH}) | ({_LENGTH} if _framing(given) else set())
    return ((name, value) for name, value in given if name not in dropped)


def _framing(given: list[Header]) -> list[Header]:
    is_chunked = any(name == b"transfer-encoding" for name, _ in given)
    return [(b"transfer-encoding", b"chunked")] if is_chunked else []
