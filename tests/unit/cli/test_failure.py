"""Exceptions on their way to the user."""

from __future__ import annotations

from nanoclaw_trio.cli.failure import origin, unwrap


def raised(error):
    """The error, with the frames of having been raised."""
    try:
        raise error
    except type(error) as caught:
        return caught


def test_groups_of_one_are_unwrapped():
    """What a nursery wrapped is found, however deep."""
    error = KeyError("x")
    assert unwrap(ExceptionGroup("", [ExceptionGroup("", [error])])) is error


def test_a_group_of_several_stays():
    """Two failures are not taken for one."""
    group = ExceptionGroup("", [KeyError("x"), ValueError("y")])
    assert unwrap(group) is group


def test_the_origin_has_no_text():
    """Frames and types are shown; what an exception says may hold a key."""
    group = raised(
        ExceptionGroup("canary", [raised(KeyError("canary")), raised(OSError("canary"))])
    )
    text = origin(group)
    assert "raise error" in text
    assert "canary" not in text
    types = [line for line in text.splitlines() if line.isidentifier()]
    assert types == ["ExceptionGroup", "KeyError", "OSError"]
