"""One run of a group under the engine: what waits goes in, answers are written down, and it ends.

Read :meth:`GroupRun.conduct` and :meth:`GroupRun._converse`: beside the outputs, a task sends
follow-ups, one closes the run when it has been idle for long enough, one shows that the assistant
is at work, and, for a task of the scheduler, one keeps its lease. What the agent was asked and
hasn't answered when the run ends, however it ends, is asked again: the store knows it.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

import trio
from attrs import evolve, frozen

from nanoclaw_trio.background import open_background_nursery, start_protected
from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.chat.answers import visible_text
from nanoclaw_trio.engine.chat.backlog import ChatFull
from nanoclaw_trio.engine.notifier import Notifier
from nanoclaw_trio.engine.runs import hearing, leaving, taking
from nanoclaw_trio.engine.runs.aftermath import Fault, after_cut_off, after_exception, after_result
from nanoclaw_trio.engine.runs.closing import Closing
from nanoclaw_trio.engine.runs.conversation import Conversation
from nanoclaw_trio.engine.runs.follow_up_feed import FollowUpFeed, Recipient
from nanoclaw_trio.engine.runs.run_journal import RunJournal
from nanoclaw_trio.engine.runs.typing_indicator import show_typing
from nanoclaw_trio.engine.supervision import STORE_DELAY
from nanoclaw_trio.engine.tasks.scheduler import LEASE, hold_lease
from nanoclaw_trio.engine.tasks.snapshots import write_snapshots
from nanoclaw_trio.errors import MailboxUnwritable, NanoclawError
from nanoclaw_trio.logs import log
from nanoclaw_trio.run.open_run import new_container_name, open_run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from nanoclaw_trio.engine.context import EngineContext
    from nanoclaw_trio.engine.runs.aftermath import Aftermath
    from nanoclaw_trio.engine.runs.taking import Work
    from nanoclaw_trio.protocol.models import ContainerOutput
    from nanoclaw_trio.run.agent_run import AgentRun
    from nanoclaw_trio.store.models import Delivery, Registration, Task

START_SETTLE: Final = 5.0
"""Seconds after which a container runs that hasn't ended: a client whose engine refuses it ends
before that."""

NOT_ENDED: Final = "the agent reported an error, and didn't end"
"""What is told of a run that was stopped, since its agent didn't end when it was asked to."""


@frozen(kw_only=True)
class Ended:
    """A run that is over and written down.

    Attributes:
        aftermath: Whether it failed, and whose failure that was.
        has_work: Whether messages wait for the group.
        gave_up: Whether messages or a task were given up.
        owes_task: Whether the task that it was is due again.
        full_chat: The group's chat, where it was stopped since no more may wait to be said there.
    """

    aftermath: Aftermath
    has_work: bool
    gave_up: bool
    owes_task: bool
    full_chat: str | None = None


class GroupRun:
    """One run, from what waits for its group to what is left to do after it.

    Attributes:
        folder: The group's.
        container: The container's name.
        task_id: The task that it runs; None where it answers messages.
        run: The run, once there is one.
        has_begun: Whether a container may have been started for it.
    """

    def __init__(
        self,
        context: EngineContext,
        registration: Registration,
        *,
        task_id: str | None,
        with_session: bool,
        on_idle: Callable[[bool], None],
        on_start: Callable[[], None],
        is_down: Callable[[], Awaitable[bool]],
    ) -> None:
        """Nothing is done yet.

        Args:
            context: What the engine's parts share.
            registration: The group and its chat.
            task_id: The task to run; None for the messages that wait.
            with_session: Whether the group's session is gone on with.
            on_idle: Told when the agent begins and ceases to wait.
            on_start: Told that a container runs.
            is_down: Asks the runtime whether it can't start containers.
        """
        self.folder = registration.folder
        self.container = new_container_name(registration.folder)
        self.task_id = task_id
        self.run: AgentRun | None = None
        self.has_begun = False
        self._context = context
        self._registration = registration
        self._with_session = with_session
        self._on_idle = on_idle
        self._on_start = on_start
        self._is_down = is_down
        self._has_started = False
        self._journal = RunJournal(context, folder=self.folder, container=self.container)
        self._conversation = Conversation(())
        self._feed = FollowUpFeed(context, registration, self._journal)
        self._changed = Notifier()
        self._closing = Closing(context.settings, self._feed, self._changed)
        self._listening = trio.CancelScope()
        self._full: ChatFull | None = None
        self._outputs = 0
        self._has_progressed = False
        self._last_words = ""

    def nudge(self) -> None:
        """A message came for the group."""
        self._feed.nudge()

    def yield_place(self) -> None:
        """Take no more follow-ups, and end once the agent has answered what it has, or had its time."""
        if not self._closing.yields:
            self._closing.yields = True
            self._closing.limit()
            self._feed.stop()
            self._note_change()

    @property
    def idle_since(self) -> float | None:
        """Since when its agent waits, on Trio's clock; None while it works."""
        return self._conversation.idle_since

    @property
    def has_work_come(self) -> bool:
        """Whether a message came that its end may not have counted."""
        return self._feed.has_work_come

    async def conduct(self) -> Ended | None:
        """Take what waits, and run it to its end.

        None if nothing waited any more. Cancelled, it goes on once the container is gone; what
        wasn't answered is in the store.

        Raises:
            ChatFull: too much waits in its chat; nothing was taken.
        """
        await self._take_in_rest()
        work = await self._take_work()
        if work is None:
            return None
        self._journal.asked(work)
        self.has_begun = True
        async with self._lease(work):
            return await self._settle(work, await self._attempt(work))

    def _lease(self, work: Work) -> AbstractAsyncContextManager[None]:
        if work.task is None:
            return nullcontext()
        return hold_lease(self._context.store, work.task.id, self._context.owner)

    async def _attempt(self, work: Work) -> Aftermath:
        try:
            return await self._verified(await self._run_through(work))
        except Exception as error:  # noqa: BLE001 - a defect in one run is no other group's
            if not isinstance(error, NanoclawError):
                log.error("run failed", group=self.folder, why=repr(error), exc_info=error)
            return after_exception(error, self.run.receipt if self.run else None)

    async def _verified(self, aftermath: Aftermath) -> Aftermath:
        """A failure of the infrastructure that was heard from a container is asked for."""
        was_heard = self.run is not None and self.run.container is not None
        if aftermath.fault is Fault.INFRASTRUCTURE and was_heard and not await self._is_down():
            return evolve(aftermath, fault=Fault.WORK)
        return aftermath

    async def _take_in_rest(self) -> None:
        """Take in what earlier runs left in the mailbox: what it says comes before what this one does."""
        taken = await self._context.intake.take_in(self.folder)
        if self._registration.jid in taken.full_chats:
            raise ChatFull(self._registration.jid)

    async def _take_work(self) -> Work | None:
        store, settings = self._context.store, self._context.settings
        if self.task_id is None:
            return await store.transact(
                taking.take_messages,
                self._registration,
                self.container,
                settings=settings,
                with_session=self._with_session,
            )
        return await store.transact(
            taking.take_task,
            self._registration,
            self.container,
            self.task_id,
            settings=settings,
            owner=self._context.owner,
            now=utc_now(),
            lease=LEASE,
            with_session=self._with_session,
        )

    async def _run_through(self, work: Work) -> Aftermath:
        context = self._context
        owner = context.runtime.workspace_owner()
        self._conversation = Conversation(work.seqs)
        await write_snapshots(
            context.store, self._registration, settings=context.settings, owner=owner
        )
        try:
            async with open_run(
                self._registration.group,
                work.container_input,
                settings=context.settings,
                runtime=context.runtime,
                name=self.container,
                proxy=context.proxy,
            ) as self.run:
                await self._converse(self.run, work)
        except BaseException:
            if self.run is not None:
                self._journal.cut_off(self.run, self._outputs)
            raise
        has_progressed = self._has_progressed
        if self._full is not None or self._listening.cancelled_caught:
            self._journal.cut_off(self.run, self._outputs)
            why = NOT_ENDED if self._full is None else str(self._full)
            return after_cut_off(self.run.receipt, why, has_progressed=has_progressed)
        self._journal.ended(self.run, self._outputs)
        return after_result(self.run.result, has_progressed=has_progressed)

    async def _converse(self, run: AgentRun, work: Work) -> None:
        if run.container is not None:
            self._journal.started()
        async with open_background_nursery() as nursery:
            if work.task is None:
                start_protected(nursery, self._feed.run, self._recipient(run, work))
            start_protected(nursery, self._close_when_idle, run, work)
            start_protected(
                nursery,
                show_typing,
                self._context.bridge,
                self._registration.jid,
                self._conversation,
                self._changed,
            )
            start_protected(nursery, self._see_it_start, run)
            with self._listening:
                await self._hear_all(run, work)

    def _recipient(self, run: AgentRun, work: Work) -> Recipient:
        return Recipient(
            run=run,
            conversation=self._conversation,
            chat_jid=work.container_input.chat_jid,
            on_change=self._note_change,
            on_refusal=self.yield_place,
        )

    async def _see_it_start(self, run: AgentRun) -> None:
        """Tell that a container runs, once that is known; of one that can't be, the client ends."""
        if run.container is not None:
            await trio.sleep(START_SETTLE)
            self._note_started()

    def _note_started(self) -> None:
        if not self._has_started:
            self._has_started = True
            self._on_start()

    async def _hear_all(self, run: AgentRun, work: Work) -> None:
        """Hear the outputs to their end, or to the first that there is no room for.

        Left then, the run is stopped; what it hasn't answered is asked again.
        """
        try:
            async for output in run:
                await self._hear(run, output, work)
        except ChatFull as full:
            log.warning("agent stopped", group=self.folder, chat=full.chat_jid, why=str(full))
            self._full = full

    async def _hear(self, run: AgentRun, output: ContainerOutput, work: Work) -> None:
        """Write an output down; what the agent asked of the host before it comes first."""
        self._note_started()
        taken = await self._context.intake.take_in(self.folder)
        pending = await self._pending(run, output)
        settled = self._conversation.heard(output, trio.current_time(), pending)
        heard = self._as_heard(output, work, settled)
        if heard.text and heard.chat_jid in taken.full_chats:
            # What it said before this waits in its mailbox, and comes first.
            raise ChatFull(heard.chat_jid)
        recorded = await self._context.store.transact(hearing.record_output, heard)
        self._outputs += 1
        if output.status == "success":
            self._note_progress(work)
        self._journal.heard(self._outputs, output, recorded)
        if recorded.delivery is not None:
            self._last_words = recorded.delivery.text
            self._context.outbox.nudge(recorded.delivery.chat_jid)
        self._feed.output_came()
        self._note_change()

    def _note_progress(self, work: Work) -> None:
        if work.task is not None and not self._has_progressed:
            self._journal.task_completed(work, work.task)
            self._closing.limit()
            # It is due at another time from now on.
            self._context.scheduler.nudge()
        self._has_progressed = True

    async def _pending(self, run: AgentRun, output: ContainerOutput) -> tuple[str, ...]:
        """The follow-ups that no agent can have taken, where it doesn't say which it took."""
        if output.follow_ups is not None or not self._conversation.follow_ups:
            return ()
        # Asked before the mailbox is looked into: what is written only now isn't there yet, and
        # hasn't been taken for that.
        written = self._feed.written
        try:
            pending = await run.pending_follow_ups()
        except MailboxUnwritable:
            return self._conversation.follow_ups
        return (*pending, *(name for name in self._conversation.follow_ups if name not in written))

    def _as_heard(
        self, output: ContainerOutput, work: Work, settled: tuple[int, ...]
    ) -> hearing.Heard:
        succeeded = output.status == "success"
        keeps_session = succeeded and (work.task is None or work.task.context_mode == "group")
        return hearing.Heard(
            container=self.container,
            number=self._outputs + 1,
            folder=self.folder,
            chat_jid=work.container_input.chat_jid,
            text=visible_text(output.result) if succeeded and output.result is not None else "",
            settled=settled,
            session_id=output.new_session_id if keeps_session else None,
            task=work.task if succeeded and not self._has_progressed else None,
            owner=self._context.owner,
            zone=self._context.settings.timezone,
            now=utc_now(),
        )

    async def _close_when_idle(self, run: AgentRun, work: Work) -> None:
        """Close the run when its time has come; stop it if the agent doesn't heed that."""
        await self._closing.conduct(run, self._conversation, is_task=work.task is not None)
        self._listening.cancel()

    def _note_change(self) -> None:
        self._changed.notify()
        self._on_idle(self._conversation.idle_since is not None)

    async def _settle(self, work: Work, aftermath: Aftermath) -> Ended:
        """Write down what the run left."""
        while True:
            self._feed.has_work_come = False
            try:
                return await self._write_down(work, aftermath)
            except Exception as error:  # noqa: BLE001 - nobody else can put back what it has
                log.error("run not settled", group=self.folder, why=repr(error))
                await trio.sleep(STORE_DELAY)

    async def _write_down(self, work: Work, aftermath: Aftermath) -> Ended:
        context, now = self._context, utc_now()
        await context.intake.take_in(self.folder)
        end = None if work.task is None else await self._end_task(work, work.task, aftermath)
        untouched, strangers = self._feed.sort_out(self.run.undelivered if self.run else ())
        if self.run is not None:
            # An agent can write there, too.
            strangers = tuple(map(self.run.redact, strangers))
        leftover = leaving.Leftover(
            container=self.container,
            registration=self._registration,
            is_counted=aftermath.is_counted,
            untouched=untouched,
            strangers=strangers,
            why=aftermath.why,
            now=now,
        )
        outcome = await context.store.transact(leaving.put_back, leftover)
        self._journal.put_back(outcome)
        if outcome.dropped:
            # Nobody sent them, as far as the engine knows: the agent wrote them itself.
            log.error("follow-ups dropped", group=self.folder, count=outcome.dropped)
        self._tell(outcome.failure)
        return Ended(
            aftermath=aftermath,
            has_work=outcome.has_work or self._feed.has_work_come,
            gave_up=outcome.failure is not None or (end is not None and end.gave_up),
            owes_task=end is not None and not end.is_done and not end.gave_up,
            full_chat=self._full_chat,
        )

    @property
    def _full_chat(self) -> str | None:
        # Another one, which it answers in, may be full for ever.
        jid = self._registration.jid
        return jid if self._full is not None and self._full.chat_jid == jid else None

    async def _end_task(self, work: Work, task: Task, aftermath: Aftermath) -> leaving.TaskEnd:
        end = leaving.TaskEnd(
            container=self.container,
            task=task,
            registration=self._registration,
            is_done=self._has_progressed,
            is_counted=aftermath.is_counted,
            detail=aftermath.why or self._last_words,
            owner=self._context.owner,
            zone=self._context.settings.timezone,
            now=utc_now(),
        )
        failure = await self._context.store.transact(leaving.end_task, end)
        if aftermath.is_counted:
            self._journal.task_failed(work, end)
        if failure is not None:
            self._journal.delivery(failure)
            self._tell(failure)
        self._context.scheduler.nudge()
        return end

    def _tell(self, delivery: Delivery | None) -> None:
        if delivery is not None:
            self._context.outbox.nudge(delivery.chat_jid)
