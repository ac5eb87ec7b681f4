"""The API's host, as the operator names it."""

from __future__ import annotations

import pytest

from nanoclaw_trio.errors import InvalidSetting
from nanoclaw_trio.proxy.upstream import parse_upstream


@pytest.mark.parametrize(
    ("text", "host", "target"),
    [
        (None, b"api.anthropic.com", b"/v1/messages?x=1"),
        ("", b"api.anthropic.com", b"/v1/messages?x=1"),
        ("http://gw.test:8080/", b"gw.test:8080", b"/v1/messages?x=1"),
        ("https://gw.test:443/a/b/", b"gw.test", b"/a/b/v1/messages?x=1"),
        ("https://gw.test:80", b"gw.test:80", b"/v1/messages?x=1"),
        ("http://[::1]:80", b"[::1]", b"/v1/messages?x=1"),
    ],
)
def test_an_address(text, host, target):
    """Scheme, host and port are the operator's; a request's path comes after theirs."""
    upstream = parse_upstream(text)
    assert upstream.has_tls is not (text or "").startswith("http://")
    assert upstream.host == host
    assert upstream.target(b"/v1/messages?x=1") == target


@pytest.mark.parametrize(
    "text",
    ["canary", "ftp://canary", "http://", "http://u:canary@h", "http://h?canary", "http://h#canary",
     "http://h:canary", "unix:/canary", "https://h:99999/canary", "http://can\nary", "//canary", "http://canary\0"],
)  # fmt: skip
def test_no_address(text):
    """What is none is refused, and not repeated: it counts as a secret."""
    with pytest.raises(InvalidSetting) as caught:
        parse_upstream(text)
    assert "ANTHROPIC_BASE_URL" in str(caught.value)
    assert "canary" not in str(caught.value)
