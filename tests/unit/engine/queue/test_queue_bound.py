"""How long a group waits at most: ceil((k + 1) / c) * Q, tried out on simulated days.

k groups are before it when it joins the line, c slots there are, and Q is the longest that a query
takes. The world around the queue is simulated event by event, in whole seconds. Its agents obey
:meth:`Queue.runs_to_yield` as it is after each event and remember nothing: a run that was told to
yield, and isn't told any more when its query ends, goes on. Some groups never stop talking.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count

import pytest
from attrs import define, field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.engine.queue.queue import Queue

LONGEST = 10
"""Q, in seconds."""


@frozen(kw_only=True)
class Person:
    """Who is in a group, and what it asks for.

    Attributes:
        is_chatty: Whether there is a follow-up to each answer, written before the answer came.
        queries: How long its queries take, in turn, seconds.
        fails: Which of its runs fail, in turn, and are tried again after a back-off.
    """

    is_chatty: bool = False
    queries: tuple[int, ...] = (LONGEST,)
    fails: tuple[bool, ...] = (False,)


@frozen(kw_only=True)
class Arrival:
    """Messages, or a task, for a group."""

    at: int
    group: int
    is_task: bool = False


@frozen(kw_only=True)
class Wait:
    """How long a group waited, and how long it should have at most."""

    folder: str
    seconds: float
    bound: float


@define
class Simulation:
    """A day of some groups, with agents that obey or don't."""

    people: tuple[Person, ...]
    slots: int
    obeys: bool = True
    queue: Queue = field(init=False)
    now: float = 0
    waits: list[Wait] = field(factory=list)
    # What is to happen: when, in which order, and what.
    _events: list = field(factory=list)
    _turn: object = field(factory=count)
    # Who waits: since when, and until when at the latest.
    _in_line: dict = field(factory=dict)
    _follow_ups: set = field(factory=set)
    _used: dict = field(factory=dict)

    def __attrs_post_init__(self):
        self.queue = Queue(limit=self.slots)

    def run(self, arrivals, until):
        """Let time pass until then; all that waited is in `waits` afterwards, with those that
        still do.
        """
        for arrival in arrivals:
            self.after(arrival.at, self.arrive, arrival)
        while (moment := self.next_moment()) <= until:
            self.now = moment
            while self._events and self._events[0][0] == self.now:
                _, _, happen, argument = heappop(self._events)
                happen(argument)
                self.settle()
            self.settle()
        self.now = until
        for folder in list(self._in_line):
            self.note_wait(folder)
        return self.waits

    def next_moment(self):
        first = self._events[0][0] if self._events else float("inf")
        return min(first, self.queue.next_event(self.now))

    def after(self, seconds, happen, argument):
        heappush(self._events, (self.now + seconds, next(self._turn), happen, argument))

    def told(self):
        return self.queue.runs_to_yield() if self.obeys else ()

    def take(self, what, folder):
        """The next of what a person has in turn."""
        number = self._used[what, folder] = self._used.get((what, folder), -1) + 1
        values = getattr(self.people[int(folder)], what)
        return values[number % len(values)]

    def settle(self):
        """What follows from an event at once: idle runs end where they shall, others start."""
        self.note_line()
        idle = [folder for folder in self.told() if self.run_of(folder).idle_since is not None]
        for folder in idle:
            self.end(folder)
        while (start := self.queue.start_next(self.now)) is not None:
            self.note_wait(start.folder)
            self.note_line()
            self.begin_query(start.folder)
        if idle:
            self.settle()

    def run_of(self, folder):
        return self.queue.group(folder).run

    def note_line(self):
        line = [group.folder for group in self.queue.picture().line]
        for before, folder in enumerate(line):
            rounds = -(-(before + 1) // self.slots)
            self._in_line.setdefault(folder, (self.now, rounds * LONGEST))

    def note_wait(self, folder):
        # Whoever finds a free slot has never been seen in line.
        since, bound = self._in_line.pop(folder, (self.now, 0))
        self.waits.append(Wait(folder=folder, seconds=self.now - since, bound=bound))

    def begin_query(self, folder):
        self.after(self.take("queries", folder), self.end_query, folder)

    def arrive(self, arrival):
        """Messages go into the run that there is, unless it yields or is for a task."""
        folder = str(arrival.group)
        run = self.run_of(folder)
        if arrival.is_task:
            self.queue.add_task(folder, f"task of {folder} at {arrival.at}")
        elif run is None or run.task_id is not None or folder in self.told():
            self.queue.add_messages(folder)
        elif run.idle_since is None:
            self._follow_ups.add(folder)
        else:
            self.queue.set_busy(folder)
            self.begin_query(folder)

    def end_query(self, folder):
        """A run for a task ends with its query; others go on where there is more, and may."""
        is_task = self.run_of(folder).task_id is not None
        if self.take("fails", folder):
            self.end(folder, retry_at=self.now + 5)
        elif is_task:
            self.end(folder)
        elif self.has_more(folder) and folder not in self.told():
            self._follow_ups.discard(folder)
            self.begin_query(folder)
        else:
            self.queue.set_idle(folder, self.now)

    def has_more(self, folder):
        return folder in self._follow_ups or self.people[int(folder)].is_chatty

    def end(self, folder, retry_at=None):
        """What no query took is for the next run."""
        if self.run_of(folder).task_id is None and self.has_more(folder):
            self._follow_ups.discard(folder)
            self.queue.add_messages(folder)
        self.queue.end(folder, self.now, retry_at=retry_at, again=retry_at is not None)


def too_long(waits):
    """Those who waited longer than they should have."""
    return [wait for wait in waits if wait.seconds > wait.bound]


def at_once(number):
    """Messages for so many groups, all at the beginning."""
    return [Arrival(at=0, group=group) for group in range(number)]


seconds = st.integers(1, LONGEST)
PEOPLE = st.builds(
    Person,
    is_chatty=st.booleans(),
    queries=st.lists(seconds, min_size=1, max_size=4).map(tuple),
    fails=st.lists(st.integers(0, 5).map(lambda number: number == 5), min_size=1).map(tuple),
)


def extras(number):
    """Something for one of so many groups, at some time."""
    return st.builds(
        Arrival,
        at=st.integers(0, 40),
        group=st.integers(0, number - 1),
        is_task=st.booleans(),
    )


@st.composite
def days(draw):
    """Some people, and what comes for them: messages for each, and this and that."""
    people = tuple(draw(st.lists(PEOPLE, min_size=2, max_size=10)))
    first = [Arrival(at=draw(st.integers(0, 12)), group=group) for group in range(len(people))]
    return people, first + draw(st.lists(extras(len(people)), max_size=20))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(day=days(), slots=st.integers(1, 4))
def test_the_bound(day, slots):
    """Trap A24. Whatever the groups do, none waits longer than ceil((k + 1) / c) * Q."""
    people, arrivals = day
    waits = Simulation(people=people, slots=slots).run(arrivals, until=100)
    assert too_long(waits) == []


@pytest.mark.parametrize("slots", [1, 2, 3, 5])
def test_the_bound_is_reached(slots):
    """It is no loose bound: where all queries take the longest time, waits are just as long."""
    people = (Person(is_chatty=True),) * 12
    waits = Simulation(people=people, slots=slots).run(at_once(12), until=200)
    assert too_long(waits) == []
    last = next(wait for wait in waits if wait.folder == "11")
    assert last.seconds == last.bound > LONGEST


def test_the_longest_running_yields():
    """Two wait, and one of two runs ends soon: the other ends for the second of them, though a
    younger run could have been told in its place by then.
    """
    chatty = [Person(is_chatty=True, queries=(seconds,)) for seconds in (10, 5)]
    arrivals = [*at_once(2), Arrival(at=1, group=2), Arrival(at=1, group=3)]
    day = Simulation(people=(*chatty, Person(), Person()), slots=2)
    waits = day.run(arrivals, until=50)
    waited = {wait.folder: wait for wait in reversed(waits)}
    assert waited["2"] == Wait(folder="2", seconds=4, bound=10)
    assert waited["3"] == Wait(folder="3", seconds=9, bound=10)
    assert too_long(waits) == []


@pytest.mark.parametrize("slots", [1, 2, 3, 5])
def test_without_yielding(slots):
    """Agents that don't yield break the bound: one who waits behind them waits for ever."""
    people = (*(Person(is_chatty=True),) * slots, Person())
    arrivals = at_once(slots + 1)
    obeying = Simulation(people=people, slots=slots).run(arrivals, until=1000)
    stubborn = Simulation(people=people, slots=slots, obeys=False).run(arrivals, until=1000)
    assert too_long(obeying) == []
    assert too_long(stubborn) == [Wait(folder=str(slots), seconds=1000, bound=LONGEST)]


def test_idle_without_yielding():
    """Even one who only keeps its container for a follow-up would keep the others out."""
    people = (Person(), Person())
    waits = Simulation(people=people, slots=1, obeys=False).run(at_once(2), until=1000)
    assert too_long(waits) == [Wait(folder="1", seconds=1000, bound=LONGEST)]


def test_a_task_of_its_own():
    """A conversation that never stops gives way to its own group's task, though nobody waits."""
    day = Simulation(people=(Person(is_chatty=True),), slots=2)
    day.run([*at_once(1), Arrival(at=15, group=0, is_task=True)], until=15)
    assert day.run_of("0").task_id is None
    day.run([], until=20)
    assert day.run_of("0").task_id == "task of 0 at 15"


def test_hundreds_of_groups():
    """The bound holds for many at once, too: each has had its turn in time."""
    people = (Person(is_chatty=True, queries=(3, 10, 7)),) * 300
    waits = Simulation(people=people, slots=25).run(at_once(300), until=130)
    assert too_long(waits) == []
    assert {wait.folder for wait in waits} == {str(number) for number in range(300)}
