"""Tasks: when they are due, whose they are, and how their runs went."""

from __future__ import annotations

import pytest
from attrs import evolve

from nanoclaw_trio.store import tasks
from nanoclaw_trio.store.models import TaskRun, TaskRunStatus, TaskStatus


@pytest.fixture
def claim(call, make):
    """Claims the task at a second, for ten seconds."""

    def claim(owner="host:1", seconds=0, container="c1", id_="t1"):
        return call(
            tasks.claim,
            id_,
            owner=owner,
            now=make.moment(seconds),
            lease=10.0,
            container=container,
        )

    return claim


@pytest.fixture
def added(call, make):
    """A task that is due at second 0."""
    task = make.task()
    assert call(tasks.add, task)
    return task


@pytest.fixture
def statuses(call):
    """How the runs of the task ended, the newest first."""
    return lambda: [run.status.value for run in call(tasks.runs, "t1", 10)]


class TestKeeping:
    def test_all_of_it(self, call, make):
        """A task comes back whole; its id is taken once."""
        task = make.task(
            schedule_type="cron",
            schedule_value="0 9 * * 1-5",
            context_mode="group",
            status=TaskStatus.PAUSED,
            next_run=None,
            attempts=3,
        )
        assert call(tasks.add, task) is True
        assert call(tasks.add, make.task()) is False
        assert call(tasks.get, "t1") == task
        assert call(tasks.get, "t2") is None

    def test_order(self, call, make):
        """They come by the time they are due, those never due at the end; a group's by itself."""
        for id_, folder, next_run in (
            ("a", "family", None),
            ("b", "friends", make.moment(2)),
            ("c", "family", make.moment(1)),
        ):
            call(tasks.add, make.task(id_, folder, next_run=next_run))
        assert [task.id for task in call(tasks.tasks)] == ["c", "b", "a"]
        assert [task.id for task in call(tasks.tasks, "family")] == ["c", "a"]

    def test_cancelled(self, call, added, claim, make):
        """A task that was cancelled is gone, and its run is told of and can still end."""
        claim()
        assert call(tasks.cancel, "t1") is True
        assert call(tasks.cancel, "t1") is False
        assert call(tasks.get, "t1") is None
        ended = make.moment(1)
        assert not call(tasks.release, "t1", "host:1", failed=True, ended_at=ended, detail="x")
        (run,) = call(tasks.runs, "t1", 10)
        assert (run.status, run.ended_at, run.detail) == (TaskRunStatus.ERROR, ended, "x")


class TestUpdating:
    @pytest.mark.parametrize(
        ("changes", "attempts"),
        [
            ({"prompt": "feed the cat"}, 2),
            ({"status": TaskStatus.PAUSED}, 2),
            ({"chat_jid": "other@test", "context_mode": "group"}, 2),
            ({"schedule_value": "1000"}, 0),
            ({"schedule_type": "once", "schedule_value": "2026-02-01T15:30:00"}, 0),
            ({"next_run": None}, 0),
            ({"next_run": None, "attempts": 7}, 7),
            ({}, 2),
        ],
    )
    def test_what_is_named(self, call, make, changes, attempts):
        """What is named is changed, and nothing else; another time has no attempts yet."""
        task = make.task(attempts=2)
        call(tasks.add, task)
        assert call(tasks.update, "t1", **changes) is True
        assert call(tasks.get, "t1") == evolve(task, **{"attempts": attempts, **changes})

    def test_no_such_task(self, call):
        """Whether there was one is said."""
        assert call(tasks.update, "t1", prompt="x") is False

    @pytest.mark.parametrize("name", ["id", "folder", "lease_owner", "prompt = '', id"])
    def test_no_such_field(self, call, added, name):
        """Only a task's own fields can be changed, and nothing gets into a statement."""
        with pytest.raises(TypeError, match="can't be changed"):
            call(tasks.update, "t1", **{"prompt": "x", name: "y"})
        assert call(tasks.get, "t1") == added


class TestBeingDue:
    @pytest.mark.parametrize(
        ("fields", "is_due"),
        [
            ({"next_run": 0}, True),
            ({"next_run": -1}, True),
            ({"next_run": 0.001}, False),
            ({"next_run": None}, False),
            ({"next_run": 0, "status": TaskStatus.PAUSED}, False),
            ({"next_run": 0, "status": TaskStatus.COMPLETED}, False),
        ],
    )
    def test_when_it_is(self, call, make, claim, fields, is_due):
        """An active task whose time has come is due, can be claimed, and no other."""
        seconds = fields["next_run"]
        next_run = None if seconds is None else make.moment(seconds)
        task = make.task(**{**fields, "next_run": next_run})
        call(tasks.add, task)
        assert call(tasks.due, make.moment()) == ((task,) if is_due else ())
        assert claim() == (task if is_due else None)

    def test_order(self, call, make):
        """Those that wait longest come first."""
        for id_, seconds in (("a", -1), ("b", -3), ("c", -2), ("d", 5)):
            call(tasks.add, make.task(id_, next_run=make.moment(seconds)))
        assert [task.id for task in call(tasks.due, make.moment())] == ["b", "c", "a"]

    def test_next(self, call, make):
        """The next time is the earliest after now of an active task; what is due isn't next."""
        assert call(tasks.next_due, make.moment()) is None
        for id_, seconds, status in (
            ("a", 5, TaskStatus.ACTIVE),
            ("b", 3, TaskStatus.ACTIVE),
            ("c", 1, TaskStatus.PAUSED),
            ("d", 0, TaskStatus.ACTIVE),
        ):
            call(tasks.add, make.task(id_, next_run=make.moment(seconds), status=status))
        assert call(tasks.next_due, make.moment()) == make.moment(3)
        assert call(tasks.next_due, make.moment(3)) == make.moment(5)
        assert call(tasks.next_due, make.moment(5)) is None

    def test_next_of_a_leased_one(self, call, make, added, claim):
        """A task that somebody runs is due once more when the lease ends."""
        claim()
        assert call(tasks.next_due, make.moment(2)) == make.moment(10)
        call(tasks.add, make.task("t2", next_run=make.moment(5)))
        assert call(tasks.next_due, make.moment(2)) == make.moment(5)
        assert call(tasks.next_due, make.moment(10)) is None
        assert [task.id for task in call(tasks.due, make.moment(10))] == ["t1", "t2"]


class TestLeases:
    def test_one_at_a_time(self, call, make, added, claim, statuses):
        """While somebody has it, it isn't due, and nobody gets it, not even its owner."""
        assert claim() == added
        assert claim("host:2", 9.999) is None
        assert claim("host:1", 9.999) is None
        assert call(tasks.due, make.moment(9.999)) == ()
        assert call(tasks.due, make.moment(10)) == (added,)
        assert statuses() == ["running"]

    def test_after_it_has_ended(self, added, claim, statuses):
        """Somebody else gets it; the run that was left open is noted as interrupted."""
        claim()
        assert claim("host:2", 10, "c2") == added
        assert statuses() == ["running", "interrupted"]

    def test_renewed(self, call, make, added, claim):
        """Its owner keeps it by renewing, even late, as long as nobody took it."""
        claim()
        assert call(tasks.renew, "t1", "host:1", make.moment(8), 10.0)
        assert claim("host:2", 17) is None
        assert call(tasks.renew, "t1", "host:1", make.moment(30), 10.0)
        assert claim("host:2", 39) is None
        assert claim("host:2", 40) == added
        assert not call(tasks.renew, "t1", "host:1", make.moment(41), 10.0)
        assert not call(tasks.renew, "t9", "host:1", make.moment(41), 10.0)

    @pytest.mark.parametrize(
        ("failed", "attempts", "status"), [(True, 1, "error"), (False, 0, "interrupted")]
    )
    def test_released(self, call, make, added, claim, statuses, failed, attempts, status):
        """It is due for the same time again; only a failure is counted."""
        claim()
        ended = make.moment(1)
        assert call(tasks.release, "t1", "host:1", failed=failed, ended_at=ended, detail="why")
        assert call(tasks.due, ended) == (evolve(added, attempts=attempts),)
        assert statuses() == [status]
        assert claim("host:2", 1) is not None

    def test_completed(self, call, make, added, claim, statuses):
        """It is due at the next time, with no attempts; its run is open until it is closed."""
        call(tasks.update, "t1", attempts=2)
        claim()
        assert call(tasks.complete, "t1", "host:1", next_run=make.moment(60))
        assert call(tasks.get, "t1") == evolve(added, next_run=make.moment(60))
        assert statuses() == ["running"]
        ending = {"status": TaskRunStatus.SUCCESS, "ended_at": make.moment(5), "detail": "done"}
        call(tasks.close_run, "t1", "c1", **ending)
        ending = {"status": TaskRunStatus.ERROR, "ended_at": make.moment(6), "detail": None}
        call(tasks.close_run, "t1", "c1", **ending)
        assert call(tasks.runs, "t1", 10) == (
            TaskRun(
                task_id="t1",
                scheduled_for=make.moment(),
                started_at=make.moment(),
                ended_at=make.moment(5),
                status=TaskRunStatus.SUCCESS,
                container="c1",
                detail="done",
            ),
        )

    def test_completed_for_good(self, call, added, claim):
        """One that isn't due any more is completed."""
        claim()
        assert call(tasks.complete, "t1", "host:1", next_run=None)
        expected = evolve(added, next_run=None, status=TaskStatus.COMPLETED)
        assert call(tasks.get, "t1") == expected

    def test_how_many_are_kept(self, call, make, added, claim, monkeypatch):
        """Of a group's tasks that are done for good the latest are kept, besides the one that was done
        just now; those of others and those that are due are let be."""
        monkeypatch.setattr(tasks, "COMPLETED_KEPT", 2)
        for number in range(4):
            done = {"status": TaskStatus.COMPLETED, "next_run": None}
            call(tasks.add, make.task(f"d{number}", created_at=make.moment(number + 1), **done))
            call(tasks.add, make.task(f"o{number}", "other", **done))
        call(tasks.add, make.task("due"))
        claim()
        assert call(tasks.complete, "t1", "host:1", next_run=make.moment(60))
        assert len(call(tasks.tasks, "family")) == 6
        claim("host:1", 60, "c2")
        assert call(tasks.complete, "t1", "host:1", next_run=None)
        known = [task.id for task in call(tasks.tasks, "family")]
        assert sorted(known) == ["d2", "d3", "due", "t1"]
        assert len(call(tasks.tasks, "other")) == 4

    def test_paused_meanwhile(self, call, make, added, claim):
        """A task that was paused while it ran stays paused."""
        claim()
        call(tasks.update, "t1", status=TaskStatus.PAUSED)
        assert call(tasks.complete, "t1", "host:1", next_run=make.moment(60))
        assert call(tasks.get, "t1").status is TaskStatus.PAUSED

    def test_a_former_owner(self, call, make, added, claim, statuses):
        """Whoever lost the lease can neither complete nor release it."""
        claim()
        claim("host:2", 10, "c2")
        later = make.moment(11)
        assert not call(tasks.complete, "t1", "host:1", next_run=later)
        assert not call(tasks.release, "t1", "host:1", failed=True, ended_at=later, detail="x")
        assert call(tasks.get, "t1") == added
        assert call(tasks.due, later) == ()
        assert statuses() == ["running", "interrupted"]

    def test_of_the_dead(self, call, make, claim, statuses):
        """What dead owners had is due again, uncounted, and their runs are interrupted."""
        for id_, owner in (("t1", "dead"), ("t2", "alive"), ("t3", "dead"), ("t4", "dead")):
            call(tasks.add, make.task(id_))
            claim(owner, 0, f"c-{id_}", id_)
        call(tasks.cancel, "t3")
        call(tasks.complete, "t4", "dead", next_run=make.moment(60))
        call(tasks.add, make.task("t5"))
        claim("dead", 0, "c-t5", "t5")
        call(tasks.complete, "t5", "dead", next_run=make.moment(60))
        ending = {"status": TaskRunStatus.SUCCESS, "ended_at": make.moment(), "detail": None}
        call(tasks.close_run, "t5", "c-t5", **ending)
        found = call(tasks.interrupt_dead, lambda owner: owner == "alive", make.moment(1))
        assert found == ("t1",)
        assert call(tasks.due, make.moment(1)) == (make.task("t1"),)
        ended = {id_: call(tasks.runs, id_, 1)[0] for id_ in ("t1", "t2", "t3", "t4", "t5")}
        assert {id_: run.status.value for id_, run in ended.items()} == {
            "t1": "interrupted",
            "t2": "running",
            "t3": "interrupted",
            "t4": "interrupted",
            "t5": "success",
        }
        assert ended["t1"].ended_at == make.moment(1)


def test_history(call, make, claim):
    """The newest runs come first, and no more than asked for; old ones are forgotten."""
    call(tasks.add, make.task())
    for second in range(5):
        claim(seconds=second, container=f"c{second}")
        ended = make.moment(second)
        call(tasks.release, "t1", "host:1", failed=False, ended_at=ended, detail=None)
    claim(seconds=5, container="c5")
    assert [run.container for run in call(tasks.runs, "t1", 2)] == ["c5", "c4"]
    assert call(tasks.forget_old, make.moment(3)) == 3
    assert [run.container for run in call(tasks.runs, "t1", 9)] == ["c5", "c4", "c3"]
