"""A command's world in memory, a project of its own, and a runtime of scripts."""

from __future__ import annotations

import io
import json
import signal

import pytest
import trio
import trio.testing
from attrs import evolve, field, frozen

from nanoclaw_trio.cli.options import Options
from nanoclaw_trio.cli.program import World
from nanoclaw_trio.cli.progress import Progress
from nanoclaw_trio.cli.signals import Interruption
from nanoclaw_trio.cli.startup import STOP_SIGNALS
from nanoclaw_trio.cli.streams import Streams
from nanoclaw_trio.environment import SECRET_VARIABLES
from nanoclaw_trio.protocol.models import ContainerOutput
from nanoclaw_trio.runtimes.choose import RuntimeChoice
from nanoclaw_trio.testing.fake import open_fake_runtime

GUARD = 60
"""Seconds after which a test gives up; it guards against a hang and measures nothing."""

SETTING_VARIABLES = (
    *SECRET_VARIABLES,
    *("CONTAINER_IMAGE", "CONTAINER_TIMEOUT", "IDLE_TIMEOUT", "LOG_LEVEL", "NANOCLAW_AGENT"),
    *("CONTAINER_STARTUP_TIMEOUT", "CONTAINER_MAX_LIFETIME", "CONTAINER_STOP_GRACE"),
)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    """No setting comes from whoever runs the tests."""
    for variable in SETTING_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def handlers():
    """Signal handlers are as they were afterwards."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def options(settings):
    """The options of a plain `run Hello` in an empty project."""
    return Options(
        prompt="Hello",
        input=None,
        project=settings.project_root,
        group=None,
        main=None,
        session=None,
        runtime="auto",
        image=None,
        agent=None,
        timeout=None,
        json=False,
    )


class RecordedProgress(Progress):
    """Remembers what it was told."""

    def __init__(self):
        super().__init__()
        self.told = []

    def doing(self, what, run=None):
        """Remember it."""
        super().doing(what, run)
        self.told.append(what)


@frozen
class Desk:
    """A world, and the other ends of its streams."""

    keyboard: trio.testing.MemorySendStream
    world: World
    stdout: trio.testing.MemorySendStream
    stderr: io.StringIO = field(factory=io.StringIO)

    def written(self):
        """Everything that was written on standard output since the last time."""
        try:
            return bytes(self.stdout.get_data_nowait()).decode()
        except trio.WouldBlock:
            return ""

    def records(self):
        """The same as JSON, a line each."""
        return [json.loads(line) for line in self.written().splitlines()]

    def said(self):
        """What the command itself said on standard error, line by line."""
        return [
            line.removeprefix("nanoclaw-trio: ") for line in self.stderr.getvalue().splitlines()
        ]


@pytest.fixture
def make_desk():
    """Make a desk; called within Trio. Keywords replace fields of its streams."""

    def make(**fields):
        keyboard, stdin = trio.testing.memory_stream_one_way_pair()
        stdout = trio.testing.MemorySendStream()
        stderr = io.StringIO()
        streams = evolve(Streams(stdin=stdin, stdout=stdout, stderr=stderr), **fields)
        progress = RecordedProgress()
        world = World(
            streams=streams,
            interruption=Interruption(streams.say, progress),
            progress=progress,
        )
        return Desk(keyboard, world, stdout, stderr)

    return make


@pytest.fixture
def until():
    """Wait until a condition holds that nothing but looking can tell."""

    async def wait(condition):
        with trio.fail_after(GUARD):
            while not condition():  # noqa: ASYNC110 - a file, or what was printed, sets no event
                await trio.sleep(0.01)

    return wait


@pytest.fixture
def choose():
    """A choice of runtime that always falls on this one."""

    def make(runtime, reason="it is the only one"):
        async def choose_it(_name, _settings):
            await trio.lowlevel.checkpoint()
            return RuntimeChoice(runtime=runtime, reason=reason)

        return choose_it

    return make


@pytest.fixture
def call(make_desk, choose):
    """Call a command whose containers run a script; its exit status and its desk."""

    async def call_it(
        command,
        options,
        script,
        *,
        keys=b"",
        before=(),
        use=None,
        leaves_containers=False,
        **fields,
    ):
        desk = make_desk(**fields)
        await desk.keyboard.send_all(keys)
        await desk.keyboard.aclose()
        async with open_fake_runtime(script) as runtime:
            runtime.before.update(before)
            if use is not None:
                use(runtime, desk)
            status = await command(options, desk.world, choose=choose(runtime))
            assert bool(runtime.containers) is leaves_containers
        return status, desk

    return call_it


def output(result, status="success", session="s1", error=None):
    """An output, in few words."""
    return ContainerOutput(status=status, result=result, new_session_id=session, error=error)


@pytest.fixture
def says():
    """A script that writes these outputs, and then does as it is told."""

    def make(*outputs, then=0, stderr=b""):
        async def script(container):
            await container.read_input()
            for each in outputs:
                await container.write_output(each)
            if stderr:
                await container.stderr.send_all(stderr)
            if then is None:
                await trio.sleep_forever()
            return then

        return script

    return make


@pytest.fixture
def outputs():
    """Outputs: outputs.answer(text), outputs.update(), outputs.error(text)."""

    class Outputs:
        @staticmethod
        def answer(text, session="s1"):
            return output(text, session=session)

        @staticmethod
        def update(session="s1"):
            return output(None, session=session)

        @staticmethod
        def error(text):
            return output(None, status="error", session=None, error=text)

    return Outputs
