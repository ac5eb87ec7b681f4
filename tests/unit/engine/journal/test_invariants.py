"""The promises, checked against journals: valid ones, and ones in which something was changed."""

from __future__ import annotations

import tracemalloc
from itertools import count
from random import Random

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.engine.journal.events import JournalEntry, misfit
from nanoclaw_trio.engine.journal.invariants import (
    Rule,
    check_journal,
    describe,
    examine_journal,
    open_items,
)

reproducible = settings(
    derandomize=True,
    deadline=None,
    max_examples=200,
)


def entry(event, engine="e1", /, **fields):
    """An entry as the journal takes it."""
    assert misfit(event, fields) is None, (event, misfit(event, fields))
    # Lists go on to be changed by whoever gave them.
    fields = {name: [*value] if is_names(value) else value for name, value in fields.items()}
    return JournalEntry(at="2026-01-01T00:00:00.000Z", event=event, engine=engine, fields=fields)


def is_names(value):
    return isinstance(value, list | tuple)


def placed(entries):
    """The same entries as they are read: each with its place."""
    return [evolve(e, place=f"journal.jsonl:{n}") for n, e in enumerate(entries, start=1)]


def started(engine="e1"):
    return entry("engine_started", engine, install="i", pid=1, runtime="fake")


def stopped(engine="e1"):
    return entry("engine_stopped", engine)


def ended(container, folder, engine="e1", /, *, outputs=0, cause="completed", gone=True):
    return entry(
        "run_ended",
        engine,
        container=container,
        folder=folder,
        cause=cause,
        gone=gone,
        detail="",
        outputs=outputs,
        rejected_frames=0,
        duration=1.0,
    )


def cut_off(container, folder, engine="e1", /, *, outputs=0, gone=True):
    return entry(
        "run_cut_off",
        engine,
        container=container,
        folder=folder,
        gone=gone,
        detail="",
        outputs=outputs,
    )


def asked(container, folder, engine="e1", /, *, messages=(), task=None):
    return entry(
        "run_asked", engine, container=container, folder=folder, messages=messages, task=task
    )


def run_started(container, folder, engine="e1"):
    return entry("run_started", engine, container=container, folder=folder)


def output(container, n, engine="e1", /, *, kind="answer", silent=False):
    return entry("output", engine, container=container, n=n, kind=kind, silent=silent)


def accepted(message_id, folder, engine="e1", /, *, chat="chat", owed=True):
    return entry("message_accepted", engine, chat=chat, id=message_id, folder=folder, owed=owed)


def follow_up(container, engine="e1", /, *, messages):
    return entry("follow_up_sent", engine, container=container, file="f", messages=messages)


def settled(container, folder, engine="e1", /, *, ids):
    return entry("message_settled", engine, folder=folder, ids=ids, container=container)


def put_back(container, folder, engine="e1", /, *, ids):
    return entry("message_put_back", engine, folder=folder, ids=ids, container=container)


def given_up(folder, engine="e1", /, *, ids):
    return entry("message_given_up", engine, folder=folder, ids=ids)


def recorded(delivery_id, engine="e1", /, *, container=None, n=None, ids=(), kind="answer"):
    return entry(
        "delivery_recorded",
        engine,
        id=delivery_id,
        kind=kind,
        chat="chat",
        container=container,
        n=n,
        in_reply_to=ids,
    )


def delivered(delivery_id, engine="e1"):
    return entry("delivered", engine, id=delivery_id)


def gone(container, engine="e1"):
    return entry("container_gone", engine, container=container)


def reaped(*containers, engine="e1"):
    return entry("orphans_reaped", engine, containers=containers)


def held(folder, container, engine="e1"):
    return entry("group_held", engine, folder=folder, container=container)


def released(folder, engine="e1"):
    return entry("group_released", engine, folder=folder)


def completed(task, due, engine="e1"):
    return entry("task_completed", engine, task=task, due=due)


def rules(entries, **options):
    """The rules that a journal shows to be broken."""
    return {violation.rule for violation in check_journal(entries, **options)}


class World:
    """An engine that keeps its promises, at random; what it notes is in `entries`.

    It is killed, too, and then its last lines are not written.
    """

    def __init__(self, random, *, with_kills=True):
        self.random = random
        self.with_kills = with_kills
        self.entries = []
        self.numbers = count(1)
        self.waiting = {folder: [] for folder in ("family", "work", "club")}
        self.pending = []
        self.start()

    def note(self, make, *arguments, **fields):
        self.entries.append(make(*arguments, self.engine, **fields))

    def start(self):
        self.engine = f"e{next(self.numbers)}"
        self.session_began = len(self.entries)
        self.runs = {}
        self.held = {}
        self.note(started)
        self.entries.append(reaped(engine=self.engine))

    def new(self, what):
        return f"{what}{next(self.numbers)}"

    def folder(self):
        return self.random.choice(sorted(self.waiting))

    def step(self):
        """Do one thing that can be done now."""
        self.random.choice(
            [
                self.accept,
                self.accept,
                self.begin,
                self.begin,
                self.hear,
                self.hear,
                self.hear,
                self.send,
                self.end,
                self.release,
                self.deliver,
                self.deliver,
                self.speak,
                self.leave,
            ]
        )()

    def accept(self):
        folder, message = self.folder(), self.new("m")
        owed = self.random.random() < 0.8
        self.note(accepted, message, folder, owed=owed)
        if owed:
            self.waiting[folder].append(message)

    def begin(self):
        folder, container = self.folder(), self.new("c")
        if folder in self.runs or folder in self.held:
            return
        task = self.new("t") if self.random.random() < 0.3 else None
        messages = [] if task else self.waiting[folder]
        if not task and not messages:
            return
        self.note(asked, container, folder, messages=messages, task=task)
        if not task:
            self.waiting[folder] = []
        way = self.random.random()
        if way < 0.1:
            self.note(ended, container, folder, cause="image_missing")
        elif way >= 0.2:
            self.note(run_started, container, folder)
            self.runs[folder] = [container, 0, list(messages), task]
            return
        self.put_back(container, folder, messages)

    def put_back(self, container, folder, messages):
        if messages and self.random.random() < 0.2:
            self.note(put_back, container, folder, ids=messages)
            self.note(given_up, folder, ids=messages)
            self.record("failure")
        elif messages:
            self.note(put_back, container, folder, ids=messages)
            self.waiting[folder] = [*messages, *self.waiting[folder]]

    def record(self, kind, **fields):
        delivery = self.new("d")
        self.note(recorded, delivery, kind=kind, **fields)
        self.pending.append(delivery)

    def hear(self):
        if not self.runs:
            return
        folder = self.random.choice(sorted(self.runs))
        run = self.runs[folder]
        container, n, messages, task = run
        run[1] = n = n + 1
        kind = self.random.choice(["answer", "answer", "update", "error"])
        silent = kind != "answer" or self.random.random() < 0.2
        if task and kind != "error":
            self.note(completed, task, "due")
            run[3] = None
        self.note(output, container, n, kind=kind, silent=silent)
        if kind != "error" and messages:
            self.note(settled, container, folder, ids=messages)
            run[2] = []
        if not silent:
            self.record("answer", container=container, n=n, ids=messages)

    def send(self):
        folder = self.folder()
        if folder in self.runs and self.waiting[folder]:
            run = self.runs[folder]
            self.note(follow_up, run[0], messages=self.waiting[folder])
            run[2] += self.waiting[folder]
            self.waiting[folder] = []

    def end(self):
        if not self.runs:
            return
        folder = self.random.choice(sorted(self.runs))
        container, n, messages, _ = self.runs.pop(folder)
        is_gone = self.random.random() < 0.7
        make = self.random.choice([ended, cut_off])
        self.note(make, container, folder, outputs=n, gone=is_gone)
        if not is_gone:
            self.note(held, folder, container)
            self.held[folder] = container
        self.put_back(container, folder, messages)

    def release(self):
        if self.held:
            folder = self.random.choice(sorted(self.held))
            self.note(gone, self.held.pop(folder))
            self.note(released, folder)

    def deliver(self):
        if self.pending:
            delivery = self.pending.pop(0)
            if self.random.random() < 0.1:
                self.entries.append(
                    entry("undeliverable", self.engine, id=delivery, why="the chat is gone")
                )
            else:
                self.note(delivered, delivery)

    def speak(self):
        self.record("message")

    def leave(self):
        way = self.random.random()
        if way < 0.1:
            self.stop()
            self.start()
        elif way < 0.3 and self.with_kills:
            self.be_killed()

    def cut_all_off(self):
        for folder, (container, n, messages, _) in sorted(self.runs.items()):
            self.note(cut_off, container, folder, outputs=n)
            # The next start puts them back, and notes nothing.
            self.waiting[folder] = [*messages, *self.waiting[folder]]
        self.runs = {}

    def stop(self):
        self.cut_all_off()
        self.note(stopped)

    def be_killed(self):
        containers = [run[0] for run in self.runs.values()]
        for folder, (_, _, messages, _) in self.runs.items():
            self.waiting[folder] = [*messages, *self.waiting[folder]]
        unwritten = self.random.randint(0, 6)
        keep = max(self.session_began + 1, len(self.entries) - unwritten)
        del self.entries[keep:]
        self.start()
        found = self.random.sample(containers, self.random.randint(0, len(containers)))
        self.entries[-1] = reaped(*found, engine=self.engine)

    def finish(self):
        """Let all that is under way come to its end, and stop."""
        for folder in sorted(self.runs):
            while self.runs[folder][2]:
                self.hear()
            container, n, _, _ = self.runs.pop(folder)
            self.note(ended, container, folder, outputs=n)
        while self.held:
            self.release()
        while any(self.waiting.values()):
            self.begin()
            for _ in range(len(self.runs)):
                self.hear()
            while self.runs:
                self.end()
            while self.held:
                self.release()
        while self.pending:
            self.deliver()
        self.note(stopped)


def live(seed, steps, **options):
    """A world that has lived for so many steps."""
    world = World(Random(seed), **options)  # noqa: S311 - no secret hangs on it
    for _ in range(steps):
        world.step()
    return world


seeds = {"seed": st.integers(0, 2**32), "steps": st.integers(0, 150)}
"""A seed and not Hypothesis' own random numbers: those take as long to draw as a history to check."""


class TestValid:
    @reproducible
    @given(**seeds)
    def test_a_valid_history(self, seed, steps):
        """A history in which all was kept has no violations, killed sessions or not."""
        assert describe(check_journal(placed(live(seed, steps).entries))) == ""

    @reproducible
    @given(**seeds)
    def test_one_whose_beginning_was_rotated_away(self, seed, steps):
        """What is unknown for want of a beginning is no violation."""
        world = live(seed, steps)
        entries = world.entries
        dropped = world.random.randint(0, len(entries) - 1)
        while entries[dropped].event == "engine_started" and dropped:
            dropped -= 1
        assert describe(check_journal(placed(entries[dropped:]))) == ""

    @reproducible
    @given(**seeds)
    def test_one_with_lost_lines(self, seed, steps):
        """Where lines are missing, that is said, and nothing is put down to the engine."""
        world = live(seed, steps, with_kills=False)
        entries = world.entries
        first = world.random.randint(1, len(entries))
        last = first
        while (
            last < len(entries)
            and last < first + 20
            and entries[last].engine == (entries[first].engine)
        ):
            last += 1
        engine = entries[first - 1].engine if first == len(entries) else entries[first].engine
        if entries[first - 1].event == "engine_stopped":
            return
        entries[first:last] = [entry("lines_lost", engine, count=last - first)]
        found = check_journal(placed(entries))
        assert {violation.rule for violation in found} == {Rule.JOURNAL_COMPLETE}, describe(found)

    @reproducible
    @given(**seeds)
    def test_little_memory_is_enough(self, seed, steps):
        """However little is remembered of what is over, a valid history has no violations."""
        assert check_journal(live(seed, steps).entries, memory=1) == ()

    @reproducible
    @given(**seeds)
    def test_nothing_is_open_where_all_is_over(self, seed, steps):
        """A history in which all came to its end leaves nothing open."""
        world = live(seed, steps, with_kills=False)
        world.finish()
        examination = examine_journal(placed(world.entries))
        assert examination.violations == ()
        assert examination.open_items == ()
        assert examination.entries == len(world.entries)

    def test_no_journal(self):
        """A journal without entries shows nothing."""
        assert examine_journal([]).entries == 0
        assert check_journal([]) == open_items([]) == ()

    def test_an_event_of_a_newer_version(self):
        """An event that isn't known is passed over."""
        new = JournalEntry(at="now", event="moved", engine="e1", fields={"to": "mars"})
        assert check_journal([started(), new, stopped()]) == ()


EVIDENCE = {
    "run_asked",
    "run_started",
    "output",
    "run_ended",
    "message_accepted",
    "message_settled",
    "message_given_up",
    "delivery_recorded",
    "delivered",
    "undeliverable",
    "task_completed",
}
"""What is noted once for each thing: doubled, or left out, it shows."""


def some_evidence(world):
    """Some places of what must be there, and once; context is owed nothing."""
    places = [
        place
        for place, e in enumerate(world.entries)
        if e.event in EVIDENCE and e.fields.get("owed", True)
    ]
    return world.random.sample(places, min(8, len(places)))


class TestChanged:
    @reproducible
    @given(**seeds)
    def test_evidence_that_is_doubled(self, seed, steps):
        """Whatever is noted twice breaks a rule, at once or later."""
        world = live(seed, steps, with_kills=False)
        world.finish()
        for place in some_evidence(world):
            entries = [*world.entries]
            later = world.random.randint(place + 1, len(entries))
            engine = entries[later - 1].engine
            again = evolve(entries[place], engine=engine)
            for where, copy in ((place, entries[place]), (later, again)):
                changed = [*entries[:where], copy, *entries[where:]]
                assert check_journal(changed), (entries[place], where)

    @reproducible
    @given(**seeds)
    def test_evidence_that_is_missing(self, seed, steps):
        """Whatever is left out breaks a rule, or leaves something open that was closed."""
        world = live(seed, steps, with_kills=False)
        world.finish()
        for place in some_evidence(world):
            dropped = world.entries[place]
            if dropped.event == "task_completed" or speaks_for_itself(world.entries, place):
                continue
            changed = [*world.entries[:place], *world.entries[place + 1 :]]
            examination = examine_journal(changed)
            assert examination.violations or examination.open_items, dropped

    @reproducible
    @given(**seeds)
    def test_evidence_before_its_cause(self, seed, steps):
        """What is noted before that which it follows from breaks a rule, or leaves it open."""
        world = live(seed, steps, with_kills=False)
        world.finish()
        entries = world.entries
        pairs = [*causes(entries)]
        for cause, effect in world.random.sample(pairs, min(8, len(pairs))):
            changed = [*entries]
            changed.insert(cause, changed.pop(effect))
            examination = examine_journal(changed)
            assert examination.violations or examination.open_items, entries[effect]


def speaks_for_itself(entries, place):
    """Whether this is of a run of which nothing else shows that it is missing.

    A run that found its group taken has neither a start nor an end, and one that was cut off
    before its first output may have had no start.
    """
    this = entries[place]
    container = this.fields.get("container")
    events = [e.event for e in entries if container and e.fields.get("container") == container]
    if this.event == "run_started":
        return "output" not in events and "run_cut_off" in events
    return this.event in {"run_asked", "run_ended"} and "run_started" not in events


def causes(entries):
    """Pairs of places: of an entry, and of a later one that can't be before it."""
    for place, e in enumerate(entries):
        fields = e.fields
        match e.event:
            case "run_started":
                yield find(entries, "run_asked", container=fields["container"]), place
            case "output" if fields["n"] > 1:
                previous = {"container": fields["container"], "n": fields["n"] - 1}
                yield find(entries, "output", **previous), place
            case "delivered" | "undeliverable":
                yield find(entries, "delivery_recorded", id=fields["id"]), place
            case "container_gone":
                yield find(entries, "group_held", container=fields["container"]), place
            case "message_settled" | "message_given_up":
                yield find(entries, "message_accepted", id=fields["ids"][0]), place
            case "delivery_recorded" if fields["kind"] == "answer":
                output = {"container": fields["container"], "n": fields["n"]}
                yield find(entries, "output", **output), place


def find(entries, event, **fields):
    """The first place of such an entry."""
    return next(
        place
        for place, e in enumerate(entries)
        if e.event == event and fields.items() <= e.fields.items()
    )


ANSWERED = [
    started(),
    reaped(),
    accepted("m1", "family"),
    asked("c1", "family", messages=["m1"]),
    run_started("c1", "family"),
    output("c1", 1),
    settled("c1", "family", ids=["m1"]),
    recorded("d1", container="c1", n=1, ids=["m1"]),
    output("c1", 2, kind="update", silent=True),
    delivered("d1"),
    ended("c1", "family", outputs=2),
    stopped(),
]
"""A message and its answer."""

QUARANTINED = [
    started(),
    reaped(),
    asked("c1", "family", task="t1"),
    run_started("c1", "family"),
    completed("t1", "10:00"),
    output("c1", 1, kind="update", silent=True),
    ended("c1", "family", outputs=1, gone=False),
    held("family", "c1"),
    gone("c1"),
    released("family"),
    stopped(),
]
"""A container that is seen gone in the end."""

KILLED = [
    started("e1"),
    reaped(engine="e1"),
    accepted("m1", "family", "e1"),
    asked("c1", "family", "e1", messages=["m1"]),
    run_started("c1", "family", "e1"),
    started("e2"),
    reaped("c1", engine="e2"),
    asked("c2", "family", "e2", messages=["m1"]),
    run_started("c2", "family", "e2"),
    output("c2", 1, "e2"),
    settled("c2", "family", "e2", ids=["m1"]),
    recorded("d1", "e2", container="c2", n=1, ids=["m1"]),
    ended("c2", "family", "e2", outputs=1),
    delivered("d1", "e2"),
    stopped("e2"),
]
"""A session that was killed, and the next."""

GIVEN_UP = [
    started(),
    reaped(),
    accepted("m1", "family"),
    asked("c1", "family", messages=["m1"]),
    run_started("c1", "family"),
    ended("c1", "family", cause="agent_failed"),
    put_back("c1", "family", ids=["m1"]),
    given_up("family", ids=["m1"]),
    recorded("d1", kind="failure", ids=["m1"]),
    delivered("d1"),
    stopped(),
]
"""A message that was given up."""


def without(history, gone_from_it):
    """A history without this entry."""
    assert gone_from_it in history
    return [e for e in history if e != gone_from_it]


def put_in(history, where, *entries):
    """A history with something behind one of its entries."""
    place = history.index(where) + 1
    return [*history[:place], *entries, *history[place:]]


def instead(history, old, *new):
    """A history with something in the place of one of its entries."""
    return without(put_in(history, old, *new), old)


START = run_started("c1", "family")
ASKED = asked("c1", "family", messages=["m1"])
END = ended("c1", "family", outputs=2)
UNCONFIRMED = ended("c1", "family", outputs=1, gone=False)
RECORD = recorded("d1", container="c1", n=1, ids=["m1"])
SETTLED = settled("c1", "family", ids=["m1"])

BROKEN = [
    # Rule 1.
    ("no end, and the engine stopped", Rule.RUN_ENDS_ONCE, without(ANSWERED, END)),
    ("ended twice", Rule.RUN_ENDS_ONCE, put_in(ANSWERED, END, END)),
    (
        "ended, then cut off",
        Rule.RUN_ENDS_ONCE,
        put_in(ANSWERED, END, cut_off("c1", "family", outputs=2)),
    ),
    ("started twice", Rule.RUN_ENDS_ONCE, put_in(ANSWERED, START, START)),
    ("started again", Rule.RUN_ENDS_ONCE, put_in(ANSWERED, END, START)),
    ("asked for twice", Rule.RUN_ENDS_ONCE, put_in(ANSWERED, ASKED, ASKED)),
    ("asked for again", Rule.RUN_ENDS_ONCE, put_in(ANSWERED, END, ASKED)),
    ("started, not asked for", Rule.RUN_ENDS_ONCE, without(ANSWERED, ASKED)),
    ("an output, not started", Rule.RUN_ENDS_ONCE, without(ANSWERED, START)[:5]),
    (
        "ended well, not started",
        Rule.RUN_ENDS_ONCE,
        [started(), asked("c1", "family"), ended("c1", "family"), stopped()],
    ),
    (
        "killed, and nobody looked for its container",
        Rule.RUN_ENDS_ONCE,
        without(KILLED, reaped("c1", engine="e2")),
    ),
    # Rule 2.
    (
        "released, not seen gone",
        Rule.CONTAINER_GONE,
        without(QUARANTINED, gone("c1")),
    ),
    (
        "released before it was seen gone",
        Rule.CONTAINER_GONE,
        [*without(without(QUARANTINED, gone("c1")), stopped()), gone("c1"), stopped()],
    ),
    (
        "not seen gone by the next session either",
        Rule.CONTAINER_GONE,
        [
            *without(without(QUARANTINED, gone("c1")), released("family")),
            started("e2"),
            asked("c2", "club", "e2", task="t2"),
            run_started("c2", "club", "e2"),
            ended("c2", "club", "e2"),
            stopped("e2"),
        ],
    ),
    # Rule 3.
    ("a gap", Rule.OUTPUTS_NUMBERED, without(ANSWERED, output("c1", 1))),
    (
        "one twice",
        Rule.OUTPUTS_NUMBERED,
        put_in(ANSWERED, output("c1", 1), output("c1", 1)),
    ),
    (
        "the last one missing",
        Rule.OUTPUTS_NUMBERED,
        without(ANSWERED, output("c1", 2, kind="update", silent=True)),
    ),
    (
        "the last one missing, and cut off",
        Rule.OUTPUTS_NUMBERED,
        instead(ANSWERED, END, cut_off("c1", "family", outputs=3)),
    ),
    ("after the end", Rule.OUTPUTS_NUMBERED, put_in(ANSWERED, END, output("c1", 3))),
    # Rule 4.
    ("not recorded", Rule.ANSWER_RECORDED_ONCE, without(ANSWERED, RECORD)),
    (
        "not recorded, and cut off",
        Rule.ANSWER_RECORDED_ONCE,
        without(instead(ANSWERED, END, cut_off("c1", "family", outputs=2)), RECORD),
    ),
    (
        "recorded twice",
        Rule.ANSWER_RECORDED_ONCE,
        put_in(ANSWERED, RECORD, recorded("d2", container="c1", n=1)),
    ),
    (
        "recorded before it was heard",
        Rule.ANSWER_RECORDED_ONCE,
        put_in(without(ANSWERED, RECORD), START, RECORD),
    ),
    (
        "recorded for an output that says nothing",
        Rule.ANSWER_RECORDED_ONCE,
        put_in(ANSWERED, RECORD, recorded("d2", container="c1", n=2)),
    ),
    (
        "an answer to no output",
        Rule.ANSWER_RECORDED_ONCE,
        put_in(ANSWERED, RECORD, recorded("d2")),
    ),
    # Rule 5.
    (
        "delivered, not recorded",
        Rule.DELIVERED_ONCE,
        put_in(ANSWERED, RECORD, delivered("d2")),
    ),
    ("delivered twice", Rule.DELIVERED_ONCE, put_in(ANSWERED, delivered("d1"), delivered("d1"))),
    (
        "delivered again by the next session",
        Rule.DELIVERED_ONCE,
        [*ANSWERED, started("e2"), delivered("d1", "e2")],
    ),
    (
        "delivered again after a kill",
        Rule.DELIVERED_ONCE,
        [*without(ANSWERED, stopped()), started("e2"), delivered("d1", "e2")],
    ),
    (
        "delivered, and found undeliverable",
        Rule.DELIVERED_ONCE,
        put_in(ANSWERED, delivered("d1"), entry("undeliverable", id="d1", why="gone")),
    ),
    (
        "recorded twice under one id",
        Rule.DELIVERED_ONCE,
        put_in(ANSWERED, RECORD, recorded("d1", kind="message")),
    ),
    (
        "recorded again after it was delivered",
        Rule.DELIVERED_ONCE,
        put_in(ANSWERED, delivered("d1"), recorded("d1", kind="message")),
    ),
    # Rule 6.
    ("settled twice", Rule.MESSAGE_SETTLED_ONCE, put_in(ANSWERED, SETTLED, SETTLED)),
    (
        "settled after a kill, and before",
        Rule.MESSAGE_SETTLED_ONCE,
        put_in(KILLED, run_started("c1", "family", "e1"), SETTLED),
    ),
    (
        "settled after it was given up",
        Rule.MESSAGE_SETTLED_ONCE,
        put_in(GIVEN_UP, given_up("family", ids=["m1"]), SETTLED),
    ),
    (
        "given up after it was settled",
        Rule.MESSAGE_SETTLED_ONCE,
        put_in(ANSWERED, SETTLED, given_up("family", ids=["m1"])),
    ),
    (
        "never accepted",
        Rule.MESSAGE_SETTLED_ONCE,
        without(ANSWERED, accepted("m1", "family")),
    ),
    (
        "accepted twice",
        Rule.MESSAGE_SETTLED_ONCE,
        put_in(ANSWERED, accepted("m1", "family"), accepted("m1", "family")),
    ),
    (
        "accepted again after it was settled",
        Rule.MESSAGE_SETTLED_ONCE,
        put_in(ANSWERED, END, accepted("m1", "family")),
    ),
    (
        "answered, not settled",
        Rule.MESSAGE_SETTLED_ONCE,
        without(ANSWERED, SETTLED),
    ),
    (
        "answered, then put back",
        Rule.MESSAGE_SETTLED_ONCE,
        put_in(without(ANSWERED, SETTLED), RECORD, put_back("c1", "family", ids=["m1"])),
    ),
    (
        "settled, then put back",
        Rule.MESSAGE_SETTLED_ONCE,
        put_in(ANSWERED, SETTLED, put_back("c1", "family", ids=["m1"])),
    ),
    (
        "asked again after it was settled",
        Rule.MESSAGE_SETTLED_ONCE,
        put_in(ANSWERED, END, asked("c2", "family", messages=["m1"])),
    ),
    (
        "sent to another run after it was settled",
        Rule.MESSAGE_SETTLED_ONCE,
        put_in(ANSWERED, END, asked("c2", "family"), follow_up("c2", messages=["m1"])),
    ),
    (
        "asked again while a run has it",
        Rule.MESSAGE_SETTLED_ONCE,
        [
            started(),
            accepted("m1", "family"),
            asked("c1", "family"),
            follow_up("c1", messages=["m1"]),
            asked("c2", "family", messages=["m1"]),
        ],
    ),
    (
        "left with a run that is over",
        Rule.MESSAGE_SETTLED_ONCE,
        [
            *GIVEN_UP[:6],
            asked("c2", "family", task="t1"),
        ],
    ),
    # Rule 7.
    (
        "two runs at once",
        Rule.ONE_RUN_PER_GROUP,
        put_in(ANSWERED, START, asked("c2", "family")),
    ),
    (
        "two runs at once, not asked for",
        Rule.ONE_RUN_PER_GROUP,
        put_in(ANSWERED, START, run_started("c2", "family")),
    ),
    # Rule 8.
    (
        "completed twice",
        Rule.TASK_COMPLETED_ONCE,
        put_in(QUARANTINED, completed("t1", "10:00"), completed("t1", "10:00")),
    ),
    (
        "completed again by the next session",
        Rule.TASK_COMPLETED_ONCE,
        [*QUARANTINED, started("e2"), completed("t1", "10:00", "e2")],
    ),
    # The journal itself.
    ("a session without a start", Rule.JOURNAL_COMPLETE, without(KILLED, started("e2"))),
    ("a start twice", Rule.JOURNAL_COMPLETE, put_in(KILLED, started("e2"), started("e2"))),
    (
        "lost lines",
        Rule.JOURNAL_COMPLETE,
        put_in(ANSWERED, reaped(), entry("lines_lost", count=3)),
    ),
]


class TestRules:
    @pytest.mark.parametrize("history", [ANSWERED, QUARANTINED, KILLED, GIVEN_UP])
    def test_what_was_kept(self, history):
        """The histories that are changed below break no rule, and leave nothing open."""
        examination = examine_journal(placed(history))
        assert describe(examination.violations) == ""
        assert examination.open_items == ()

    @pytest.mark.parametrize(
        ("rule", "history"),
        [case[1:] for case in BROKEN],
        ids=[f"{case[1]}: {case[0]}" for case in BROKEN],
    )
    def test_what_was_broken(self, rule, history):
        """Each way to break a rule is found, under that rule."""
        found = check_journal(placed(history))
        assert rule in {violation.rule for violation in found}, describe(found)

    def test_every_rule_can_be_broken(self):
        """There is a way to break each rule."""
        assert {rule for _, rule, _ in BROKEN} == set(Rule)


class TestLeniency:
    def test_a_message_of_two_chats(self):
        """Two chats of one group may use the same id, one after the other and at once."""
        other = accepted("m1", "family", chat="other")
        assert check_journal([*ANSWERED[:-1], other, stopped()]) == ()
        at_once = put_in(ANSWERED, accepted("m1", "family"), other)
        assert check_journal([*at_once[:-1], SETTLED, stopped()]) == ()

    def test_a_follow_up_that_is_answered_at_once(self):
        """An agent may answer a follow-up before it is noted that it was sent."""
        history = put_in(
            ANSWERED,
            RECORD,
            accepted("m2", "family"),
            settled("c1", "family", ids=["m2"]),
            follow_up("c1", messages=["m2"]),
        )
        assert check_journal(history) == ()

    def test_a_follow_up_of_a_run_that_is_not_known(self):
        """Of a run whose beginning was rotated away the group isn't known."""
        assert check_journal([follow_up("c1", messages=["m1"]), stopped()]) == ()

    def test_context_is_owed_nothing(self):
        """A message that is owed no answer may be settled with another, or never."""
        context = accepted("m0", "family", owed=False)
        assert check_journal(put_in(ANSWERED, reaped(), context)) == ()
        both = instead(ANSWERED, SETTLED, settled("c1", "family", ids=["m0", "m1"]))
        assert check_journal(put_in(both, reaped(), context)) == ()

    def test_a_session_that_never_found_the_runtime(self):
        """A session without runs need not have looked for orphans: the runtime was down."""
        history = [*KILLED[:5], started("e2"), stopped("e2")]
        examination = examine_journal(placed(history))
        assert examination.violations == ()
        assert [item.rule for item in examination.open_items] == [
            Rule.RUN_ENDS_ONCE,
            Rule.MESSAGE_SETTLED_ONCE,
        ]

    def test_a_run_that_found_its_group_taken(self):
        """A run that got no container has no end, and is in nobody's way."""
        history = put_in(
            ANSWERED,
            accepted("m1", "family"),
            asked("c0", "family", messages=["m1"]),
            put_back("c0", "family", ids=["m1"]),
        )
        assert check_journal(history) == ()

    def test_a_look_for_orphans_of_others(self):
        """A session that looks for orphans again decides nothing of its own containers."""
        history = put_in(QUARANTINED, held("family", "c1"), reaped())
        assert Rule.CONTAINER_GONE in rules(without(history, gone("c1")))

    @pytest.mark.parametrize("cause", ["image_missing", "runtime_unavailable", "spawn_failed"])
    def test_a_run_that_never_started(self, cause):
        """A run that could not start has an end and no start."""
        history = [started(), asked("c1", "family"), ended("c1", "family", cause=cause), stopped()]
        assert check_journal(history) == ()


class TestOpenItems:
    @pytest.mark.parametrize(
        ("length", "rules"),
        [
            (2, []),
            (3, [Rule.MESSAGE_SETTLED_ONCE]),
            (5, [Rule.RUN_ENDS_ONCE, Rule.MESSAGE_SETTLED_ONCE]),
            (6, [Rule.RUN_ENDS_ONCE, Rule.ANSWER_RECORDED_ONCE, Rule.MESSAGE_SETTLED_ONCE]),
            (8, [Rule.RUN_ENDS_ONCE, Rule.DELIVERED_ONCE]),
            (10, [Rule.RUN_ENDS_ONCE]),
            (11, []),
        ],
    )
    def test_where_the_journal_ends_first(self, length, rules):
        """What is under way at the journal's end is open, and breaks no rule."""
        examination = examine_journal(placed(ANSWERED[:length]))
        assert examination.violations == ()
        assert [item.rule for item in examination.open_items] == rules

    def test_a_container_that_may_live(self):
        """A container that wasn't seen gone is open until it is."""
        (item,) = open_items(placed(QUARANTINED[:8]))
        assert item.rule is Rule.CONTAINER_GONE
        assert item.what == "container c1 has not been seen gone"
        assert item.place == "journal.jsonl:8"
        assert open_items(placed(QUARANTINED[:9])) == ()

    def test_after_lost_lines(self):
        """What may have ended in lines that are missing stays open, and breaks no rule."""
        lost = entry("lines_lost", count=1)
        examination = examine_journal(
            [*QUARANTINED[:8], lost, released("family"), stopped(), started("e2")]
        )
        assert {violation.rule for violation in examination.violations} == {Rule.JOURNAL_COMPLETE}
        assert len(examination.open_items) == 1


def test_describe():
    """A violation is told in a line: where, when, which rule, and what."""
    changed = placed(put_in(ANSWERED, delivered("d1"), delivered("d1")))
    assert describe(check_journal(changed)) == (
        "journal.jsonl:11 2026-01-01T00:00:00.000Z [delivered-once] "
        "delivery d1 was noted as delivered, and as delivered before\n"
    )
    assert describe(()) == ""


def long_history(messages):
    """A message after the other, each with its run."""
    yield started()
    for number in range(messages):
        message, container, delivery = f"m{number}", f"c{number}", f"d{number}"
        yield accepted(message, "family")
        yield asked(container, "family", messages=[message])
        yield run_started(container, "family")
        yield output(container, 1)
        yield settled(container, "family", ids=[message])
        yield recorded(delivery, container=container, n=1, ids=[message])
        yield ended(container, "family", outputs=1)
        yield delivered(delivery)
    yield stopped()


def peak_of(messages):
    """Bytes that it takes to check so long a journal, at most."""
    tracemalloc.start()
    try:
        assert check_journal(long_history(messages), memory=50) == ()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory():
    """What it takes to check a journal doesn't grow with its length."""
    short = peak_of(200)
    assert peak_of(2000) < 1.5 * short
