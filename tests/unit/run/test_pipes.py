"""What is read from a container, and what of it is logged."""

from __future__ import annotations

import pytest
import structlog
import trio
import trio.testing
from attrs import evolve

from nanoclaw_trio.protocol.frames import END_MARKER, START_MARKER
from nanoclaw_trio.run.assignment import Assignment
from nanoclaw_trio.run.limits import Limits, MovableDeadline
from nanoclaw_trio.run.outcome import STDERR_EXCERPT
from nanoclaw_trio.run.outputs import REJECTIONS_LOGGED
from nanoclaw_trio.run.pipes import Pipes
from nanoclaw_trio.runtimes.abc import Container, ContainerSpec
from nanoclaw_trio.testing.fake import FakeRuntime, echo_agent
from nanoclaw_trio.workspace.folders import GroupPaths
from nanoclaw_trio.workspace.prepare import Workspace
from nanoclaw_trio.workspace.secrets import Secrets

KEY = "sk-ant-api03-0123456789abcdef"


class OpenContainer(Container):
    """A container of which only the streams are there."""

    def __init__(self):
        self.name = "c1"
        self.stdin, self.their_stdin = trio.testing.memory_stream_one_way_pair()
        self.their_stdout, self.stdout = trio.testing.memory_stream_one_way_pair()
        self.their_stderr, self.stderr = trio.testing.memory_stream_one_way_pair()

    async def wait(self):
        """Goes on for ever."""
        await trio.sleep_forever()

    async def aclose(self):
        """Nothing to let go of."""


@pytest.fixture
def logged():
    """Everything that is logged, at any level."""
    capturing = structlog.testing.CapturingLoggerFactory()
    structlog.configure(processors=[], logger_factory=capturing)
    return capturing.logger.calls


@pytest.fixture
def make_pipes(group, container_input, settings, nursery):
    """The pipes of a run with this log level."""

    def make(level="info", *, secrets=(("ANTHROPIC_API_KEY", KEY),), streaming=True, **changes):
        paths = GroupPaths(project_root=settings.project_root, folder="family")
        assignment = Assignment(
            group=group,
            container_input=container_input,
            settings=evolve(settings, log_level=level, **changes),
            runtime=FakeRuntime(echo_agent, nursery),
            workspace=Workspace(
                paths=paths,
                mounts=(),
                decisions=(),
                warnings=(),
                install_id="0" * 32,
                secrets=Secrets(dict(secrets)),
            ),
            spec=ContainerSpec(name="c1", image="agent"),
            streaming=streaming,
        )
        sender, _receiver = trio.open_memory_channel(0)
        return Pipes(assignment, MovableDeadline(Limits(activity=30)), sender)

    return make


@pytest.fixture
def container():
    """A container with open streams."""
    return OpenContainer()


async def test_the_input_and_its_end(virtual_clock, make_pipes, container):
    """Trap A17. The agent's input has the secrets, and then ends."""
    await make_pipes().write_input(container)
    content = b"".join([bytes(chunk) async for chunk in container.their_stdin])
    assert b'"prompt":"Hello"' in content.replace(b": ", b":")
    assert KEY.encode() in content


async def test_a_lease_is_held(virtual_clock, make_pipes, container):
    """Where standard input is a lease, the input is one line, and no end follows it."""
    container.holds_stdin = True
    await make_pipes().write_input(container)
    content = await container.their_stdin.receive_some()
    assert content.endswith(b"}\n")
    assert content.count(b"\n") == 1
    with trio.move_on_after(3600) as waiting:
        await container.their_stdin.receive_some()
    assert waiting.cancelled_caught


async def test_an_input_that_nobody_reads(virtual_clock, make_pipes, container, logged):
    """Trap A1. An agent that closed its input is an event for the log, not an exception."""
    await container.their_stdin.aclose()
    await make_pipes().write_input(container)
    (call,) = logged
    assert call.kwargs == {"event": "input not read", "container": "c1"}


async def write_stderr(container, *chunks):
    """Write standard error as the agent does, and end it."""
    for chunk in chunks:
        await container.their_stderr.send_all(chunk)
        await trio.testing.wait_all_tasks_blocked()
    await container.their_stderr.aclose()


@pytest.mark.parametrize("level", ["trace", "debug", "info", "error"])
async def test_lines_of_standard_error(
    virtual_clock, make_pipes, container, nursery, logged, level
):
    """Trap A2. Standard error is logged by redacted lines where asked for, and always kept."""
    pipes = make_pipes(level)
    deadline = pipes._deadline.when
    text = f"Grüße\nwith {KEY}\nlast".encode()
    nursery.start_soon(write_stderr, container, text[:3], text[3:20], text[20:])
    await trio.sleep(1)
    await pipes.read_stderr(container)
    lines = [call.kwargs.get("line") for call in logged]
    assert lines == (["Grüße", "with [redacted]", "last"] if level in {"trace", "debug"} else [])
    assert {call.method_name for call in logged} <= {"debug"}
    assert pipes.stderr.text(Secrets({})) == text.decode()
    assert pipes._deadline.when == deadline


async def test_a_key_at_the_end_of_a_long_line(
    virtual_clock, make_pipes, container, nursery, logged
):
    """No part of a key is logged where a long line was cut."""
    pipes = make_pipes("debug")
    line = b"x" * (8 * 1024 - 15) + KEY.encode() + b"x" * 100
    nursery.start_soon(write_stderr, container, line)
    await pipes.read_stderr(container)
    assert logged[0].kwargs["line"].strip("x") == "[redacted]"


@pytest.mark.parametrize(
    ("written", "excerpt"),
    [
        ("", ""),
        ("it broke\n", "it broke"),
        (f"{KEY} is wrong\n", "[redacted] is wrong"),
        (f"{KEY}\n" * 500, ("[redacted]\n" * 50).strip()[-STDERR_EXCERPT:]),
    ],
)
async def test_the_excerpt(virtual_clock, make_pipes, written, excerpt):
    """An error's text has the end of standard error, without a key or a part of one."""
    pipes = make_pipes()
    pipes.stderr.feed(written.encode())
    assert pipes.stderr_excerpt() == excerpt


@pytest.mark.parametrize("noise", range(0, 1000, 7))
async def test_no_part_of_a_key_is_in_the_excerpt(make_pipes, noise):
    """An excerpt begins with no part of a key, even if redaction makes all the rest short."""
    pipes = make_pipes(secrets=[("ANTHROPIC_API_KEY", KEY), ("ANTHROPIC_BASE_URL", "u" * 300)])
    pipes.stderr.feed(f"{KEY}{'u' * 600}{'.' * noise}{KEY}{'u' * 900}".encode())
    excerpt = pipes.stderr_excerpt()
    assert not any(KEY[start : start + 4] in excerpt for start in range(len(KEY) - 3))
    assert "uu" not in excerpt


class Once(trio.abc.ReceiveStream):
    """A pipe with one full read in it."""

    def __init__(self, chunk):
        self.chunks = [chunk, b""]

    async def receive_some(self, max_bytes=None):
        """Called for each chunk."""
        await trio.lowlevel.checkpoint()
        return self.chunks.pop(0)

    async def aclose(self):
        """Called at the end."""


START, END = START_MARKER + b"\n", END_MARKER + b"\n"
PIECES = {
    "restarted": START,
    "rejected": START + END,
    "not streamed": START + b'{"status":"success","result":null}\n' + END,
    "lines of standard error": b"a\n",
}


@pytest.mark.parametrize("kind", PIECES)
async def test_a_chunk_lets_others_go_on(make_pipes, container, nursery, logged, kind):
    """Others have a turn for each thing that one chunk is full of."""
    pipes = make_pipes("debug", streaming=False)
    read = pipes.read_stderr if kind.startswith("lines") else pipes.read_stdout
    container.stdout = container.stderr = Once(PIECES[kind] * 2000)
    turns = 0

    async def other():
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    nursery.start_soon(other)
    await read(container)
    nursery.cancel_scope.cancel()
    assert turns >= 1999


async def test_a_flood_of_what_is_rejected(make_pipes, container, logged):
    """An agent fills no log with what it writes: so many are told, and all are counted."""
    pipes = make_pipes()
    container.stdout = Once((START + END) * 5000)
    await pipes.read_stdout(container)
    assert pipes.reader.rejected == 5000
    assert len(logged) == REJECTIONS_LOGGED + 1
    assert logged[-1].kwargs["event"] == "further ones are counted only"
