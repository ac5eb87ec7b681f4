"""The exit status for each end."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from nanoclaw_trio.cli.exit_status import (
    AGENT_FAILED,
    SUCCESS,
    Tally,
    cause_of_error,
    describe_error,
    status_after_error,
    status_after_run,
)
from nanoclaw_trio.errors import (
    BuildFailed,
    EngineRunning,
    GroupBusy,
    HostError,
    ImageIncompatible,
    ImageMissing,
    InvalidContainerInput,
    InvalidFile,
    InvalidGroupFolder,
    InvalidSetting,
    ProjectNotFound,
    RuntimeCommandFailed,
    RuntimeUnavailable,
    StartFailed,
    WorkspaceFailed,
)
from nanoclaw_trio.protocol.models import ContainerOutput
from nanoclaw_trio.run.outcome import Cause

NOTHING = Tally()
ANSWERED = Tally(answers=1)
ERRORS = Tally(errors=2, last_error="no")
BOTH = Tally(answers=1, errors=1, last_error="no")
RECOVERED = Tally(answers=1, errors=1)


@pytest.mark.parametrize(
    ("cause", "tally", "status"),
    [
        (Cause.COMPLETED, ANSWERED, 0),
        (Cause.COMPLETED, BOTH, 1),
        (Cause.COMPLETED, RECOVERED, 0),
        (Cause.COMPLETED, NOTHING, 1),
        (Cause.COMPLETED, ERRORS, 1),
        (Cause.IDLE_CLOSED, ANSWERED, 0),
        (Cause.IDLE_CLOSED, BOTH, 1),
        (Cause.IDLE_CLOSED, RECOVERED, 0),
        (Cause.IDLE_CLOSED, NOTHING, 124),
        (Cause.IDLE_CLOSED, ERRORS, 1),
        (Cause.TIMED_OUT, NOTHING, 124),
        (Cause.TIMED_OUT, ANSWERED, 124),
        (Cause.AGENT_FAILED, NOTHING, 1),
        (Cause.AGENT_FAILED, ANSWERED, 1),
        (Cause.OUT_OF_MEMORY, NOTHING, 1),
        (Cause.KILLED_FROM_OUTSIDE, ANSWERED, 1),
        (Cause.NO_OUTPUT, NOTHING, 1),
        (Cause.UNPARSABLE_OUTPUT, NOTHING, 1),
        (Cause.IMAGE_MISSING, NOTHING, 3),
        (Cause.RUNTIME_UNAVAILABLE, NOTHING, 3),
        (Cause.SPAWN_FAILED, NOTHING, 3),
    ],
)
def test_status_after_run(cause, tally, status):
    """A run's exit status depends on its cause and on whether there was an answer."""
    assert status_after_run(cause, tally) == status


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_status(cause):
    """No cause is left out, and without an answer none is a success."""
    assert status_after_run(cause, NOTHING) in {1, 3, 124}


@pytest.mark.parametrize(
    ("error", "status", "cause"),
    [
        (ProjectNotFound(Path("x")), 2, "bad_input"),
        (InvalidGroupFolder("../x"), 2, "bad_input"),
        (GroupBusy("a"), 3, "group_busy"),
        (EngineRunning(Path("x")), 4, "bad_input"),
        (InvalidContainerInput("not JSON"), 2, "bad_input"),
        (InvalidSetting("TZ", ".env", "is wrong"), 2, "bad_input"),
        (InvalidFile(Path("x"), "is wrong", "mend it"), 2, "bad_input"),
        (ImageMissing("i", "docker", "build it"), 3, "image_missing"),
        (ImageIncompatible("i", "docker", "2", "1", "build it"), 3, "image_missing"),
        (BuildFailed("i", "docker", "no network"), 3, "image_missing"),
        (RuntimeUnavailable("docker", "no", "start it"), 3, "runtime_unavailable"),
        (StartFailed("c", "no"), 3, "spawn_failed"),
        (RuntimeCommandFailed("docker ps", "hung"), 3, "spawn_failed"),
        (WorkspaceFailed(Path("x"), "full"), 1, "host_failed"),
        (HostError("x"), 1, "host_failed"),
        (OSError(errno.ENOSPC, "full"), 1, "host_failed"),
        (KeyError("x"), 1, "internal_error"),
    ],
)
def test_status_after_error(error, status, cause):
    """An exception's exit status is by whose fault it is."""
    assert (status_after_error(error), cause_of_error(error)) == (status, cause)


def test_a_tally_counts_what_was_heard(outputs):
    """Answers, errors and the last session of a query that ended are kept apart."""
    tally = Tally()
    for output in (
        outputs.answer("a", session="s1"),
        outputs.update("s2"),
        outputs.error("first"),
        outputs.answer("", session="s3"),
        outputs.error("second"),
    ):
        tally = tally.with_output(output)
    assert tally == Tally(answers=2, errors=2, last_error="second", session_id="s2")


def test_an_error_without_words_gets_some(outputs):
    """An agent that says "error" and nothing else is not reported as silence."""
    assert "without words" in describe_error(outputs.error(None))


def test_an_error_after_an_answer_is_a_failure():
    """Exit status 0 says that the last word was an answer."""
    answer = ContainerOutput(status="success", result="so far")
    error = ContainerOutput(status="error", result=None, error="quota")
    tally = Tally().with_output(answer).with_output(error)
    assert status_after_run(Cause.COMPLETED, tally) == AGENT_FAILED
    assert status_after_run(Cause.COMPLETED, tally.with_output(answer)) == SUCCESS
