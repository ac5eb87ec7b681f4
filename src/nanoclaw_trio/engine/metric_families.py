"""The families of metrics that the statistics become.

Metrics of a moment (gauges) are told from those that only grow (counters, `…_total`). Moments on
Trio's clock mean nothing to anybody else, and become seconds from now, or until now.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, get_args

from attrs import asdict
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from nanoclaw_trio.engine.statistics import CounterName, GroupState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from nanoclaw_trio.engine.statistics import EngineStatistics, GroupStatistics

COUNTERS: Mapping[CounterName, str] = {
    "messages_accepted": "Messages taken into the store.",
    "messages_settled": "Messages that a query took in and ended.",
    "messages_given_up": "Messages that were tried often enough.",
    "answers": "Answers of agents that were recorded for delivery.",
    "agent_messages": "What agents said by themselves, in the middle of their work.",
    "delivered": "Deliveries that the bridge has taken.",
    "delivery_failures": "Attempts to deliver that failed.",
    "runs_started": "Containers that were started.",
    "outputs": "Outputs of all runs.",
    "rejected_frames": "Frames on standard output that were no output.",
    "tasks_completed": "Occurrences of scheduled tasks that are done.",
    "tasks_failed": "Runs of scheduled tasks that failed.",
    "requests_handled": "Requests of agents that were granted.",
    "requests_refused": "Requests of agents that were refused.",
    "requests_broken": "Requests of agents that could not be understood.",
    "orphans_reaped": "Containers of hosts that are gone which were removed.",
    "journal_lines_lost": "Entries that are not in the journal.",
}

API_COUNTERS: Mapping[str, str] = {
    "requests": "Requests of agents that were passed on to the API.",
    "errors": "Those that the API answered with an error.",
    "failures": "Those that the API didn't answer, or not to the end.",
    "refused": "Requests of agents that were not passed on.",
}

TOKEN_KINDS = ("input", "output", "cache_read", "cache_write")


class StatisticsCollector:
    """Gives a registry of prometheus_client one picture of an engine, whenever it asks."""

    def __init__(self, statistics: EngineStatistics) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[Metric]:
        """The families, the engine's own first."""
        yield from _engine(self._statistics)
        yield from _counters(self._statistics)
        yield _waits(self._statistics)
        yield from _groups(self._statistics)
        yield from _api(self._statistics.groups)


def _engine(statistics: EngineStatistics) -> Iterator[Metric]:
    values: dict[str, tuple[str, float]] = {
        "container_limit": ("Containers that may run at a time.", statistics.limit),
        "running_groups": ("Groups that have a slot.", statistics.running),
        "waiting_groups": ("Groups that wait in line for a slot.", statistics.waiting),
        "accepting": ("Whether messages are taken.", statistics.accepting),
        "pending_deliveries": (
            "Deliveries that are recorded and not yet said.",
            statistics.pending_deliveries,
        ),
    }
    for name, (documentation, value) in values.items():
        yield GaugeMetricFamily(f"nanoclaw_{name}", documentation, value=value)
    runtime = GaugeMetricFamily(
        "nanoclaw_runtime_up",
        "Whether the runtime starts containers; not while it is being tried out.",
        labels=["runtime"],
    )
    runtime.add_metric([statistics.runtime], statistics.runtime_state == "up")
    yield runtime


def _counters(statistics: EngineStatistics) -> Iterator[Metric]:
    counters = asdict(statistics.counters, recurse=False)
    for name, documentation in COUNTERS.items():
        yield CounterMetricFamily(f"nanoclaw_{name}", documentation, value=counters[name])
    ended = CounterMetricFamily(
        "nanoclaw_runs_ended", "Runs that ended, by their cause.", labels=["cause"]
    )
    for cause, count in sorted(statistics.counters.runs_by_cause.items()):
        ended.add_metric([cause], count)
    yield ended


def _waits(statistics: EngineStatistics) -> Metric:
    waits = statistics.waits
    return HistogramMetricFamily(
        "nanoclaw_slot_wait_seconds",
        "How long groups waited in line for a slot.",
        buckets=[(_bound(bound), count) for bound, count in waits.buckets],
        sum_value=waits.sum,
    )


def _bound(seconds: float) -> str:
    return "+Inf" if math.isinf(seconds) else str(seconds)


def _groups(statistics: EngineStatistics) -> Iterator[Metric]:
    groups, now = statistics.groups, statistics.time
    yield _states(groups)
    yield _of_each(
        "waiting_messages",
        "Messages that wait for an answer.",
        {group.folder: group.waiting_messages for group in groups},
    )
    yield _of_each(
        "waiting_tasks",
        "Tasks that are due, and wait.",
        {group.folder: group.waiting_tasks for group in groups},
    )
    yield _of_each(
        "failures",
        "Runs that have failed one after the other.",
        {group.folder: group.failures for group in groups},
    )
    yield _of_each(
        "idle_seconds",
        "How long its agent has waited for follow-ups.",
        {group.folder: _since(group.idle_since, now) for group in groups},
    )
    yield _of_each(
        "waiting_seconds",
        "How long it has waited in line.",
        {group.folder: _since(group.waiting_since, now) for group in groups},
    )
    yield _of_each(
        "deadline_seconds",
        "How much longer its agent may be silent.",
        {group.folder: _until(group.deadline, now) for group in groups},
    )
    yield _of_each(
        "retry_seconds",
        "How long until it is tried again.",
        {group.folder: _until(group.retry_at, now) for group in groups},
    )


def _api(groups: Iterable[GroupStatistics]) -> Iterator[Metric]:
    """What was counted by the credential proxy; of groups without it there are no samples."""
    counted = [(group.folder, group.api) for group in groups if group.api is not None]
    for name, documentation in API_COUNTERS.items():
        family = CounterMetricFamily(f"nanoclaw_api_{name}", documentation, labels=["folder"])
        for folder, usage in counted:
            family.add_metric([folder], getattr(usage, name))
        yield family
    tokens = CounterMetricFamily(
        "nanoclaw_api_tokens", "Tokens of the API, by their kind.", labels=["folder", "kind"]
    )
    for folder, usage in counted:
        for kind in TOKEN_KINDS:
            tokens.add_metric([folder, kind], getattr(usage, f"{kind}_tokens"))
    yield tokens


def _states(groups: Iterable[GroupStatistics]) -> Metric:
    """One for the state that a group is in and zero for the others, which can be summed up."""
    family = GaugeMetricFamily(
        "nanoclaw_group_state", "What the group is doing.", labels=["folder", "state"]
    )
    for group in groups:
        for state in get_args(GroupState):
            family.add_metric([group.folder, state], state == group.state)
    return family


def _of_each(name: str, documentation: str, values: Mapping[str, float | None]) -> Metric:
    family = GaugeMetricFamily(f"nanoclaw_group_{name}", documentation, labels=["folder"])
    for folder, value in values.items():
        if value is not None:
            family.add_metric([folder], value)
    return family


def _since(moment: float | None, now: float) -> float | None:
    return None if moment is None else now - moment


def _until(moment: float | None, now: float) -> float | None:
    return None if moment is None else moment - now
