"""After a run: its evidence, and its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.errors import NanoclawError
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.logs import log
from nanoclaw_trio.run.log import VERBOSE_LEVELS, Retention, RunRecord, write_run_log
from nanoclaw_trio.run.outcome import Evidence

if TYPE_CHECKING:
    from pathlib import Path

    from nanoclaw_trio.run.assignment import Assignment
    from nanoclaw_trio.run.limits import FiredLimit
    from nanoclaw_trio.run.outcome import Verdict
    from nanoclaw_trio.run.pipes import Pipes
    from nanoclaw_trio.run.receipt import Receipt

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
    survived: bool,
    started_at: float,
) -> Evidence:
    """Everything the outcome is decided from; asks the runtime where only it knows."""
    excerpt = pipes.stderr_excerpt()
    failed = exit_code is not None and exit_code != 0 and fired is None
    if failed and failure is None:
        words = pipes.stderr.excerpt(EXPLANATION, assignment.workspace.secrets)
        failure = assignment.runtime.explain_exit(assignment.spec, exit_code or 0, words)
    return Evidence(
        heard=pipes.reader.conclude(),
        streaming=assignment.streaming,
        exit_code=exit_code,
        fired=fired,
        failure=failure,
        survived=survived,
        out_of_memory=failed and await _ran_out_of_memory(assignment, started_at),
        memory_limit=assignment.spec.memory,
        stderr_tail=excerpt,
    )


async def _ran_out_of_memory(assignment: Assignment, started_at: float) -> bool:
    with trio.move_on_after(assignment.settings.grace.command):  # noqa: ASYNC912 - asking is one
        try:
            return await assignment.runtime.find_out_of_memory(assignment.spec.name, started_at)
        except NanoclawError as error:
            log.debug("out of memory: not known", container=assignment.spec.name, why=str(error))
    return False


async def write_log(
    assignment: Assignment,
    pipes: Pipes,
    *,
    verdict: Verdict | None,
    receipt: Receipt,
    exit_code: int | None,
    duration: float,
    timed_out: bool,
) -> Path | None:
    """Write the run log; its path, or None with a warning (Trap A11). No verdict: cancelled."""
    record = RunRecord(
        ended_at=utc_now(),
        group_name=assignment.group.name,
        container=assignment.spec.name,
        container_input=assignment.container_input,
        command=assignment.runtime.describe(assignment.spec),
        mounts=assignment.workspace.mounts,
        duration=duration,
        exit_code=exit_code,
        cause=None if verdict is None else verdict.cause,
        error=None if verdict is None else verdict.error,
        had_output=pipes.reader.heard.last is not None,
        timed_out=timed_out,
        receipt=receipt,
        stdout=pipes.stdout,
        stderr=pipes.stderr,
    )
    return await _write(assignment, record)


async def _write(assignment: Assignment, record: RunRecord) -> Path | None:
    settings, workspace = assignment.settings, assignment.workspace
    keep = Retention(files=settings.log_keep_files, bytes=settings.log_keep_bytes)

    def write() -> Path:
        return write_run_log(
            workspace.paths,
            record,
            secrets=workspace.secrets,
            verbose=settings.log_level in VERBOSE_LEVELS,
            keep=keep,
        )

    why = "the disk doesn't answer"
    with trio.move_on_after(settings.grace.log):  # noqa: ASYNC912 - writing is one
        try:
            return await in_thread(write, abandon_on_cancel=True)
        except (NanoclawError, OSError) as error:
            why = str(error)
    log.warning("run log not written", container=record.container, why=why)
    return None
