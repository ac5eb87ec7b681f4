"""What isn't passed on, and how that is said."""

from __future__ import annotations

import orjson
import pytest

from nanoclaw_trio.proxy import refusals
from nanoclaw_trio.proxy.refusals import METHODS, Refusal, find_refusal


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize(
    "target",
    [b"/", b"/v1/messages?beta=true", b"//evil.test/", b"/a..b/.c", b"/?x=/../", b"/%2e%2e%2e", b"/a%23/b"],
)  # fmt: skip
def test_what_is_passed_on(method, target):
    """Paths of the API's, by its methods."""
    assert find_refusal(method, target, [(b"accept", b"*/*")]) is None


@pytest.mark.parametrize(
    "target",
    [
        b"",
        b"*",
        b"evil.test:443",
        b"http://evil.test/",
        b"\\evil",
        b"/..",
        b"/a/./b",
        b"/a/..?x",
        b"/%2E%2e/b",
        b"/a\\..\\b",
        b"/a%2f..%5Cb",
        b"/..;x/b",
        b"/a#/..",
        b"/a#",
    ],
)
def test_a_target_that_leads_elsewhere(target):
    """What is no path, or leads up, is refused."""
    assert find_refusal(b"GET", target, []) is refusals.FORBIDDEN_TARGET


@pytest.mark.parametrize("method", [b"CONNECT", b"TRACE", b"OPTIONS", b"get", b"BREW"])
def test_a_method_of_nobodys(method):
    """Methods that the API has no use for are refused."""
    assert find_refusal(method, b"/", []) is refusals.FORBIDDEN_METHOD


def test_an_upgrade():
    """No other protocol is spoken through the proxy."""
    found = find_refusal(b"GET", b"/", [(b"upgrade", b"h2c")])
    assert found is refusals.FORBIDDEN_UPGRADE


ALL = [value for value in vars(refusals).values() if isinstance(value, Refusal)]


@pytest.mark.parametrize("refusal", ALL, ids=lambda refusal: refusal.type)
def test_the_shape(refusal):
    """Each has the shape of the API's errors, its length, and says what to do."""
    headers = dict(refusal.headers())
    document = orjson.loads(refusal.document())
    assert int(headers[b"content-length"]) == len(refusal.document())
    assert document["type"] == "error"
    assert document["error"]["type"] == refusal.type
    assert refusal.why in document["error"]["message"]
    assert headers.get(b"retry-after") == (
        None if refusal.retry_after is None else b"%d" % refusal.retry_after
    )
