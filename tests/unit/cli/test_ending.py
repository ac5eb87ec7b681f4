"""The last line of the output."""

from __future__ import annotations

import pytest

from nanoclaw_trio.cli.ending import Ending, bad_usage, end_record, words

KEYS = [
    *("type", "status", "cause", "newSessionId", "error", "durationSeconds"),
    *("exitCode", "logPath", "container", "gone"),
]


def test_all_keys_are_always_there():
    """A program that reads the last line never has to ask whether a key is there."""
    record = end_record(Ending(cause="x", exit_status=1))
    assert list(record) == KEYS
    assert record == {
        **dict.fromkeys(KEYS),
        "type": "end",
        "status": "error",
        "cause": "x",
        "durationSeconds": 0.0,
        "gone": True,
    }


def test_a_full_record():
    """Each field goes under its key, the duration in milliseconds' precision."""
    ending = Ending(
        status="success",
        cause="completed",
        exit_status=0,
        new_session_id="s1",
        error=None,
        duration=1.23456,
        exit_code=0,
        log_path="/l",
        container="c1",
        gone=False,
    )
    assert list(end_record(ending).values()) == [
        *("end", "success", "completed", "s1", None, 1.235, 0, "/l", "c1", False)
    ]


def test_bad_usage():
    """A command line that can't be understood is the caller's fault."""
    ending = bad_usage("no such option")
    assert (ending.exit_status, ending.cause, ending.error) == (2, "bad_input", "no such option")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"cause": "completed", "exit_status": 0}, ()),
        ({"cause": "agent_failed", "error": "it failed"}, ("it failed",)),
        ({"cause": "agent_failed", "error": "it failed", "doubt": "?"}, ("it failed", "?")),
        ({"cause": "completed", "exit_status": 0, "doubt": "?"}, ("?",)),
        ({"cause": "cancelled", "error": "stopped"}, ("stopped; no container is left",)),
        ({"cause": "cancelled", "error": "stopped", "container": "c1"}, ("stopped; c1 is gone",)),
        (
            {"cause": "cancelled", "error": "stopped", "container": "c1", "doubt": "?"},
            ("stopped", "?"),
        ),
        ({"cause": "cancelled", "error": "stopped", "exit_status": 141}, ()),
        ({"cause": "cancelled", "error": "stopped", "exit_status": 141, "doubt": "?"}, ("?",)),
    ],
)
def test_words(fields, said):
    """After a signal it is said that the container is gone; after `| head` nothing is said."""
    assert words(Ending(**({"exit_status": 1} | fields))) == said
