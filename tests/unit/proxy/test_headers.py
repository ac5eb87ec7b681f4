"""Which headers pass."""

from __future__ import annotations

import pytest

from nanoclaw_trio.proxy.headers import HOP_BY_HOP, OURS, request_headers, response_headers
from nanoclaw_trio.proxy.keys import Keys

KEYS = Keys({"ANTHROPIC_API_KEY": "canary-1"})

ADDED = [(b"host", b"api.test"), (b"accept-encoding", b"identity"), (b"x-api-key", b"canary-1")]


def pass_on(*given):
    """A request's headers as the API gets them."""
    return request_headers(given, host=b"api.test", keys=KEYS, shown={b"x-api-key"})


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP | OURS - {b"transfer-encoding"}))
def test_what_an_agent_has_no_say_in(name):
    """What is of one connection, or the proxy's own to say, is left out or replaced."""
    framing = [(b"transfer-encoding", b"chunked")] if name == b"transfer-encoding" else []
    assert sorted(pass_on((name, b"theirs"))) == sorted([*ADDED, *framing])


def test_what_passes():
    """All others pass, in their order, also those that come twice."""
    given = [
        (b"anthropic-version", b"2023-06-01"),
        (b"anthropic-beta", b"a"),
        (b"anthropic-beta", b"b"),
        (b"content-type", b"application/json"),
        (b"content-length", b"7"),
        (b"user-agent", b"claude-cli/2"),
    ]
    host, *rest = pass_on(*given)
    assert host == ADDED[0]
    assert rest[: len(given)] == given


def test_what_connection_names():
    """What a Connection header names is of that connection, too; the length never is."""
    given = [(b"connection", b"close, X-Hop,content-length"), (b"x-hop", b"1")]
    assert (b"x-hop", b"1") not in pass_on(*given)
    assert (b"content-length", b"7") in pass_on(*given, (b"content-length", b"7"))


@pytest.mark.parametrize(
    ("header", "passes"),
    [
        ((b"content-type", b"text/event-stream"), True),
        ((b"request-id", b"req_1"), True),
        ((b"set-cookie", b"a=b"), True),
        ((b"location", b"https://api.test/?key=canary-1"), False),
        ((b"x-canary-1", b""), False),
        ((b"transfer-encoding", b"chunked"), False),
        ((b"connection", b"close"), False),
    ],
)
def test_an_answers_headers(header, passes):
    """An answer's headers pass but for those of the connection, and those with a key in them."""
    assert (header in response_headers([header], KEYS)) is passes


def test_a_body_in_chunks_has_no_length():
    """Of two ways to say where a body ends one is passed on, the one that counts: nothing can be
    hidden behind it."""
    given = [(b"content-length", b"4"), (b"transfer-encoding", b"chunked")]
    names = [name for name, _ in pass_on(*given)]
    assert (b"content-length" in names, names.count(b"transfer-encoding")) == (False, 1)
    assert response_headers(given, KEYS) == []
