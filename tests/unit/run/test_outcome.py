"""How a run ends: every line of wire-formats 10, every cause, and which evidence comes first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.errors import (
    ImageIncompatible,
    ImageMissing,
    RuntimeCommandFailed,
    RuntimeUnavailable,
    StartFailed,
)
from nanoclaw_trio.protocol.models import ContainerOutput
from nanoclaw_trio.run.limits import FiredLimit, Limit
from nanoclaw_trio.run.outcome import (
    ERROR_EXCERPT,
    EXIT_HINTS,
    KILLED,
    STDERR_EXCERPT,
    Cause,
    Evidence,
    Heard,
    RunResult,
    Verdict,
    decide,
    show_size,
)
from nanoclaw_trio.run.receipt import Gone, Unconfirmed

reproducible = settings(derandomize=True, deadline=None)

ANSWER = ContainerOutput(status="success", result="42", new_session_id="s1")
UPDATE = ContainerOutput(status="success", result=None, new_session_id="s2")
FAILURE = ContainerOutput(status="error", result=None, new_session_id="s3", error="no such model")
NO_SESSION = ContainerOutput(status="success", result="42")

NOTHING = Heard()
NOISE = Heard(silent=False)
BROKEN = Heard(problem="required field missing @ $.status", silent=False)
LAST_LINE = Heard(last_line=ANSWER, silent=False)


def heard(*outputs, after_limit=False, problem=None):
    """What these outputs amount to."""
    answers = [output for output in outputs if output.result is not None]
    sessions = [output.new_session_id for output in outputs if output.new_session_id]
    return Heard(
        last=outputs[-1],
        last_answer=answers[-1] if answers else None,
        last_session_id=sessions[-1] if sessions else None,
        problem=problem,
        after_limit=after_limit,
        silent=False,
    )


ACTIVITY = FiredLimit(limit=Limit.ACTIVITY, seconds=1830)
STARTUP = FiredLimit(limit=Limit.STARTUP, seconds=60)
LIFETIME = FiredLimit(limit=Limit.LIFETIME, seconds=3600)

NO_IMAGE = ImageMissing("agent:1", "docker", "build it")
NO_ENGINE = RuntimeUnavailable("docker", "it doesn't answer", "start it")
NO_START = StartFailed("c1", "no room")
NO_ANSWER = RuntimeCommandFailed("docker run", "did not answer")


def success(cause, result=None, session=None):
    """The verdict on a success."""
    return Verdict(cause=cause, status="success", result=result, new_session_id=session)


def error(cause, text):
    """The verdict on an error."""
    return Verdict(cause=cause, status="error", error=text)


PARSE = "Failed to parse container output: "

EXIT_0 = [
    # what was heard, streaming, the verdict
    (heard(ANSWER), True, success(Cause.COMPLETED, None, "s1")),
    (heard(ANSWER, UPDATE), True, success(Cause.COMPLETED, None, "s2")),
    (heard(ANSWER, NO_SESSION), True, success(Cause.COMPLETED, None, "s1")),
    (heard(NO_SESSION), True, success(Cause.COMPLETED)),
    (heard(FAILURE), True, success(Cause.COMPLETED, None, "s3")),
    (heard(ANSWER, problem="broken"), True, success(Cause.COMPLETED, None, "s1")),
    (NOTHING, True, success(Cause.NO_OUTPUT)),
    (NOISE, True, success(Cause.NO_OUTPUT)),
    (LAST_LINE, True, success(Cause.NO_OUTPUT)),
    (BROKEN, True, error(Cause.UNPARSABLE_OUTPUT, f"{PARSE}{BROKEN.problem}")),
    (heard(ANSWER), False, success(Cause.COMPLETED, "42", "s1")),
    (heard(ANSWER, UPDATE), False, success(Cause.COMPLETED, "42", "s2")),
    (heard(evolve(ANSWER, result="1"), ANSWER), False, success(Cause.COMPLETED, "42", "s1")),
    (heard(UPDATE), False, success(Cause.COMPLETED, None, "s2")),
    (heard(evolve(ANSWER, result="")), False, success(Cause.COMPLETED, "", "s1")),
    (heard(ANSWER, problem="broken"), False, success(Cause.COMPLETED, "42", "s1")),
    (heard(FAILURE), False, error(Cause.COMPLETED, "no such model")),
    (heard(UPDATE, FAILURE), False, error(Cause.COMPLETED, "no such model")),
    (LAST_LINE, False, success(Cause.COMPLETED, "42", "s1")),
    (evolve(LAST_LINE, last_line=FAILURE), False, error(Cause.COMPLETED, "no such model")),
    (BROKEN, False, error(Cause.UNPARSABLE_OUTPUT, f"{PARSE}{BROKEN.problem}")),
    (NOTHING, False, error(Cause.NO_OUTPUT, f"{PARSE}there was no output")),
    (
        NOISE,
        False,
        error(Cause.UNPARSABLE_OUTPUT, f"{PARSE}no markers, and the last line isn't an output"),
    ),
]


@pytest.mark.parametrize(("what", "streaming", "verdict"), EXIT_0)
def test_exit_0(what, streaming, verdict):
    """Trap A13. Exit 0 is a success; not streaming, with the last answer and the last session."""
    assert decide(Evidence(heard=what, streaming=streaming, exit_code=0)) == verdict


EXITS = [
    # the exit code, the cause, the hint
    (1, Cause.AGENT_FAILED, ""),
    (2, Cause.AGENT_FAILED, ""),
    (255, Cause.AGENT_FAILED, ""),
    (125, Cause.AGENT_FAILED, " (the container engine failed before the agent ran)"),
    (126, Cause.AGENT_FAILED, " (the image's command can't be executed)"),
    (127, Cause.AGENT_FAILED, " (the image's command isn't there)"),
    (129, Cause.KILLED_FROM_OUTSIDE, ""),
    (130, Cause.KILLED_FROM_OUTSIDE, ""),
    (137, Cause.KILLED_FROM_OUTSIDE, " (killed by force: out of memory, or by somebody)"),
    (139, Cause.AGENT_FAILED, ""),
    (143, Cause.KILLED_FROM_OUTSIDE, ""),
]


@pytest.mark.parametrize(("code", "cause", "hint"), EXITS)
@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("what", [NOTHING, NOISE, BROKEN, LAST_LINE, heard(ANSWER, UPDATE)])
def test_another_exit(code, cause, hint, streaming, what):
    """Another exit than 0 is an error with the end of standard error and a hint, if there is one."""
    evidence = Evidence(heard=what, streaming=streaming, exit_code=code, stderr_tail="it broke")
    assert decide(evidence) == error(cause, f"Container exited with code {code}: it broke{hint}")


def test_the_hints_are_those_of_the_table():
    """There is a hint for each code that the format names, and for no other."""
    assert sorted(EXIT_HINTS) == [125, 126, 127, 137]
    assert {code for code, cause, _ in EXITS if cause is Cause.KILLED_FROM_OUTSIDE} == KILLED


def test_the_end_of_standard_error_is_cut():
    """Of standard error there are the last 200 characters."""
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 500)))
    verdict = decide(Evidence(heard=NOTHING, streaming=True, exit_code=1, stderr_tail=text))
    assert verdict.error == f"Container exited with code 1: {text[-STDERR_EXCERPT:]}"
    assert STDERR_EXCERPT == 200


MACHINE_FULL = "out of memory: it used up the machine's memory; CONTAINER_MEMORY sets a limit"

FAILURES = [
    # what is known besides exit code 1, the cause, the hint
    (
        {"out_of_memory": True},
        Cause.OUT_OF_MEMORY,
        MACHINE_FULL,
    ),
    (
        {"out_of_memory": True, "memory_limit": 1024},
        Cause.OUT_OF_MEMORY,
        "out of memory: it used up the container's limit, CONTAINER_MEMORY=1K; set it higher",
    ),
    ({"memory_limit": 1024}, Cause.AGENT_FAILED, None),
    ({"failure": NO_IMAGE}, Cause.IMAGE_MISSING, str(NO_IMAGE)),
    ({"failure": NO_ENGINE}, Cause.RUNTIME_UNAVAILABLE, str(NO_ENGINE)),
    ({"failure": NO_START}, Cause.SPAWN_FAILED, str(NO_START)),
    (
        {"survived": True},
        Cause.KILLED_FROM_OUTSIDE,
        "only the client ended; the container lived on and was stopped",
    ),
    # Which comes first.
    (
        {"survived": True, "out_of_memory": True, "failure": NO_IMAGE},
        Cause.KILLED_FROM_OUTSIDE,
        "only the client ended; the container lived on and was stopped",
    ),
    (
        {"out_of_memory": True, "failure": NO_START},
        Cause.OUT_OF_MEMORY,
        MACHINE_FULL,
    ),
]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0"), (1000, "1000"), (1024, "1K"), (1536, "1536"), (64 << 20, "64M"), (3 << 30, "3G")],
)
def test_a_size_is_shown_as_the_setting_takes_it(size, text):
    """A limit reads as it is written in the settings."""
    assert show_size(size) == text


def test_out_of_memory_leaves_the_agent_its_words():
    """A tool may have been killed long before the agent failed for another reason: both are said."""
    evidence = Evidence(
        heard=heard(FAILURE), streaming=True, exit_code=1, out_of_memory=True, memory_limit=1 << 30
    )
    verdict = decide(evidence)
    assert verdict.cause is Cause.OUT_OF_MEMORY
    assert "CONTAINER_MEMORY=1G; set it higher; the agent said: " in (verdict.error or "")


@pytest.mark.parametrize(("known", "cause", "hint"), FAILURES)
def test_why_it_failed(known, cause, hint):
    """What the runtime knows of a failed end goes before what its exit code suggests."""
    evidence = Evidence(heard=NOTHING, streaming=True, exit_code=1, **known)
    expected = "Container exited with code 1: " + (f" ({hint})" if hint else "")
    assert decide(evidence) == error(cause, expected)


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("API Error: Overloaded", " (the agent said: API Error: Overloaded)"),
        ("x" * 2000, f" (the agent said: {'x' * ERROR_EXCERPT})"),
        ("", ""),
        (None, ""),
    ],
)
@pytest.mark.parametrize("streaming", [True, False])
def test_the_agents_own_words(said, hint, streaming):
    """An agent that reported an error before it failed is quoted: its standard error may be empty."""
    last = ContainerOutput(status="error", result=None, error=said)
    evidence = Evidence(heard=heard(ANSWER, last), streaming=streaming, exit_code=1)
    expected = f"Container exited with code 1: {hint}"
    assert decide(evidence) == error(Cause.AGENT_FAILED, expected)


def test_words_that_stand_there_already_are_not_repeated():
    """An agent that said the same on standard error is quoted once."""
    last = ContainerOutput(status="error", result=None, error="API Error")
    tail = "ERROR: API Error"
    evidence = Evidence(heard=heard(last), streaming=True, exit_code=1, stderr_tail=tail)
    assert decide(evidence).error == "Container exited with code 1: ERROR: API Error"


def test_a_client_that_ended_well_while_the_container_lived():
    """Exit 0 of the client alone is no success: the agent had not ended."""
    evidence = Evidence(heard=heard(ANSWER), streaming=True, exit_code=0, survived=True)
    assert decide(evidence).cause is Cause.KILLED_FROM_OUTSIDE
    assert decide(evidence).status == "error"


SPAWN = [
    (NO_IMAGE, Cause.IMAGE_MISSING),
    (ImageIncompatible("agent:1", "docker", "2", "1", "build it"), Cause.IMAGE_MISSING),
    (NO_ENGINE, Cause.RUNTIME_UNAVAILABLE),
    (NO_START, Cause.SPAWN_FAILED),
    (NO_ANSWER, Cause.SPAWN_FAILED),
]


@pytest.mark.parametrize(("failure", "cause"), SPAWN)
@pytest.mark.parametrize("fired", [None, ACTIVITY])
def test_it_could_not_start(failure, cause, fired):
    """What could not start has no other end than that, and says why."""
    evidence = Evidence(heard=NOTHING, streaming=True, failure=failure, fired=fired)
    assert decide(evidence) == error(cause, f"Container spawn error: {failure}")


LIMITS = [
    # what was heard, which limit, the exit code, the cause
    (heard(ANSWER), ACTIVITY, 137, Cause.IDLE_CLOSED),
    (heard(ANSWER), ACTIVITY, 143, Cause.IDLE_CLOSED),
    (heard(ANSWER), ACTIVITY, 0, Cause.IDLE_CLOSED),
    (heard(ANSWER), ACTIVITY, None, Cause.IDLE_CLOSED),
    (heard(UPDATE), ACTIVITY, 137, Cause.IDLE_CLOSED),
    (heard(ANSWER), STARTUP, 137, Cause.IDLE_CLOSED),
    (heard(ANSWER, after_limit=True), ACTIVITY, 0, Cause.COMPLETED),
    (heard(ANSWER, after_limit=True), ACTIVITY, 137, Cause.IDLE_CLOSED),
    (heard(ANSWER, UPDATE), LIFETIME, 137, Cause.IDLE_CLOSED),
    (heard(ANSWER, UPDATE, after_limit=True), LIFETIME, 0, Cause.COMPLETED),
    (heard(ANSWER), LIFETIME, 137, Cause.TIMED_OUT),
    (heard(UPDATE, ANSWER), LIFETIME, 137, Cause.TIMED_OUT),
    (NOTHING, ACTIVITY, 143, Cause.TIMED_OUT),
    (NOTHING, ACTIVITY, 0, Cause.TIMED_OUT),
    (NOTHING, ACTIVITY, None, Cause.TIMED_OUT),
    (NOTHING, STARTUP, 143, Cause.TIMED_OUT),
    (NOTHING, LIFETIME, 143, Cause.TIMED_OUT),
    (NOISE, ACTIVITY, 143, Cause.TIMED_OUT),
    (BROKEN, ACTIVITY, 143, Cause.TIMED_OUT),
]


@pytest.mark.parametrize(("what", "fired", "code", "cause"), LIMITS)
def test_a_limit_passed(what, fired, code, cause):
    """Traps A8 and A9. A limit is a clean-up after an answer, and else an error that names it."""
    verdict = decide(Evidence(heard=what, streaming=True, exit_code=code, fired=fired))
    if cause is Cause.TIMED_OUT:
        assert verdict == error(cause, f"Container timed out after {fired}")
        assert re.search(r"after \d+ ms \(\S+ limit\)$", str(verdict.error))
    else:
        assert verdict == success(cause, None, what.last_session_id)


def test_a_limit_and_not_streaming():
    """Not streaming, the answer that came before the limit is the result: nobody else has it."""
    evidence = Evidence(heard=heard(ANSWER, UPDATE), streaming=False, exit_code=137, fired=ACTIVITY)
    assert decide(evidence) == success(Cause.IDLE_CLOSED, "42", "s2")


@pytest.mark.parametrize(
    "known", [{"survived": True}, {"out_of_memory": True}, {"failure": NO_START}]
)
def test_a_limit_comes_before_a_failing_exit(known):
    """What we stopped ourselves is no failure of the agent's, whatever status it ended with."""
    evidence = Evidence(heard=heard(ANSWER), streaming=True, exit_code=137, fired=ACTIVITY, **known)
    assert decide(evidence).cause is Cause.IDLE_CLOSED


UNCLOSABLE = "its mailbox can't be closed: input is a link"

STOPPED = [
    # what was heard, streaming, the exit code, the verdict
    (heard(ANSWER, UPDATE), True, 143, success(Cause.COMPLETED, None, "s2")),
    (heard(ANSWER, UPDATE), True, 0, success(Cause.COMPLETED, None, "s2")),
    (heard(ANSWER, UPDATE), True, None, success(Cause.COMPLETED, None, "s2")),
    (heard(ANSWER, UPDATE), False, 137, success(Cause.COMPLETED, "42", "s2")),
    *(
        (
            what,
            streaming,
            143,
            error(Cause.AGENT_FAILED, f"Container stopped in its query: {UNCLOSABLE}"),
        )
        for what in (NOTHING, BROKEN, heard(ANSWER), heard(UPDATE, ANSWER), heard(FAILURE))
        for streaming in (True, False)
    ),
]


@pytest.mark.parametrize(("what", "streaming", "code", "verdict"), STOPPED)
def test_an_agent_that_could_not_be_asked_to_end(what, streaming, code, verdict):
    """Trap A28. Stopped after its query it has done what it was asked; in its query it failed."""
    evidence = Evidence(heard=what, streaming=streaming, exit_code=code, unclosable=UNCLOSABLE)
    assert decide(evidence) == verdict


def test_every_cause_was_reached():
    """The tables above have each cause that a run may end by."""
    seen = {verdict.cause for _, _, verdict in EXIT_0}
    seen |= {cause for _, cause, _ in EXITS} | {cause for _, cause, _ in FAILURES}
    seen |= {cause for _, cause in SPAWN} | {row[-1] for row in LIMITS}
    assert seen == set(Cause)


outputs = st.builds(
    ContainerOutput,
    status=st.sampled_from(["success", "error"]),
    result=st.none() | st.text(max_size=3),
    new_session_id=st.none() | st.text(max_size=3),
    error=st.none() | st.text(max_size=3),
)
evidences = st.builds(
    Evidence,
    heard=st.builds(
        Heard,
        last=st.none() | outputs,
        last_answer=st.none() | outputs,
        last_session_id=st.none() | st.text(max_size=3),
        problem=st.none() | st.text(max_size=3),
        after_limit=st.booleans(),
        last_line=st.none() | outputs,
        silent=st.booleans(),
    ),
    streaming=st.booleans(),
    exit_code=st.none() | st.integers(0, 255),
    fired=st.none() | st.sampled_from([ACTIVITY, STARTUP, LIFETIME]),
    failure=st.none() | st.sampled_from([NO_IMAGE, NO_ENGINE, NO_START, NO_ANSWER]),
    unclosable=st.none() | st.just(UNCLOSABLE),
    survived=st.booleans(),
    out_of_memory=st.booleans(),
    memory_limit=st.none() | st.integers(1, 10**12),
    stderr_tail=st.text(max_size=300),
)


@reproducible
@given(evidences)
def test_every_evidence_has_one_outcome(evidence):
    """Any evidence has one outcome; an error says why, and has no session to resume."""
    verdict = decide(evidence)
    assert verdict.cause in Cause
    said = (evidence.heard.last, evidence.heard.last_answer, evidence.heard.last_line)
    if (verdict.status, verdict.error) not in {(o.status, o.error) for o in said if o}:
        assert (verdict.status == "error") == (verdict.error is not None)
    if verdict.status == "error":
        assert verdict.new_session_id is None
    if evidence.streaming:
        assert verdict.result is None


@reproducible
@given(evidences)
def test_success_needs_a_reason(evidence):
    """A success is either an exit 0 of the agent's own, or a limit that passed after an answer."""
    if decide(evidence).status == "success":
        assert evidence.exit_code == 0 or (evidence.fired and evidence.heard.last)


@pytest.mark.parametrize(
    ("receipt", "gone"),
    [
        (Gone(container="c1", evidence="no such container"), True),
        (Unconfirmed(container="c1", why="no answer"), False),
    ],
)
def test_gone_says_what_the_receipt_says(receipt, gone):
    """A result is gone only with the runtime's own word for it."""
    result = RunResult(
        status="success",
        result=None,
        new_session_id=None,
        error=None,
        cause=Cause.COMPLETED,
        duration=1.0,
        exit_code=0,
        log_path=Path("run.log"),
        container="c1",
        receipt=receipt,
    )
    assert result.gone is gone
