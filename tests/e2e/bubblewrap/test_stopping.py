"""Sandboxes are found, stopped and verified gone, whoever started them."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trio

from nanoclaw_trio.errors import RuntimeCommandFailed
from nanoclaw_trio.run.receipt import Unconfirmed
from nanoclaw_trio.run.stop import StopLadder
from nanoclaw_trio.runtimes import bubblewrap_sandboxes
from nanoclaw_trio.runtimes.abc import Phase
from nanoclaw_trio.runtimes.bubblewrap_argv import sandbox_argv
from nanoclaw_trio.runtimes.bubblewrap_check import BWRAP_ENVIRONMENT, list_executables
from nanoclaw_trio.runtimes.bubblewrap_host import collect_host
from nanoclaw_trio.runtimes.bubblewrap_processes import Role, find_sandboxes
from nanoclaw_trio.runtimes.proc import (
    children_of,
    read_command,
    read_process,
    send_signal,
)
from nanoclaw_trio.settings import GracePeriods

READY = "print('ready', flush=True)\n"
# Not through sys.stdout: the signal may come while that is still in its own write.
POLITE = (
    "import os, signal, time\n"
    "def end(*_):\n"
    "    os.write(1, b'bye\\n')\n"
    "    os._exit(5)\n"
    "signal.signal(signal.SIGTERM, end)\n" + READY + "time.sleep(1000)\n"
)
STUBBORN = (
    "import signal, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + READY + "time.sleep(1000)\n"
)
PLAIN = "import time\n" + READY + "time.sleep(1000)\n"


def parts_of(name):
    """A sandbox's two processes by their roles."""
    return {part.role: part.process for part in find_sandboxes() if part.name == name}


def wipe_command_line(process):
    """Put zeros in the place of a process's command line, as it could itself."""
    stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    start, end = int(stat[45]), int(stat[46])
    try:
        with Path(f"/proc/{process.pid}/mem").open("r+b", buffering=0) as memory:
            memory.seek(start)
            memory.write(bytes(end - start))
    except PermissionError:
        pytest.skip("this system keeps a user from the memory of his processes")
    assert not any(read_command(process.pid))


def has_ended(pid):
    """Whether a process has ended, reaped or not."""
    process = read_process(pid)
    return process is None or process.over


async def start_ready(agents, code, **values):
    """An agent that has said that it is ready."""
    container = await agents.start(code, **values)
    with trio.fail_after(60):
        assert await container.stdout.receive_some() == b"ready\n"
    return container


async def test_an_agent_may_end_politely(agents, runtime):
    """SIGTERM reaches the agent, whose last words and exit status arrive (Trap A18)."""
    container = await start_ready(agents, POLITE)
    with trio.fail_after(60):
        assert await runtime.stop(container.name, 50)
        assert await container.wait() == 5
        assert await container.stdout.receive_some() == b"bye\n"
        assert await runtime.inspect(container.name) is None


async def test_an_agent_that_does_not_listen_is_killed(agents, runtime):
    """After the grace an agent that ignores SIGTERM is killed, with all that it started."""
    container = await start_ready(agents, STUBBORN)
    parts = parts_of(container.name)
    (agent,) = children_of([parts[Role.INIT].pid])
    with trio.fail_after(60):
        assert await runtime.stop(container.name, 0.2)
        assert await container.wait() == 128 + 9
    assert has_ended(agent.pid)


async def test_an_agent_that_knows_nothing_of_signals_ends(agents, runtime):
    """An agent without a handler ends by SIGTERM."""
    container = await start_ready(agents, PLAIN)
    with trio.fail_after(60):
        assert await runtime.stop(container.name, 50)
        assert await container.wait() == 128 + 15


async def test_a_stop_that_is_cancelled_goes_no_further(agents, runtime):
    """A cancelled stop has asked the agent to end, and kills nobody."""
    container = await start_ready(agents, STUBBORN)
    with trio.move_on_after(0.5) as scope:
        await runtime.stop(container.name, 1000)
    assert scope.cancelled_caught
    state = await runtime.inspect(container.name)
    assert state is not None
    assert state.phase is Phase.RUNNING


@pytest.mark.parametrize("way", ["kill", "remove"])
async def test_by_force(agents, runtime, way):
    """Killing or removing ends a sandbox at once, and a second time there is nothing."""
    container = await start_ready(agents, STUBBORN)
    with trio.fail_after(60):
        assert await getattr(runtime, way)(container.name)
        assert await runtime.inspect(container.name) is None
        assert await container.wait() == 128 + 9
        assert not await getattr(runtime, way)(container.name)


async def test_a_kill_is_sent_before_its_time_runs(agents, runtime):
    """However long looking for a sandbox takes, it is killed: only its end is waited for within a
    bound, and one that has passed already is told."""
    container = await start_ready(agents, STUBBORN)
    with trio.fail_after(60):
        with impatience(0), pytest.raises(RuntimeCommandFailed, match="hasn't ended it within 0 s"):
            await runtime.kill(container.name)
        assert await container.wait() == 128 + 9


async def test_what_is_not_there(runtime):
    """Of a sandbox that isn't there nothing can be stopped, killed, removed or told."""
    assert not await runtime.stop("nanoclaw-nobody", 10)
    assert not await runtime.kill("nanoclaw-nobody")
    assert not await runtime.remove("nanoclaw-nobody")
    assert await runtime.inspect("nanoclaw-nobody") is None


async def test_labels_tell_them_apart(agents, runtime):
    """Sandboxes are listed by all the labels asked for, with all that they carry (Trap A26)."""
    install = agents.new_name()
    one = await start_ready(agents, PLAIN, labels={"install": install, "group": "one"})
    two = await start_ready(agents, PLAIN, labels={"install": install, "group": "ü {}\"'"})
    await start_ready(agents, PLAIN, labels={"install": "another"})

    listed = await runtime.list({"install": install})
    assert {state.name for state in listed} == {one.name, two.name}
    (state,) = await runtime.list({"install": install, "group": "ü {}\"'"})
    assert (state.name, state.phase) == (two.name, Phase.RUNNING)
    assert state.labels == {"install": install, "group": "ü {}\"'"}
    assert await runtime.list({"install": install, "group": "three"}) == ()
    assert await runtime.list({"Install": install}) == ()


async def test_another_program_finds_and_kills_them(agents, runtime, host_program, tmp_path):
    """What one program started, another one lists, stops and kills."""
    install = agents.new_name()
    first = await start_ready(agents, POLITE, labels={"install": install})
    second = await start_ready(agents, STUBBORN, labels={"install": install})

    async def ask(**task):
        argv = host_program(project=str(tmp_path), **task)
        result = await trio.run_process(argv, capture_stdout=True)
        return json.loads(result.stdout)

    with trio.fail_after(60):
        names = await ask(do="list_names", labels={"install": install})
        assert sorted(names) == sorted((first.name, second.name))
        assert await ask(do="inspect", name=first.name) == "running"
        assert await ask(do="stop", name=first.name, grace=50) is True
        assert await ask(do="kill", name=second.name) is True
        assert await ask(do="inspect", name=first.name) is None
        assert await first.wait() == 5
        assert await second.wait() == 128 + 9
    assert await runtime.list({"install": install}) == ()


async def test_a_host_that_is_killed_takes_its_sandbox_along(runtime, open_another_host):
    """When a host's process is killed outright, its sandbox ends with it."""
    async with open_another_host(STUBBORN) as host:
        assert host.said == "ready\n"
        await host.kill()
        assert await runtime.inspect(host.name) is None


async def test_what_an_agent_left_running_ends_with_it(agents, runtime):
    """A process that an agent left in the background doesn't outlive the agent."""
    code = (
        "import os, subprocess, sys\n"
        "subprocess.Popen(['sleep', '1000'], start_new_session=True)\n" + READY + "input()\n"
    )
    container = await start_ready(agents, code)
    (agent,) = children_of([parts_of(container.name)[Role.INIT].pid])
    (left,) = children_of([agent.pid])
    with trio.fail_after(60):
        await container.stdin.send_all(b"\n")
        assert await container.wait() == 0
        assert await runtime.inspect(container.name) is None
    assert has_ended(left.pid)


@pytest.fixture
def descriptors_run_out(monkeypatch):
    """Once it was listed which processes there are, no descriptor is left to look at one with, as if
    others had taken all; until the given function is called."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    list_directory = os.listdir

    def listed(directory):
        names = list_directory(directory)
        # Its own number was the first that was free.
        resource.setrlimit(resource.RLIMIT_NOFILE, (directory, limits[1]))
        return names

    def free():
        monkeypatch.setattr(os, "listdir", list_directory)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    def run_out():
        monkeypatch.setattr(os, "listdir", listed)
        return free

    yield run_out
    free()


@pytest.mark.parametrize("command", ["inspect", "kill", "stop", "remove", "list"])
async def test_without_descriptors_no_command_has_an_answer(
    agents, runtime, descriptors_run_out, command
):
    """Where processes can't be looked at, each command is an error, and says of no sandbox that it
    isn't there."""
    container = await start_ready(agents, STUBBORN)
    arguments = {"stop": (container.name, 0.1), "list": ({},)}.get(command, (container.name,))
    free = descriptors_run_out()
    with trio.fail_after(60), pytest.raises(RuntimeCommandFailed, match="Too many open files"):
        await getattr(runtime, command)(*arguments)
    free()
    assert await runtime.inspect(container.name) is not None


async def test_without_descriptors_no_end_is_confirmed(agents, runtime, descriptors_run_out):
    """A sandbox that lives on where nobody can look at it isn't said to be gone."""
    container = await start_ready(agents, STUBBORN)
    ladder = StopLadder(runtime, container.name, grace=GracePeriods())
    free = descriptors_run_out()
    with trio.fail_after(60):
        receipt = await ladder.descend(None)
        free()
        assert isinstance(receipt, Unconfirmed)
        assert "Too many open files" in receipt.why
        assert await runtime.inspect(container.name) is not None


async def test_without_descriptors_no_end_is_waited_for(agents, runtime, no_free_descriptor):
    """A sandbox that was found, and whose end can't be waited for then, is an error too."""
    container = await start_ready(agents, STUBBORN)
    parts = tuple(part for part in find_sandboxes() if part.name == container.name)
    free = no_free_descriptor()
    with trio.fail_after(60), pytest.raises(RuntimeCommandFailed, match="Too many open files"):
        await bubblewrap_sandboxes.wait_for_ends(parts)
    free()


async def test_killing_the_monitor_ends_the_sandbox(agents, runtime):
    """When bwrap is killed from outside, everything in the sandbox ends too."""
    container = await start_ready(agents, STUBBORN)
    parts = parts_of(container.name)
    os.kill(parts[Role.MONITOR].pid, signal.SIGKILL)
    with trio.fail_after(60):
        assert await container.wait() == 128 + 9
        assert await runtime.inspect(container.name) is None
    assert has_ended(parts[Role.INIT].pid)


@contextmanager
def untied(spec, *, hidden=False):
    """The monitor of a sandbox whose init doesn't die with it, once its agent is ready.

    As the init would be that lost its host in the moment before bwrap tied their lives together, or
    of which an agent took that away, on a machine without a filter. `hidden`, its command line is
    gone as well.
    """
    bwrap = list_executables(os.environ["PATH"])[0]
    argv = sandbox_argv(bwrap, spec, collect_host(), timezone="UTC")
    argv.remove("--die-with-parent")
    with subprocess.Popen(argv, env=BWRAP_ENVIRONMENT, stdout=subprocess.PIPE) as monitor:
        said = monitor.stdout.readline()
        (init,) = children_of([monitor.pid])
        try:
            assert said == b"ready\n"
            if hidden:
                wipe_command_line(init)
            yield monitor
        finally:
            send_signal(init, signal.SIGKILL)
            monitor.kill()


@pytest.fixture(params=[False, True], ids=["plain", "hidden"])
def orphan(agents, request):
    """The name of a sandbox whose monitor is gone while its init and its agent live on."""
    spec = agents.make_spec(STUBBORN)
    with untied(spec, hidden=request.param) as monitor:
        monitor.kill()
        monitor.wait()
        yield spec.name


async def test_what_an_agent_does_to_its_init_hides_nothing(agents, runtime):
    """An init whose command line is gone, and that wouldn't die with its monitor, is killed with
    it: it is the monitor's child, whatever was made of it."""
    spec = agents.make_spec(STUBBORN, labels={"install": agents.new_name()})
    with trio.fail_after(60), untied(spec, hidden=True) as monitor:
        (init,) = children_of([monitor.pid])
        assert parts_of(spec.name)[Role.INIT] == init
        assert await runtime.kill(spec.name)
        assert has_ended(init.pid)
        assert await runtime.list(spec.labels) == ()


async def test_a_hidden_sandbox_without_its_monitor_is_listed(agents, runtime):
    """A sandbox that lost its monitor is listed by its labels, though they were wiped from the init's
    command line: the next host finds and ends what survived this one."""
    spec = agents.make_spec(STUBBORN, labels={"install": agents.new_name()})
    with trio.fail_after(60), untied(spec, hidden=True) as monitor:
        monitor.kill()
        monitor.wait()
        with impatience():
            listed = await runtime.list(spec.labels)
        assert [state.name for state in listed] == [spec.name]
        assert await runtime.kill(spec.name)
        assert await runtime.list(spec.labels) == ()


async def test_a_sandbox_without_its_monitor_can_be_killed(orphan, runtime):
    """A sandbox that lost its monitor is still found, and killed."""
    with trio.fail_after(60):
        assert await runtime.kill(orphan)
        assert await runtime.inspect(orphan) is None


async def test_a_sandbox_without_its_monitor_can_be_stopped(orphan, runtime):
    """A sandbox that lost its monitor is stopped like any other."""
    with trio.fail_after(60):
        assert await runtime.stop(orphan, 0.2)
        assert await runtime.inspect(orphan) is None


async def test_a_sandbox_without_its_monitor_is_not_gone(orphan, runtime):
    """A sandbox that lost its monitor and doesn't end counts as running."""
    with trio.fail_after(60), impatience():
        state = await runtime.inspect(orphan)
    assert state is not None
    assert state.phase is Phase.RUNNING


@pytest.fixture
def guest():
    """Puts a process into a sandbox whose parent is outside and doesn't reap it."""
    if os.geteuid() != 0 or shutil.which("nsenter") is None:
        pytest.skip("entering a sandbox from outside takes root and nsenter")
    parents = []

    def enter(init):
        argv = ["nsenter", "--target", str(init), "--pid", "sleep", "1000"]
        parent = subprocess.Popen(argv)
        parents.append(parent)
        while not children_of([parent.pid]):
            assert parent.poll() is None
        parent.send_signal(signal.SIGSTOP)
        return parent

    yield enter
    for parent in parents:
        parent.kill()
        parent.wait()


@contextmanager
def impatience(bound=0.5):
    """Ends are waited for no longer than it takes to see that they don't come: other tests, which
    run beside this one, wait for the same ends, and have more time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bubblewrap_sandboxes, "ENDING_BOUND", bound)
        yield


async def test_an_end_under_way_is_not_the_end(agents, runtime, guest):
    """While the kernel still waits for a sandbox's last process, nothing is said to be gone.

    Its command line is gone by then, so the sandbox can't be told by its name.
    """
    container = await start_ready(agents, PLAIN)
    parent = guest(parts_of(container.name)[Role.INIT].pid)
    with trio.fail_after(60):
        with impatience(), pytest.raises(RuntimeCommandFailed, match="hasn't ended it"):
            await runtime.kill(container.name)
        assert await container.wait() == 128 + 9
        assert Role.ENDING in {part.role for part in find_sandboxes()}
        with impatience(), pytest.raises(RuntimeCommandFailed, match="is ending and doesn't end"):
            await runtime.inspect(container.name)
        parent.send_signal(signal.SIGCONT)
        assert await runtime.inspect(container.name) is None


async def test_an_older_end_under_way_is_anothers(agents, runtime, guest):
    """A sandbox that began after another is known to be gone, though that one doesn't end: what
    hangs in one group's disk is no doubt in all others' containers."""
    stuck = await start_ready(agents, PLAIN)
    parent = guest(parts_of(stuck.name)[Role.INIT].pid)
    container = await start_ready(agents, PLAIN)
    with trio.fail_after(60):
        with impatience():
            for name in (stuck.name, container.name):
                with suppress(RuntimeCommandFailed):
                    await runtime.kill(name)
            assert Role.ENDING in {part.role for part in find_sandboxes()}
            assert await runtime.inspect(container.name) is None
        parent.send_signal(signal.SIGCONT)


async def test_a_kill_that_takes_no_effect_is_told(agents, runtime, guest):
    """A sandbox that doesn't end in time, though it was killed, is an error and no success."""
    container = await start_ready(agents, PLAIN)
    parent = guest(parts_of(container.name)[Role.INIT].pid)
    with trio.fail_after(60):
        failure = "hasn't ended it within 0.5 s"
        with impatience(), pytest.raises(RuntimeCommandFailed, match=failure):
            await runtime.kill(container.name)
        parent.send_signal(signal.SIGCONT)
        assert await runtime.inspect(container.name) is None
