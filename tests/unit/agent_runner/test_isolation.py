"""Whether a tool can read the memory of the process that started it."""

from __future__ import annotations

import os
import sys

import pytest
import trio

from nanoclaw_agent.isolation import _prctl

GUARD = 60

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can hide a process's memory")

SCRIPT = """
import ctypes, os, subprocess
from nanoclaw_agent.isolation import PR_SET_DUMPABLE, _prctl, keep_memory_private
if os.geteuid() == 0:
    # Root may read anything. A change of the user hides the memory too: that is undone.
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    assert _prctl(PR_SET_DUMPABLE, 1)
for prepare in (lambda: None, keep_memory_private):
    prepare()
    for name in ("environ", "mem"):
        command = ["head", "-c", "1", f"/proc/{os.getpid()}/{name}"]
        done = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True)
        print(name, b"Permission denied" in done.stderr)
"""


@linux
async def test_child_can_not_read_memory_nor_environment(container_directory):
    """A child of the same user may read both, and neither once they are kept private. Trap A17."""
    source = container_directory / "agent-runner" / "src"
    with trio.fail_after(GUARD):
        done = await trio.run_process(
            [sys.executable, "-P", "-c", SCRIPT],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(source), "KEY": "canary"},
            cwd="/",
            capture_stdout=True,
        )
    lines = done.stdout.decode().splitlines()
    # Where the kernel allows nobody to read another's memory (Yama), it is private anyhow.
    assert lines[0] == "environ False"
    assert lines[2:] == ["environ True", "mem True"]


@linux
def test_kernel_may_refuse():
    """An option that the kernel doesn't know is a refusal, not an error."""
    assert not _prctl(-1, 0)
