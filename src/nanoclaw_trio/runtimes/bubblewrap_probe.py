"""Trying out, in a sandbox, whether a process's environment can be read by its user's others.

The mode of its program's file decides on that, unless the file system takes no notice of modes, or
the kernel was told to make all processes readable. Who asks the kernel needs to know none of that.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nanoclaw_trio.errors import KeyUnprotected, RuntimeCommandFailed
from nanoclaw_trio.files import in_thread, read_if_present
from nanoclaw_trio.runtimes.abc import ContainerSpec
from nanoclaw_trio.runtimes.bubblewrap_argv import sandbox_argv
from nanoclaw_trio.runtimes.bubblewrap_check import BWRAP_ENVIRONMENT, last_line
from nanoclaw_trio.runtimes.process import run_command

if TYPE_CHECKING:
    from nanoclaw_trio.runtimes.bubblewrap_check import WorkingBwrap
    from nanoclaw_trio.runtimes.bubblewrap_host import Bind
    from nanoclaw_trio.settings import Settings

ELSEWHERE: Final = "let XDG_CACHE_HOME name a directory of yours on another disk"
"""What to do where a copy can't be kept, or doesn't help."""

READABLE: Final = 3
"""Exit status of the probe for a program whose process can be read."""

PROBE: Final = f"""
import os, signal, sys
null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
ends = os.WSTOPPED | os.WEXITED | os.WNOWAIT
while True:
    child = os.posix_spawn(sys.argv[1], [sys.argv[1], "--version"], {{}}, file_actions=null)
    os.kill(child, signal.SIGSTOP)
    if os.waitid(os.P_PID, child, ends).si_code == os.CLD_STOPPED:
        break
try:
    open(f"/proc/{{child}}/environ").close()
except PermissionError:
    pass
else:
    sys.exit({READABLE})
finally:
    os.kill(child, signal.SIGKILL)
"""
"""Starts a program and tries to open its environment, as a tool of the agent could.

It is stopped meanwhile, since one that has ended shows nothing; if it was faster than the signal,
another is started, until the bound of the whole."""


async def prove_unreadable(
    cover: Bind, container: str, working: WorkingBwrap, settings: Settings
) -> None:
    """Try out a program that is laid over the sandbox's own, within a bound.

    Raises:
        KeyUnprotected: its process can be read, or it can't be run; names the container.
    """
    argv = sandbox_argv(
        working.executable,
        ContainerSpec(name=f"nanoclaw-check-{os.getpid()}", image=""),
        working.host,
        timezone=settings.timezone,
        program=("-I", "-S", "-c", PROBE, cover.target),
        covers=(cover,),
    )
    try:
        result = await run_command(argv, BWRAP_ENVIRONMENT, bound=settings.grace.command)
    except RuntimeCommandFailed as error:
        raise KeyUnprotected(container, f"a trial of its copy {error.why}", ELSEWHERE) from error
    if result.exit_code == READABLE:
        remedy = suggest_remedy(await in_thread(_read_suid_dumpable))
        raise KeyUnprotected(container, f"the kernel doesn't go by {cover.source}'s mode", remedy)
    if result.exit_code != 0:
        why = f"{cover.source} can't be run: {last_line(result.stderr, result.exit_code)}"
        raise KeyUnprotected(container, why, ELSEWHERE)


def suggest_remedy(suid_dumpable: str) -> str:
    """What to do where the mode doesn't help. Pure; the sysctl as it stands in /proc/sys."""
    if suid_dumpable == "1":
        return "set `sysctl fs.suid_dumpable=0`: as it is, every process can be read"
    return ELSEWHERE


def _read_suid_dumpable() -> str:
    return (read_if_present(Path("/proc/sys/fs/suid_dumpable")) or b"").decode().strip()
