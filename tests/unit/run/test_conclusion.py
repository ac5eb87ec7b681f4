"""After a run: the evidence that is gathered, and the log that changes nothing."""

from __future__ import annotations

import threading

import pytest
import structlog
import trio
from attrs import evolve

from nanoclaw_trio.errors import ImageMissing, RuntimeCommandFailed
from nanoclaw_trio.run.assignment import Assignment
from nanoclaw_trio.run.conclusion import gather_evidence, write_log
from nanoclaw_trio.run.limits import FiredLimit, Limit, Limits, MovableDeadline
from nanoclaw_trio.run.outcome import Cause, Evidence, Verdict
from nanoclaw_trio.run.pipes import Pipes
from nanoclaw_trio.run.receipt import Gone
from nanoclaw_trio.runtimes.abc import ContainerSpec
from nanoclaw_trio.settings import GracePeriods
from nanoclaw_trio.testing.fake import FakeRuntime, echo_agent
from nanoclaw_trio.workspace.folders import GroupPaths
from nanoclaw_trio.workspace.prepare import Workspace
from nanoclaw_trio.workspace.secrets import Secrets

KEY = "sk-ant-api03-0123456789abcdef"
GONE = Gone(container="c1", evidence="no such container")
DONE = Verdict(cause=Cause.COMPLETED, status="success")
FAILED = Verdict(cause=Cause.AGENT_FAILED, status="error", error="Container exited with code 1: oh")
IDLE = FiredLimit(limit=Limit.ACTIVITY, seconds=1830)


class KnowingRuntime(FakeRuntime):
    """A runtime that knows why containers end, if told so."""

    explanation = None
    memory = None

    def explain_exit(self, spec, exit_code, stderr):
        """What stands behind an exit code."""
        self.asked = (spec.name, exit_code, stderr)
        return self.explanation

    async def find_out_of_memory(self, name, since):
        """Whether it was for want of memory; a function to call for that."""
        await self.memory()
        return (name, since) == ("c1", 5.0)


@pytest.fixture(autouse=True)
def _structlog_as_imported():
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


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


def make_pipes(assignment):
    """Pipes of a run that nothing came through yet."""
    sender, _receiver = trio.open_memory_channel(0)
    return Pipes(assignment, MovableDeadline(Limits(activity=30)), sender)


async def gather(assignment, pipes=None, **known):
    """The evidence of a run of which this is known."""
    known = {"exit_code": 0, "fired": None, "failure": None, "survived": False, **known}
    return await gather_evidence(
        assignment, pipes or make_pipes(assignment), started_at=5.0, **known
    )


async def write(assignment, verdict=DONE, *, pipes=None, timed_out=False, exit_code=0):
    """Write the log of a run with this verdict; its path."""
    return await write_log(
        assignment,
        pipes or make_pipes(assignment),
        verdict=verdict,
        receipt=GONE,
        exit_code=exit_code,
        duration=1.5,
        timed_out=timed_out,
    )


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
    async def test_it_is_written(self, virtual_clock, assignment):
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
    async def test_how_much(self, virtual_clock, assignment, level, verdict, full):
        """Everything is in it at a verbose level, of a failed run, and of a cancelled one."""
        assignment = evolve(assignment, settings=evolve(assignment.settings, log_level=level))
        text = (await write(assignment, verdict)).read_text()
        assert ("=== Stdout ===" in text) is full
        assert ("=== Input Summary ===" in text) is not full
        assert ("Cause: cancelled\n" in text) is (verdict is None)

    async def test_of_a_timeout(self, virtual_clock, assignment):
        """A timeout's log says whether there had been output."""
        text = (await write(assignment, timed_out=True)).read_text()
        assert text.startswith("=== Container Run Log (TIMEOUT) ===\n")
        assert "Had Streaming Output: false\n" in text

    async def test_rotation(self, virtual_clock, assignment):
        """Trap A12. As many logs are kept as the settings say."""
        assignment = evolve(assignment, settings=evolve(assignment.settings, log_keep_files=2))
        paths = []
        for _ in range(4):
            paths.append(await write(assignment))
            await trio.sleep(1)
        assert sorted(assignment.workspace.paths.logs_dir.iterdir()) == paths[2:]

    async def test_it_is_redacted(self, virtual_clock, assignment):
        """Trap A12. What the agent said of a key is not in it."""
        pipes = make_pipes(assignment)
        pipes.stdout.feed(f"my key is {KEY}\n".encode())
        assert (
            "my key is [redacted]\n" in (await write(assignment, FAILED, pipes=pipes)).read_text()
        )

    @pytest.mark.parametrize("obstacle", ["no folder", "a file", "a link", "a file for all"])
    async def test_it_cannot_be_written(self, virtual_clock, assignment, capsys, obstacle):
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


class SlowSecrets(Secrets):
    """Hold the thread that writes the log, as a disk does that hangs."""

    __slots__ = ("answers",)

    def redact(self, text, **cuts):
        self.answers.wait()
        return super().redact(text, **cuts)


async def test_a_disk_that_hangs(assignment, capsys):
    """Trap A11. A log that isn't written in time is a warning, and no log."""
    secrets = SlowSecrets({})
    secrets.answers = threading.Event()
    slow = evolve(
        assignment,
        settings=evolve(assignment.settings, grace=GracePeriods(log=0.05)),
        workspace=evolve(assignment.workspace, secrets=secrets),
    )
    with trio.fail_after(60):
        assert await write(slow, FAILED) is None
    secrets.answers.set()
    assert "the disk doesn't answer" in capsys.readouterr().err
