"""An agent that tells how far it is confined; the test puts it in the agent-runner's place.

Its prompt is JSON: what to look at, each with its arguments. Its answer is JSON, too: what came of
each. It runs in a container, with the standard library alone.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import socket
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NOT_LOOKED_AT = {
    *("/proc", "/sys"),
    *("/usr", "/opt", "/lib", "/lib64", "/bin", "/sbin", sys.prefix, sys.base_prefix),
}
"""The kernel's own, and programs: large, and nobody's secret."""


PATIENCE = 3
"""Seconds for somebody to take a connection; who does takes a thousandth of one."""


def attempt(action, *arguments):
    """`done`, or the name of the system's refusal."""
    try:
        action(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"


def privileges(_):
    """What the kernel says of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    known = dict(line.split(":\t", 1) for line in lines)
    names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")
    return {name: int(known[name], 16) for name in names} | {"uid": os.getuid()}


def limits(_):
    """What its cgroup says, in either version of them."""
    return {
        "pids": first_number("pids/pids.max", "pids.max"),
        "memory": first_number("memory/memory.limit_in_bytes", "memory.max"),
        "cpus": processors(),
    }


def processors():
    quota = first_number("cpu/cpu.cfs_quota_us", "cpu.max")
    period = first_number("cpu/cpu.cfs_period_us") or second_number("cpu.max")
    return None if quota is None or quota < 0 or period is None else quota / period


def first_number(*names):
    for name in names:
        words = read_words(name)
        if words and words[0] != "max":
            return int(words[0])
    return None


def second_number(name):
    words = read_words(name)
    return int(words[1]) if len(words) > 1 else None


def read_words(name):
    try:
        return Path("/sys/fs/cgroup", name).read_text().split()
    except OSError:
        return []


def forks(most):
    """How many children could live at once, and what the kernel said to the next one."""
    children, refusal = [], None
    while len(children) < most and refusal is None:
        try:
            child = os.fork()
        except OSError as error:
            refusal = errno.errorcode[error.errno]
            continue
        if child == 0:
            signal.pause()
        children.append(child)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return [len(children), refusal]


def interfaces(_):
    """The names of its network's interfaces."""
    return sorted(name for _, name in socket.if_nameindex())


def reach(addresses):
    """What comes of a datagram's address: without a route the kernel refuses it."""
    return {address: attempt(connect, address) for address in addresses}


def connect(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as peer:
        peer.connect((address, 80))


def knock(places):
    """What comes of a connection to each of these, an address and a port, all at once."""
    with ThreadPoolExecutor() as pool:
        return [*pool.map(lambda place: attempt(call, place), places)]


def call(place):
    try:
        socket.create_connection(place, timeout=PATIENCE).close()
    except TimeoutError:
        raise OSError(errno.ETIMEDOUT, "silence") from None


def write(folders):
    """What comes of a new file in each of these."""
    return {folder: attempt(Path(folder, "probe").write_text, "x") for folder in folders}


def execute(folders):
    """What comes of a program in each of these."""
    return {folder: attempt(run_program, Path(folder, "program")) for folder in folders}


def run_program(path):
    path.write_text("#!/bin/sh\nexit 0\n")
    path.chmod(0o755)
    child = os.posix_spawn(path, [str(path)], {})
    os.waitpid(child, 0)


def sockets(_):
    """All sockets that have a name here."""
    return [str(path) for path in entries(NOT_LOOKED_AT) if stat.S_ISSOCK(mode_of(path))]


def disks(_):
    """The disks of the host, as devices."""
    return [str(path) for path in Path("/dev").iterdir() if stat.S_ISBLK(mode_of(path))]


def find(texts):
    """Where one of these texts can be read: in a file, in a name, or of a process."""
    wanted = [text.encode() for text in texts]
    processes = [path for path in Path("/proc").glob("[0-9]*/*") if path.name in PROCESS_FILES]
    places = [*entries(NOT_LOOKED_AT), *processes]
    return [str(path) for path in places if holds(path, wanted)]


PROCESS_FILES = {"environ", "cmdline", "mountinfo"}


def holds(path, wanted):
    content = os.fsencode(path)
    try:
        if not stat.S_ISDIR(mode_of(path)) and not path.is_relative_to("/dev"):
            content += path.read_bytes()
    except OSError:
        pass
    return any(text in content for text in wanted)


def entries(but):
    """Everything on the file system, but for these places."""
    for folder, below, names in os.walk("/"):
        below[:] = [name for name in below if str(Path(folder, name)) not in but]
        yield from (Path(folder, name) for name in (*below, *names))


def mode_of(path):
    try:
        return path.lstat().st_mode
    except OSError:
        return 0


def link(pairs):
    """What comes of a second name for a file, in another place."""
    return [attempt(os.link, *pair) for pair in pairs]


def steps_out(_):
    """What comes of the usual first steps out of a container."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name, *arguments):
        return (
            "done" if getattr(libc, name)(*arguments) >= 0 else errno.errorcode[ctypes.get_errno()]
        )

    return {
        "mount": call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "become root": call("setuid", 0),
        "chroot": call("chroot", b"/tmp"),
        "host name": call("sethostname", b"x", 1),
        "raw socket": attempt(socket.socket, socket.AF_PACKET, socket.SOCK_RAW),
        "device": attempt(os.mknod, "/tmp/disk", stat.S_IFBLK | 0o600, os.makedev(8, 0)),
        "kernel log": attempt(Path("/dev/kmsg").read_bytes),
        "core pattern": attempt(Path("/proc/sys/kernel/core_pattern").write_text, "|/x"),
    }


def opened(paths):
    """What comes of opening each of these to read."""
    return {path: attempt(lambda path=path: os.close(os.open(path, os.O_RDONLY))) for path in paths}


LOOKS = {
    look.__name__: look
    for look in (
        *(
            privileges,
            limits,
            forks,
            interfaces,
            reach,
            knock,
            write,
            execute,
            sockets,
            disks,
            find,
        ),
        *(link, steps_out, opened),
    )
}


def main():
    asked = json.loads(json.loads(sys.stdin.readline())["prompt"])
    found = {name: LOOKS[name](argument) for name, argument in asked.items()}
    answer = {"status": "success", "result": json.dumps(found), "newSessionId": "s"}
    sys.stdout.write("---NANOCLAW_OUTPUT_START---\n")
    sys.stdout.write(json.dumps(answer))
    sys.stdout.write("\n---NANOCLAW_OUTPUT_END---\n")
    sys.stdout.flush()


main()
