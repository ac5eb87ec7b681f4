"""Process 1 of a sandbox, which ends with its host, is out of its agent's reach.

Who reaches it has it make one system call, and the sandbox lives on. The agents here try to.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trio

from nanoclaw_trio.runtimes.bubblewrap_argv import sandbox_argv
from nanoclaw_trio.runtimes.bubblewrap_check import BWRAP_ENVIRONMENT, list_executables
from nanoclaw_trio.runtimes.bubblewrap_host import collect_host
from nanoclaw_trio.runtimes.bubblewrap_processes import Role, find_sandboxes
from nanoclaw_trio.runtimes.bubblewrap_seccomp import CALLS, opened_filter
from nanoclaw_trio.runtimes.proc import children_of, send_signal, wait_for_end

if platform.machine() not in CALLS:
    pytest.skip("there is no filter for this machine", allow_module_level=True)

PROMISED = 10
"""Seconds after which nothing of a host runs that was killed."""

X86_64 = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="its registers and its numbers are those of x86_64"
)

COVER = ("--perms", "0555", "--tmpfs", "/proc/1", "--remount-ro", "/proc/1")

# System calls by their numbers: what came of one, or the name of its error.
BY_NUMBER = """
import ctypes, errno, mmap, os, platform, signal, sys, time
X86_64 = platform.machine() == "x86_64"
TRACE, WRITE = (101, 311) if X86_64 else (117, 271)
GETREGS, SETREGS, STEP, ATTACH, DETACH, SEIZE, INTERRUPT = 12, 13, 9, 16, 17, 0x4206, 0x4207
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(*arguments):
    done = libc.syscall(*(ctypes.c_long(argument) for argument in arguments))
    return errno.errorcode[ctypes.get_errno()] if done == -1 else done
def write(pid, address):
    text = ctypes.create_string_buffer(b"x")
    local = (ctypes.c_ulong * 2)(ctypes.addressof(text), 1)
    remote = (ctypes.c_ulong * 2)(address, 1)
    return call(WRITE, pid, ctypes.addressof(local), 1, ctypes.addressof(remote), 1, 0)
def attempt(action, *arguments):
    try:
        action(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
"""

# The call is prctl(PR_SET_PDEATHSIG, 0). By its registers process 1 makes it in the middle of its
# wait, and waits on. By its memory it finds it where its wait returns to, when a child has ended.
HOSTILE = (
    BY_NUMBER
    + """
def by_registers():
    if call(TRACE, SEIZE, 1, 0, 0) or call(TRACE, INTERRUPT, 1, 0, 0):
        return "refused"
    os.waitpid(1, 0x40000000)
    before = (ctypes.c_ulong * 27)()
    call(TRACE, GETREGS, 1, 0, ctypes.addressof(before))
    there = (ctypes.c_ulong * 27)(*before)
    # rax, rdi, rsi, orig_rax, rip
    there[10], there[14], there[13], there[15], there[16] = 157, 1, 0, 2**64 - 1, before[16] - 2
    call(TRACE, SETREGS, 1, 0, ctypes.addressof(there))
    call(TRACE, STEP, 1, 0, 0)
    os.waitpid(1, 0x40000000)
    call(TRACE, GETREGS, 1, 0, ctypes.addressof(there))
    call(TRACE, SETREGS, 1, 0, ctypes.addressof(before))
    call(TRACE, DETACH, 1, 0, 0)
    return "done" if there[10] == 0 else "failed"

def by_memory():
    try:
        place = int(open("/proc/1/syscall").read().split()[-1], 16)
        with open("/proc/1/mem", "r+b", buffering=0) as memory:
            memory.seek(place)
            # mov edi,1; xor esi,esi; mov eax,157; syscall; again: mov eax,34; syscall; jmp again
            memory.write(bytes.fromhex("bf0100000031f6b89d0000000f05b8220000000f05ebf7"))
    except OSError:
        return "refused"
    if (child := os.fork()) == 0:
        if os.fork() == 0:
            time.sleep(0.1)
        os._exit(0)
    os.waitpid(child, 0)
    # The orphan's end is the first that process 1 hears of.
    while open("/proc/1/syscall").read().split()[0] != "34":
        time.sleep(0.01)
    return "done"

def by_a_copy():
    try:
        place = int(open("/proc/1/syscall").read().split()[-2], 16) - 64
    except OSError:
        place = 4096
    return "done" if write(1, place) == 1 else "refused"

signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(*(way() for way in (by_a_copy, by_registers, by_memory)), flush=True)
time.sleep(1000)
"""
)


def pipes_of(pid):
    """The pipes that a process has an end of."""
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        # The directory's own has been closed again.
        with suppress(FileNotFoundError):
            found.add(str(descriptor.readlink()))
    return {link for link in found if link.startswith("pipe:")}


def descriptors_of(pid):
    """The numbers of a process's descriptors."""
    return {int(descriptor.name) for descriptor in Path(f"/proc/{pid}/fd").iterdir()}


@contextmanager
def without(spec, *, measure):
    """The first line of an agent whose sandbox lacks a measure, and the monitor and the init."""
    bwrap = list_executables(os.environ["PATH"])[0]
    with opened_filter(platform.machine()) as seccomp:
        taken = None if measure == "filter" else seccomp
        argv = sandbox_argv(bwrap, spec, collect_host(), timezone="UTC", seccomp=taken)
        if measure == "cover":
            at = argv.index(COVER[3]) - 3
            assert argv[at : at + len(COVER)] == list(COVER)
            del argv[at : at + len(COVER)]
        inherited = () if taken is None else (taken,)
        monitor = subprocess.Popen(
            argv, env=BWRAP_ENVIRONMENT, stdout=subprocess.PIPE, pass_fds=inherited
        )
    with monitor:
        said = monitor.stdout.readline().decode()
        (init,) = children_of([monitor.pid])
        try:
            yield said, monitor, init
        finally:
            send_signal(init, signal.SIGKILL)
            monitor.kill()


@X86_64
@pytest.mark.parametrize(
    ("measure", "expected"),
    [("filter", "refused done refused\n"), ("cover", "refused refused done\n")],
)
async def test_without_one_of_both_an_agent_gets_at_it(agents, measure, expected):
    """Neither the filter nor the cover would do alone: without either the sandbox outlives what it
    should end with. So the agent here does what it says."""
    with trio.fail_after(60), without(agents.make_spec(HOSTILE), measure=measure) as started:
        said, monitor, init = started
        if said == "refused refused refused\n":
            pytest.skip("this system keeps an agent from its init's memory by itself")
        assert said == expected
        monitor.kill()
        monitor.wait()
        with trio.move_on_after(0.5) as survived:
            await wait_for_end(init)
        assert survived.cancelled_caught


@X86_64
async def test_no_agent_outlives_a_host_that_is_killed(runtime, open_another_host):
    """An agent that does what it can for its sandbox to outlive its host ends with it all the same,
    when that is killed outright."""
    async with open_another_host(HOSTILE) as host:
        assert host.said == "refused refused refused\n"
        await host.kill()
        assert await runtime.inspect(host.name) is None


# They wait for one another, or the first few would take so much that the last are never made.
BUSY = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for way in (
    lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)),
    lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),
    lambda: open("/proc/self/autogroup", "w").write("19"),
):
    try:
        way()
    except OSError:
        pass
all_made, made = os.pipe()
for number in range({number}):
    if os.fork() == 0:
        os.setsid()
        os.close(made)
        os.read(all_made, 1)
        while True:
            pass
print("ready", flush=True)
os.close(made)
while True:
    pass
"""


async def test_no_busy_agent_outlives_it_for_long(runtime, open_another_host):
    """Nor does an agent that puts its process 1 behind many busy processes: behind a hundred it
    mostly took longer to end."""
    code = BUSY.format(number=os.environ.get("NANOCLAW_BUSY", "100"))
    async with open_another_host(code) as host:
        assert host.said == "ready\n"
        began = trio.current_time()
        with trio.move_on_after(PROMISED) as waiting:
            await host.kill()
        print(f"{trio.current_time() - began:.1f} s")
        if waiting.cancelled_caught:
            await runtime.kill(host.name)
        assert not waiting.cancelled_caught


async def test_its_files_are_not_there(agents):
    """Whatever path leads to process 1 in /proc, nothing is there, and nobody lifts what lies over
    it."""
    code = (
        BY_NUMBER
        + """
names = ("mem", "task/1/mem", "environ", "cmdline", "fd", "maps", "stat", "root", "task/1/fd")
above = ("/proc/1", "/proc/self/../1", "/proc/thread-self/../../../1", "/proc/self/root/proc/1")
paths = [f"{way}/{name}" for way in above for name in names] + ["/proc/self/task/1/mem"]
directory = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
for path, at in [*((path, None) for path in paths), ("1/mem", directory)]:
    for flags in (os.O_RDONLY, os.O_RDWR, os.O_PATH):
        try:
            os.open(path, flags, dir_fd=at)
        except FileNotFoundError:
            continue
        print("opened", path, flags)
print(os.listdir("/proc/1"), attempt(os.mkdir, "/proc/1/x"))
libc.umount2.restype = libc.mount.restype = ctypes.c_int
print(libc.umount2(b"/proc/1", 2), libc.mount(b"proc", b"/tmp", b"proc", 0, None))
"""
    )
    assert await agents.run(code) == (0, "[] EROFS\n-1 -1\n", "")


# Numbers of x32, and those that kernels before 5.4 take for them.
OTHER_NUMBERS = """
if X86_64:
    x32 = 0x40000000
    for trace, write in ((x32 | 521, x32 | 540), (x32 | 101, x32 | 311), (521, 540)):
        print(call(trace, SEIZE, 1, 0, 0), call(write, 1, 0, 0, 0, 0, 0))
"""


async def test_it_can_not_be_traced_or_written(agents):
    """No call that traces process 1 or writes its memory gets through, however its number and that
    of the call are spelled."""
    code = (
        BY_NUMBER
        + """
for pid in (1, 0x100000001, -0xFFFFFFFF):
    for request in (ATTACH, SEIZE, INTERRUPT, DETACH):
        print(call(TRACE, request, pid, 0, 0))
    print(write(pid, 4096))
"""
        + OTHER_NUMBERS
    )
    status, stdout, stderr = await agents.run(code)
    assert (status, set(stdout.split()), stderr) == (0, {"EPERM"}, "")
    assert len(stdout.split()) == (21 if platform.machine() == "x86_64" else 15)


@X86_64
async def test_by_the_calls_of_another_architecture(agents):
    """The same holds for the calls of i386, which any program of x86_64 can make."""
    code = (
        BY_NUMBER
        + """
# The registers from an array, and int 0x80.
code = bytes.fromhex("5355 4989fa 418b02 418b5a04 418b4a08 418b520c 418b7210 418b7a14 418b6a18"
                     "cd80 5d5bc3")
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
enter = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(
    ctypes.addressof(ctypes.c_char.from_buffer(page))
)
def call_i386(*arguments):
    registers = (ctypes.c_int * 7)(*arguments)
    return enter(ctypes.addressof(registers))
child = os.fork()
if child == 0:
    os._exit(call_i386(20) != os.getpid())
if os.waitpid(child, 0)[1] != 0:
    print("none")
    sys.exit()
print(call_i386(26, ATTACH, 1), call_i386(26, SEIZE, 1), call_i386(348, 1))
child = os.fork()
if child == 0:
    time.sleep(1000)
print(call_i386(26, ATTACH, child), call_i386(348, child))
os.kill(child, signal.SIGKILL)
"""
    )
    status, stdout, stderr = await agents.run(code)
    if stdout == "none\n":
        pytest.skip("this kernel has no calls of i386")
    assert (status, stdout, stderr) == (0, "-1 -1 -1\n0 0\n", "")


async def test_it_keeps_its_turn(agents):
    """An agent can't have process 1 wait behind others, by itself, with its group, its session or all
    of its user's processes. Its own it can."""
    code = (
        BY_NUMBER
        + """
print(os.getpgrp() == os.getsid(0) == os.getpid())
idle, one = os.sched_param(0), {min(os.sched_getaffinity(0))}
print(
    attempt(os.sched_setscheduler, 1, os.SCHED_IDLE, idle),
    attempt(os.sched_setparam, 1, idle),
    attempt(os.sched_setaffinity, 1, one),
    attempt(os.setpriority, os.PRIO_PROCESS, 1, 19),
    attempt(os.setpriority, os.PRIO_PGRP, 1, 19),
    attempt(os.setpriority, os.PRIO_USER, 0, 19),
)
print(
    attempt(os.sched_setscheduler, 0, os.SCHED_BATCH, idle),
    attempt(os.sched_setaffinity, 0, one),
    attempt(os.setpriority, os.PRIO_PROCESS, 0, 1),
    attempt(os.setpriority, os.PRIO_PGRP, 0, 2),
)
"""
    )
    refused, done = " ".join(["EPERM"] * 6), " ".join(["done"] * 4)
    assert await agents.run(code) == (0, f"True\n{refused}\n{done}\n", "")


async def test_debuggers_work(agents):
    """An agent may trace its own processes and write their memory."""
    code = (
        BY_NUMBER
        + """
place = ctypes.create_string_buffer(b"o")
child = os.fork()
if child == 0:
    while place.raw[0] == ord("o"):
        time.sleep(0.01)
    os._exit(7)
print(call(TRACE, ATTACH, child, 0, 0), os.WIFSTOPPED(os.waitpid(child, 0)[1]))
print(write(child, ctypes.addressof(place)), call(TRACE, DETACH, child, 0, 0))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    )
    assert await agents.run(code) == (0, "0 True\n1 0\n7\n", "")


async def test_nobody_has_the_filters_descriptor(agents):
    """The pipe by which bwrap gets the filter is open in no process of the sandbox, nor in the host
    any more."""
    before = pipes_of("self")
    container = await agents.start("print(flush=True); input()")
    with trio.fail_after(60):
        await container.stdout.receive_some()
    assert len(pipes_of("self") - before) == 3
    parts = {part.role: part.process for part in find_sandboxes() if part.name == container.name}
    (agent,) = children_of([parts[Role.INIT].pid])
    streams = pipes_of(agent.pid)
    assert len(streams) == 3
    for process in parts.values():
        assert pipes_of(process.pid) == streams
    # Beside them bwrap has what it made for itself, and the agent nothing.
    assert descriptors_of(agent.pid) == {0, 1, 2}
