"""What the engine is doing, as a frozen picture, and what it has done, as numbers."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from attrs import Factory, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nanoclaw_trio.proxy.usage import ApiUsage

GroupState: TypeAlias = Literal["idle", "waiting", "running", "backing_off", "held"]
"""Nothing to do; in line for a slot; with a container; waiting to try again; waiting for a
container that nobody has seen gone, or for a chat in which too much waits to be said."""

RuntimeState: TypeAlias = Literal["up", "down", "probing"]
"""Containers are started; none are; one is, to see whether they can be."""

CounterName: TypeAlias = Literal[
    "messages_accepted",
    "messages_settled",
    "messages_given_up",
    "answers",
    "agent_messages",
    "delivered",
    "delivery_failures",
    "runs_started",
    "outputs",
    "rejected_frames",
    "tasks_completed",
    "tasks_failed",
    "requests_handled",
    "requests_refused",
    "requests_broken",
    "orphans_reaped",
    "journal_lines_lost",
]
"""What is counted one by one: the fields of Counters that are numbers."""

WAIT_BOUNDS: Final = (0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, math.inf)
"""Seconds: the upper bounds of the buckets of waits."""


@frozen(kw_only=True)
class GroupStatistics:
    """One group. Moments are on Trio's clock, as `EngineStatistics.time` is.

    Attributes:
        folder: The group's.
        jid: Its chat's address.
        is_main: Whether it is the main group.
        state: What it is doing.
        container: The name of its container, while it runs.
        kind: What its container was started for, while it runs.
        idle_since: Since when its agent has waited for follow-ups; None while it works.
        deadline: When its agent will have been silent for too long; None without a container.
        waiting_messages: Messages that wait for an answer, and that no agent has.
        waiting_tasks: Tasks that are due, and wait.
        waiting_since: Since when it has waited in line.
        retry_at: When it is tried again, while it backs off.
        failures: How many of its runs have failed one after the other.
        full_chat: The chat that it is held for, since no more may wait to be said there.
        api: What it has used of the API since the engine was opened; None without the credential
            proxy, where nobody counts.
    """

    folder: str
    jid: str
    is_main: bool
    state: GroupState
    container: str | None = None
    kind: Literal["messages", "task"] | None = None
    idle_since: float | None = None
    deadline: float | None = None
    waiting_messages: int = 0
    waiting_tasks: int = 0
    waiting_since: float | None = None
    retry_at: float | None = None
    failures: int = 0
    full_chat: str | None = None
    api: ApiUsage | None = None


def _no_causes() -> Mapping[str, int]:
    return MappingProxyType({})


@frozen(kw_only=True)
class Counters:
    """What has happened since the engine was opened, in numbers that only grow.

    Attributes:
        messages_accepted: Messages that were taken into the store, context among them.
        messages_settled: Those that a query took in and ended.
        messages_given_up: Those that were tried often enough.
        answers: Agents' answers that were recorded for delivery.
        agent_messages: What agents said by themselves, in the middle of their work.
        delivered: What the bridge has taken.
        delivery_failures: How often it failed to.
        runs_started: Containers that were started.
        runs_by_cause: Runs that ended, by their cause; `cut_off` for those that were cancelled.
        outputs: Outputs of all runs.
        rejected_frames: What stood between markers and was no output.
        tasks_completed: Occurrences of tasks that are done.
        tasks_failed: Runs of tasks that failed.
        requests_handled: Agents' requests that were granted.
        requests_refused: Those that were not.
        requests_broken: Those that could not be understood.
        orphans_reaped: Containers of hosts that are gone which were removed.
        journal_lines_lost: Entries that are not in the journal.
    """

    messages_accepted: int = 0
    messages_settled: int = 0
    messages_given_up: int = 0
    answers: int = 0
    agent_messages: int = 0
    delivered: int = 0
    delivery_failures: int = 0
    runs_started: int = 0
    runs_by_cause: Mapping[str, int] = Factory(_no_causes)
    outputs: int = 0
    rejected_frames: int = 0
    tasks_completed: int = 0
    tasks_failed: int = 0
    requests_handled: int = 0
    requests_refused: int = 0
    requests_broken: int = 0
    orphans_reaped: int = 0
    journal_lines_lost: int = 0


@frozen(kw_only=True)
class WaitSummary:
    """How long groups waited in line for a slot: a histogram of those that got theirs.

    Attributes:
        count: How many waits there were.
        sum: Their seconds together.
        buckets: Pairs of seconds, WAIT_BOUNDS, and of how many waits took at most that long; the
            last is infinite, and counts all.
    """

    count: int = 0
    sum: float = 0.0
    buckets: tuple[tuple[float, int], ...] = tuple((bound, 0) for bound in WAIT_BOUNDS)


@frozen(kw_only=True)
class EngineStatistics:
    """The engine at one moment.

    Attributes:
        time: The moment, on Trio's clock.
        limit: How many containers may run at a time.
        running: How many groups have a slot.
        waiting: How many groups wait in line for one.
        runtime: The runtime's name.
        runtime_state: Whether it starts containers.
        accepting: Whether messages are taken; not any more once the engine drains.
        groups: Each registered group.
        counters: What has happened.
        waits: How long groups waited in line.
        pending_deliveries: What is recorded and not yet said.
    """

    time: float
    limit: int
    running: int
    waiting: int
    runtime: str
    runtime_state: RuntimeState
    accepting: bool
    groups: tuple[GroupStatistics, ...]
    counters: Counters
    waits: WaitSummary
    pending_deliveries: int


class Tally:
    """Counts what happens; :meth:`snapshot` and :meth:`waits` say how much it was."""

    def __init__(self) -> None:
        self._counts: dict[CounterName, int] = dict.fromkeys(get_args(CounterName), 0)
        self._causes: Counter[str] = Counter()
        self._waits = [0] * len(WAIT_BOUNDS)
        self._waited = 0.0

    def count(self, name: CounterName, number: int = 1) -> None:
        """So many more. KeyError for a name that isn't counted."""
        self._counts[name] += number

    def run_ended(self, cause: str) -> None:
        """A run ended, for this cause."""
        self._causes[cause] += 1

    def waited(self, seconds: float) -> None:
        """A group got its slot after that time in line."""
        self._waits[bisect_left(WAIT_BOUNDS, seconds)] += 1
        self._waited += seconds

    def snapshot(self) -> Counters:
        """What was counted up to now; later counts don't change it."""
        causes = MappingProxyType(dict(self._causes))
        return Counters(runs_by_cause=causes, **self._counts)

    def waits(self) -> WaitSummary:
        """The waits up to now."""
        counts = tuple(accumulate(self._waits))
        buckets = tuple(zip(WAIT_BOUNDS, counts, strict=True))
        return WaitSummary(count=counts[-1], sum=self._waited, buckets=buckets)
