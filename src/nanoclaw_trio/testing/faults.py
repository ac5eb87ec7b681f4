"""Fault plans: which calls of an engine go wrong, and how. Pure; a seed is a plan, and so is a text.

    plan = plan_faults(17)
    write_docker_stand_in(tmp_path, Scenario(agent=("sleep", "60"), faults=plan.faults))

The same plan is played by the stand-in for `docker`, with real processes, and by
:func:`~nanoclaw_trio.testing.fault_runtime.open_faulty_runtime` around any other runtime, on the
virtual clock. Written down it looks like this, and is read back by :func:`parse_plan`:

    run#1=die-after, stop#1x3=hang, container inspect#2=restart-live

The first call of `run` loses its client after the first output, the first three of `stop` hang, and
with the second of `container inspect` the engine goes down.

None of the faults is a lie that nobody could see through: no answer says, in the engine's own
words, that a container is gone which lives.
"""

from __future__ import annotations

import random
import re
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from attrs import field, frozen
from attrs.validators import ge, in_

if TYPE_CHECKING:
    from collections.abc import Iterator


class FaultKind(StrEnum):
    """What goes wrong with a call."""

    HANG = "hang"
    """It does nothing, and never answers."""
    HANG_AFTER = "hang-after"
    """It does its work, and never answers."""
    SLOW = "slow"
    """It waits for SLOW_DELAY, then all is well."""
    FAIL = "fail"
    """It does nothing, and fails."""
    FAIL_AFTER = "fail-after"
    """It does its work, and says that it failed."""
    PRETEND = "pretend"
    """It does nothing, and says nothing but that this was a success."""
    GARBAGE = "garbage"
    """It does nothing, answers something else, and calls that a success."""
    FLIP = "flip"
    """It does its work and says so, with a wrong exit status: 1 for 0, and 0 for any other."""
    CUT = "cut"
    """It does its work, and its client is killed in the middle of what it says."""
    DIE = "die"
    """Its client is killed before it did anything."""
    DIE_AFTER = "die-after"
    """Its client is killed when the work is done; of `run`, after the first output."""
    ABANDON = "abandon"
    """Of `run`: its client is killed between the container's creation and its start."""
    REFUSE = "refuse"
    """The engine can't be reached."""
    RESTART = "restart"
    """The engine goes down with this call and is back after a few, its containers gone; `run` is
    in the middle of its work then. Clients that wait for a container lose it."""
    RESTART_LIVE = "restart-live"
    """The same, and its containers live on, as with docker's live-restore."""
    RESTART_EXITED = "restart-exited"
    """The same, and its containers have ended and are still there."""


RESTARTS: Final = frozenset({FaultKind.RESTART, FaultKind.RESTART_LIVE, FaultKind.RESTART_EXITED})

_SHARES: Final = {
    "run": 4,
    "container inspect": 3,
    "stop": 2,
    "kill": 1,
    "rm": 1,
    "image inspect": 1,
    "version": 1,
    "ps": 1,
    "events": 1,
}
"""How often each command is chosen: those more often with which more can go wrong."""

COMMANDS: Final = tuple(_SHARES)
"""The commands that faults are about, by the names of docker's."""

SLOW_DELAY: Final = 0.15
"""Seconds that a slow call waits."""

ALL_CALLS: Final = 99
"""As many calls of a command as no run makes."""

_EARLIER_RUNGS: Final = {"kill": ("stop",), "rm": ("stop", "kill")}
"""The commands that have to fail before another is called at all: a container is stopped so."""

_FAULT: Final = re.compile(
    r"(?P<command>[a-z ]+)#(?P<first>\d+)(x(?P<calls>\d+))?=(?P<kind>[a-z-]+)"
)
_SEEDS: Final = re.compile(r"(?P<start>\d+):(?P<count>\d+)")


def kinds_of(command: str) -> tuple[FaultKind, ...]:
    """The faults that a command may have."""
    # That nothing is listed can't be seen through.
    excluded = {FaultKind.PRETEND} if command == "ps" else set()
    if command != "run":
        excluded.add(FaultKind.ABANDON)
    return tuple(kind for kind in FaultKind if kind not in excluded)


@frozen(kw_only=True)
class Fault:
    """Something that goes wrong with some calls of one command.

    Attributes:
        command: The command, one of COMMANDS.
        kind: What goes wrong.
        first: The first call of this command that it concerns, counted from 1.
        calls: How many calls in a row; of a restart, how many of any command until the engine is
            back, this one included.
    """

    command: str = field(validator=in_(COMMANDS))
    kind: FaultKind = field(converter=FaultKind)
    first: int = field(default=1, validator=ge(1))
    calls: int = field(default=1, validator=ge(1))

    def __attrs_post_init__(self) -> None:
        if self.kind not in kinds_of(self.command):
            raise ValueError(f"`{self.command}` has no fault `{self.kind}`")

    def __str__(self) -> str:
        calls = f"x{self.calls}" if self.calls > 1 else ""
        return f"{self.command}#{self.first}{calls}={self.kind}"

    def concerns(self, command: str, number: int) -> bool:
        """Whether it concerns this call of a command, counted from 1."""
        calls = 1 if self.kind in RESTARTS else self.calls
        return command == self.command and self.first <= number < self.first + calls


@frozen(kw_only=True, repr=False)
class FaultPlan:
    """Everything that goes wrong in one world; of two faults for one call the first one counts.

    Attributes:
        faults: What goes wrong.
        seed: What it was made from; None where it was written by hand.
    """

    faults: tuple[Fault, ...] = ()
    seed: int | None = None

    def __str__(self) -> str:
        return ", ".join(str(fault) for fault in self.faults)

    def __repr__(self) -> str:
        origin = "" if self.seed is None else f" from seed {self.seed}"
        return f"<faults{origin}: {self}>"

    def find(self, command: str, number: int) -> Fault | None:
        """The fault of this call of a command, counted from 1; None for none."""
        return next((fault for fault in self.faults if fault.concerns(command, number)), None)


def plan_faults(seed: int) -> FaultPlan:
    """The plan of a seed: one to five faults, some for one call, some for all."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    faults = tuple(_any_fault(chance) for _ in range(chance.randint(1, 5)))
    return FaultPlan(faults=faults, seed=seed)


def _any_fault(chance: random.Random) -> Fault:
    command = chance.choices(COMMANDS, list(_SHARES.values()))[0]
    return Fault(
        command=command,
        kind=chance.choice(kinds_of(command)),
        first=chance.choice((1, 1, 1, 2, 3)),
        calls=chance.choice((1, 1, 2, 4, ALL_CALLS)),
    )


def plan_each_fault(*, calls: int = 1) -> tuple[FaultPlan, ...]:
    """A plan for each command with each fault that it may have, from its first call on.

    That fault is the last of its plan. Before it stands what has to fail for the command to be
    called at all: nothing is killed that could be stopped.
    """
    return tuple(
        FaultPlan(faults=(*_fail_before(command), Fault(command=command, kind=kind, calls=calls)))
        for command in COMMANDS
        for kind in kinds_of(command)
    )


def _fail_before(command: str) -> tuple[Fault, ...]:
    rungs = _EARLIER_RUNGS.get(command, ())
    return tuple(Fault(command=rung, kind=FaultKind.FAIL, calls=ALL_CALLS) for rung in rungs)


def parse_plan(text: str) -> FaultPlan:
    """A plan from its text. ValueError says which part of it is none."""
    return FaultPlan(faults=tuple(_parse_fault(part.strip()) for part in text.split(",")))


def _parse_fault(text: str) -> Fault:
    match = _FAULT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no fault; one is COMMAND#FIRSTxCALLS=KIND, as stop#1x3=hang")
    return Fault(
        command=match["command"],
        kind=FaultKind(match["kind"]),
        first=int(match["first"]),
        calls=int(match["calls"] or 1),
    )


def read_plans(text: str | None, *, default: range) -> tuple[FaultPlan, ...]:
    """The plans that a variable asks for: `START:COUNT` for seeds, or one plan's own text.

    Without a text, those of the default's seeds. ValueError if it is neither.
    """
    if not text:
        return tuple(map(plan_faults, default))
    seeds = _SEEDS.fullmatch(text)
    if seeds is None:
        return (parse_plan(text),)
    start, count = int(seeds["start"]), int(seeds["count"])
    return tuple(map(plan_faults, range(start, start + count)))


def replay_line(plan: FaultPlan, test: str) -> str:
    """The command that plays a plan again, for a test that reads NANOCLAW_FAULTS."""
    return f"NANOCLAW_FAULTS='{plan}' python -m pytest '{test}'"


@contextmanager
def replayable(plan: FaultPlan, test: str) -> Iterator[None]:
    """Within, an exception gets a note: the plan, and the line that plays it again.

    `test` is the test's own id, as pytest takes it.
    """
    try:
        yield
    except BaseException as error:
        error.add_note(f"{plan!r}; again: {replay_line(plan, test)}")
        raise
