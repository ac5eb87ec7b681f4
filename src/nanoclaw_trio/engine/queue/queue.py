"""Which group runs next: a state machine, without Trio and without containers.

Groups with work stand in one line, in the order in which they became ready, and get a slot in that
order; within a group tasks go before messages, but for the messages that waited for a task. A group whose run has ended goes to the line's end,
behind all that waited meanwhile (Trap A24). A group that backs off stands in no line and has no
slot, whatever comes for it (Trap A23).

A conversation may go on for as long as there are follow-ups, so slots are free in time only if runs
give way. :meth:`Queue.runs_to_yield` says which. If a run that is told ends within Q, which is what
is left of its query and the time to end, and a task's run within Q of its start, then with c slots
a group that joins the line behind k others waits ceil((k + 1) / c) * Q at most: while n groups up
to that one wait, the n runs that started first are told, unless idle ones end in their place, so
that each stretch of Q frees n slots or all of them. tests/unit/engine/queue/test_queue_bound.py tries to
break it.

No call's time grows with the number of groups, but by the logarithm of how many back off; except
that :meth:`Queue.runs_to_yield` goes over the runs, and :meth:`Queue.picture` over all there is.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from attrs import evolve

from nanoclaw_trio.engine.queue.state import GroupState, Hold, QueuedGroup, QueuePicture, Start
from nanoclaw_trio.errors import InputError

if TYPE_CHECKING:
    from nanoclaw_trio.engine.queue.state import QueuedRun


class InvalidLimit(InputError):
    """A number of slots with which nothing could ever run."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"a limit of {limit} runs at a time isn't allowed; allow at least 1")
        self.limit = limit


class Queue:
    """Decides who runs, and who is to make room.

        while (start := queue.start_next(now)) is not None:
            ...                                  # and once that run is over: queue.end(...)

    `now` is Trio's clock in seconds, and never goes back. Call :meth:`start_next` until it returns
    None after each other change, and when the moment of :meth:`next_event` has come: a back-off
    that is over is noticed by the next call that is told the time.

    Work that is put twice is there once. A call for a run that isn't there is a ValueError, the
    caller's mistake, and changes nothing.
    """

    def __init__(self, limit: int = 5) -> None:
        """`limit` is how many may run at a time; InvalidLimit if it is below 1."""
        self.limit = limit
        self._groups: dict[str, QueuedGroup] = {}
        # By state, in the order of arrival there. An OrderedDict's first is found at once; a plain
        # dict's only behind all that were taken from before it.
        self._folders: dict[GroupState, OrderedDict[str, None]] = {
            state: OrderedDict() for state in GroupState
        }
        self._task_folders: dict[str, str] = {}
        self._back_offs: list[tuple[float, int, str]] = []
        self._turn = count()

    @property
    def limit(self) -> int:
        """How many may run at a time; it can be set at any time.

        A higher one shows with the next start. A lower one ends no run by itself, but shows in
        :meth:`runs_to_yield`. Below 1 it is an InvalidLimit, and the old one stays.
        """
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        if limit < 1:
            raise InvalidLimit(limit)
        self._limit = limit

    def add_messages(self, folder: str) -> None:
        """Messages wait that no run has."""
        self._put(evolve(self.group(folder), has_messages=True))

    def add_task(self, folder: str, task_id: str) -> bool:
        """A task waits; False if it did already, or runs, in whichever group.

        One that waited in another group waits there no more: it was made anew for this one.
        """
        known = self._task_folders.get(task_id)
        if known == folder or (known is not None and task_id not in self.group(known).tasks):
            return False
        if known is not None:
            self._put(self.group(known).without_task(task_id))
        self._task_folders[task_id] = folder
        self._put(self.group(folder).with_task(task_id))
        return True

    def start_next(self, now: float) -> Start | None:
        """Give the next slot to the first in line; None if there is no slot or nobody in line."""
        self._end_back_offs(now)
        line = self._folders[GroupState.IN_LINE]
        if not line or len(self._folders[GroupState.RUNNING]) >= self.limit:
            return None
        folder = next(iter(line))
        self._put(self._groups[folder].started(now))
        return Start(folder=folder, task_id=self._run_of(folder).task_id)

    def set_idle(self, folder: str, now: float) -> None:
        """A group's run waits for a follow-up. Said again, it has waited since the first time."""
        run = self._run_of(folder)
        if run.idle_since is None:
            self._put(evolve(self._groups[folder], run=evolve(run, idle_since=now)))

    def set_busy(self, folder: str) -> None:
        """A group's run has a follow-up, and is at work."""
        run = evolve(self._run_of(folder), idle_since=None)
        self._put(evolve(self._groups[folder], run=run))

    def end(
        self, folder: str, now: float, *, retry_at: float | None = None, again: bool = False
    ) -> None:
        """A group's run is over and its slot is free.

        What came for it meanwhile waits, and so does the same work once more with `again`: a task
        as the first of its group's tasks, messages with those that came later. Nothing starts for
        the group before `retry_at`. After that, or else at once, it joins the line at its end.
        """
        run = self._run_of(folder)
        # Those whose back-off is over by now were ready before this group is.
        self._end_back_offs(now)
        group = self._groups[folder].ended(retry_at=retry_at)
        if retry_at is not None:
            heappush(self._back_offs, (retry_at, next(self._turn), folder))
        if run.task_id is not None and not again:
            del self._task_folders[run.task_id]
        self._put(group.asked_again(run) if again else group)

    def hold(self, folder: str, why: Hold) -> None:
        """Start nothing for a group until it is released. A run that it has goes on, and ends."""
        group = self.group(folder)
        self._put(evolve(group, holds=group.holds | {why}))

    def release(self, folder: str, why: Hold) -> None:
        """Hold a group no longer for this, if it was held: with work it joins the line at its end.

        What else it is held for holds it still, and a back-off that isn't over goes on.
        """
        group = self.group(folder)
        self._put(evolve(group, holds=group.holds - {why}))

    def next_event(self, now: float) -> float:
        """When to call :meth:`start_next` though nothing else happened; inf for never.

        That is at the next back-off's end; or `now`, and only once, if one is over that no call had
        noticed. Said each time, it would keep a loop busy that may not start anything just now.
        """
        if self._end_back_offs(now):
            return now
        return self._back_offs[0][0] if self._back_offs else math.inf

    def runs_to_yield(self) -> tuple[str, ...]:
        """The groups whose runs shall take no more follow-ups and end as soon as they are idle.

        Those are runs for messages whose own group has a task waiting, and besides as many as it
        takes to give all in line a slot below the limit: first those idle for the longest, then
        those running for the longest. The answer changes nothing, and is the same until something
        else changes; ask again after each change.

        Runs for tasks are never among them and count for none: they take no follow-ups, and end
        with their result.
        """
        running = self._in_state(GroupState.RUNNING)
        line = self._folders[GroupState.IN_LINE]
        wanted = len(running) + len(line) - self.limit
        by_rank = sorted(filter(_is_conversation, running), key=_idle_since)
        return tuple(
            group.folder for rank, group in enumerate(by_rank) if rank < wanted or group.tasks
        )

    def group(self, folder: str) -> QueuedGroup:
        """What there is of a group; one without work if it was never heard of."""
        return self._groups.get(folder) or QueuedGroup(folder=folder)

    def picture(self) -> QueuePicture:
        """All of it, for statistics and tests."""
        return QueuePicture(
            limit=self.limit,
            line=self._in_state(GroupState.IN_LINE),
            running=self._in_state(GroupState.RUNNING),
            backing_off=self._in_state(GroupState.BACKING_OFF),
            held=self._in_state(GroupState.HELD),
        )

    def _in_state(self, state: GroupState) -> tuple[QueuedGroup, ...]:
        return tuple(self._groups[folder] for folder in self._folders[state])

    def _run_of(self, folder: str) -> QueuedRun:
        run = self.group(folder).run
        if run is None:
            raise ValueError(f"group {folder!r} has no run that was started and hasn't ended")
        return run

    def _put(self, group: QueuedGroup) -> None:
        """Put a group where its state belongs: at the end there, unless that is where it is."""
        folder, before = group.folder, self.group(group.folder).state
        if group.state is not before:
            self._folders[before].pop(folder, None)
            self._folders[group.state][folder] = None
        self._groups[folder] = group
        if group.state is GroupState.NO_WORK:
            # Not kept: a group that is unregistered leaves nothing behind.
            self._folders[GroupState.NO_WORK].pop(folder, None)
            del self._groups[folder]

    def _end_back_offs(self, now: float) -> bool:
        """End those that are over; whether there were any."""
        before = len(self._back_offs)
        while self._back_offs and self._back_offs[0][0] <= now:
            _, _, folder = heappop(self._back_offs)
            self._put(evolve(self._groups[folder], retry_at=None))
        return len(self._back_offs) < before


def _is_conversation(group: QueuedGroup) -> bool:
    return group.run is not None and group.run.task_id is None


def _idle_since(group: QueuedGroup) -> float:
    if group.run is None or group.run.idle_since is None:
        return math.inf
    return group.run.idle_since
