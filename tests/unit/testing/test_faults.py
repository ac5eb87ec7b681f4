"""Fault plans: what a seed is, how a plan is written down, and what is said where one fails."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.testing.docker_program import COMMANDS as PROGRAM_COMMANDS
from nanoclaw_trio.testing.docker_program.faults import RESTARTS as PROGRAM_RESTARTS
from nanoclaw_trio.testing.docker_program.faults import SLOW_DELAY as PROGRAM_SLOW_DELAY
from nanoclaw_trio.testing.docker_program.faults import find_fault
from nanoclaw_trio.testing.fault_strategies import fault_plans
from nanoclaw_trio.testing.faults import (
    COMMANDS,
    RESTARTS,
    SLOW_DELAY,
    Fault,
    FaultKind,
    FaultPlan,
    kinds_of,
    parse_plan,
    plan_each_fault,
    plan_faults,
    read_plans,
    replay_line,
    replayable,
)

ALL = {(command, kind) for command in COMMANDS for kind in kinds_of(command)}
"""The commands, each with each of its faults."""


@given(st.integers(min_value=0))
def test_a_seed_is_a_plan(seed):
    """A seed makes the same plan each time, and says that it made it."""
    plan = plan_faults(seed)
    assert plan == plan_faults(seed)
    assert 1 <= len(plan.faults) <= 5
    assert repr(plan) == f"<faults from seed {seed}: {plan}>"


def test_seeds_cover_all():
    """Some hundreds of seeds have each command with each fault that it may have."""
    faults = [fault for seed in range(600) for fault in plan_faults(seed).faults]
    assert {(fault.command, fault.kind) for fault in faults} == ALL


def test_each_fault_has_a_plan():
    """There is a plan for each command with each fault that it may have, once and as often as one
    likes; before it fails what the command is only called after."""
    for calls in (1, 3):
        last = [plan.faults[-1] for plan in plan_each_fault(calls=calls)]
        assert {(fault.command, fault.kind) for fault in last} == ALL
        assert {(fault.first, fault.calls) for fault in last} == {(1, calls)}
        assert len(last) == len(ALL)
    texts = [str(plan) for plan in plan_each_fault()]
    assert {"stop#1=hang", "stop#1x99=fail, kill#1x99=fail, rm#1=hang"} <= {*texts}


@given(fault_plans().filter(lambda plan: plan.faults))
def test_a_plan_is_read_back_from_its_text(plan):
    """A plan's text is the whole plan."""
    assert parse_plan(str(plan)) == plan
    assert repr(plan) == f"<faults: {plan}>"


def test_a_plan_is_readable():
    """A plan names each command, which calls of it, and what goes wrong."""
    fault = Fault(command="container inspect", kind="restart-live", first=2, calls=3)
    plan = FaultPlan(faults=(Fault(command="stop", kind=FaultKind.HANG), fault))
    assert str(plan) == "stop#1=hang, container inspect#2x3=restart-live"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("stop", "'stop' is no fault"),
        ("stop#1=hang,", "'' is no fault"),
        ("stop#1=vanish", "vanish"),
        ("start#1=hang", "command"),
        ("stop#0=hang", "first"),
        ("stop#1x0=hang", "calls"),
        ("stop#1=abandon", "has no fault"),
        ("ps#1=pretend", "has no fault"),
    ],
)
def test_what_is_no_plan(text, why):
    """A text that isn't a plan is refused, with the part that is wrong."""
    with pytest.raises(ValueError, match=why):
        parse_plan(text)


def test_the_calls_of_a_fault():
    """A fault concerns so many calls from the first on; a restart begins with one of them."""
    plan = parse_plan("stop#2x2=hang, kill#1x3=restart, stop#3=fail")
    assert [str(plan.find("stop", number)) for number in (1, 2, 3, 4)] == [
        "None",
        "stop#2x2=hang",
        "stop#2x2=hang",
        "None",
    ]
    assert [plan.find("kill", number) is not None for number in (1, 2)] == [True, False]
    assert plan.find("rm", 2) is None


@pytest.mark.parametrize(
    ("text", "seeds"), [(None, [3, 4]), ("", [3, 4]), ("17:1", [17]), ("5:2", [5, 6])]
)
def test_plans_that_are_asked_for(text, seeds):
    """A variable asks for seeds; without it, those of the default are played."""
    plans = read_plans(text, default=range(3, 5))
    assert [plan.seed for plan in plans] == seeds


def test_a_plan_that_is_asked_for():
    """A variable may hold a plan's own text."""
    (plan,) = read_plans("stop#1=hang, rm#2=fail", default=range(3))
    assert plan == parse_plan("stop#1=hang, rm#2=fail")


def test_a_failure_says_how_to_see_it_again():
    """A failure in a world tells in one line which plan it was, and the command that replays it."""
    plan = FaultPlan(faults=parse_plan("stop#1=hang").faults, seed=7)
    with pytest.raises(AssertionError) as caught, replayable(plan, "tests/test_a.py::test_b"):
        raise AssertionError
    (note,) = caught.value.__notes__
    assert note == (
        "<faults from seed 7: stop#1=hang>; again: "
        "NANOCLAW_FAULTS='stop#1=hang' python -m pytest 'tests/test_a.py::test_b'"
    )
    assert replay_line(plan, "tests/test_a.py::test_b") in note


def test_the_program_knows_the_same():
    """The stand-in's program, which imports nothing, has the same commands, restarts and delay."""
    assert {*COMMANDS} | {"build"} == PROGRAM_COMMANDS.keys()
    assert {*RESTARTS} == PROGRAM_RESTARTS
    assert SLOW_DELAY == PROGRAM_SLOW_DELAY


@given(plan=fault_plans(), command=st.sampled_from(COMMANDS), number=st.integers(1, 5))
def test_the_program_finds_the_same_fault(plan, command, number):
    """The stand-in's program finds the fault of a call that the plan has for it."""
    written = [
        {"command": f.command, "kind": f.kind, "first": f.first, "calls": f.calls}
        for f in plan.faults
    ]
    found, known = find_fault(written, command, number), plan.find(command, number)
    assert (found and found["kind"]) == (known and known.kind)
