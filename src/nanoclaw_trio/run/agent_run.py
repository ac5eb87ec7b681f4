"""One agent run: from a prompt to its answers and a receipt that the container is gone.

Read :meth:`AgentRun.conduct` and what it calls: that is the run. In its nursery are a task that
writes the input, one that reads standard output and one that reads standard error; around the
waiting for the container's end lies a cancel scope whose deadline moves with each parsed marker.
Every stop is a cancellation, and every way out passes the stop ladder.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio
from attrs import frozen

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.errors import NanoclawError, ResultNotReady, StartFailed, UnsafePath
from nanoclaw_trio.logs import log
from nanoclaw_trio.run.conclusion import gather_evidence, make_record, settle
from nanoclaw_trio.run.follow_ups import FollowUps
from nanoclaw_trio.run.limits import Limits, MovableDeadline
from nanoclaw_trio.run.outcome import RunResult, Verdict, decide
from nanoclaw_trio.run.pipes import Pipes
from nanoclaw_trio.run.receipt import Gone, Unconfirmed
from nanoclaw_trio.run.stop import StopLadder

if TYPE_CHECKING:
    from pathlib import Path

    from nanoclaw_trio.mailbox.writer import Mailbox
    from nanoclaw_trio.protocol.models import ContainerOutput
    from nanoclaw_trio.run.assignment import Assignment
    from nanoclaw_trio.run.receipt import Receipt
    from nanoclaw_trio.runtimes.abc import Container
    from nanoclaw_trio.workspace.claim import GroupClaim


@frozen(kw_only=True)
class RunStatistics:
    """A picture of a run at one moment.

    Attributes:
        outputs: How many outputs were understood.
        rejected_frames: How many pairs of markers were not.
        deadline: When the next limit passes, on Trio's clock; infinite while the caller is at work.
        closing: Whether it takes no more follow-ups.
        finished: Whether its result is there.
    """

    outputs: int
    rejected_frames: int
    deadline: float
    closing: bool
    finished: bool


class AgentRun:
    """A run under way, made by :func:`~nanoclaw_trio.open_run`; iterate over it for its outputs.

    They come in order, each once, and a slow reader slows the agent down rather than filling
    memory. The clock of the agent's silence runs from the container's start on, and also until the
    first output is asked for: ask soon. From then on the time between taking an output and asking
    for the next never counts as the agent's silence, nor does the time that an output waits for you.

    A run is handed out when its container was started, or could not be; there is none before.
    """

    def __init__(self, assignment: Assignment, mailbox: Mailbox, claim: GroupClaim) -> None:
        self._assignment = assignment
        self._claim = claim
        self._sender: trio.MemorySendChannel[ContainerOutput]
        self._receiver: trio.MemoryReceiveChannel[ContainerOutput]
        self._sender, self._receiver = trio.open_memory_channel(0)
        self._deadline = MovableDeadline(_limits(assignment))
        self._pipes = Pipes(assignment, self._deadline, self._sender)
        self._follow_ups = FollowUps(mailbox, assignment.spec.name)
        self._ladder = StopLadder(
            assignment.runtime, assignment.spec.name, grace=assignment.settings.grace
        )
        self._started = trio.current_time()
        self._started_at = utc_now().timestamp()
        self._container: Container | None = None
        self._exit_code: int | None = None
        self._failure: NanoclawError | None = None
        self._unclosable: str | None = None
        self._receipt: Receipt | None = None
        self._result: RunResult | None = None
        self._log_path: Path | None = None
        self._heard_out = False
        self._owes_reminder = False

    # A KeyboardInterrupt goes off wherever Python code runs, inside of a shield too. Protected, the
    # run leaves it to the main task, which cancels it as anything else does.
    @trio.lowlevel.enable_ki_protection
    async def conduct(
        self, *, task_status: trio.TaskStatus[Container | None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """The run, from the start of its container to its result.

        Cancelled at any point, it leaves no container behind before Cancelled goes on.
        """
        with self._sender:
            try:
                self._container = await self._start()
                task_status.started(self._container)
                # It keeps the nursery that the start was in, for as long as the run is.
                del task_status
                if self._container is not None:
                    await self._listen(self._container)
                self._heard_out = True
            finally:
                await self._conclude()  # noqa: ASYNC102 - it shields itself, within a bound

    async def _start(self) -> Container | None:
        """Start the container. What stands in the way is an outcome, not an exception."""
        grace = self._assignment.settings.grace.start
        with trio.move_on_after(grace):  # noqa: ASYNC912 - a start is a cancel point
            try:
                return await self._prepare_and_start()
            except (NanoclawError, OSError) as error:
                self._failure = _as_failure(error, self.container_name)
                self._receipt = Gone(container=self.container_name, evidence="it was never started")
                return None
        self._failure = StartFailed(self.container_name, f"not within {grace:g} s")
        return None

    async def _prepare_and_start(self) -> Container:
        if self._assignment.container_input.is_scheduled_task:
            await self._follow_ups.take_leftovers()
        self._deadline.begin()
        return await self._assignment.runtime.start(self._assignment.spec)

    async def _listen(self, container: Container) -> None:
        """Read the container's streams to their end, and wait for its own."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pipes.write_input, container)
            nursery.start_soon(self._pipes.read_stdout, container)
            nursery.start_soon(self._pipes.read_stderr, container)
            self._exit_code = await self._deadline.wait(container.wait)
            if self._exit_code is None:
                await self._wind_down(container)
            self._pipes.container_ended()

    async def _wind_down(self, container: Container) -> None:
        """Stop the container, while its last words are still read.

        A limit has passed, or the agent can't be asked to end.
        """
        limit = self._deadline.fired
        if limit is not None:
            log.warning("limit passed", container=self.container_name, limit=str(limit))
            close = partial(self._follow_ups.close, again=True)
            await self._ladder.ask_to_close(container, close)
        self._receipt = await self._ladder.descend(container, was_there=self._pipes.has_heard)
        with trio.move_on_after(self._assignment.settings.grace.drain):
            self._exit_code = await container.wait()

    async def _conclude(self) -> None:
        """See the container gone, make the outcome, take back what no agent took, write the log."""
        bound = self._ladder.bound + self._assignment.settings.grace.conclude
        with trio.CancelScope(shield=True, deadline=trio.current_time() + bound):
            receipt = self._receipt = self._receipt or await self._stop()
            if self._container is not None:
                await self._container.aclose()
            verdict = await self._decide() if self._heard_out else None
            self._log_path = await self._settle(verdict, receipt)
            if verdict is not None:
                self._result = self._make_result(verdict, receipt)
            self._report(receipt)

    async def _stop(self) -> Receipt:
        if self._container is not None and self._exit_code is not None:
            return await self._ladder.confirm(self._container)
        return await self._ladder.descend(self._container, was_there=self._pipes.has_heard)

    async def _decide(self) -> Verdict:
        return decide(
            await gather_evidence(
                self._assignment,
                self._pipes,
                exit_code=self._exit_code,
                fired=self._deadline.fired,
                failure=self._failure,
                unclosable=self._unclosable if self._deadline.was_cut_short else None,
                survived=self._ladder.survived,
                started_at=self._started_at,
            )
        )

    async def _settle(self, verdict: Verdict | None, receipt: Receipt) -> Path | None:
        record = make_record(
            self._assignment,
            self._pipes,
            verdict=verdict,
            receipt=receipt,
            exit_code=self._exit_code,
            duration=trio.current_time() - self._started,
            timed_out=self._deadline.fired is not None,
        )
        return await settle(
            self._assignment, record, follow_ups=self._follow_ups, claim=self._claim
        )

    def _make_result(self, verdict: Verdict, receipt: Receipt) -> RunResult:
        return RunResult(
            status=verdict.status,
            result=verdict.result and self._assignment.workspace.secrets.redact(verdict.result),
            new_session_id=verdict.new_session_id,
            error=verdict.error and self._assignment.workspace.secrets.redact(verdict.error),
            cause=verdict.cause,
            duration=trio.current_time() - self._started,
            exit_code=self._exit_code,
            log_path=self._log_path,
            container=self.container_name,
            receipt=receipt,
            undelivered=self.undelivered,
            rejected_frames=self._pipes.reader.rejected,
        )

    def _report(self, receipt: Receipt) -> None:
        cause = "cancelled" if self._result is None else str(self._result.cause)
        if isinstance(receipt, Gone):
            log.info("run ended", container=self.container_name, cause=cause)
        else:
            log.error("container not confirmed gone", **_fields(receipt))

    @property
    def container_name(self) -> str:
        """The container's name."""
        return self._assignment.spec.name

    @property
    def container(self) -> Container | None:
        """The started container; None if it could not be started."""
        return self._container

    @property
    def result(self) -> RunResult:
        """The outcome, once the outputs were read to their end.

        Raises:
            ResultNotReady: they weren't, or the caller left the block before.
        """
        if self._result is None:
            raise ResultNotReady(self.container_name)
        return self._result

    @property
    def receipt(self) -> Receipt | None:
        """What is known of the container after its end; for a cancelled run too, then."""
        return self._receipt

    @property
    def undelivered(self) -> tuple[str, ...]:
        """Follow-ups that no agent took, after the end; for a cancelled run too."""
        return self._follow_ups.undelivered

    def redact(self, text: str) -> str:
        """A text that the agent may have written, with each of its keys replaced."""
        return self._assignment.workspace.secrets.redact(text)

    @property
    def exit_code(self) -> int | None:
        """The container's exit status as far as it was heard; for a cancelled run too."""
        return self._exit_code

    @property
    def log_path(self) -> Path | None:
        """The run log, after the end; for a cancelled run too. None if it could not be written."""
        return self._log_path

    def new_follow_up_name(self) -> str:
        """A name for a follow-up, for who writes it down before it is sent.

        Agents take follow-ups in the order of their names, which is that of these calls.
        """
        return self._follow_ups.new_name()

    async def send_message(self, text: str, *, name: str | None = None) -> str:
        """Send a follow-up to the running agent; the name of its file in the mailbox.

        The file gets this `name`, one of :meth:`new_follow_up_name`'s for this one message, or a new
        one. Cancelled, it is written whole or not at all.

        Raises:
            InputError: the text is empty or too long, or the name isn't one.
            RunClosing: the run takes no more; give the text to the group's next run.
            MailboxUnwritable: the agent tampered with its mailbox, or the disk refuses. The run goes
                on, and the text is for the next one.
        """
        return await self._follow_ups.send(text, name)

    async def pending_follow_ups(self) -> tuple[str, ...]:
        """The names of the follow-ups that the agent hasn't taken yet, in order.

        It has taken the others that were sent. What it has answered of them an agent of ours says
        itself (`ContainerOutput.follow_ups`).

        Raises:
            MailboxUnwritable: as for :meth:`send_message`.
        """
        return await self._follow_ups.pending()

    async def close(self) -> None:
        """Let the agent end after the query it is at: `_close` in its mailbox.

        Called once or often, it is the same. An agent that has missed it, since it deletes what it
        finds at its start, is reminded when its query has ended.

        An agent whose mailbox can't be written to can't be asked. It is stopped, with a warning in
        the log: a success if its query had ended, else a failure of the agent's.
        """
        await self._ask_to_end()

    async def _ask_to_end(self, *, again: bool = False) -> None:
        try:
            await self._follow_ups.close(again=again)
        except (UnsafePath, OSError) as error:
            self._unclosable = f"its mailbox can't be closed: {error}"
            log.warning(
                "stopping an agent that can't be asked",
                container=self.container_name,
                why=self._unclosable,
            )
            self._follow_ups.give_up_asking()
            self._deadline.cut_short()

    def hurry(self) -> None:
        """While it is being stopped: wait for no grace any more, kill."""
        self._ladder.hurry()

    def statistics(self) -> RunStatistics:
        """A frozen picture of the run."""
        return RunStatistics(
            outputs=self._pipes.reader.outputs,
            rejected_frames=self._pipes.reader.rejected,
            deadline=self._deadline.when,
            closing=self._follow_ups.closing,
            finished=self._result is not None,
        )

    def __aiter__(self) -> AgentRun:
        return self

    async def __anext__(self) -> ContainerOutput:
        self._pipes.consumer_waits()
        if self._owes_reminder:
            await self._ask_to_end(again=True)
            self._owes_reminder = False
        try:
            output = await self._receiver.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        self._pipes.consumer_works()
        # Not at once: cancelled while it reminds the agent, this would lose the output.
        self._owes_reminder = output.is_session_update and self._follow_ups.closing
        return output


def _limits(assignment: Assignment) -> Limits:
    settings, config = assignment.settings, assignment.group.container_config
    return Limits(
        activity=settings.timeout_for(config.timeout if config else None),
        startup=settings.startup_timeout,
        lifetime=settings.max_lifetime,
    )


def _as_failure(error: NanoclawError | OSError, container: str) -> NanoclawError:
    return error if isinstance(error, NanoclawError) else StartFailed(container, str(error))


def _fields(receipt: Unconfirmed) -> dict[str, object]:
    return {"container": receipt.container, "why": receipt.why, "steps": receipt.steps}
