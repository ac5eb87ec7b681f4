"""What is in the queue: a group with what there is to do for it, and the state that this makes.

A group's state isn't kept but read off these facts, the first that is true counting:

    RUNNING       it has a slot                           run is not None
    HELD          nothing may start for it                holds
    BACKING_OFF   something failed, until retry_at        retry_at is not None
    IN_LINE       there is work                           has_work
    NO_WORK       otherwise

So no two states are ever true at once, and none is left but by a change of what makes it true: work
that comes changes nothing while a group runs, is held or backs off (Trap A23).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from attrs import evolve, frozen


class GroupState(StrEnum):
    """Where a group is."""

    NO_WORK = "no_work"
    """There is nothing to do for it."""
    IN_LINE = "in_line"
    """It waits for a slot, or for its turn."""
    RUNNING = "running"
    """It has a slot."""
    BACKING_OFF = "backing_off"
    """A run of it failed: it has no slot and no place in the line for a time."""
    HELD = "held"
    """Nothing starts, until it is released."""


class Hold(StrEnum):
    """Why nothing may start for a group."""

    CONTAINER = "container"
    """Nobody is certain that a container of it is gone: it is in quarantine."""
    CHAT = "chat"
    """As much waits to be said in its chat as may."""


NO_HOLDS: Final[frozenset[Hold]] = frozenset()


@frozen(kw_only=True)
class QueuedRun:
    """A run that has a slot. Moments are of Trio's clock, in seconds.

    Attributes:
        task_id: The task that it is for; None for a run for messages.
        started_at: When it got the slot.
        idle_since: Since when it waits for a follow-up; None while it is at work.
    """

    task_id: str | None
    started_at: float
    idle_since: float | None = None


@frozen(kw_only=True)
class QueuedGroup:
    """A group's place in the queue; each change makes a new one.

    Attributes:
        folder: The group's.
        has_messages: Whether messages wait that no run has. They are not counted: the next run for
            messages takes all of them.
        tasks: The ids of the tasks that wait, the next one first.
        run: The run that has its slot.
        retry_at: When its back-off ends, by Trio's clock. It may be held meanwhile.
        holds: Why nothing may start for it. A run that it has may still be ending.
        after_task: Whether its last run was a task's, while work was waiting.
    """

    folder: str
    has_messages: bool = False
    tasks: tuple[str, ...] = ()
    run: QueuedRun | None = None
    retry_at: float | None = None
    holds: frozenset[Hold] = NO_HOLDS
    after_task: bool = False

    @property
    def has_work(self) -> bool:
        """Whether anything waits that no run has."""
        return self.has_messages or bool(self.tasks)

    @property
    def state(self) -> GroupState:
        """Where it is."""
        if self.run is not None:
            return GroupState.RUNNING
        if self.holds:
            return GroupState.HELD
        if self.retry_at is not None:
            return GroupState.BACKING_OFF
        return GroupState.IN_LINE if self.has_work else GroupState.NO_WORK

    def with_task(self, task_id: str) -> QueuedGroup:
        """Behind the tasks that wait already."""
        return evolve(self, tasks=(*self.tasks, task_id))

    def without_task(self, task_id: str) -> QueuedGroup:
        """Without a task that waits."""
        return evolve(self, tasks=tuple(known for known in self.tasks if known != task_id))

    def started(self, now: float) -> QueuedGroup:
        """Its next work has a slot: the first of its tasks, else all its messages.

        After a task it is the messages' turn, if there are any: tasks that come faster than they
        are done would keep them waiting for ever.
        """
        if self.tasks and not (self.after_task and self.has_messages):
            run = QueuedRun(task_id=self.tasks[0], started_at=now)
            return evolve(self, run=run, tasks=self.tasks[1:])
        return evolve(self, run=QueuedRun(task_id=None, started_at=now), has_messages=False)

    def ended(self, *, retry_at: float | None) -> QueuedGroup:
        """Its slot is free."""
        after_task = self.run is not None and self.run.task_id is not None
        return evolve(self, run=None, retry_at=retry_at, after_task=after_task)

    def asked_again(self, run: QueuedRun) -> QueuedGroup:
        """What this run was for is to be done again; a task before the tasks that wait."""
        if run.task_id is None:
            return evolve(self, has_messages=True)
        return evolve(self, tasks=(run.task_id, *self.tasks))


@frozen(kw_only=True)
class Start:
    """What is to be started.

    Attributes:
        folder: The group's.
        task_id: The task to run; None for the messages that wait.
    """

    folder: str
    task_id: str | None = None


@frozen(kw_only=True)
class QueuePicture:
    """The queue at one moment. Groups without work are in none of the tuples.

    Attributes:
        limit: How many may run at a time.
        line: Those that wait for a slot, the next one first.
        running: Those that have one, the longest running first.
        backing_off: Those that wait for their back-off's end.
        held: Those for which nothing may start.
    """

    limit: int
    line: tuple[QueuedGroup, ...] = ()
    running: tuple[QueuedGroup, ...] = ()
    backing_off: tuple[QueuedGroup, ...] = ()
    held: tuple[QueuedGroup, ...] = ()
