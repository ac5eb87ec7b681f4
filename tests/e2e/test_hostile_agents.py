"""Agents that do their worst, in real containers: each ends as it should, and nobody else notices.

By docker's socket, which is what a host takes first, and where it makes a difference by docker's
client, too.
"""

from __future__ import annotations

import os
import subprocess
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from attrs import evolve, field, frozen

from nanoclaw_trio.protocol.models import ContainerInput, RegisteredGroup
from nanoclaw_trio.run.open_run import open_run
from nanoclaw_trio.run.outcome import Cause, RunResult
from nanoclaw_trio.runtimes.abc import INSTALL_LABEL
from nanoclaw_trio.runtimes.choose import named_runtime
from nanoclaw_trio.settings import GracePeriods
from nanoclaw_trio.workspace.install import install_id

DOCKER_SOCKET = "/var/run/docker.sock"

GUARD = 180
"""Seconds; it guards against a hang and measures nothing."""

SILENCE = 15.0
"""Seconds after which an agent that says nothing is stopped; it has to have begun by then."""

MEBIBYTE = 1024 * 1024

FLAT = 48 * MEBIBYTE
"""Bytes by which this process may grow while more than two GiB come in."""

UNNOTICED = 5.0
"""Seconds between two answers of an agent that has nothing to do with all that, at most: so long as
to be no matter of a busy machine, and a third of what is taken for an agent that got stuck."""

HEAD = """
import errno, os, signal, subprocess, sys, time
from pathlib import Path

sys.stdin.read()
BEGUN = Path("begun")
BLOCK = b"x" * (1 << 20)

def answer(text):
    frame = '---NANOCLAW_OUTPUT_START---\\n{"status":"success","result":"%s","newSessionId":"s"}\\n'
    os.write(1, (frame % text + "---NANOCLAW_OUTPUT_END---\\n").encode())

def write_all(descriptor, data):
    while data:
        data = data[os.write(descriptor, data):]

def fill(path):
    # What came before the error stays.
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(BLOCK)
        except OSError as error:
            return errno.errorcode[error.errno]
"""

FORKS = """
while True:
    try:
        os.fork()
    except OSError:
        BEGUN.touch()
        time.sleep(0.1)
"""

FILLS_SHARED_MEMORY = """
answer(fill("/dev/shm/full"))
"""

IGNORES_SIGTERM = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
BEGUN.touch()
time.sleep(3600)
"""

CLOSES_STDOUT = """
os.close(1)
BEGUN.touch()
time.sleep(3600)
"""

MAKES_NOISE = """
for _ in range(512):
    write_all(1, BLOCK)
    write_all(2, BLOCK)
answer("done")
"""

NEVER_ENDS_A_FRAME = """
write_all(1, b"---NANOCLAW_OUTPUT_START---\\n")
for _ in range(64):
    write_all(1, BLOCK)
BEGUN.touch()
time.sleep(3600)
"""

EATS_MEMORY = """
kept = []
while True:
    kept.append(bytearray(BLOCK))
"""

# A tool of its own, say.
HAS_A_CHILD_EAT_MEMORY = f"""
eat = '''BLOCK = b"x" * (1 << 20){EATS_MEMORY}'''
killed = subprocess.run([sys.executable, "-c", eat]).returncode == -9
"""

FAILS_FOR_IT = HAS_A_CHILD_EAT_MEMORY + "sys.exit('a tool was killed' if killed else 0)"

GETS_OVER_IT = HAS_A_CHILD_EAT_MEMORY + "answer(killed)"


@frozen
class Ending:
    """How a hostile agent's run is to end.

    Attributes:
        cause: The run's cause.
        exit_code: Of the container.
        answers: What it got to say.
        words: What the error's text has in it.
        begins: Whether it says that it has begun.
        rejected_frames: How many frames were dropped.
        forgotten: The cause where the engine doesn't know of a want of memory: on a busy machine it
            hears of that when it has removed the container already, and drops it.
    """

    cause: Cause
    exit_code: int
    answers: tuple = ()
    words: tuple = ()
    begins: bool = False
    rejected_frames: int = 0
    forgotten: Cause | None = None

    def check(self, folder, answers, result):
        """Compare it with what a group's run came to."""
        print(f"{folder}: {result.duration:.1f} s, {result.error}")
        assert (folder, result.cause, result.exit_code) == (folder, self.cause, self.exit_code)
        assert answers == self.answers
        assert [word for word in self.words if word not in (result.error or "")] == []
        assert result.rejected_frames == self.rejected_frames
        assert result.gone


STOPPED = partial(Ending, Cause.TIMED_OUT, words=("timed out after 15000 ms (activity limit)",))
OUT_OF_MEMORY = ("out of memory", "CONTAINER_MEMORY=64M")
KILLED = Ending(Cause.OUT_OF_MEMORY, 137, words=OUT_OF_MEMORY, forgotten=Cause.KILLED_FROM_OUTSIDE)
FAILED = Ending(
    Cause.OUT_OF_MEMORY,
    1,
    words=("a tool was killed", *OUT_OF_MEMORY),
    forgotten=Cause.AGENT_FAILED,
)

AGENTS = {
    "forks": (FORKS, STOPPED(143, begins=True)),
    "fills-shared-memory": (FILLS_SHARED_MEMORY, Ending(Cause.COMPLETED, 0, ("ENOSPC",))),
    "ignores-sigterm": (IGNORES_SIGTERM, STOPPED(137, begins=True)),
    "closes-stdout": (CLOSES_STDOUT, STOPPED(143, begins=True)),
    "makes-noise": (MAKES_NOISE, Ending(Cause.COMPLETED, 0, ("done",))),
    "never-ends-a-frame": (NEVER_ENDS_A_FRAME, STOPPED(143, begins=True, rejected_frames=1)),
    "eats-memory": (EATS_MEMORY, KILLED),
    "fails-for-it": (FAILS_FOR_IT, FAILED),
    "gets-over-it": (GETS_OVER_IT, Ending(Cause.COMPLETED, 0, ("True",))),
}

LIMITS = {
    "makes-noise": {"container_timeout": float(GUARD), "cpus": None},
    "fills-shared-memory": {"memory": 256 * MEBIBYTE},
}


BY_CLIENT = ("forks", "closes-stdout", "makes-noise", "eats-memory")
"""Those that docker's client runs, too: it has pipes of its own, and words for how they end."""


@frozen
class Member:
    """A hostile group of the company: what its agent does, and by which runtime."""

    kind: str
    runtime: str = "docker-api"

    @property
    def folder(self):
        """Its folder."""
        return f"{self.kind}-by-{self.runtime}"

    @property
    def program(self):
        """What its agent runs."""
        return AGENTS[self.kind][0]

    @property
    def ending(self):
        """How that is to end."""
        return AGENTS[self.kind][1]


MEMBERS = (*map(Member, AGENTS), *(Member(kind, "docker") for kind in BY_CLIENT))


@frozen
class Company:
    """A project with hostile groups and a good one, and docker in two ways."""

    settings: object
    runtimes: dict

    def put_agent(self, folder, program):
        """Put a program in the place of a group's agent-runner."""
        package = (
            self.settings.project_root / f"data/sessions/{folder}/agent-runner-src/nanoclaw_agent"
        )
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(HEAD + program)

    def run(self, folder, runtime="docker-api", **changes):
        """A run of a group's agent."""
        request = ContainerInput(prompt="Hello", group_folder=folder, chat_jid="x", is_main=False)
        group = RegisteredGroup(name=folder, folder=folder)
        settings = evolve(self.settings, **changes)
        return open_run(group, request, settings=settings, runtime=self.runtimes[runtime])

    async def endure(self, member, ended):
        """Run a hostile agent to its end; adds its answers, its result and how that was to be."""
        limits, begun = LIMITS.get(member.kind, {}), time.time()
        async with self.run(member.folder, member.runtime, **limits) as run:
            answers = tuple([output.result async for output in run])
        ending = member.ending
        if run.result.cause is ending.forgotten:
            runtime = self.runtimes[member.runtime]
            if not await runtime.find_out_of_memory(run.result.container, begun):
                ending = evolve(ending, cause=ending.forgotten, words=())
        ended[member] = (answers, run.result, ending)

    def has_begun(self, folder):
        """Whether a hostile agent said that it has begun."""
        return (self.settings.project_root / "groups" / folder / "begun").exists()


@pytest.fixture
def company(settings, docker_engine, docker):
    """The project; no container of it is left in the end."""
    settings = evolve(
        settings,
        agent="echo",
        container_image="nanoclaw-echo:test",
        network="none",
        container_timeout=SILENCE,
        idle_timeout=None,
        memory=64 * MEBIBYTE,
        cpus=0.5,
        pids_limit=32,
        max_frame_bytes=MEBIBYTE,
        max_output_bytes=MEBIBYTE,
        grace=GracePeriods(close=0.2, stop=1.0),
    )
    if not Path(DOCKER_SOCKET).is_socket():
        pytest.skip("no local engine")
    names = ("docker-api", "docker")
    yield Company(settings, {name: named_runtime(name, settings) for name in names})
    docker_engine.remove_all(install_id(settings.project_root))


@frozen
class Talk:
    """A talk with a good agent, a message at a time, for as long as the others are at it.

    Attributes:
        sent: What was said to it.
        heard: What it said.
        times: When an output came.
    """

    sent: list = field(factory=lambda: ["Hello"])
    heard: list = field(factory=list)
    times: list = field(factory=list)

    async def hold(self, run, until):
        """Talk until that, and for the answer to what was said last."""
        async for output in run:
            self.times.append(trio.current_time())
            if output.result is not None:
                self.heard.append(output.result)
            elif until.is_set():
                await run.close()
            else:
                self.sent.append(str(len(self.sent)))
                await run.send_message(self.sent[-1])

    @property
    def longest_silence(self):
        """Seconds between two outputs, at most."""
        return max(later - earlier for earlier, later in pairwise(self.times))


async def test_all_at_once(company, watch_memory):
    """Nine hostile agents and four of them once more, beside a good one: each ends with its own
    cause, each answer of the good one comes, in order, soon and from one container, and this process
    doesn't grow with what the others write."""
    ended: dict[Member, tuple[tuple[str, ...], RunResult, Ending]] = {}
    talk, over = Talk(), trio.Event()
    for member in MEMBERS:
        company.put_agent(member.folder, member.program)
    grown = watch_memory()
    with trio.fail_after(GUARD):
        async with (
            company.run("good", memory=None, container_timeout=GUARD) as good,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(talk.hold, good, over)
            async with trio.open_nursery() as hostile:
                for member in MEMBERS:
                    hostile.start_soon(company.endure, member, ended)
            over.set()
    most = grown()
    silence = talk.longest_silence
    print(f"grown by {most / MEBIBYTE:.0f} MiB; {len(talk.heard)} answers, {silence:.1f} s apart")
    for member, (answers, result, ending) in ended.items():
        ending.check(member.folder, answers, result)
        assert company.has_begun(member.folder) or not ending.begins
    assert Cause.OUT_OF_MEMORY in {result.cause for _, result, _ in ended.values()}
    assert good.result.cause is Cause.COMPLETED
    assert talk.heard == [f"echo: {text}" for text in talk.sent]
    assert silence < UNNOTICED
    assert most < FLAT
    label = {INSTALL_LABEL: install_id(company.settings.project_root)}
    assert await company.runtimes["docker"].list(label) == ()


SMALL_DISK = 8 * MEBIBYTE


@pytest.fixture
def small_disk(tmp_path):
    """Put a small file system of its own in a directory's place; only root can mount one."""
    mounted = []

    def mount(path):
        path.mkdir(parents=True, exist_ok=True)
        options = f"size={SMALL_DISK},mode=0777"
        command = ["mount", "-t", "tmpfs", "-o", options, "nanoclaw-test", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"a file system can't be mounted here: {done.stderr.strip()}")
        mounted.append(path)

    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    yield mount
    for path in mounted:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


FILLS_ITS_DISK = """
answer(fill("full"))
"""


@pytest.mark.parametrize(
    ("place", "runtime"), [("groups/disk", "docker-api"), (".", "docker-api"), (".", "docker")]
)
async def test_full_disk(company, small_disk, place, runtime):
    """An agent that fills its group's disk, or the whole project's, has its answer heard all the
    same; what isn't there afterwards is the run log. With room again, the next run is as ever."""
    company.put_agent("disk", FILLS_ITS_DISK)
    small_disk(company.settings.project_root / place)
    if place == ".":
        company.put_agent("disk", FILLS_ITS_DISK)
    with trio.fail_after(GUARD):
        for _ in range(2):
            async with company.run("disk", runtime) as run:
                answers = [output.result async for output in run]
            result = run.result
            assert (answers, result.cause) == (["ENOSPC"], Cause.COMPLETED)
            assert result.gone
            assert result.log_path is None
            (company.settings.project_root / "groups/disk/full").unlink()
