"""After a run: its evidence, its follow-ups, and its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.errors import NanoclawError
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.logs import log
from nanoclaw_trio.run.log import VERBOSE_LEVELS, Retention, RunRecord, has_streams, write_run_log
from nanoclaw_trio.run.outcome import Evidence
from nanoclaw_trio.run.turns import open_turn

if TYPE_CHECKING:
    from pathlib import Path

    from nanoclaw_trio.run.assignment import Assignment
    from nanoclaw_trio.run.follow_ups import FollowUps
    from nanoclaw_trio.run.limits import FiredLimit
    from nanoclaw_trio.run.outcome import Verdict
    from nanoclaw_trio.run.pipes import Pipes
    from nanoclaw_trio.run.receipt import Receipt
    from nanoclaw_trio.workspace.claim import GroupClaim

EXPLANATION: Final = 4096
"""Characters of standard error that a runtime looks through for its own words; they may be a page
long, and begin what an error's text has only the end of."""


async def gather_evidence(
    assignment: Assignment,
    pipes: Pipes,
    *,
    exit_code: int | None,
    fired: FiredLimit | None,
    failure: NanoclawError | None,
    unclosable: str | None,
    survived: bool,
    started_at: float,
) -> Evidence:
    """Everything the outcome is decided from; asks the runtime where only it knows."""
    excerpt = pipes.stderr_excerpt()
    by_itself = fired is None and unclosable is None
    failed = by_itself and exit_code is not None and exit_code != 0
    if failed and failure is None:
        words = pipes.stderr.excerpt(EXPLANATION, assignment.workspace.secrets)
        failure = _explain_exit(assignment, exit_code or 0, words)
    return Evidence(
        heard=pipes.reader.conclude(),
        streaming=assignment.streaming,
        exit_code=exit_code,
        fired=fired,
        failure=failure,
        unclosable=unclosable,
        survived=survived,
        out_of_memory=failed and await _ran_out_of_memory(assignment, started_at),
        memory_limit=assignment.spec.memory,
        stderr_tail=excerpt,
    )


def _explain_exit(assignment: Assignment, exit_code: int, words: str) -> NanoclawError | None:
    try:
        return assignment.runtime.explain_exit(assignment.spec, exit_code, words)
    except Exception as error:  # noqa: BLE001 - as with its description
        _not_said(assignment, "why it ended", error)
        return None


async def _ran_out_of_memory(assignment: Assignment, started_at: float) -> bool:
    with trio.move_on_after(assignment.settings.grace.command):  # noqa: ASYNC912 - asking is one
        try:
            return await assignment.runtime.find_out_of_memory(assignment.spec.name, started_at)
        except Exception as error:  # noqa: BLE001 - as with its description
            log.debug("out of memory: not known", container=assignment.spec.name, why=str(error))
    return False


def make_record(
    assignment: Assignment,
    pipes: Pipes,
    *,
    verdict: Verdict | None,
    receipt: Receipt,
    exit_code: int | None,
    duration: float,
    timed_out: bool,
) -> RunRecord:
    """What the run log is written from. No verdict: the run was cancelled."""
    cause = None if verdict is None else verdict.cause
    error = None if verdict is None else verdict.error
    is_full = has_streams(cause, error, verbose=_is_verbose(assignment))
    return RunRecord(
        ended_at=utc_now(),
        group_name=assignment.group.name,
        container=assignment.spec.name,
        container_input=assignment.container_input,
        command=_describe(assignment) if is_full else "",
        mounts=assignment.workspace.mounts,
        duration=duration,
        exit_code=exit_code,
        cause=cause,
        error=error,
        had_output=pipes.reader.heard.last is not None,
        timed_out=timed_out,
        receipt=receipt,
        stdout=pipes.stdout,
        stderr=pipes.stderr,
    )


def _is_verbose(assignment: Assignment) -> bool:
    return assignment.settings.log_level in VERBOSE_LEVELS


def _describe(assignment: Assignment) -> str:
    try:
        return assignment.runtime.describe(assignment.spec)
    except Exception as error:  # noqa: BLE001 - whatever a runtime raises, the run has ended
        return _not_said(assignment, "how it is started", error)


def _not_said(assignment: Assignment, what: str, error: Exception) -> str:
    why = f"{type(error).__name__}: {error}"
    runtime = assignment.runtime.name
    log.warning(
        "runtime failed to say", container=assignment.spec.name, runtime=runtime, what=what, why=why
    )
    return f"(not known: {why})"


async def settle(
    assignment: Assignment, record: RunRecord, *, follow_ups: FollowUps, claim: GroupClaim
) -> Path | None:
    """The last visit to the disk: take back what no agent took, write the log, free the group.

    The log's path, or None with a warning (Trap A11). Where the disk doesn't answer within
    `grace.log`, the thread is left alone with it. It has the group then until the disk answers, so
    that no other run comes in between; follow-ups that it has not handed over stay in the mailbox.
    """
    grace = assignment.settings.grace.log
    await follow_ups.shut(bound=grace)

    def visit() -> Path:
        with claim.finishing() as held:
            if held:
                follow_ups.take_back()
            return _write(assignment, record)

    why = "the disk doesn't answer"
    try:
        async with open_turn(bound=grace):
            with trio.move_on_after(grace):
                return await in_thread(visit, abandon_on_cancel=True)
    except (NanoclawError, OSError) as error:
        why = str(error)
    finally:
        follow_ups.leave()
    log.warning("run log not written", container=record.container, why=why)
    return None


def _write(assignment: Assignment, record: RunRecord) -> Path:
    settings, workspace = assignment.settings, assignment.workspace
    return write_run_log(
        workspace.paths,
        record,
        secrets=workspace.secrets,
        verbose=_is_verbose(assignment),
        keep=Retention(
            files=settings.log_keep_files,
            bytes=settings.log_keep_bytes,
            days=settings.log_keep_days,
        ),
    )
