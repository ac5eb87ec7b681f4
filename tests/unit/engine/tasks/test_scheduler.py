"""The scheduler on a virtual clock: what is offered, when, and whose it is while it runs."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import structlog
import structlog.testing
import trio
from attrs import evolve

from nanoclaw_trio.clock import VIRTUAL_EPOCH, utc_now
from nanoclaw_trio.engine.tasks.changes import next_run_after
from nanoclaw_trio.engine.tasks.schedule import first_run
from nanoclaw_trio.engine.tasks.scheduler import Scheduler, hold_lease, keep_lease
from nanoclaw_trio.run.host import this_process
from nanoclaw_trio.store import tasks
from nanoclaw_trio.store.database import StoreFailed, open_store
from nanoclaw_trio.store.models import Task, TaskRunStatus, TaskStatus

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR

OURS = "this-host:1:1"
THEIRS = "that-host:1:1"
DEAD = f"{socket.gethostname()}:999999999:1"

ONCE = Task(
    id="t1",
    folder="family",
    chat_jid="1@chat",
    prompt="Water the plants",
    schedule_type="once",
    schedule_value="2026-01-01T00:01:00",
    next_run=VIRTUAL_EPOCH + timedelta(minutes=1),
    created_at=VIRTUAL_EPOCH,
)


@pytest.fixture
async def store(settings):
    """An empty store."""
    async with open_store(settings.project_root) as store:
        yield store


def due_at(seconds, **changes):
    """The task that runs once, at a time on the virtual clock."""
    return evolve(ONCE, next_run=VIRTUAL_EPOCH + timedelta(seconds=seconds), **changes)


def recurring(schedule_type, schedule_value):
    """A task with a schedule in UTC, made as the virtual clock starts."""
    first = first_run(schedule_type, schedule_value, zone="UTC", now=VIRTUAL_EPOCH)
    return evolve(ONCE, schedule_type=schedule_type, schedule_value=schedule_value, next_run=first)


async def add(store, *new):
    for task in new:
        assert await store.transact(tasks.add, task)


class Host:
    """Runs what it is offered, one run of a task at a time, and notes when each began."""

    def __init__(self, store, owner=OURS, *, takes=0.0, sweep=60.0, lease=60.0):
        self.store = store
        self.owner = owner
        self.takes = takes
        self.lease = lease
        self.scheduler = Scheduler(store, sweep=sweep)
        self.runs = []
        self._busy = set()

    @asynccontextmanager
    async def working(self):
        """Within, its scheduler runs; then it ends in the middle of what it does."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self.scheduler.run, self._offer)
            yield
            self._nursery.cancel_scope.cancel()

    def _offer(self, task):
        if task.id not in self._busy:
            self._busy.add(task.id)
            self._nursery.start_soon(self._run, task)

    async def _run(self, task):
        claimed = await self.store.transact(
            tasks.claim, task.id, owner=self.owner, now=utc_now(), lease=self.lease, container="c1"
        )
        if claimed is not None:
            self.runs.append(trio.current_time())
            async with hold_lease(self.store, task.id, self.owner, lease=self.lease):
                await trio.sleep(self.takes)
            await self.store.transact(self._complete, claimed, utc_now())
        self._busy.discard(task.id)
        self.scheduler.nudge()

    def _complete(self, tx, claimed, now):
        following = next_run_after(tx, claimed, zone="UTC", now=now)
        tasks.complete(tx, claimed.id, self.owner, next_run=following)
        tasks.close_run(
            tx, claimed.id, "c1", status=TaskRunStatus.SUCCESS, ended_at=now, detail=None
        )


@pytest.mark.parametrize(
    ("kind", "value", "takes"),
    [("cron", "0 * * * *", 10 * MINUTE), ("interval", "3600000", 0)],
)
async def test_a_week_of_hours_has_168_runs_at_their_times(
    virtual_clock, store, kind, value, takes
):
    """Each hour has its run to the second, and a run that takes ten minutes moves none."""
    await add(store, recurring(kind, value))
    # Looked at seldom, so that it is the schedule that wakes it, and the test is quick.
    host = Host(store, takes=takes, sweep=DAY, lease=15 * MINUTE)
    async with host.working():
        await trio.sleep(7 * DAY + 30 * MINUTE)
    assert host.runs == [hour * HOUR for hour in range(1, 169)]


async def test_a_run_longer_than_its_interval_is_followed_by_one(virtual_clock, store):
    """What came due while a run went on is run once, at its end, and then on the old grid."""
    await add(store, recurring("interval", str(HOUR * 1000)))
    host = Host(store, takes=2.5 * HOUR, lease=HOUR)
    async with host.working():
        await trio.sleep(9 * HOUR)
    assert host.runs == [HOUR, 4 * HOUR, 7 * HOUR]


@pytest.mark.parametrize(("kind", "value"), [("cron", "0 9 * * *"), ("interval", "86400000")])
async def test_three_days_asleep_are_made_up_for_by_one_run(virtual_clock, store, kind, value):
    """A daily task that was missed three times runs once, and then at its own time again."""
    await add(store, recurring(kind, value))
    await trio.sleep(3 * DAY + 12 * HOUR)
    host = Host(store)
    async with host.working():
        await trio.sleep(DAY)
    own_time = 3 * DAY + 33 * HOUR if kind == "cron" else 4 * DAY
    assert host.runs == [3 * DAY + 12 * HOUR, own_time]


async def test_a_clock_that_jumps_is_noticed_within_a_sweep(virtual_clock, store):
    """A laptop that sleeps wakes up to what it missed within a minute, and runs it once."""
    await add(store, recurring("interval", str(DAY * 1000)))
    host = Host(store)
    async with host.working():
        await trio.sleep(1)
        virtual_clock.jump(3 * DAY)
        await trio.sleep(MINUTE)
        assert len(host.runs) == 1
        assert 3 * DAY < host.runs[0] <= 3 * DAY + MINUTE


async def test_tasks_come_at_their_own_times(virtual_clock, store):
    """Several tasks are offered each at its time, those of one time together, the longest due first."""
    await add(
        store,
        due_at(50, id="late"),
        due_at(10.25, id="early"),
        due_at(50, id="same", created_at=VIRTUAL_EPOCH + timedelta(seconds=1)),
        due_at(-100, id="missed"),
        due_at(-10, id="missed too"),
    )
    offered = []

    def offer(task):
        if task.id not in {known for known, _ in offered}:
            offered.append((task.id, trio.current_time()))

    with trio.move_on_after(100):
        await Scheduler(store).run(offer)
    assert offered == [
        ("missed", 0),
        ("missed too", 0),
        ("early", 10.25),
        ("late", 50),
        ("same", 50),
    ]


async def test_what_nobody_claims_is_offered_at_each_look(virtual_clock, store):
    """A due task keeps neither the others from their times nor the machine busy."""
    await add(store, due_at(0, id="stuck"), due_at(90, id="other"))
    offered = []
    with trio.move_on_after(200):
        await Scheduler(store).run(lambda task: offered.append((task.id, trio.current_time())))
    stuck = [("stuck", time) for time in (0, 60, 90, 150)]
    assert offered == sorted(
        [*stuck, ("other", 90), ("other", 150)], key=lambda it: (it[1], -len(it[0]))
    )


async def test_a_nudge_has_the_store_looked_at_now(virtual_clock, store):
    """A task that was added is offered at once after a nudge; without one, at the next sweep."""
    scheduler = Scheduler(store)
    offered = []

    def offer(task):
        offered.append((task.id, trio.current_time()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run, offer)
        await trio.sleep(7)
        await add(store, due_at(0, id="nudged"))
        scheduler.nudge()
        scheduler.nudge()
        await trio.sleep(1)
        assert offered == [("nudged", 7)]
        await store.transact(tasks.cancel, "nudged")
        await add(store, due_at(0, id="silent"))
        await trio.sleep(2 * MINUTE)
        nursery.cancel_scope.cancel()
    assert offered[1:] == [("silent", 67), ("silent", 127)]


async def test_a_nudge_while_the_store_is_asked_is_not_lost(virtual_clock, store):
    """A task that is added behind the scheduler's back is seen, whenever the nudge comes."""
    scheduler = Scheduler(store)
    offered = []

    def offer(task):
        offered.append(trio.current_time())
        # Between the look at the store and the sleep.
        if len(offered) < 3:
            scheduler.nudge()

    await add(store, due_at(0))
    with trio.move_on_after(10):
        await scheduler.run(offer)
    assert offered == [0, 0, 0]


async def test_paused_and_completed_tasks_are_not_offered(virtual_clock, store):
    """Only what is active runs."""
    await add(
        store,
        due_at(0, id="paused", status=TaskStatus.PAUSED),
        due_at(0, id="done", status=TaskStatus.COMPLETED),
        evolve(ONCE, id="never", next_run=None),
    )
    host = Host(store)
    async with host.working():
        await trio.sleep(10 * MINUTE)
    assert host.runs == []


async def test_what_runs_once_runs_once(virtual_clock, store):
    """A task of a single time is completed by its run, and known still."""
    await add(store, ONCE)
    host = Host(store, takes=5)
    async with host.working():
        await trio.sleep(DAY)
    assert host.runs == [MINUTE]
    done = await store.transact(tasks.get, "t1")
    assert (done.status, done.next_run) == (TaskStatus.COMPLETED, None)


async def test_two_hosts_on_one_store_run_nothing_twice(virtual_clock, store, settings):
    """Trap B1: two hosts on one project; whoever claims a task first has it for as long as it runs."""
    await add(store, recurring("interval", str(HOUR * 1000)))
    async with open_store(settings.project_root) as other_store:
        hosts = [Host(store, takes=5 * MINUTE), Host(other_store, THEIRS, takes=5 * MINUTE)]
        async with hosts[0].working(), hosts[1].working():
            await trio.sleep(DAY + 30 * MINUTE)
    assert sorted(hosts[0].runs + hosts[1].runs) == [hour * HOUR for hour in range(1, 25)]


async def test_a_crash_between_claim_and_completion_is_made_up_for(virtual_clock, store):
    """What a host that died had begun is run again at the next start, once."""
    await add(store, recurring("interval", str(HOUR * 1000)))
    crashed = Host(store, DEAD, takes=10 * MINUTE)
    async with crashed.working():
        await trio.sleep(HOUR + MINUTE)
    next_host = Host(store, takes=10 * MINUTE)
    async with next_host.working():
        await trio.sleep(1.5 * HOUR)
    assert crashed.runs == [HOUR]
    assert next_host.runs == [HOUR + MINUTE, 2 * HOUR]
    runs = await store.transact(tasks.runs, "t1", 10)
    assert [run.status for run in runs] == [
        TaskRunStatus.SUCCESS,
        TaskRunStatus.SUCCESS,
        TaskRunStatus.INTERRUPTED,
    ]


@pytest.mark.parametrize("owner", [this_process(), THEIRS], ids=["ours", "theirs"])
async def test_the_lease_of_a_living_owner_is_respected_until_it_ends(virtual_clock, store, owner):
    """A task that another host claimed and renews no more is run once its lease is over."""
    await add(store, due_at(0))
    now = utc_now()
    await store.transact(tasks.claim, "t1", owner=owner, now=now, lease=45.0, container="c0")
    host = Host(store)
    async with host.working():
        await trio.sleep(5 * MINUTE)
    assert host.runs == [45]


async def test_a_lease_is_kept_for_as_long_as_it_is_held(virtual_clock, store):
    """Renewed at each third of it, a lease outlasts itself; nobody is offered the task."""
    await add(store, due_at(0))
    await store.transact(tasks.claim, "t1", owner=OURS, now=utc_now(), lease=30.0, container="c1")
    offered = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Scheduler(store).run, lambda task: offered.append(trio.current_time()))
        async with hold_lease(store, "t1", OURS, lease=30.0):
            await trio.sleep(10 * MINUTE + 5)
        await trio.sleep(5 * MINUTE)
        nursery.cancel_scope.cancel()
    # The last renewal was at ten minutes.
    assert offered[0] == 10 * MINUTE + 30


@pytest.mark.parametrize("change", ["completed", "cancelled", "taken"])
async def test_a_lease_that_is_over_is_not_renewed(virtual_clock, store, change):
    """Keeping a lease ends with it; a task that another has is left to him."""
    await add(store, due_at(0))
    claim = partial(store.transact, tasks.claim, "t1", lease=30.0, container="c1")
    await claim(owner=OURS, now=utc_now())
    if change == "completed":
        await store.transact(tasks.complete, "t1", OURS, next_run=None)
    elif change == "cancelled":
        await store.transact(tasks.cancel, "t1")
    else:
        await trio.sleep(31)
        assert await claim(owner=THEIRS, now=utc_now()) is not None
    began = trio.current_time()
    await keep_lease(store, "t1", OURS, lease=30.0)
    assert trio.current_time() == began + 10
    if change == "taken":
        assert await claim(owner=OURS, now=utc_now()) is None


async def test_a_renewal_that_fails_is_logged_and_tried_again(virtual_clock, store, settings):
    """A disk that refuses for a while ends neither the run nor, in the end, the lease."""
    await add(store, due_at(0))
    await store.transact(tasks.claim, "t1", owner=OURS, now=utc_now(), lease=30.0, container="c1")
    failing = FailingStore(store, failures=1)
    with structlog.testing.capture_logs() as logs:
        async with hold_lease(failing, "t1", OURS, lease=30.0):
            await trio.sleep(25)
    assert [(entry["event"], entry["task"]) for entry in logs] == [("lease not renewed", "t1")]
    later = VIRTUAL_EPOCH + timedelta(seconds=45)
    assert await store.transact(tasks.due, later) == ()


class FailingStore:
    """A store whose disk is full for its first transactions."""

    def __init__(self, store, failures):
        self._store = store
        self._failures = failures

    async def transact(self, function, *args, **kwargs):
        if self._failures:
            self._failures -= 1
            raise StoreFailed("engine.db", "disk full", "free the disk")
        return await self._store.transact(function, *args, **kwargs)


async def test_an_exception_in_the_block_comes_out_as_it_is(virtual_clock, store):
    """What fails while a lease is held isn't wrapped in a group (Trap T4)."""
    with pytest.raises(KeyError):
        async with hold_lease(store, "t1", OURS):
            raise KeyError("mine")


async def test_a_store_that_fails_ends_the_scheduler_by_name(virtual_clock, store):
    """Whoever supervises the scheduler sees the store's own error, and may run it again."""
    await add(store, due_at(0))
    scheduler = Scheduler(FailingStore(store, failures=1))
    offered = []
    with pytest.raises(StoreFailed):
        await scheduler.run(offered.append)
    with trio.move_on_after(1):
        await scheduler.run(offered.append)
    assert [task.id for task in offered] == ["t1"]


async def test_the_wall_clock_is_what_counts_on_a_real_clock(settings):
    """Without a virtual clock a task is due by the system's time."""
    now = datetime.now(UTC)
    async with open_store(settings.project_root) as store:
        await add(
            store,
            evolve(ONCE, next_run=now),
            evolve(ONCE, id="t2", next_run=now + timedelta(days=1)),
        )
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                offered = []

                def offer(task):
                    offered.append(task.id)
                    nursery.cancel_scope.cancel()

                nursery.start_soon(Scheduler(store).run, offer)
    assert offered == ["t1"]
