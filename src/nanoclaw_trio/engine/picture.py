"""The engine's statistics, put together from what its parts know and from the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
from attrs import evolve, field, frozen

from nanoclaw_trio.engine.queue.state import GroupState
from nanoclaw_trio.engine.statistics import EngineStatistics, GroupStatistics
from nanoclaw_trio.store import deliveries, groups, messages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nanoclaw_trio.engine import statistics
    from nanoclaw_trio.engine.context import EngineContext
    from nanoclaw_trio.engine.dispatcher import Dispatcher
    from nanoclaw_trio.engine.gate import Gate
    from nanoclaw_trio.engine.runs.group_run import GroupRun
    from nanoclaw_trio.store.database import Transaction
    from nanoclaw_trio.store.models import Registration

_STATES: Final[Mapping[GroupState, statistics.GroupState]] = {
    GroupState.NO_WORK: "idle",
    GroupState.IN_LINE: "waiting",
    GroupState.RUNNING: "running",
    GroupState.BACKING_OFF: "backing_off",
    GroupState.HELD: "held",
}


@frozen(kw_only=True)
class Survey:
    """What the store says for the statistics.

    Attributes:
        registrations: All groups.
        waiting: How many messages wait for an answer, by the groups' folders.
        pending_deliveries: What is recorded and not yet said.
    """

    registrations: tuple[Registration, ...] = ()
    waiting: Mapping[str, int] = field(factory=dict)
    pending_deliveries: int = 0

    def with_group(self, registration: Registration) -> Survey:
        """The same, with a group that was registered since."""
        others = (known for known in self.registrations if known.folder != registration.folder)
        groups_now = sorted((*others, registration), key=lambda known: known.folder)
        return evolve(self, registrations=tuple(groups_now))


def survey(tx: Transaction) -> Survey:
    """Look at the store."""
    return Survey(
        registrations=groups.registrations(tx),
        waiting=messages.counts(tx),
        pending_deliveries=deliveries.count_pending(tx),
    )


def take_picture(
    context: EngineContext,
    dispatcher: Dispatcher,
    gate: Gate,
    seen: Survey,
    *,
    is_accepting: bool,
) -> EngineStatistics:
    """The engine at this moment, and the store as it was surveyed."""
    queued = dispatcher.queue.picture()
    counters = context.tally.snapshot()
    return EngineStatistics(
        time=trio.current_time(),
        limit=queued.limit,
        running=len(queued.running),
        waiting=len(queued.line),
        runtime=context.runtime.name,
        runtime_state=gate.state,
        accepting=is_accepting,
        groups=tuple(_group(context, dispatcher, seen, known) for known in seen.registrations),
        counters=evolve(counters, journal_lines_lost=context.journal.lines_lost),
        waits=context.tally.waits(),
        pending_deliveries=seen.pending_deliveries,
    )


def _group(
    context: EngineContext, dispatcher: Dispatcher, seen: Survey, known: Registration
) -> GroupStatistics:
    folder = known.folder
    queued, live = dispatcher.queue.group(folder), dispatcher.live.get(folder)
    return GroupStatistics(
        folder=folder,
        jid=known.jid,
        is_main=known.is_main,
        state=_STATES[queued.state],
        container=live.container if live else None,
        kind=None if live is None else "messages" if live.task_id is None else "task",
        idle_since=live.idle_since if live else None,
        deadline=_deadline(live),
        waiting_messages=seen.waiting.get(folder, 0),
        waiting_tasks=len(queued.tasks),
        waiting_since=dispatcher.waiting_since(folder),
        retry_at=queued.retry_at,
        failures=dispatcher.failures_of(folder),
        full_chat=dispatcher.full_chat_of(folder),
        api=None if context.proxy is None else context.proxy.usage(folder),
    )


def _deadline(live: GroupRun | None) -> float | None:
    return None if live is None or live.run is None else live.run.statistics().deadline
