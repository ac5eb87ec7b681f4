"""The queue by example: who starts next, who waits, and who is to make room."""

from __future__ import annotations

import ast
import inspect
import math
import sys

import pytest
from attrs import evolve

from nanoclaw_trio.engine.queue import breaker, queue, retry
from nanoclaw_trio.engine.queue import state as queue_state
from nanoclaw_trio.engine.queue.queue import InvalidLimit, Queue
from nanoclaw_trio.engine.queue.state import (
    GroupState,
    Hold,
    QueuedGroup,
    QueuedRun,
    QueuePicture,
    Start,
)
from nanoclaw_trio.errors import InputError


def drain(queue, now=0.0):
    """All that starts now, in order."""
    return list(iter(lambda: queue.start_next(now), None))


def folders(groups):
    """Which groups these are."""
    return [group.folder for group in groups]


@pytest.fixture
def single():
    """A queue with one slot."""
    return Queue(limit=1)


@pytest.fixture
def double():
    """A queue with two slots."""
    return Queue(limit=2)


STATES = [
    (QueuedGroup(folder="a"), GroupState.NO_WORK),
    (QueuedGroup(folder="a", has_messages=True), GroupState.IN_LINE),
    (QueuedGroup(folder="a", tasks=("t",)), GroupState.IN_LINE),
    (QueuedGroup(folder="a", retry_at=5), GroupState.BACKING_OFF),
    (QueuedGroup(folder="a", retry_at=5, has_messages=True), GroupState.BACKING_OFF),
    (QueuedGroup(folder="a", retry_at=5, holds=frozenset({Hold.CONTAINER})), GroupState.HELD),
    (QueuedGroup(folder="a", holds=frozenset({Hold.CONTAINER})), GroupState.HELD),
    (QueuedGroup(folder="a", holds=frozenset({Hold.CONTAINER}), tasks=("t",)), GroupState.HELD),
]


@pytest.mark.parametrize(("group", "state"), STATES)
def test_state(group, state):
    """What is known of a group makes exactly one state, and a run overrides the rest."""
    assert group.state is state
    run = QueuedRun(task_id=None, started_at=1)
    assert evolve(group, run=run).state is GroupState.RUNNING


class TestOrder:
    def test_first_come_first_served(self, single):
        """Groups start in the order in which they became ready, whatever came for them since."""
        for folder in ("b", "a", "c", "b", "a"):
            single.add_messages(folder)
        single.add_task("c", "t")
        order = []
        while (start := single.start_next(0)) is not None:
            order.append(start)
            single.end(start.folder, 0)
        assert order == [
            Start(folder="b"),
            Start(folder="a"),
            Start(folder="c", task_id="t"),
            Start(folder="c"),
        ]

    def test_tasks_before_messages(self, single):
        """Within a group its tasks go first, in the order in which they came; but messages that
        waited for a task go before the next one, or tasks could keep them waiting for ever."""
        single.add_messages("a")
        single.add_task("a", "t2")
        single.add_task("a", "t1")
        order = []
        for _ in range(3):
            order.append(single.start_next(0).task_id)
            single.end("a", 0)
        assert order == ["t2", None, "t1"]

    def test_a_busy_group_goes_behind(self, single):
        """Trap A24. A group that ends with more work goes behind those that waited meanwhile."""
        single.add_messages("busy")
        assert drain(single) == [Start(folder="busy")]
        single.add_messages("busy")
        single.add_messages("patient")
        single.end("busy", 1)
        assert folders(single.picture().line) == ["patient", "busy"]
        assert drain(single) == [Start(folder="patient")]

    def test_messages_are_one_run(self, single):
        """Messages that wait together run together; those that come later run once more."""
        single.add_messages("a")
        single.add_messages("a")
        assert drain(single) == [Start(folder="a")]
        single.add_messages("a")
        single.add_messages("a")
        assert drain(single) == []
        single.end("a", 1)
        assert drain(single) == [Start(folder="a")]
        single.end("a", 2)
        assert drain(single) == []

    def test_one_run_per_group(self, double):
        """A group with more work has no second slot."""
        double.add_messages("a")
        double.add_task("a", "t")
        assert drain(double) == [Start(folder="a", task_id="t")]
        assert double.picture().line == ()


class TestTasks:
    def test_no_doubles(self, single):
        """A task that waits or runs isn't taken again; one that is over is."""
        assert single.add_task("a", "t")
        assert not single.add_task("a", "t")
        drain(single)
        assert not single.add_task("a", "t")
        assert not single.add_task("b", "t")
        single.end("a", 1)
        assert single.add_task("a", "t")

    def test_made_anew_for_another(self, single):
        """A task that waits and is made anew for another group, under its id, waits there alone."""
        single.hold("a", Hold.CHAT)
        single.add_task("a", "t")
        assert single.add_task("b", "t")
        assert drain(single) == [Start(folder="b", task_id="t")]
        single.end("b", 1)
        single.release("a", Hold.CHAT)
        assert drain(single, 1) == []

    def test_again_is_no_double(self, single):
        """A task that waits for another attempt waits."""
        single.add_task("a", "t")
        drain(single)
        single.end("a", 1, retry_at=6, again=True)
        assert not single.add_task("a", "t")
        assert single.group("a").tasks == ("t",)


class TestBackOff:
    def test_new_messages_do_not_end_it(self, single):
        """Trap A23. Whatever comes for a group that backs off waits until the back-off is over."""
        single.add_messages("a")
        drain(single)
        single.end("a", 10, retry_at=15, again=True)
        single.add_messages("a")
        single.add_task("a", "t")
        assert single.group("a").state is GroupState.BACKING_OFF
        assert drain(single, 14.9) == []
        assert drain(single, 15) == [Start(folder="a", task_id="t")]

    def test_it_has_no_slot(self, single):
        """Trap A23. Others run while a group backs off."""
        single.add_messages("a")
        single.add_messages("b")
        drain(single)
        single.end("a", 10, retry_at=15, again=True)
        assert drain(single, 10) == [Start(folder="b")]

    def test_a_place_at_its_end(self, single):
        """A group joins the line when its back-off ends, before what becomes ready at that time."""
        for folder in ("a", "b", "c"):
            single.add_messages(folder)
        single.start_next(0)
        single.end("a", 0, retry_at=7, again=True)
        single.start_next(0)
        single.end("b", 1, retry_at=6, again=True)
        single.start_next(1)
        single.add_messages("c")
        single.end("c", 10)
        assert folders(single.picture().line) == ["b", "a", "c"]

    def test_at_the_same_time(self, single):
        """Back-offs with one end keep the order in which they began."""
        for folder in ("b", "a"):
            single.add_messages(folder)
        for folder in ("b", "a"):
            single.start_next(0)
            single.end(folder, 0, retry_at=5, again=True)
        single.start_next(5)
        assert folders(single.picture().running + single.picture().line) == ["b", "a"]

    def test_without_work(self, single):
        """A group may back off without work: what comes for it waits all the same."""
        single.add_messages("a")
        drain(single)
        single.end("a", 0, retry_at=5)
        assert folders(single.picture().backing_off) == ["a"]
        single.add_messages("a")
        assert drain(single, 4) == []
        assert drain(single, 5) == [Start(folder="a")]

    def test_nothing_came(self, single):
        """A group without work is forgotten when its back-off is over."""
        single.add_messages("a")
        drain(single)
        single.end("a", 0, retry_at=5)
        assert drain(single, 5) == []
        assert single.picture() == QueuePicture(limit=1)

    def test_next_event(self, double):
        """The next back-off's end is told, until it has come."""
        assert double.next_event(0) == math.inf
        for folder, retry_at in (("a", 9), ("b", 5)):
            double.add_messages(folder)
            drain(double)
            double.end(folder, 1, retry_at=retry_at, again=True)
        assert double.next_event(1) == double.next_event(1) == 5
        drain(double, 6)
        assert double.next_event(6) == 9
        drain(double, 9)
        assert double.next_event(9) == math.inf

    def test_next_event_that_nobody_noticed(self, double):
        """A back-off that is over is told as due now, once: whoever may not start anything just
        now would ask again and again.
        """
        double.add_messages("a")
        drain(double)
        double.end("a", 1, retry_at=5, again=True)
        assert double.next_event(6) == 6
        assert double.next_event(6) == math.inf
        assert drain(double, 6) == [Start(folder="a")]

    def test_again_without_delay(self, single):
        """What is to be done again at once waits its turn."""
        single.add_messages("a")
        drain(single)
        single.add_messages("b")
        single.end("a", 1, again=True)
        assert folders(single.picture().line) == ["b", "a"]

    def test_the_same_task_first(self, single):
        """A task that is to be done again goes before the group's other tasks."""
        for task in ("t1", "t2"):
            single.add_task("a", task)
        drain(single)
        single.end("a", 0, retry_at=5, again=True)
        assert drain(single, 5) == [Start(folder="a", task_id="t1")]


class TestHold:
    def test_in_line(self, single):
        """A group that is held leaves the line, and joins it at its end when it is released."""
        for folder in ("a", "b"):
            single.add_messages(folder)
        single.hold("a", Hold.CONTAINER)
        assert folders(single.picture().held) == ["a"]
        single.release("a", Hold.CONTAINER)
        assert folders(single.picture().line) == ["b", "a"]

    def test_for_two_reasons(self, single):
        """A group that is held for two reasons is held until neither of them is left."""
        single.add_messages("a")
        for why in Hold:
            single.hold("a", why)
        single.release("a", Hold.CHAT)
        assert drain(single) == []
        single.hold("a", Hold.CHAT)
        single.release("a", Hold.CONTAINER)
        assert drain(single) == []
        single.release("a", Hold.CHAT)
        assert drain(single) == [Start(folder="a")]

    def test_while_it_runs(self, single):
        """A run goes on; nothing starts after it."""
        single.add_messages("a")
        drain(single)
        single.hold("a", Hold.CONTAINER)
        single.add_messages("a")
        assert single.group("a").state is GroupState.RUNNING
        single.end("a", 1)
        assert drain(single, 1) == []
        single.release("a", Hold.CONTAINER)
        assert drain(single, 1) == [Start(folder="a")]

    def test_a_back_off_goes_on(self, single):
        """Trap A23. A group that is released before its back-off is over backs off on."""
        single.add_messages("a")
        drain(single)
        single.end("a", 0, retry_at=5, again=True)
        single.hold("a", Hold.CONTAINER)
        single.release("a", Hold.CONTAINER)
        assert drain(single, 4) == []
        assert drain(single, 5) == [Start(folder="a")]

    def test_longer_than_the_back_off(self, single):
        """A back-off that ended meanwhile keeps a released group no longer."""
        single.add_messages("a")
        drain(single)
        single.end("a", 0, retry_at=5, again=True)
        single.hold("a", Hold.CONTAINER)
        assert drain(single, 6) == []
        single.release("a", Hold.CONTAINER)
        assert drain(single, 6) == [Start(folder="a")]

    def test_without_work(self, single):
        """A group can be held before anything comes for it; it is forgotten when it is released."""
        single.hold("a", Hold.CONTAINER)
        single.hold("a", Hold.CONTAINER)
        single.add_messages("b")
        assert drain(single) == [Start(folder="b")]
        single.release("a", Hold.CONTAINER)
        single.release("a", Hold.CONTAINER)
        assert single.picture().held == ()

    def test_released_unheld(self, single):
        """Releasing what isn't held changes nothing, and no place in the line."""
        for folder in ("a", "b"):
            single.add_messages(folder)
        before = single.picture()
        single.release("a", Hold.CONTAINER)
        assert single.picture() == before


class TestLimit:
    def test_the_cap(self):
        """No more start than there are slots, and the next only when one is free."""
        queue = Queue()
        for number in range(8):
            queue.add_messages(f"g{number}")
        assert len(drain(queue)) == 5
        queue.end("g3", 1)
        assert drain(queue, 1) == [Start(folder="g5")]

    def test_raised(self, single):
        """A higher limit shows with the next start."""
        for folder in ("a", "b", "c"):
            single.add_messages(folder)
        drain(single)
        single.limit = 2
        assert single.limit == 2
        assert drain(single) == [Start(folder="b")]

    def test_lowered(self, double):
        """A lower limit ends no run by itself, starts none, and asks for room."""
        for folder in ("a", "b"):
            double.add_messages(folder)
        drain(double)
        double.add_messages("c")
        double.limit = 1
        assert folders(double.picture().running) == ["a", "b"]
        assert double.runs_to_yield() == ("a", "b")
        double.end("a", 1)
        assert drain(double, 1) == []
        double.end("b", 2)
        assert drain(double, 2) == [Start(folder="c")]

    @pytest.mark.parametrize("limit", [0, -1])
    def test_too_low(self, limit):
        """Without a slot nothing could ever run: the caller's fault, and the old limit stays."""
        with pytest.raises(InvalidLimit, match=f"limit of {limit} .* allow at least 1"):
            Queue(limit=limit)
        queue = Queue(limit=3)
        with pytest.raises(InputError) as caught:
            queue.limit = limit
        assert (caught.value.limit, queue.limit) == (limit, 3)


def running(limit, runs, line=(), tasks=()):
    """A queue in which these groups run: each with its task or None, and since when it is idle.

    They start one after the other; then those in `line` come, and tasks for those in `tasks`.
    """
    queue = Queue(limit=len(runs))
    for folder, (task, _) in runs.items():
        queue.add_messages(folder) if task is None else queue.add_task(folder, task)
    drain(queue)
    queue.limit = limit
    for folder, (_, idle_since) in runs.items():
        if idle_since is not None:
            queue.set_idle(folder, idle_since)
    for folder in line:
        queue.add_messages(folder)
    for folder in tasks:
        queue.add_task(folder, f"of {folder}")
    return queue


BUSY = (None, None)
TASK = ("t", None)

YIELDS = {
    "nobody waits": (running(2, {"a": BUSY, "b": (None, 1)}), ()),
    "a free slot": (running(3, {"a": BUSY, "b": (None, 1)}, line="x"), ()),
    "more wait than slots are free": (running(3, {"a": BUSY, "b": (None, 1)}, line="xy"), ("b",)),
    "the idle one": (running(2, {"a": BUSY, "b": (None, 1)}, line="x"), ("b",)),
    "the longest idle": (
        running(3, {"a": (None, 9), "b": (None, 4), "c": BUSY}, line="x"),
        ("b",),
    ),
    "the longest running": (running(2, {"a": BUSY, "b": BUSY}, line="x"), ("a",)),
    "idle, then running": (
        running(4, {"a": BUSY, "b": (None, 9), "c": BUSY, "d": (None, 4)}, line="xyz"),
        ("d", "b", "a"),
    ),
    "more than run": (running(2, {"a": BUSY, "b": BUSY}, line="xyz"), ("a", "b")),
    "for its own task": (running(3, {"a": BUSY, "b": BUSY}, tasks="b"), ("b",)),
    "idle, for its own task": (running(2, {"a": BUSY, "b": (None, 1)}, tasks="b"), ("b",)),
    "both reasons": (running(2, {"a": BUSY, "b": BUSY}, line="x", tasks="b"), ("a", "b")),
    "no run for a task": (running(2, {"a": TASK, "b": BUSY}, line="x"), ("b",)),
    "not for a task behind a task": (running(2, {"a": TASK, "b": BUSY}, tasks="a"), ()),
    "not an idle one for a task": (running(2, {"a": ("t", 1), "b": BUSY}, line="x"), ("b",)),
    "only runs for tasks": (running(1, {"a": TASK}, line="x"), ()),
    "a lower limit": (running(1, {"a": BUSY, "b": (None, 1), "c": BUSY}), ("b", "a")),
    "a lower limit and a line": (running(1, {"a": BUSY, "b": BUSY, "c": BUSY}, line="x"), "abc"),
}


@pytest.mark.parametrize(("queue", "expected"), YIELDS.values(), ids=YIELDS)
def test_runs_to_yield(queue, expected):
    """Conversations make room for who waits, idle ones first, and for tasks of their own group;
    asking changes nothing.
    """
    before = queue.picture()
    assert queue.runs_to_yield() == tuple(expected)
    assert queue.runs_to_yield() == tuple(expected)
    assert queue.picture() == before


class TestIdle:
    def test_since_the_first_time(self, single):
        """A run that is said to be idle twice is idle since the first time, until it is busy."""
        single.add_messages("a")
        drain(single, 1)
        single.set_idle("a", 2)
        single.set_idle("a", 3)
        (group,) = single.picture().running
        assert group.run == QueuedRun(task_id=None, started_at=1, idle_since=2)
        single.set_busy("a")
        single.set_busy("a")
        assert single.group("a").run == QueuedRun(task_id=None, started_at=1)
        single.set_idle("a", 4)
        assert single.group("a").run.idle_since == 4

    def test_the_next_run_is_busy(self, single):
        """A run begins with work."""
        single.add_messages("a")
        drain(single)
        single.set_idle("a", 1)
        single.add_messages("a")
        single.end("a", 2)
        drain(single, 2)
        assert single.group("a").run == QueuedRun(task_id=None, started_at=2)


CALLS = {
    "end": lambda queue: queue.end("a", 1),
    "end to be retried": lambda queue: queue.end("a", 1, retry_at=5, again=True),
    "set_idle": lambda queue: queue.set_idle("a", 1),
    "set_busy": lambda queue: queue.set_busy("a"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("state", ["unknown", "in line", "over", "held"])
def test_no_run(single, state, call):
    """A call for a run that never started or is over is the caller's mistake, and has no effect."""
    if state != "unknown":
        single.add_messages("a")
    if state == "over":
        drain(single)
        single.end("a", 1)
    if state == "held":
        single.hold("a", Hold.CONTAINER)
    before = single.picture()
    with pytest.raises(ValueError, match="group 'a' has no run that was started and hasn't ended"):
        call(single)
    assert single.picture() == before
    assert single.next_event(1) == math.inf


def test_picture(double):
    """The picture shows each group with work where it is, and what there is to do for it."""
    for folder in ("a", "b", "c", "d", "e"):
        double.add_messages(folder)
    double.start_next(1)
    double.end("a", 2, retry_at=7, again=True)
    drain(double, 3)
    double.add_task("d", "t")
    double.hold("e", Hold.CONTAINER)
    assert double.picture() == QueuePicture(
        limit=2,
        line=(QueuedGroup(folder="d", has_messages=True, tasks=("t",)),),
        running=(
            QueuedGroup(folder="b", run=QueuedRun(task_id=None, started_at=3)),
            QueuedGroup(folder="c", run=QueuedRun(task_id=None, started_at=3)),
        ),
        backing_off=(QueuedGroup(folder="a", has_messages=True, retry_at=7),),
        held=(QueuedGroup(folder="e", has_messages=True, holds=frozenset({Hold.CONTAINER})),),
    )


def test_what_is_over_leaves_nothing():
    """A thousand groups whose work is done take no room."""
    queue = Queue(limit=50)
    for number in range(1000):
        queue.add_messages(f"g{number}")
        queue.add_task(f"g{number}", f"t{number}")
    while starts := drain(queue):
        for start in starts:
            queue.end(start.folder, 0)
    assert not queue._groups
    assert not any(queue._folders.values())
    assert not queue._task_folders
    assert not queue._back_offs


def steps_of(call):
    """How many bytecode instructions a call takes, in whatever it calls."""
    steps = 0

    def trace(frame, event, argument):
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return steps


def crowd(size):
    """A queue with that many groups in line, as many behind a back-off, and a free slot."""
    queue = Queue(limit=size + 1)
    for number in range(size):
        queue.add_messages(f"retried {number}")
        queue.start_next(0)
        queue.end(f"retried {number}", 0, retry_at=size - number, again=True)
    queue.limit = 1
    for number in range(size):
        queue.add_messages(f"waiting {number}")
    return queue


@pytest.mark.parametrize(
    "call",
    [
        lambda queue: queue.start_next(0),
        lambda queue: queue.start_next(1),
        lambda queue: queue.add_messages("new"),
        lambda queue: queue.next_event(0),
        lambda queue: queue.runs_to_yield(),
    ],
    ids=["start", "start and back-off's end", "add", "next event", "runs to yield"],
)
def test_steps_do_not_grow_with_the_groups(call):
    """A thousand groups in line and a thousand behind back-offs cost no more steps than ten."""
    few, many = crowd(10), crowd(1000)
    assert steps_of(lambda: call(few)) == steps_of(lambda: call(many)) > 0


@pytest.mark.parametrize("module", [queue, queue_state, breaker, retry])
def test_without_trio(module):
    """These decisions are pure: their modules know neither Trio nor the time of day."""
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert not {name.partition(".")[0] for name in imported} & {"trio", "time", "datetime"}
