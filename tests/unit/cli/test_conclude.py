"""What is reported of each end."""

from __future__ import annotations

import errno
import signal
from pathlib import Path

import pytest

from nanoclaw_trio.cli.conclude import (
    after_error,
    after_run,
    after_signal,
    describe,
    in_doubt,
    with_receipt,
)
from nanoclaw_trio.cli.ending import Ending
from nanoclaw_trio.cli.exit_status import Tally
from nanoclaw_trio.errors import InvalidGroupFolder
from nanoclaw_trio.run.outcome import Cause, RunResult
from nanoclaw_trio.run.receipt import Gone, Unconfirmed

GONE = Gone(container="c1", evidence="docker has no container c1")


def result(cause=Cause.COMPLETED, **fields):
    """A run's result: a success, unless said otherwise."""
    values = {
        "status": "success",
        "result": None,
        "new_session_id": "s1",
        "error": None,
        "duration": 1.5,
        "exit_code": 0,
        "log_path": Path("/p/groups/main/logs/c.log"),
        "container": "c1",
        "receipt": GONE,
    }
    return RunResult(cause=cause, **(values | fields))


def test_a_success_has_everything_of_its_run():
    """The ending has the run's session, duration, exit code, log and container."""
    assert after_run(result(), Tally(answers=1), runtime="docker") == Ending(
        status="success",
        cause="completed",
        exit_status=0,
        new_session_id="s1",
        duration=1.5,
        exit_code=0,
        log_path="/p/groups/main/logs/c.log",
        container="c1",
        gone=True,
    )


def test_a_run_without_a_log_has_no_path():
    """A log that could not be written is null, not the word None."""
    assert after_run(result(log_path=None), Tally(answers=1), runtime="x").log_path is None


@pytest.mark.parametrize(
    ("run", "tally", "error"),
    [
        (result(error="it broke", status="error"), Tally(), "it broke"),
        (result(), Tally(errors=1, last_error="no quota"), "no quota"),
        (result(), Tally(), "the agent ended without an answer"),
        (
            result(Cause.IDLE_CLOSED),
            Tally(),
            "the agent was silent until its limit and gave no answer",
        ),
    ],
)
def test_every_failure_has_words(run, tally, error):
    """Where the exit status isn't 0, the ending says "error" and why."""
    ending = after_run(run, tally, runtime="docker")
    assert (ending.status, ending.error) == ("error", error)


@pytest.mark.parametrize(
    ("runtime", "remedy"),
    [
        ("docker", "remove it with `docker rm -f c1`"),
        ("podman", "remove it with `podman rm -f c1`"),
        ("container", "remove it with `container delete --force c1`"),
        ("bubblewrap", "end its processes"),
    ],
)
def test_a_container_in_doubt_comes_with_what_to_do(runtime, remedy):
    """Nobody is left alone with a container that may live on."""
    receipt = Unconfirmed(container="c1", why="stop: hung")
    ending = after_run(result(receipt=receipt), Tally(answers=1), runtime=runtime)
    assert not ending.gone
    assert ending.doubt == f"container c1 may still run: stop: hung; {remedy}"


def test_no_receipt_is_no_certainty():
    """A run that was cut off before its receipt isn't taken for gone."""
    ending = with_receipt(Ending(cause="x", exit_status=1), "c1", None, runtime="docker")
    assert (ending.gone, ending.container) == (False, "c1")


@pytest.mark.parametrize(("runtime", "lister"), [("docker", "docker ps -a"), ("bubblewrap", "ps")])
def test_a_container_without_a_name_can_be_looked_for(runtime, lister):
    """Where not even the name is known, it is said how to look."""
    ending = in_doubt(Ending(cause="x", exit_status=1), None, "no answer", runtime=runtime)
    assert ending.doubt == f"a container may still run: no answer; look for it with `{lister}`"
    assert (ending.container, ending.gone) == (None, False)


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGPIPE, 141)],
)
def test_a_signal_has_the_shells_exit_status(number, status):
    """128 and the signal's number."""
    ending = after_signal(number, duration=2.0)
    assert (ending.exit_status, ending.cause, ending.status) == (status, "cancelled", "error")
    assert ending.error == f"stopped by {number.name}"


def test_our_own_errors_speak_for_themselves():
    """An error of ours is shown as it is."""
    ending = after_error(InvalidGroupFolder("a b"), duration=0.5)
    assert ending.error.startswith("group folder 'a b' isn't allowed")
    assert (ending.exit_status, ending.container, ending.gone) == (2, None, True)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.EACCES, "Permission denied", "/x"), "/x: Permission denied"),
        (OSError(errno.ENOSPC, "No space left"), "No space left"),
        (OSError("sk-ant-canary"), "internal error: OSError; LOG_LEVEL=debug shows where"),
        (ValueError("sk-ant-canary"), "internal error: ValueError; LOG_LEVEL=debug shows where"),
    ],
)
def test_a_strangers_text_is_not_shown(error, text):
    """An exception that isn't ours may hold anything in its text, a key too."""
    assert describe(error) == text
