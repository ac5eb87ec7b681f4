"""Starts what the queue says, and tells the queue what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.background import start_protected
from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.chat.backlog import ChatFull
from nanoclaw_trio.engine.notifier import Notifier
from nanoclaw_trio.engine.queue.queue import Queue
from nanoclaw_trio.engine.queue.retry import MAX_RETRIES, retry_delay
from nanoclaw_trio.engine.queue.state import Hold
from nanoclaw_trio.engine.runs import leaving
from nanoclaw_trio.engine.runs.aftermath import Fault
from nanoclaw_trio.engine.runs.group_run import GroupRun
from nanoclaw_trio.engine.runs.run_journal import note_failure
from nanoclaw_trio.logs import log
from nanoclaw_trio.run.receipt import Gone
from nanoclaw_trio.store import groups, messages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nanoclaw_trio.engine.context import EngineContext
    from nanoclaw_trio.engine.gate import Gate
    from nanoclaw_trio.engine.keeper import Keeper
    from nanoclaw_trio.engine.queue.state import Start
    from nanoclaw_trio.engine.runs.aftermath import Aftermath
    from nanoclaw_trio.engine.runs.group_run import Ended
    from nanoclaw_trio.store.models import Registration, Task

BUSY_DELAYS: Final = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
"""Seconds before a group is tried again that another process has: a person's `chat` may last."""


class Dispatcher:
    """Has a task for each run, and a loop that starts them as slots become free.

    Attributes:
        queue: Who runs next.
        live: The runs under way, by their groups' folders.
        doubts: Containers whose end nobody has confirmed, of runs that were cut off.
    """

    def __init__(self, context: EngineContext, gate: Gate, keeper: Keeper) -> None:
        self.queue = Queue(context.settings.max_concurrent_containers)
        self.live: dict[str, GroupRun] = {}
        self.doubts: set[str] = set()
        self._context = context
        self._gate = gate
        self._keeper = keeper
        self._woken = trio.Event()
        self._changed = Notifier()
        self._starting: set[str] = set()
        self._failed_starts: set[str] = set()
        self._failures: dict[str, int] = {}
        self._refusals: dict[str, int] = {}
        self._without_session: set[str] = set()
        self._waiting_since: dict[str, float] = {}
        self._full_chats: dict[str, str] = {}
        self._is_draining = False
        self._has_begun = False

    def messages_came(self, folder: str) -> None:
        """Messages of a group wait for an answer."""
        run = self.live.get(folder)
        if run is not None and run.task_id is None:
            run.nudge()
            return
        self.messages_came_for_next(folder)
        self.wake()

    def task_due(self, task: Task) -> None:
        """A task's time has come."""
        if not self._is_draining and self.queue.add_task(task.folder, task.id):
            self._note_waiting(task.folder)
            self.wake()

    def room_came(self, chat_jid: str) -> None:
        """There is room again for what is to be said in a chat."""
        for folder in [folder for folder, jid in self._full_chats.items() if jid == chat_jid]:
            self.reconsider(folder)

    def reconsider(self, folder: str) -> None:
        """A group may be registered for another chat than the one that it waits for, or no more."""
        if self._full_chats.pop(folder, None) is not None:
            self.queue.release(folder, Hold.CHAT)
            self.wake()

    def reconsider_all(self, registrations: Iterable[Registration]) -> None:
        """The same of all groups, which are registered so."""
        chats = {known.folder: known.jid for known in registrations}
        for folder, chat_jid in [*self._full_chats.items()]:
            if chats.get(folder) != chat_jid:
                self.reconsider(folder)

    def full_chat_of(self, folder: str) -> str | None:
        """The chat for which nothing is started for a group, since no more may wait there."""
        return self._full_chats.get(folder)

    def wake(self) -> None:
        """Look again at who can be started."""
        self._woken.set()

    def drain(self) -> None:
        """Let each run end as soon as it is idle."""
        self._is_draining = True
        self.wake()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing runs, and nothing could be started now."""
        picture = self.queue.picture()
        may_start = picture.line and self._gate.state != "down"
        return self._has_begun and not picture.running and not may_start

    @property
    def changed(self) -> trio.Event:
        """Set when :attr:`is_quiet` may have become another than it is now."""
        return self._changed.event

    def failures_of(self, folder: str) -> int:
        """How many runs of a group have failed since the last that did not."""
        return self._failures.get(folder, 0)

    def waiting_since(self, folder: str) -> float | None:
        """Since when a group waits for a slot, on Trio's clock."""
        return self._waiting_since.get(folder)

    async def run(self) -> None:
        """Start what waits and what comes, until cancelled; then no container is left."""
        for folder in await self._context.store.transact(messages.folders_with_work):
            self.messages_came(folder)
        self._has_begun = True
        async with trio.open_nursery() as nursery:
            while True:
                self._woken = trio.Event()
                self._start_all(nursery)
                self._ask_to_yield()
                self._changed.notify()
                with trio.move_on_at(self.queue.next_event(trio.current_time())):
                    await self._woken.wait()

    def _start_all(self, nursery: trio.Nursery) -> None:
        while self._gate.may_start(len(self._starting)):
            start = self.queue.start_next(trio.current_time())
            if start is None:
                return
            self._starting.add(start.folder)
            start_protected(nursery, self._run, start)

    def _ask_to_yield(self) -> None:
        folders = tuple(self.live) if self._is_draining else self.queue.runs_to_yield()
        for folder in folders:
            # Those of a runtime that is down make room for nobody.
            if folder in self.live and (self._gate.state != "down" or self._is_draining):
                self.live[folder].yield_place()

    async def _run(self, start: Start) -> None:
        folder = start.folder
        self._note_waited(folder)
        run, ended = None, None
        try:
            run = await self._make_run(start)
            if run is not None:
                self.live[folder] = run
                ended = await run.conduct()
        except ChatFull as full:
            self._await_room(folder, full.chat_jid)
            self.queue.end(folder, trio.current_time(), again=True)
        except Exception as error:  # noqa: BLE001 - out of here it would end all runs
            # Mostly the store: nothing was taken from it, or all of it is still in there.
            log.error("run not begun", group=folder, why=repr(error), exc_info=error)
            self.queue.end(folder, trio.current_time(), retry_at=_soon(), again=True)
        else:
            self._after(start, run, ended)
        finally:
            self.live.pop(folder, None)
            self._starting.discard(folder)
            self._note_doubt(run, ended)
            self.wake()

    async def _make_run(self, start: Start) -> GroupRun | None:
        registration = await self._context.store.transact(groups.by_folder, start.folder)
        if registration is None:
            await self._abandon(start.folder)
            return None
        return GroupRun(
            self._context,
            registration,
            task_id=start.task_id,
            with_session=start.folder not in self._without_session,
            on_idle=lambda is_idle: self._note_idle(start.folder, is_idle=is_idle),
            on_start=lambda: self._note_start(start.folder),
            is_down=self._gate.is_down,
        )

    async def _abandon(self, folder: str) -> None:
        failures = await self._context.store.transact(leaving.abandon, folder, utc_now())
        for failure in failures:
            log.warning("group isn't registered any more", group=folder)
            note_failure(self._context, folder, failure)
            self._context.outbox.nudge(failure.chat_jid)

    def _after(self, start: Start, run: GroupRun | None, ended: Ended | None) -> None:
        """Tell the queue, the gate and the keeper what became of a run."""
        folder, now = start.folder, trio.current_time()
        if ended is None:
            self.queue.end(folder, now, again=run is not None and run.has_work_come)
            return
        aftermath = ended.aftermath
        self._tell_gate(folder, aftermath)
        if aftermath.unconfirmed is not None:
            self._keeper.hold(folder, aftermath.unconfirmed)
        if ended.full_chat is not None:
            self._await_room(folder, ended.full_chat)
        self._choose_session(folder, ended)
        delay = self._delay(folder, ended)
        retry_at = None if delay is None else now + delay
        self.queue.end(folder, now, retry_at=retry_at, again=ended.owes_task)
        if ended.has_work:
            self.messages_came_for_next(folder)

    def _await_room(self, folder: str, chat_jid: str) -> None:
        """Start nothing for a group until the bridge has said some of what waits."""
        log.warning("group waits for its chat", group=folder, chat=chat_jid)
        self._full_chats[folder] = chat_jid
        self.queue.hold(folder, Hold.CHAT)
        self._context.outbox.tell_of_room(chat_jid)

    def messages_came_for_next(self, folder: str) -> None:
        """Messages wait for the run after the one that is ending."""
        self.queue.add_messages(folder)
        self._note_waiting(folder)

    def _delay(self, folder: str, ended: Ended) -> float | None:
        """Seconds before the group's next run; None for none."""
        match ended.aftermath.fault:
            case Fault.DEFERRED:
                refusals = self._refusals[folder] = self._refusals.get(folder, 0) + 1
                return BUSY_DELAYS[min(refusals, len(BUSY_DELAYS)) - 1]
            case Fault.INFRASTRUCTURE:
                return None
            case Fault.WORK | Fault.START if not ended.gave_up:
                failures = self._failures[folder] = self._failures.get(folder, 0) + 1
                return retry_delay(min(failures, MAX_RETRIES))
            case _:
                self._failures.pop(folder, None)
                self._refusals.pop(folder, None)
                return None

    def _choose_session(self, folder: str, ended: Ended) -> None:
        """Whether the group's next run goes on with its session.

        One that the agent says isn't there is left out of the next attempt, and so is any in the
        last attempt: it may be what makes each of them fail. If that helps, its new session takes
        the place of the old one; if it doesn't, the old one wasn't the reason, and stays.
        """
        is_last = self._failures.get(folder, 0) + 1 == MAX_RETRIES
        is_stale = ended.aftermath.session_is_stale and folder not in self._without_session
        if ended.aftermath.is_counted and (is_stale or is_last):
            self._without_session.add(folder)
        else:
            self._without_session.discard(folder)

    def _tell_gate(self, folder: str, aftermath: Aftermath) -> None:
        if aftermath.fault is Fault.INFRASTRUCTURE:
            self._gate.failed("infrastructure", aftermath)
        elif aftermath.fault is Fault.START and folder not in self._failed_starts:
            # One group's failing starts are its own, however many: it may have a mount that is gone.
            self._failed_starts.add(folder)
            self._gate.failed("start", aftermath)

    def _note_start(self, folder: str) -> None:
        self._starting.discard(folder)
        self._failed_starts.clear()
        self._gate.started()

    def _note_idle(self, folder: str, *, is_idle: bool) -> None:
        if is_idle:
            self.queue.set_idle(folder, trio.current_time())
        else:
            self.queue.set_busy(folder)
        self.wake()

    def _note_doubt(self, run: GroupRun | None, ended: Ended | None) -> None:
        """Of a run that was cut off nobody has heard that its container is gone."""
        if run is None or ended is not None or not run.has_begun:
            return
        if run.run is None or not isinstance(run.run.receipt, Gone):
            self.doubts.add(run.container)

    def _note_waiting(self, folder: str) -> None:
        self._waiting_since.setdefault(folder, trio.current_time())

    def _note_waited(self, folder: str) -> None:
        since = self._waiting_since.pop(folder, None)
        if since is not None:
            self._context.tally.waited(trio.current_time() - since)


def _soon() -> float:
    return trio.current_time() + BUSY_DELAYS[0]
