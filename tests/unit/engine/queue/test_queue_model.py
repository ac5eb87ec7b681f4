"""The queue against a naive one, in every order of calls that hypothesis can think of."""

from __future__ import annotations

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from nanoclaw_trio.engine.queue.queue import Queue
from nanoclaw_trio.engine.queue.state import Hold, Start

GROUPS = ["a", "b", "c", "d", "e"]
TASKS = {"a1": "a", "a2": "a", "a3": "a", "b1": "b", "c1": "c"}

MESSAGES = None
"""What a piece of work is that is no task."""


class NaiveQueue:
    """Four plain lists, searched from their beginnings; no group has a record of its own.

    work: [folder, task or MESSAGES], whatever waits, in the order in which it is to be done
    line: the folders that wait, in order
    runs: [folder, task or MESSAGES, idle since or None], in the order of their starts
    rests: [back-off's end, folder], in the order in which they began
    holds: for what each folder is held
    """

    def __init__(self, limit):
        self.limit = limit
        self.work = []
        self.line = []
        self.runs = []
        self.rests = []
        self.holds = {}
        self.after_task = []

    @property
    def held(self):
        return [folder for folder, reasons in self.holds.items() if reasons]

    def run_of(self, folder):
        return next((run for run in self.runs if run[0] == folder), None)

    def may_wait(self, folder):
        resting = [folder for _, folder in self.rests]
        away = [*(run[0] for run in self.runs), *resting, *self.held]
        return folder not in away and any(piece[0] == folder for piece in self.work)

    def form_line(self):
        """Whoever may not wait leaves the line; whoever may and doesn't yet joins at its end."""
        self.line = [folder for folder in self.line if self.may_wait(folder)]
        self.line += [g for g in GROUPS if g not in self.line and self.may_wait(g)]
        known = [*self.held, *(end[1] for end in self.rests), *(run[0] for run in self.runs)]
        known += [piece[0] for piece in self.work]
        self.after_task = [folder for folder in self.after_task if folder in known]

    def next_event(self, now):
        ends = [end for end, _ in self.rests]
        self.end_rests(now)
        return max(now, min(ends, default=math.inf))

    def end_rests(self, now):
        while self.rests and min(end for end, _ in self.rests) <= now:
            self.rests.remove(min(self.rests, key=lambda rest: rest[0]))
            self.form_line()

    def add_messages(self, folder):
        if [folder, MESSAGES] not in self.work:
            self.work.append([folder, MESSAGES])
        self.form_line()

    def add_task(self, folder, task):
        if [folder, task] in self.work or any(run[1] == task for run in self.runs):
            return False
        self.work = [piece for piece in self.work if piece[1] != task]
        self.work.append([folder, task])
        self.form_line()
        return True

    def start_next(self, now):
        self.end_rests(now)
        if not self.line or len(self.runs) >= self.limit:
            return None
        folder = self.line[0]
        pieces = [piece for piece in self.work if piece[0] == folder]
        messages_first = folder in self.after_task
        piece = min(pieces, key=lambda piece: (piece[1] is MESSAGES) is not messages_first)
        self.work.remove(piece)
        self.runs.append([*piece, None])
        self.form_line()
        return Start(folder=folder, task_id=piece[1])

    def end(self, folder, now, retry_at, again):
        self.end_rests(now)
        run = self.run_of(folder)
        self.runs.remove(run)
        self.after_task = [other for other in self.after_task if other != folder]
        self.after_task += [folder] if run[1] is not MESSAGES else []
        if again and run[:2] not in self.work:
            self.work.insert(0, run[:2])
        if retry_at is not None:
            self.rests.append([retry_at, folder])
        self.form_line()

    def runs_to_yield(self):
        conversations = [run for run in self.runs if run[1] is MESSAGES]
        idle = sorted((run for run in conversations if run[2] is not None), key=lambda run: run[2])
        busy = [run for run in conversations if run[2] is None]
        room = self.limit - len(self.runs)
        told = [run[0] for run in (idle + busy)[: max(0, len(self.line) - room)]]
        tasked = [piece[0] for piece in self.work if piece[1] is not MESSAGES]
        return [run[0] for run in idle + busy if run[0] in told or run[0] in tasked]


folders = st.sampled_from(GROUPS)
tasks = st.sampled_from(sorted(TASKS))
pick = st.integers(0, 3)
seconds = st.sampled_from([0.0, 0.0, 1.0, 5.0])
delays = st.sampled_from([None, None, 0.0, 1.0, 3.0])


class QueueMachine(RuleBasedStateMachine):
    """Both are told the same, and say the same. Besides, what they promise is read off the history
    of what was started, with no regard to either's insides.
    """

    def __init__(self):
        super().__init__()
        self.queue = Queue(limit=3)
        self.naive = NaiveQueue(limit=3)
        self.now = 0.0
        self.overtaken_by = {}
        self.not_before = {}

    def note_line(self):
        """Who joined the line hasn't been overtaken yet; who left it isn't counted any more."""
        line = [group.folder for group in self.queue.picture().line]
        self.overtaken_by = {folder: self.overtaken_by.get(folder, []) for folder in line}

    @initialize(number=st.integers(0, len(GROUPS)))
    def crowd(self, number):
        """Some of the days begin in the middle of the rush hour."""
        for folder in GROUPS[:number]:
            self.add_messages(folder)
        for _ in range(number):
            self.start_next(0.0)

    @rule(folder=folders)
    def add_messages(self, folder):
        self.queue.add_messages(folder)
        self.naive.add_messages(folder)
        self.note_line()

    @rule(task=tasks, anew=st.none() | folders)
    def add_task(self, task, anew):
        folder = TASKS[task] if anew is None else anew
        assert self.queue.add_task(folder, task) == self.naive.add_task(folder, task)
        self.note_line()

    @rule(seconds=seconds)
    def start_next(self, seconds):
        """Traps A23 and A24. The first in line starts if there is a slot, not before its back-off's
        end; none starts twice before one who waited already.
        """
        self.now += seconds
        line = [group.folder for group in self.queue.picture().line]
        running = len(self.queue.picture().running)
        start = self.queue.start_next(self.now)
        assert start == self.naive.start_next(self.now)
        self.note_line()
        if start is not None:
            assert running < self.queue.limit
            assert not line or start.folder == line[0]
            assert self.now >= self.not_before.get(start.folder, 0.0)
            for overtakers in self.overtaken_by.values():
                assert start.folder not in overtakers
                overtakers.append(start.folder)

    @precondition(lambda self: self.naive.runs)
    @rule(number=pick, seconds=seconds, delay=delays, again=st.booleans())
    def end(self, number, seconds, delay, again):
        self.now += seconds
        folder = self.naive.runs[number % len(self.naive.runs)][0]
        retry_at = None if delay is None else self.now + delay
        self.queue.end(folder, self.now, retry_at=retry_at, again=again)
        self.naive.end(folder, self.now, retry_at, again)
        self.not_before[folder] = self.now if retry_at is None else retry_at
        self.note_line()

    @precondition(lambda self: self.naive.runs)
    @rule(number=pick, seconds=seconds)
    def set_idle(self, number, seconds):
        self.now += seconds
        run = self.naive.runs[number % len(self.naive.runs)]
        self.queue.set_idle(run[0], self.now)
        run[2] = self.now if run[2] is None else run[2]

    @precondition(lambda self: any(run[2] is not None for run in self.naive.runs))
    @rule(number=pick)
    def set_busy(self, number):
        run = self.naive.runs[number % len(self.naive.runs)]
        self.queue.set_busy(run[0])
        run[2] = None

    @rule(folder=folders, why=st.sampled_from(Hold))
    def hold_or_release(self, folder, why):
        holds = self.naive.holds.setdefault(folder, set())
        if why in holds:
            self.queue.release(folder, why)
            holds.remove(why)
        else:
            self.queue.hold(folder, why)
            holds.add(why)
        self.naive.form_line()
        self.note_line()

    @rule(seconds=seconds)
    def next_event(self, seconds):
        self.now += seconds
        assert self.queue.next_event(self.now) == self.naive.next_event(self.now)
        self.note_line()

    @rule(limit=st.integers(1, 4))
    def set_limit(self, limit):
        self.queue.limit = limit
        self.naive.limit = limit

    @invariant()
    def the_same_line(self):
        """First come, first served, with the same work in the same order."""
        picture = self.queue.picture()
        assert [group.folder for group in picture.line] == self.naive.line
        for folder in GROUPS:
            waiting = [piece[1] for piece in self.naive.work if piece[0] == folder]
            group = self.queue.group(folder)
            assert list(group.tasks) == [task for task in waiting if task is not MESSAGES]
            assert group.has_messages == (MESSAGES in waiting)

    @invariant()
    def the_same_runs(self):
        running = self.queue.picture().running
        assert [
            [group.folder, group.run.task_id, group.run.idle_since] for group in running
        ] == self.naive.runs

    @invariant()
    def the_same_back_offs(self):
        """Trap A23. What comes for a group that backs off is no reason to do anything before."""
        for end, folder in self.naive.rests:
            assert self.queue.group(folder).retry_at == end

    @invariant()
    def the_same_quarantine(self):
        """Whoever is held starts nothing, though a run of it may go on; back-offs don't show."""
        picture = self.queue.picture()
        running = [run[0] for run in self.naive.runs]
        held = {folder for folder in self.naive.held if folder not in running}
        resting = {folder for _, folder in self.naive.rests}
        assert {group.folder for group in picture.held} == held
        assert {group.folder for group in picture.backing_off} == resting - held

    @invariant()
    def the_same_yield(self):
        assert list(self.queue.runs_to_yield()) == self.naive.runs_to_yield()

    @invariant()
    def one_state_each(self):
        """No group is in two places, and none that has work is in none."""
        picture = self.queue.picture()
        places = [*picture.line, *picture.running, *picture.backing_off, *picture.held]
        names = [group.folder for group in places]
        assert len(names) == len(set(names))
        assert {piece[0] for piece in self.naive.work} <= set(names)

    @invariant()
    def no_doubles(self):
        """A task waits once or runs once."""
        picture = self.queue.picture()
        groups = [*picture.line, *picture.running, *picture.backing_off, *picture.held]
        there = [task for group in groups for task in group.tasks]
        there += [group.run.task_id for group in picture.running if group.run.task_id is not None]
        assert len(there) == len(set(there))


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(
    derandomize=True, deadline=None, max_examples=120, stateful_step_count=60
)
