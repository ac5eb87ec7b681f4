"""Child processes, with real ones."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from nanoclaw_trio.errors import RuntimeCommandFailed
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.runtimes.process import (
    COMMAND_OUTPUT_LIMIT,
    FIRST_READ,
    LARGEST_READ,
    PIPE_DRAIN_BOUND,
    ChildProcess,
    GrowingPipe,
    command_line,
    run_command,
)

ENVIRONMENT = {"PATH": os.environ["PATH"]}
GUARD = 30.0


def shell(script):
    """A shell that runs a script."""
    return ChildProcess(["sh", "-c", script], ENVIRONMENT)


def open_descriptors():
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def read_all(stream):
    """Everything up to its end."""
    return b"".join([chunk async for chunk in stream])


def is_running(pid):
    """Whether there is a process with this id that isn't dead."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def until(condition, *arguments):
    """Wait for what another process does."""
    while not condition(*arguments):  # noqa: ASYNC110 - no process sets an event in this one
        await trio.sleep(0.01)


async def test_streams_and_status():
    """A child hears standard input, is heard on both outputs, and its exit status is told."""
    with trio.fail_after(GUARD):
        child = shell("cat; echo complaint >&2; exit 7")
        await child.stdin.send_all(b"question")
        await child.stdin.aclose()
        assert await read_all(child.stdout) == b"question"
        assert await read_all(child.stderr) == b"complaint\n"
        assert await child.wait() == 7
        assert await child.wait() == 7
        await child.aclose()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_status_of_a_signal(number):
    """An end by a signal N is told as 128 + N, as a shell does."""
    with trio.fail_after(GUARD):
        child = shell(f"kill -{int(number)} $$")
        assert await child.wait() == 128 + number
        await child.aclose()


async def test_several_tasks_wait():
    """Any number of tasks may wait for one child, and the one that came first may give up."""
    with trio.fail_after(GUARD):
        child = shell("read line; exit 3")
        found = []

        async def wait():
            found.append(await child.wait())

        impatient = trio.CancelScope()

        async def wait_impatiently():
            with impatient:
                await wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_impatiently)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(wait)
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            impatient.cancel()
            await trio.testing.wait_all_tasks_blocked()
            await child.stdin.send_all(b"\n")
        assert found == [3, 3]
        await child.aclose()


async def test_own_session():
    """Trap T6. A child leads a session and a process group of its own, so that Ctrl-C reaches us first."""
    with trio.fail_after(GUARD):
        child = shell("read line")
        assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid != os.getsid(0)
        await child.aclose()


async def test_environment_is_what_was_given():
    """A child has no variable that it was not given."""
    with trio.fail_after(GUARD):
        child = ChildProcess([sys.executable, "-c", "import os; print(*os.environ)"], {"ONLY": "1"})
        assert b"PATH" not in await read_all(child.stdout)
        await child.aclose()


async def test_aclose_kills_the_whole_group():
    """Letting go of a child that runs ends it and its own children."""
    with trio.fail_after(GUARD):
        child = shell("sleep 600 & echo $!; wait")
        grandchild = int(await child.stdout.receive_some())
        await child.aclose()
        assert child.exit_code == 128 + signal.SIGKILL
        await until(lambda: not is_running(grandchild))


async def test_aclose_when_cancelled():
    """Trap T1. A cancellation doesn't keep a child from being ended and reaped."""
    with trio.fail_after(GUARD):
        child = shell("sleep 600")
        with trio.CancelScope() as scope:
            scope.cancel()
            await child.aclose()
        assert child.exit_code == 128 + signal.SIGKILL


async def test_kill_after_the_end():
    """Killing a child that was reaped does nothing: its number may be another's by now."""
    with trio.fail_after(GUARD):
        child = shell("exit 0")
        assert await child.wait() == 0
        child.kill()
        assert child.exit_code == 0
        await child.aclose()


async def test_broken_stdin():
    """Writing to a child that doesn't read is an error of that stream, and of nothing else.

    Trap A1.
    """
    with trio.fail_after(GUARD):
        child = shell("exec 0<&-; echo closed; read line <&1")
        await child.stdout.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await child.stdin.send_all(b"x" * 10_000_000)
        await child.aclose()


async def test_leaves_no_descriptor():
    """Starting, reading, waiting and letting go leaves no descriptor open."""
    with trio.fail_after(GUARD):
        before = open_descriptors()
        for _ in range(3):
            child = shell("echo x")
            await read_all(child.stdout)
            await child.wait()
            await child.aclose()
        assert open_descriptors() == before


async def test_a_descriptor_to_inherit():
    """A child has the descriptors that it is to inherit, by their numbers; they stay open here."""
    reading, writing = os.pipe()
    os.write(writing, b"inherited")
    os.close(writing)
    argv = [sys.executable, "-c", f"import os; print(os.read({reading}, 4).decode())"]
    with trio.fail_after(GUARD):
        child = ChildProcess(argv, ENVIRONMENT, inherited=(reading,))
        assert await read_all(child.stdout) == b"inhe\n"
        await child.aclose()
        result = await run_command(argv, ENVIRONMENT, bound=GUARD, inherited=(reading,))
    assert (result.stdout, result.stderr) == ("rite\n", "")
    assert not os.get_inheritable(reading)
    os.close(reading)


def test_failed_start_leaves_no_descriptor():
    """A program that can't be started leaves no descriptor open."""
    before = open_descriptors()
    with pytest.raises(FileNotFoundError):
        ChildProcess(["/nonexistent/program"], ENVIRONMENT)
    assert open_descriptors() == before


@pytest.mark.parametrize("leaving", [0, 1, 2, 3, 4, 5])
def test_start_without_descriptors_leaves_none(no_free_descriptor, leaving):
    """When descriptors run out half way, those that were opened are closed again."""
    before = open_descriptors()
    free = no_free_descriptor(leaving)
    with pytest.raises(OSError, match="Too many open files"):
        ChildProcess(["true"], ENVIRONMENT)
    free()
    assert open_descriptors() == before


@pytest.fixture
def no_word_of_children():
    """The kernel is told to forget how this process's children end."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.mark.usefixtures("no_word_of_children")
async def test_no_start_without_word_of_its_end():
    """Where nobody would learn how a child ended, none is started: each would have succeeded."""
    before = open_descriptors()
    with pytest.raises(OSError, match="SIGCHLD is ignored"):
        ChildProcess(["sh", "-c", "exit 7"], ENVIRONMENT)
    with pytest.raises(
        RuntimeCommandFailed, match=r"can't be started: SIGCHLD is ignored .*SIG_DFL"
    ):
        await run_command(["sh", "-c", "exit 7"], ENVIRONMENT, bound=GUARD)
    assert open_descriptors() == before


async def test_waiting_without_descriptors(no_free_descriptor):
    """The wait for a child's end needs no free descriptor."""
    with trio.fail_after(GUARD):
        child = shell("read line; exit 5")
        free = no_free_descriptor()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child.stdin.send_all, b"\n")
            assert await child.wait() == 5
        free()
        await child.aclose()


async def test_reads_and_pipes_grow():
    """As long as a pipe comes back full, it and the reads of it grow, up to a limit."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    pipe = GrowingPipe(reading)
    lengths = []
    for _ in range(6):
        fill(writing)
        lengths.append(len(await pipe.receive_some()))
    os.close(writing)
    await pipe.aclose()
    assert lengths == [FIRST_READ << doublings for doublings in (0, 1, 2, 3, 4, 4)]
    assert lengths[-1] == LARGEST_READ


@pytest.mark.parametrize(
    ("large", "size"),
    [(0, 1), (0, 513), (0, FIRST_READ)]
    + [(5, size) for size in (1, 513, FIRST_READ, FIRST_READ + 1, LARGEST_READ)],
)
async def test_no_read_asks_for_more_than_is_there(monkeypatch, large, size):
    """However large the reads have become: what is kept of one would cost a hole in the heap, or a
    mapping."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    pipe = GrowingPipe(reading)
    for _ in range(large):
        fill(writing)
        await pipe.receive_some()
    asked, read = [], os.read

    def observed(descriptor, size):
        asked.append(size)
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", observed)
    os.write(writing, bytes(size))
    assert len(await pipe.receive_some()) == size
    assert asked == [size]
    os.close(writing)
    await pipe.aclose()


def fill(descriptor):
    """Write into a pipe until it takes no more."""
    with suppress(BlockingIOError):
        while True:
            os.write(descriptor, b"x" * FIRST_READ)


async def test_reads_of_a_given_size():
    """A read with a limit keeps to it."""
    with trio.fail_after(GUARD):
        child = shell("echo twelve bytes")
        assert await child.stdout.receive_some(6) == b"twelve"
        assert await read_all(child.stdout) == b" bytes\n"
        await child.aclose()


class Meanwhile(trio.abc.Instrument):
    """Does something once, between a task's being woken and its turn."""

    def __init__(self, task, action):
        self._task = task
        self._action = action

    def before_task_step(self, task):
        """Called by Trio before each turn of each task."""
        if task is self._task and self._action is not None:
            action, self._action = self._action, None
            action()


async def read_with(descriptor, writing, action):
    """A read of a pipe that is blocked, then woken by a byte; the action comes in between."""
    pipe = GrowingPipe(descriptor)
    found = []

    async def read(*, task_status):
        task_status.started(trio.lowlevel.current_task())
        try:
            found.append(await pipe.receive_some())
        except trio.ClosedResourceError as error:
            found.append(type(error))

    async with trio.open_nursery() as nursery:
        reader = await nursery.start(read)
        await trio.testing.wait_all_tasks_blocked()
        instrument = Meanwhile(reader, partial(action, pipe))
        trio.lowlevel.add_instrument(instrument)
        os.write(writing, b"x")
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(instrument)
        os.close(writing)
    await pipe.aclose()
    return found


async def test_closed_before_its_readers_turn():
    """A pipe that is closed while its reader is woken isn't read by its old number."""
    with trio.fail_after(GUARD):
        reading, writing = os.pipe()
        found = await read_with(reading, writing, GrowingPipe.close)
    assert found == [trio.ClosedResourceError]


async def test_emptied_before_its_readers_turn():
    """Woken for bytes that somebody else has read, a reader waits on."""
    with trio.fail_after(GUARD):
        reading, writing = os.pipe()
        found = await read_with(reading, writing, lambda _pipe: os.read(reading, 1))
    assert found == [b""]


async def test_a_closed_pipe_is_not_read():
    """Reading a closed pipe is the caller's error."""
    reading, writing = os.pipe()
    os.close(writing)
    pipe = GrowingPipe(reading)
    pipe.close()
    with pytest.raises(trio.ClosedResourceError):
        await pipe.receive_some()


async def test_a_broken_stream():
    """A stream that breaks while it is read says so, as Trio's streams do."""
    controlling, terminal = os.openpty()
    pipe = GrowingPipe(controlling)
    os.close(terminal)
    with trio.fail_after(GUARD), pytest.raises(trio.BrokenResourceError):
        await pipe.receive_some()
    await pipe.aclose()


async def test_command_result():
    """A command's status and both of its outputs are told, with what was run."""
    with trio.fail_after(GUARD):
        result = await run_command(
            ["sh", "-c", "echo out; printf '\\377' >&2; exit 4"], ENVIRONMENT, bound=GUARD
        )
    assert (result.exit_code, result.stdout, result.stderr) == (4, "out\n", "�")
    assert result.command.startswith("sh -c 'echo out")


async def test_command_gets_no_input():
    """A command that reads its standard input finds its end."""
    with trio.fail_after(GUARD):
        result = await run_command(["cat"], ENVIRONMENT, bound=GUARD)
    assert result.exit_code == 0


async def test_command_that_hangs():
    """A command that doesn't answer within its bound is an error, and is killed. Trap A7."""
    with trio.fail_after(GUARD):
        before = open_descriptors()
        with pytest.raises(RuntimeCommandFailed, match=r"`sleep 600` did not answer within 0.1 s"):
            await run_command(["sleep", "600"], ENVIRONMENT, bound=0.1)
        assert open_descriptors() == before


async def test_command_that_is_not_there():
    """A command that can't be started is an error that says so."""
    with pytest.raises(RuntimeCommandFailed, match="can't be started: No such file or directory"):
        await run_command(["/nonexistent/docker", "ps"], ENVIRONMENT, bound=GUARD)


async def test_cancelled_command_is_killed(tmp_path):
    """Cancelling run_command ends the command, with its children, before Cancelled goes on."""
    with trio.fail_after(GUARD):
        pid_file = tmp_path / "pid"
        async with trio.open_nursery() as nursery:
            script = f"sleep 600 & echo $! > {pid_file}.part; mv {pid_file}.part {pid_file}; wait"
            command = partial(run_command, bound=GUARD)
            nursery.start_soon(command, ["sh", "-c", script], ENVIRONMENT)
            await until(pid_file.exists)
            nursery.cancel_scope.cancel()
        grandchild = int(pid_file.read_text())
        await until(lambda: not is_running(grandchild))


async def test_output_of_a_command_is_capped():
    """Of a command that writes without end in sight, only so much is kept, and it can finish."""
    with trio.fail_after(GUARD):
        script = f"head -c {COMMAND_OUTPUT_LIMIT + 100_000} /dev/zero"
        result = await run_command(["sh", "-c", script], ENVIRONMENT, bound=GUARD)
    assert len(result.stdout) == COMMAND_OUTPUT_LIMIT
    assert result.exit_code == 0


async def test_grandchild_that_holds_the_pipes(tmp_path):
    """A grandchild that keeps a command's output open holds its answer back for a moment only."""
    pid_file = tmp_path / "pid"
    script = f"setsid sleep 600 & echo $! > {pid_file}; echo answer"
    with trio.fail_after(GUARD):
        result = await run_command(["sh", "-c", script], ENVIRONMENT, bound=10 * PIPE_DRAIN_BOUND)
    assert (result.exit_code, result.stdout) == (0, "answer\n")
    os.kill(int(pid_file.read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["/usr/bin/docker", "stop", "-t", "10", "name"], "docker stop -t 10 name"),
        (["docker", "ps", "--format", "{{.ID}} x"], "docker ps --format '{{.ID}} x'"),
        (["docker", "x" * 200], "docker " + "x" * 152 + "…"),
    ],
)
def test_command_line(argv, line):
    """A command in a message can be pasted into a shell, and is cut when it is long."""
    assert command_line(argv) == line


async def test_a_wait_that_is_taken_up_again_holds_one_thread(no_free_descriptor):
    """Where only a thread can wait, one that is given up stays until the child's end; of those there
    is one a child, and none is of those that the disk is reached with."""
    child = ChildProcess(["sleep", "60"], ENVIRONMENT)
    free = no_free_descriptor()
    try:
        for _ in range(50):
            with trio.move_on_after(0.01):
                await child.wait()
        assert child.exit_code is None
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        with trio.fail_after(5):
            await in_thread(int)
    finally:
        free()
        await child.aclose()
