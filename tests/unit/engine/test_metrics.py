"""The statistics as Prometheus reads them."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from nanoclaw_trio.engine.metric_families import COUNTERS
from nanoclaw_trio.engine.metrics import prometheus_text
from nanoclaw_trio.engine.statistics import (
    CounterName,
    Counters,
    EngineStatistics,
    GroupState,
    GroupStatistics,
    Tally,
)

reproducible = settings(derandomize=True, deadline=None)

JID = "49170123456@chat"

FAMILY = GroupStatistics(
    folder="family",
    jid=JID,
    is_main=False,
    state="running",
    container="nanoclaw-family-1",
    kind="messages",
    idle_since=95.0,
    deadline=1000.0,
    waiting_messages=2,
    waiting_tasks=1,
)


def make(*groups, **changes):
    """The statistics of an engine, at 100 on Trio's clock."""
    given = {
        "time": 100.0,
        "limit": 5,
        "running": 1,
        "waiting": 0,
        "runtime": "docker",
        "runtime_state": "up",
        "accepting": True,
        "counters": Counters(),
        "waits": Tally().waits(),
        "pending_deliveries": 3,
    }
    return EngineStatistics(groups=groups, **given | changes)


def samples(statistics):
    """Each sample's value by its name and its labels, as Prometheus reads them."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(prometheus_text(statistics))
        for sample in family.samples
    }


def test_the_engine():
    """What the engine is doing are gauges."""
    found = samples(make(FAMILY))
    assert found["nanoclaw_container_limit",] == 5
    assert found["nanoclaw_running_groups",] == 1
    assert found["nanoclaw_waiting_groups",] == 0
    assert found["nanoclaw_accepting",] == 1
    assert found["nanoclaw_pending_deliveries",] == 3


@pytest.mark.parametrize(("state", "up"), [("up", 1), ("down", 0), ("probing", 0)])
def test_the_runtime(state, up):
    """A runtime is up while it starts containers."""
    found = samples(make(runtime_state=state))
    assert found["nanoclaw_runtime_up", ("runtime", "docker")] == up


def test_the_counters():
    """Each counter has its total, in a family of its own that says what it is."""
    assert set(COUNTERS) == set(get_args(CounterName))
    counters = {name: number for number, name in enumerate(COUNTERS, start=1)}
    found = samples(make(counters=Counters(**counters)))
    for name, number in counters.items():
        assert found[f"nanoclaw_{name}_total",] == number


def test_the_causes():
    """Runs that ended are counted by cause."""
    found = samples(make(counters=Counters(runs_by_cause={"completed": 7, "timed_out": 1})))
    assert found["nanoclaw_runs_ended_total", ("cause", "completed")] == 7
    assert found["nanoclaw_runs_ended_total", ("cause", "timed_out")] == 1


def test_the_waits():
    """Waits in line are a histogram."""
    tally = Tally()
    for seconds in (0, 2, 7200):
        tally.waited(seconds)
    found = samples(make(waits=tally.waits()))
    name = "nanoclaw_slot_wait_seconds"
    assert found[f"{name}_count",] == 3
    assert found[f"{name}_sum",] == 7202
    buckets = {labels[0][1]: value for (n, *labels), value in found.items() if n.endswith("bucket")}
    assert buckets == {
        **dict.fromkeys(["0.1", "1.0"], 1),
        **dict.fromkeys(["5.0", "15.0", "60.0", "300.0", "900.0", "3600.0"], 2),
        "+Inf": 3,
    }


def test_a_group():
    """A group has its folder for a label; its moments are seconds from now or until now."""
    found = samples(make(FAMILY))
    of_family = {
        name.removeprefix("nanoclaw_group_"): value
        for (name, *labels), value in found.items()
        if labels == [("folder", "family")]
    }
    assert of_family == {
        "waiting_messages": 2,
        "waiting_tasks": 1,
        "failures": 0,
        "idle_seconds": 5,
        "deadline_seconds": 900,
    }


def test_what_a_waiting_group_has():
    """A group in line says since when, and one that backs off until when."""
    groups = (
        evolve(FAMILY, state="waiting", waiting_since=60.0),
        evolve(FAMILY, folder="work", state="backing_off", retry_at=120.0, failures=2),
    )
    found = samples(make(*groups))
    assert found["nanoclaw_group_waiting_seconds", ("folder", "family")] == 40
    assert found["nanoclaw_group_retry_seconds", ("folder", "work")] == 20
    assert found["nanoclaw_group_failures", ("folder", "work")] == 2


@pytest.mark.parametrize("state", get_args(GroupState))
def test_the_state_of_a_group(state):
    """A group is in one state, and has a zero for each other."""
    found = samples(make(evolve(FAMILY, state=state)))
    states = {
        dict(labels)["state"]: value
        for (name, *labels), value in found.items()
        if name == "nanoclaw_group_state"
    }
    assert states == {**dict.fromkeys(get_args(GroupState), 0), state: 1}


def test_no_address():
    """A chat's address, which may be a person's number, is nowhere in it."""
    assert JID not in prometheus_text(make(FAMILY))


def test_names():
    """All names are ours, and each says what it is."""
    for family in text_string_to_metric_families(prometheus_text(make(FAMILY))):
        assert family.name.startswith("nanoclaw_")
        assert family.documentation.endswith(".")
        assert family.type in {"counter", "gauge", "histogram"}


@reproducible
@given(
    runtime=st.text(st.characters(exclude_categories=["Cs"])),
    deadline=st.floats(allow_nan=False),
)
def test_whatever_is_in_it(runtime, deadline):
    """Any text and any moment can be read back."""
    found = samples(make(evolve(FAMILY, deadline=deadline), runtime=runtime))
    assert found["nanoclaw_runtime_up", ("runtime", runtime)] == 1
    assert found["nanoclaw_group_deadline_seconds", ("folder", "family")] == deadline - 100


def test_twice():
    """Asked for twice, it is the same: nothing is kept between."""
    assert prometheus_text(make(FAMILY)) == prometheus_text(make(FAMILY))


def test_it_is_imported_late():
    """Who doesn't ask for the text doesn't import Prometheus' library."""
    program = (
        "import sys, nanoclaw_trio.engine.metrics, nanoclaw_trio.engine.statistics\n"
        "assert 'prometheus_client' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
