"""After a run: the evidence that is gathered, and the log that changes nothing."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import pytest
import trio
import trio.testing
from attrs import evolve

from nanoclaw_trio.errors import GroupBusy, ImageMissing, RunClosing, RuntimeCommandFailed
from nanoclaw_trio.mailbox.writer import Mailbox
from nanoclaw_trio.run.assignment import Assignment
from nanoclaw_trio.run.conclusion import gather_evidence, make_record, settle
from nanoclaw_trio.run.follow_ups import FollowUps
from nanoclaw_trio.run.limits import FiredLimit, Limit, Limits, MovableDeadline
from nanoclaw_trio.run.outcome import Cause, Evidence, Verdict
from nanoclaw_trio.run.pipes import Pipes
from nanoclaw_trio.run.receipt import Gone
from nanoclaw_trio.runtimes.abc import ContainerSpec
from nanoclaw_trio.testing.fake import FakeRuntime, echo_agent
from nanoclaw_trio.workspace.claim import GroupClaim
from nanoclaw_trio.workspace.folders import GroupPaths
from nanoclaw_trio.workspace.prepare import Workspace
from nanoclaw_trio.workspace.secrets import Secrets

KEY = "sk-ant-api03-0123456789abcdef"
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
GONE = Gone(container="c1", evidence="no such container")
DONE = Verdict(cause=Cause.COMPLETED, status="success")
FAILED = Verdict(cause=Cause.AGENT_FAILED, status="error", error="Container exited with code 1: oh")
IDLE = FiredLimit(limit=Limit.ACTIVITY, seconds=1830)


class KnowingRuntime(FakeRuntime):
    """A runtime that knows why containers end, if told so; a function in place of that raises."""

    explanation = None
    description = "fake run c1"
    memory = None

    def describe(self, spec):
        """How a container is started."""
        return self.description if isinstance(self.description, str) else self.description()

    def explain_exit(self, spec, exit_code, stderr):
        """What stands behind an exit code."""
        self.asked = (spec.name, exit_code, stderr)
        return self.explanation() if callable(self.explanation) else self.explanation

    async def find_out_of_memory(self, name, since):
        """Whether it was for want of memory; a function to call for that."""
        await self.memory()
        return (name, since) == ("c1", 5.0)


@pytest.fixture
def runtime(nursery):
    """A runtime that nothing is started with."""
    runtime = KnowingRuntime(echo_agent, nursery)
    runtime.memory = trio.lowlevel.checkpoint
    return runtime


@pytest.fixture
def assignment(group, container_input, settings, runtime):
    """A run of that group."""
    paths = GroupPaths(project_root=settings.project_root, folder="family")
    paths.group_dir.mkdir(parents=True)
    return Assignment(
        group=group,
        container_input=container_input,
        settings=settings,
        runtime=runtime,
        workspace=Workspace(
            paths=paths,
            mounts=(),
            decisions=(),
            warnings=(),
            install_id="0" * 32,
            secrets=Secrets({"ANTHROPIC_API_KEY": KEY}),
        ),
        spec=ContainerSpec(name="c1", image="agent", memory=1024),
        streaming=True,
    )


def fail():
    """What a runtime of somebody else's may do."""
    raise LookupError("no such word")


@pytest.fixture
def claim(settings):
    """The group's claim, taken."""
    claim = GroupClaim(settings.project_root, "family", container="c1", moment=MOMENT)
    claim.take()
    yield claim
    claim.release()


@pytest.fixture
def rival(settings):
    """The claim of a run that comes second."""
    rival = GroupClaim(settings.project_root, "family", container="c2", moment=MOMENT)
    yield rival
    rival.release()


@pytest.fixture
def follow_ups(assignment):
    """The run's follow-ups."""
    return FollowUps(Mailbox(assignment.workspace.paths.ipc_dir), "c1")


def make_pipes(assignment):
    """Pipes of a run that nothing came through yet."""
    sender, _receiver = trio.open_memory_channel(0)
    return Pipes(assignment, MovableDeadline(Limits(activity=30)), sender)


async def gather(assignment, pipes=None, **known):
    """The evidence of a run of which this is known."""
    nothing = {"fired": None, "failure": None, "unclosable": None, "survived": False}
    known = {"exit_code": 0, **nothing, **known}
    return await gather_evidence(
        assignment, pipes or make_pipes(assignment), started_at=5.0, **known
    )


def record_of(assignment, verdict=DONE, *, pipes=None, timed_out=False, exit_code=0):
    """What the log of a run with this verdict is written from."""
    return make_record(
        assignment,
        pipes or make_pipes(assignment),
        verdict=verdict,
        receipt=GONE,
        exit_code=exit_code,
        duration=1.5,
        timed_out=timed_out,
    )


@pytest.fixture
def write(claim, follow_ups):
    """Write the log of a run with this verdict; its path."""

    async def write_it(assignment, verdict=DONE, **known):
        record = record_of(assignment, verdict, **known)
        return await settle(assignment, record, follow_ups=follow_ups, claim=claim)

    return write_it


class TestEvidence:
    async def test_of_a_run_that_went_well(self, virtual_clock, assignment, runtime):
        """Of a run that went well the runtime is asked nothing."""
        evidence = await gather(assignment)
        assert evidence == Evidence(
            heard=evidence.heard, streaming=True, exit_code=0, memory_limit=1024
        )
        assert not hasattr(runtime, "asked")

    async def test_of_a_failed_run(self, virtual_clock, assignment, runtime):
        """A failing exit is explained by the runtime, from the redacted end of standard error."""
        runtime.explanation = ImageMissing("agent", "fake", "build it")
        pipes = make_pipes(assignment)
        pipes.stderr.feed(f"no image, with {KEY}\n".encode())
        evidence = await gather(assignment, pipes, exit_code=125)
        assert runtime.asked == ("c1", 125, "no image, with [redacted]")
        assert evidence.failure is runtime.explanation
        assert evidence.out_of_memory
        assert evidence.stderr_tail == "no image, with [redacted]"

    @pytest.mark.parametrize(
        "known",
        [
            {"exit_code": 137, "fired": IDLE},
            {"exit_code": None, "failure": ImageMissing("agent", "fake", "build it")},
        ],
    )
    async def test_what_needs_no_explanation(self, virtual_clock, assignment, runtime, known):
        """What we ended ourselves, or what never started, needs no explanation of the runtime's."""
        runtime.explanation = ImageMissing("other", "fake", "build it")
        evidence = await gather(assignment, **known)
        assert evidence.failure is known.get("failure")
        assert not evidence.out_of_memory

    async def test_a_failure_that_is_known(self, virtual_clock, assignment, runtime):
        """What is known already is not asked for again."""
        failure = ImageMissing("agent", "fake", "build it")
        evidence = await gather(assignment, exit_code=125, failure=failure)
        assert evidence.failure is failure
        assert not hasattr(runtime, "asked")

    async def test_memory_is_not_known(self, virtual_clock, assignment, runtime):
        """A runtime that can't say whether it was for want of memory leaves that open."""

        async def refuse():
            await trio.lowlevel.checkpoint()
            raise RuntimeCommandFailed("fake events", "refuses")

        runtime.memory = refuse
        assert not (await gather(assignment, exit_code=137)).out_of_memory

    async def test_memory_takes_too_long(self, virtual_clock, assignment, runtime):
        """A runtime that doesn't say it in time leaves it open too."""
        runtime.memory = trio.sleep_forever
        assert not (await gather(assignment, exit_code=137)).out_of_memory
        assert trio.current_time() == assignment.settings.grace.command


class TestLog:
    async def test_it_is_written(self, virtual_clock, write, assignment):
        """The log is in the group's folder, named after the time, which follows Trio's clock."""
        await trio.sleep(60)
        path = await write(assignment)
        assert path.name == "container-2026-01-01T00-01-00-000Z.log"
        assert path.parent == assignment.workspace.paths.logs_dir
        text = path.read_text()
        assert "Duration: 1500ms\n" in text
        assert "Cause: completed\nGone: no such container\n" in text

    @pytest.mark.parametrize(
        ("level", "verdict", "full"),
        [
            ("info", DONE, False),
            ("warn", DONE, False),
            ("debug", DONE, True),
            ("trace", DONE, True),
            ("info", FAILED, True),
            ("error", FAILED, True),
            ("info", None, True),
        ],
    )
    async def test_how_much(self, virtual_clock, write, assignment, level, verdict, full):
        """Everything is in it at a verbose level, of a failed run, and of a cancelled one."""
        assignment = evolve(assignment, settings=evolve(assignment.settings, log_level=level))
        text = (await write(assignment, verdict)).read_text()
        assert ("=== Stdout ===" in text) is full
        assert ("=== Input Summary ===" in text) is not full
        assert ("Cause: cancelled\n" in text) is (verdict is None)

    async def test_of_a_timeout(self, virtual_clock, write, assignment):
        """A timeout's log says whether there had been output."""
        text = (await write(assignment, timed_out=True)).read_text()
        assert text.startswith("=== Container Run Log (TIMEOUT) ===\n")
        assert "Had Streaming Output: false\n" in text

    async def test_rotation(self, virtual_clock, write, assignment):
        """Trap A12. As many logs are kept as the settings say."""
        assignment = evolve(assignment, settings=evolve(assignment.settings, log_keep_files=2))
        paths = []
        for _ in range(4):
            paths.append(await write(assignment))
            await trio.sleep(1)
        assert sorted(assignment.workspace.paths.logs_dir.iterdir()) == paths[2:]

    async def test_it_is_redacted(self, virtual_clock, write, assignment):
        """Trap A12. What the agent said of a key is not in it."""
        pipes = make_pipes(assignment)
        pipes.stdout.feed(f"my key is {KEY}\n".encode())
        assert (
            "my key is [redacted]\n" in (await write(assignment, FAILED, pipes=pipes)).read_text()
        )

    @pytest.mark.parametrize("obstacle", ["no folder", "a file", "a link", "a file for all"])
    async def test_it_cannot_be_written(self, virtual_clock, write, assignment, capsys, obstacle):
        """Trap A11. A log that can't be written is a warning and no path, and nothing worse."""
        paths = assignment.workspace.paths
        match obstacle:
            case "no folder":
                paths.group_dir.rmdir()
            case "a file":
                paths.logs_dir.write_text("no directory")
            case "a link":
                paths.logs_dir.symlink_to("/etc")
            case "a file for all":
                paths.group_dir.rmdir()
                paths.groups_dir.rmdir()
                paths.groups_dir.write_text("no directory")
        assert await write(assignment) is None
        assert 'level=warning event="run log not written" container=c1' in capsys.readouterr().err


class TestRuntimesWords:
    """What somebody else's runtime raises about itself ends no run."""

    async def test_its_description(self, virtual_clock, write, assignment, runtime, capsys):
        """The log is written without the command line, and says why."""
        runtime.description = fail
        text = (await write(assignment, FAILED)).read_text()
        assert "=== Container Args ===\n(not known: LookupError: no such word)\n" in text
        logged = capsys.readouterr().err
        assert 'level=warning event="runtime failed to say" container=c1 runtime=fake' in logged
        assert 'what="how it is started"' in logged

    async def test_its_explanation(self, virtual_clock, assignment, runtime, capsys):
        """The exit status stands without an explanation."""
        runtime.explanation = fail
        evidence = await gather(assignment, exit_code=3)
        assert (evidence.exit_code, evidence.failure) == (3, None)
        assert 'what="why it ended" why="LookupError: no such word"' in capsys.readouterr().err

    async def test_memory(self, virtual_clock, assignment, runtime):
        """Whether it was for want of memory is left open."""

        async def fail_later():
            await trio.lowlevel.checkpoint()
            fail()

        runtime.memory = fail_later
        assert not (await gather(assignment, exit_code=3)).out_of_memory


class TestSettling:
    async def test_what_it_does(self, virtual_clock, assignment, claim, rival, follow_ups):
        """What no agent took is undelivered, the log is there, and the group is free."""
        await follow_ups.send("nobody took it")
        path = await settle(assignment, record_of(assignment), follow_ups=follow_ups, claim=claim)
        assert path.is_file()
        assert follow_ups.undelivered == ("nobody took it",)
        rival.take()

    async def test_a_claim_that_was_released(
        self, virtual_clock, assignment, claim, rival, follow_ups, capsys
    ):
        """Nothing is taken out of a mailbox that is another run's by now; the log is written."""
        await follow_ups.send("for the next run")
        claim.release()
        rival.take()
        record = record_of(assignment)
        assert await settle(assignment, record, follow_ups=follow_ups, claim=claim) is not None
        assert follow_ups.undelivered == ()
        assert await Mailbox(assignment.workspace.paths.ipc_dir).pending() == 1
        assert "follow-ups not taken back" in capsys.readouterr().err

    async def test_the_log_cannot_be_written(
        self, virtual_clock, assignment, claim, rival, follow_ups
    ):
        """Trap A11. Follow-ups are taken back, and the group is free, all the same."""
        await follow_ups.send("nobody took it")
        assignment.workspace.paths.logs_dir.write_text("no directory")
        record = record_of(assignment)
        assert await settle(assignment, record, follow_ups=follow_ups, claim=claim) is None
        assert follow_ups.undelivered == ("nobody took it",)
        rival.take()


class HangingDisk:
    """Doesn't answer until it is told to."""

    def __init__(self):
        self.asked = threading.Event()
        self.answers = threading.Event()

    def touch(self):
        self.asked.set()
        self.answers.wait()


class HangingMailbox(Mailbox):
    """A mailbox on such a disk, as far as these are concerned: `sweep`, `write`."""

    def __init__(self, ipc_dir, disk, **options):
        super().__init__(ipc_dir, **options)
        self.disk = disk
        self.hangs = None

    def sweep_into(self, offer):
        if self.hangs == "sweep":
            self.disk.touch()
        super().sweep_into(offer)

    def _write(self, name, content):
        if self.hangs == "write":
            self.disk.touch()
        super()._write(name, content)


class SlowSecrets(Secrets):
    """Hold the thread that writes the log."""

    __slots__ = ("disk",)

    def redact(self, text, **cuts):
        self.disk.touch()
        return super().redact(text, **cuts)


async def taken(claim):
    """Take a claim as soon as a thread that nobody waits for any more has released it."""
    while True:
        try:
            return await trio.to_thread.run_sync(claim.take)
        except GroupBusy:
            await trio.to_thread.run_sync(time.sleep, 0.001)


class TestDiskThatHangs:
    """On a clock that stands still until the disk is seen to hang."""

    @pytest.fixture
    def disk(self):
        """Such a disk; it answers in the end."""
        disk = HangingDisk()
        yield disk
        disk.answers.set()

    @pytest.fixture
    def mailbox(self, assignment, disk):
        """The group's mailbox."""
        return HangingMailbox(assignment.workspace.paths.ipc_dir, disk)

    @pytest.fixture
    def settle_impatiently(self, claim, mock_clock, disk):
        """Settle a run, and let the grace pass when its disk hangs; the log's path."""

        async def settle_it(assignment, follow_ups):
            paths = []

            async def do():
                record = record_of(assignment, FAILED)
                paths.append(await settle(assignment, record, follow_ups=follow_ups, claim=claim))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(do)
                await trio.to_thread.run_sync(disk.asked.wait)
                await trio.testing.wait_all_tasks_blocked()
                mock_clock.jump(assignment.settings.grace.log)
            return paths[0]

        return settle_it

    async def test_follow_ups_stay_and_the_group_is_taken(
        self, mock_clock, assignment, mailbox, disk, settle_impatiently, rival, capsys
    ):
        """The run goes on; its follow-ups lie in the mailbox, and no other run may begin until the
        disk has answered."""
        follow_ups = FollowUps(mailbox, "c1")
        await follow_ups.send("for the next run")
        mailbox.hangs = "sweep"
        assert await settle_impatiently(assignment, follow_ups) is None
        assert follow_ups.undelivered == ()
        logged = capsys.readouterr().err
        assert "follow-ups not taken back" in logged
        assert "the next run has what is left" in logged
        with pytest.raises(GroupBusy):
            rival.take()
        disk.answers.set()
        await taken(rival)
        assert await Mailbox(assignment.workspace.paths.ipc_dir).sweep() == ("for the next run",)

    async def test_a_follow_up_that_is_being_written(
        self, mock_clock, assignment, mailbox, disk, settle_impatiently, nursery, capsys
    ):
        """Nothing is taken back under the hands of who writes, as that would be left behind; the
        log is written."""
        follow_ups = FollowUps(mailbox, "c1")
        await follow_ups.send("first")
        mailbox.hangs = "write"
        nursery.start_soon(follow_ups.send, "second")
        await trio.to_thread.run_sync(disk.asked.wait)
        assert await settle_impatiently(assignment, follow_ups) is not None
        assert follow_ups.undelivered == ()
        assert "follow-ups not taken back" in capsys.readouterr().err
        disk.answers.set()

    async def test_a_close_that_hangs(self, mock_clock, assignment, claim, disk, rival):
        """Whoever asks an agent to end needn't wait for the disk: the stop ladder has other rungs.
        Until the disk answers the group is this run's, so that its `_close` ends no other."""
        mailbox = HangingMailbox(assignment.workspace.paths.ipc_dir, disk, using=claim.working)
        mailbox.hangs = "write"
        follow_ups = FollowUps(mailbox, "c1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow_ups.close)
            await trio.to_thread.run_sync(disk.asked.wait)
            nursery.cancel_scope.cancel()
        with pytest.raises(RunClosing):
            await follow_ups.send("late")
        claim.release()
        with pytest.raises(GroupBusy):
            rival.take()
        disk.answers.set()
        await taken(rival)
        assert (assignment.workspace.paths.ipc_dir / "input" / "_close").exists()

    async def test_the_log(
        self, mock_clock, assignment, disk, follow_ups, settle_impatiently, capsys
    ):
        """Trap A11. A log that isn't written in time is a warning, and no log; what was taken back
        by then is undelivered."""
        await follow_ups.send("nobody took it")
        secrets = SlowSecrets({})
        secrets.disk = disk
        slow = evolve(assignment, workspace=evolve(assignment.workspace, secrets=secrets))
        assert await settle_impatiently(slow, follow_ups) is None
        assert follow_ups.undelivered == ("nobody took it",)
        logged = capsys.readouterr().err
        assert "run log not written" in logged
        assert "the disk doesn't answer" in logged
        assert "follow-ups" not in logged


async def test_a_claim_whose_settling_was_never_begun(assignment, claim, rival, follow_ups):
    """Cut off before the visit to the disk, the run's claim is its opener's to release."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await settle(assignment, record_of(assignment), follow_ups=follow_ups, claim=claim)
    with pytest.raises(GroupBusy):
        rival.take()
    claim.release()
    rival.take()
