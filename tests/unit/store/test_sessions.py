"""Which conversation a group goes on with."""

from __future__ import annotations

from nanoclaw_trio.store import sessions


def test_a_life(call):
    """A session's id is kept and replaced, for its group alone."""
    call(sessions.keep_session, "friends", "other")
    assert call(sessions.session_of, "family") is None
    call(sessions.keep_session, "family", "first")
    call(sessions.keep_session, "family", "second")
    assert call(sessions.session_of, "family") == "second"
    assert call(sessions.session_of, "friends") == "other"
