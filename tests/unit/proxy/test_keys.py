"""The host's keys, and the placeholders."""

from __future__ import annotations

import copy
import pickle

import pytest

from nanoclaw_trio.proxy.keys import Keys, new_placeholder, shown_in

API, BEARER = b"x-api-key", b"authorization"

ALL = {
    "ANTHROPIC_API_KEY": "canary-1",
    "ANTHROPIC_AUTH_TOKEN": "canary-2",
    "CLAUDE_CODE_OAUTH_TOKEN": "canary-3",
}

FIRST, SECOND, THIRD = (
    (API, b"canary-1"),
    (BEARER, b"Bearer canary-2"),
    (BEARER, b"Bearer canary-3"),
)


def some(*names):
    """The keys by these names."""
    return Keys({name: ALL[name] for name in names} | {"ANTHROPIC_BASE_URL": "http://canary-4"})


@pytest.mark.parametrize(
    ("names", "shown", "expected"),
    [
        (["ANTHROPIC_API_KEY"], [API], [FIRST]),
        (["ANTHROPIC_API_KEY"], [BEARER], [FIRST]),
        (["ANTHROPIC_AUTH_TOKEN"], [BEARER], [SECOND]),
        (["ANTHROPIC_AUTH_TOKEN"], [API], [SECOND]),
        (["CLAUDE_CODE_OAUTH_TOKEN"], [BEARER], [THIRD]),
        (["ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"], [BEARER], [SECOND]),
        (list(ALL), [API], [FIRST]),
        (list(ALL), [BEARER], [SECOND]),
        (list(ALL), [API, BEARER], [FIRST, SECOND]),
        (["ANTHROPIC_API_KEY"], [API, BEARER], [FIRST]),
        ([], [API], []),
    ],
)
def test_which_key(names, shown, expected):
    """A request gets the host's key in the header in which it showed its placeholder, else in the
    one that the host has."""
    assert sorted(some(*names).headers(shown)) == sorted(expected)


def test_they_are_not_shown():
    """No repr has a key, no copy is made; that there are some may be asked."""
    keys = some(*ALL)
    assert "canary" not in repr(keys) + str(keys)
    for make in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="aren't pickled or copied"):
            make(keys)
    assert keys.variables == tuple(ALL)
    assert keys
    assert not Keys({})


@pytest.mark.parametrize(
    ("text", "found"),
    [(b"canary-1", True), (b"(canary-3)", False), (b"x canary-2 y", True), (b"canary", False)],
)
def test_where_they_appear(text, found):
    """A key that is in use is found in a text, without the word before it."""
    assert some(*ALL).appear_in(text) is found


def test_a_short_key_is_not_looked_for():
    """A value too short to be a key would be found everywhere."""
    assert not Keys({"ANTHROPIC_API_KEY": "abc"}).appear_in(b"abc")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(API, b"right")], {API}),
        ([(BEARER, b"Bearer right")], {BEARER}),
        ([(BEARER, b"bearer  right ")], {BEARER}),
        ([(API, b"right"), (BEARER, b"Bearer wrong")], {API}),
        ([(API, b"wrong"), (API, b"right")], {API}),
        ([(API, b"Bearer right")], set()),
        ([(BEARER, b"Basic right")], set()),
        ([(BEARER, b"right")], set()),
        ([(API, b"righ")], set()),
        ([(API, b"")], set()),
        ([(b"x-other", b"right")], set()),
        ([], set()),
    ],
)
def test_where_the_placeholder_is_shown(headers, expected):
    """It counts in the two headers for keys, whole."""
    assert shown_in(headers, b"right") == expected


def test_placeholders_differ():
    """No two runs have the same, and none can be guessed."""
    made = {new_placeholder() for _ in range(100)}
    assert len(made) == 100
    assert min(map(len, made)) > 40
