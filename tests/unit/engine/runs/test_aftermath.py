"""After a run: whose failure it was, by its cause and by what it got done."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanoclaw_trio.engine.runs.aftermath import (
    Fault,
    after_cut_off,
    after_exception,
    after_result,
    names_stale_session,
)
from nanoclaw_trio.errors import (
    GroupBusy,
    InvalidGroupFolder,
    InvalidSetting,
    WorkspaceFailed,
)
from nanoclaw_trio.run.outcome import Cause, RunResult
from nanoclaw_trio.run.receipt import Gone, Unconfirmed
from nanoclaw_trio.store.connection import StoreFailed

GONE = Gone(container="c", evidence="no such container")
IN_DOUBT = Unconfirmed(container="c", why="no answer")


def result(cause, *, error="it failed", receipt=GONE):
    return RunResult(
        status="error" if error else "success",
        result=None,
        new_session_id=None,
        error=error,
        cause=cause,
        duration=1.0,
        exit_code=1,
        log_path=None,
        container="c",
        receipt=receipt,
    )


@pytest.mark.parametrize("cause", list(Cause))
def test_progress_makes_no_fault(cause):
    """After something was answered a run's failure is nobody's: it must not be asked again."""
    assert after_result(result(cause), has_progressed=True).fault is Fault.NONE


@pytest.mark.parametrize(
    ("cause", "fault", "is_counted"),
    [
        (Cause.IMAGE_MISSING, Fault.INFRASTRUCTURE, False),
        (Cause.RUNTIME_UNAVAILABLE, Fault.INFRASTRUCTURE, False),
        (Cause.SPAWN_FAILED, Fault.START, True),
        (Cause.COMPLETED, Fault.WORK, True),
        (Cause.NO_OUTPUT, Fault.WORK, True),
        (Cause.TIMED_OUT, Fault.WORK, True),
        (Cause.AGENT_FAILED, Fault.WORK, True),
        (Cause.OUT_OF_MEMORY, Fault.WORK, True),
        (Cause.KILLED_FROM_OUTSIDE, Fault.WORK, True),
        (Cause.UNPARSABLE_OUTPUT, Fault.WORK, True),
    ],
)
def test_cause_says_whose_fault(cause, fault, is_counted):
    """Without progress the cause says whether an attempt is counted, and what else waits."""
    aftermath = after_result(result(cause), has_progressed=False)
    assert (aftermath.fault, aftermath.is_counted) == (fault, is_counted)
    assert aftermath.why == "it failed"


def test_success_without_an_answer_has_words():
    """A run that ended well and answered nothing is a failure that can be told in words."""
    aftermath = after_result(result(Cause.NO_OUTPUT, error=None), has_progressed=False)
    assert aftermath.why == "the run ended without an answer (no_output)"


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (GroupBusy("family"), Fault.DEFERRED),
        (StoreFailed(Path("engine.db"), "full", "free it"), Fault.DEFERRED),
        (WorkspaceFailed(Path("x"), "no room"), Fault.DEFERRED),
        (InvalidSetting(".env", "x", "can't be read"), Fault.DEFERRED),
        (InvalidGroupFolder("../x"), Fault.WORK),
        (ValueError(), Fault.WORK),
    ],
)
def test_exception_says_whose_fault(error, fault):
    """What is the host's, the operator's or another process's costs no attempt; all else does."""
    aftermath = after_exception(error, None)
    assert aftermath.fault is fault
    assert aftermath.why


def test_unconfirmed_container_is_named():
    """A container that may live on is named, whatever else came of the run."""
    doubt = result(Cause.AGENT_FAILED, receipt=IN_DOUBT)
    assert after_result(doubt, has_progressed=True).unconfirmed == "c"
    assert after_result(result(Cause.AGENT_FAILED), has_progressed=True).unconfirmed is None
    assert after_exception(ValueError("x"), IN_DOUBT).unconfirmed == "c"
    assert after_cut_off(IN_DOUBT, "why", has_progressed=True).unconfirmed == "c"


@pytest.mark.parametrize(("has_progressed", "fault"), [(True, Fault.NONE), (False, Fault.WORK)])
def test_agent_that_had_to_be_stopped(has_progressed, fault):
    """An agent that was stopped has failed only if it answered nothing; that is counted, with why."""
    aftermath = after_cut_off(GONE, "it talked", has_progressed=has_progressed)
    assert aftermath.fault is fault
    assert aftermath.why == (None if has_progressed else "it talked")
    assert aftermath.is_counted is not has_progressed


@pytest.mark.parametrize(
    ("words", "is_stale"),
    [
        ("No conversation found with session ID: 3f-1", True),
        ("session 12 can't be found", True),
        ("Session abc not found", True),
        ("the conversation\ndoes not exist", True),
        ("API Error: 529 overloaded", False),
        ("file not found", False),
        ("a session of parliament was found", False),
    ],
)
def test_words_about_a_stale_session(words, is_stale):
    """What agents say of a session that isn't there is known from what they say of all else."""
    assert names_stale_session(words) is is_stale
    aftermath = after_result(result(Cause.AGENT_FAILED, error=words), has_progressed=False)
    assert aftermath.session_is_stale is is_stale
