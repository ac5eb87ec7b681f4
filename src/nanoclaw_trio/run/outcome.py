"""How a run ended: one outcome, named by its cause and backed by evidence."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal

from attrs import frozen

from nanoclaw_trio.errors import (
    ImageIncompatible,
    ImageMissing,
    NanoclawError,
    RuntimeUnavailable,
)
from nanoclaw_trio.run.limits import FiredLimit, Limit
from nanoclaw_trio.run.receipt import Gone, Receipt

if TYPE_CHECKING:
    from pathlib import Path

    from nanoclaw_trio.protocol.models import ContainerOutput


ERROR_EXCERPT: Final = 1000
"""Characters of the agent's own last error that go into a run's: they name what went wrong."""

STDERR_EXCERPT: Final = 200
"""Characters of standard error in an error's text (wire-formats 10)."""

EXIT_HINTS: Final = {
    125: "the container engine failed before the agent ran",
    126: "the image's command can't be executed",
    127: "the image's command isn't there",
    137: "killed by force: out of memory, or by somebody",
}
"""What the shells' and engines' exit statuses mean."""

KILLED: Final = frozenset({129, 130, 137, 143})
"""Exit statuses of a process that SIGHUP, SIGINT, SIGKILL or SIGTERM ended."""


class Cause(StrEnum):
    """Why a run ended."""

    COMPLETED = "completed"
    """The agent ended by itself, or after its mailbox was closed, with exit status 0; or, where the
    mailbox could not be closed, it was stopped after its query."""
    IDLE_CLOSED = "idle_closed"
    """A limit passed after the agent had answered, which is a clean-up and no failure."""
    TIMED_OUT = "timed_out"
    """A limit passed and there was no answer."""
    AGENT_FAILED = "agent_failed"
    """The agent ended with another exit status than 0, or had to be stopped in the middle of a
    query because its mailbox could not be closed."""
    OUT_OF_MEMORY = "out_of_memory"
    """The kernel killed something in the container for want of memory."""
    IMAGE_MISSING = "image_missing"
    """The runtime doesn't have the image, or one whose agent speaks our protocol."""
    RUNTIME_UNAVAILABLE = "runtime_unavailable"
    """The runtime isn't there or doesn't answer."""
    SPAWN_FAILED = "spawn_failed"
    """The container could not be started for another reason."""
    KILLED_FROM_OUTSIDE = "killed_from_outside"
    """Somebody else ended the container, or the client through which we heard it."""
    NO_OUTPUT = "no_output"
    """The agent ended with exit status 0 and had said nothing."""
    UNPARSABLE_OUTPUT = "unparsable_output"
    """The agent ended with exit status 0, and nothing of what it said could be understood."""


@frozen(kw_only=True)
class Heard:
    """What a run's standard output amounted to.

    Attributes:
        last: The last output.
        last_answer: The last output whose result isn't null.
        last_session_id: The last session id of any output.
        problem: What was wrong with the last frame that could not be understood.
        after_limit: Whether an output came after a limit had passed.
        last_line: The output that the last line is, where there were no markers at all; None if it
            isn't one.
        silent: Whether there was nothing but white space.
    """

    last: ContainerOutput | None = None
    last_answer: ContainerOutput | None = None
    last_session_id: str | None = None
    problem: str | None = None
    after_limit: bool = False
    last_line: ContainerOutput | None = None
    silent: bool = True


@frozen(kw_only=True)
class Evidence:
    """All that an outcome is decided from.

    Attributes:
        heard: What came from standard output.
        streaming: Whether each output was handed to the caller as it came.
        exit_code: Of the container as we heard it; None if it never started.
        fired: The limit that passed, if one did.
        failure: Why it could not start, if so; from the start, or read from an exit status.
        unclosable: Why its mailbox could not be closed, so that it was stopped instead.
        survived: Whether the container ran on after we had heard its end.
        out_of_memory: Whether the kernel killed something in it for want of memory.
        memory_limit: Bytes it was allowed, or None.
        stderr_tail: The end of standard error, redacted.
    """

    heard: Heard
    streaming: bool
    exit_code: int | None = None
    fired: FiredLimit | None = None
    failure: NanoclawError | None = None
    unclosable: str | None = None
    survived: bool = False
    out_of_memory: bool = False
    memory_limit: int | None = None
    stderr_tail: str = ""


@frozen(kw_only=True)
class Verdict:
    """What the evidence says: a container output, with its cause."""

    cause: Cause
    status: Literal["success", "error"]
    result: str | None = None
    new_session_id: str | None = None
    error: str | None = None


@frozen(kw_only=True)
class RunResult:
    """The one outcome of a run.

    Attributes:
        status: `success` or `error`.
        result: Where outputs were not streamed, the answer; else None, as they went out already.
        new_session_id: The session to resume next time; None after an error, since the id of a
            failed run may be the reason for its failure.
        error: What went wrong, for people; no secret is in it.
        cause: Why the run ended.
        duration: Seconds from the start to the receipt.
        exit_code: Of the container, 128 + N for a signal N; None if it never started.
        log_path: The run log, or None if it could not be written.
        container: The container's name.
        receipt: What is known of the container now.
        undelivered: Follow-ups that no agent took, in their order: they are the caller's again.
        rejected_frames: How many pairs of markers could not be understood, or were too large.
    """

    status: Literal["success", "error"]
    result: str | None
    new_session_id: str | None
    error: str | None
    cause: Cause
    duration: float
    exit_code: int | None
    log_path: Path | None
    container: str
    receipt: Receipt
    undelivered: tuple[str, ...] = ()
    rejected_frames: int = 0

    @property
    def gone(self) -> bool:
        """Whether the container is certain to be gone."""
        return isinstance(self.receipt, Gone)


def decide(evidence: Evidence) -> Verdict:
    """The outcome that this evidence stands for (wire-formats 10)."""
    if evidence.exit_code is None and evidence.failure is not None:
        cause = _cause_of(evidence.failure)
        return _error(cause, f"Container spawn error: {evidence.failure}")
    if evidence.fired is not None:
        return _after_limit(evidence, evidence.fired)
    if evidence.unclosable is not None:
        return _after_stop(evidence, evidence.unclosable)
    if evidence.survived or evidence.exit_code != 0:
        return _failed(evidence)
    if evidence.heard.last is not None:
        return _success(evidence, Cause.COMPLETED)
    return _without_frames(evidence)


def _after_limit(evidence: Evidence, fired: FiredLimit) -> Verdict:
    heard = evidence.heard
    if heard.last is not None and heard.after_limit and evidence.exit_code == 0:
        return _success(evidence, Cause.COMPLETED)
    at_rest = heard.last is not None and heard.last.is_session_update
    if heard.last is None or (fired.limit is Limit.LIFETIME and not at_rest):
        return _error(Cause.TIMED_OUT, f"Container timed out after {fired}")
    return _success(evidence, Cause.IDLE_CLOSED)


def _after_stop(evidence: Evidence, unclosable: str) -> Verdict:
    last = evidence.heard.last
    if last is not None and last.is_session_update:
        return _success(evidence, Cause.COMPLETED)
    return _error(Cause.AGENT_FAILED, f"Container stopped in its query: {unclosable}")


def _failed(evidence: Evidence) -> Verdict:
    excerpt = evidence.stderr_tail[-STDERR_EXCERPT:]
    error = f"Container exited with code {evidence.exit_code}: {excerpt}"
    cause, hint = _why_failed(evidence)
    return _error(cause, f"{error} ({hint})" if hint else error)


def _why_failed(evidence: Evidence) -> tuple[Cause, str | None]:
    code = evidence.exit_code
    if evidence.survived:
        hint = "only the client ended; the container lived on and was stopped"
        return Cause.KILLED_FROM_OUTSIDE, hint
    if evidence.out_of_memory:
        return Cause.OUT_OF_MEMORY, _explain_memory(evidence)
    if evidence.failure is not None:
        return _cause_of(evidence.failure), str(evidence.failure)
    cause = Cause.KILLED_FROM_OUTSIDE if code in KILLED else Cause.AGENT_FAILED
    return cause, _own_words(evidence) or EXIT_HINTS.get(code or 0)


def _explain_memory(evidence: Evidence) -> str:
    # What was killed may have been a tool, long before the agent failed: its own words stay.
    words = (_say_used_up(evidence.memory_limit), _own_words(evidence))
    return "; ".join(part for part in words if part)


def _say_used_up(limit: int | None) -> str:
    if limit is None:
        return "out of memory: it used up the machine's memory; CONTAINER_MEMORY sets a limit"
    setting = f"CONTAINER_MEMORY={show_size(limit)}"
    return f"out of memory: it used up the container's limit, {setting}; set it higher"


def show_size(size: int) -> str:
    """A number of bytes as a setting takes it: 64M, or 1000. Pure."""
    for factor, unit in ((1024**3, "G"), (1024**2, "M"), (1024, "K")):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def _own_words(evidence: Evidence) -> str | None:
    last = evidence.heard.last
    if last is None or last.status != "error" or not last.error:
        return None
    if last.error in evidence.stderr_tail[-STDERR_EXCERPT:]:
        return None
    return f"the agent said: {last.error[:ERROR_EXCERPT]}"


def _without_frames(evidence: Evidence) -> Verdict:
    heard = evidence.heard
    if heard.problem is not None:
        return _unparsable(Cause.UNPARSABLE_OUTPUT, heard.problem)
    if evidence.streaming:
        return _success(evidence, Cause.NO_OUTPUT)
    if heard.last_line is not None:
        return _from_output(heard.last_line)
    if heard.silent:
        return _unparsable(Cause.NO_OUTPUT, "there was no output")
    return _unparsable(Cause.UNPARSABLE_OUTPUT, "no markers, and the last line isn't an output")


def _unparsable(cause: Cause, problem: str) -> Verdict:
    return _error(cause, f"Failed to parse container output: {problem}")


def _success(evidence: Evidence, cause: Cause) -> Verdict:
    heard = evidence.heard
    if not evidence.streaming and heard.last is not None:
        return _from_output(heard.last_answer or heard.last, cause, heard.last_session_id)
    return Verdict(cause=cause, status="success", new_session_id=heard.last_session_id)


def _from_output(
    output: ContainerOutput, cause: Cause = Cause.COMPLETED, session_id: str | None = None
) -> Verdict:
    session_id = session_id or output.new_session_id
    return Verdict(
        cause=cause,
        status=output.status,
        result=output.result,
        new_session_id=session_id if output.status == "success" else None,
        error=output.error,
    )


def _error(cause: Cause, error: str) -> Verdict:
    return Verdict(cause=cause, status="error", error=error)


def _cause_of(failure: NanoclawError) -> Cause:
    match failure:
        case ImageMissing() | ImageIncompatible():
            return Cause.IMAGE_MISSING
        case RuntimeUnavailable():
            return Cause.RUNTIME_UNAVAILABLE
        case _:
            return Cause.SPAWN_FAILED
