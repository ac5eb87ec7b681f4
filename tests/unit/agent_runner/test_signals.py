"""SIGTERM and SIGINT end the agent, whatever it is doing."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import trio

from nanoclaw_agent.children import read_parents

SIGNALS = pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)


async def wait_for_handlers(agent) -> None:
    """Wait until the process handles SIGTERM: the kernel shows the set of signals that it does.

    SIGINT's handler is there by then: Python has one of its own from the start, ours replaces it
    before SIGTERM gets one.
    """
    status = trio.Path(f"/proc/{agent.process.pid}/status")
    with trio.fail_after(60):
        while True:
            (line,) = [x for x in (await status.read_text()).splitlines() if "SigCgt" in x]
            if int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
                return
            await trio.sleep(0.005)


@SIGNALS
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
async def test_signal_while_it_starts_or_reads(start_agent, number, status):
    """Before the end of the input, the first line of the program on, a signal ends it."""
    agent = await start_agent()
    await wait_for_handlers(agent)
    agent.process.send_signal(number)
    assert await agent.exit_status() == status
    assert agent.stderr == ""


@SIGNALS
async def test_signal_while_it_waits(start_agent, input_document, number, status):
    """A signal ends an agent that waits for follow-ups. Trap A18."""
    agent = await start_agent()
    await agent.give_input(input_document)
    await agent.output()
    await agent.output()
    agent.process.send_signal(number)
    assert await agent.outputs() == []
    assert await agent.exit_status() == status
    assert agent.stderr == ""


@SIGNALS
async def test_signal_while_it_writes(start_agent, input_document, number, status):
    """A signal ends an agent whose host doesn't read on."""
    agent = await start_agent()
    await agent.give_input(input_document | {"prompt": "x" * 3_000_000})
    assert await agent.read_line() == b"---NANOCLAW_OUTPUT_START---"
    agent.process.send_signal(number)
    assert await agent.exit_status() == status
    assert agent.stderr == ""


BEFORE_TRIO = """
import time
from nanoclaw_agent.signals import exit_on_signals
exit_on_signals()
print("ready", flush=True)
time.sleep(600)
"""

BLOCKED = """
import time, trio
from nanoclaw_agent.signals import run_until_signalled
async def program():
    print("ready", flush=True)
    time.sleep(600)
trio.run(run_until_signalled, program)
"""

SHIELDED = """
import trio
from nanoclaw_agent.signals import run_until_signalled
async def program():
    print("ready", flush=True)
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            print("winding down", flush=True)
            await trio.sleep_forever()
trio.run(run_until_signalled, program)
"""

PATIENT = SHIELDED.replace("import trio\n", "import trio\nfrom functools import partial\n").replace(
    "run_until_signalled, program)", "partial(run_until_signalled, program, grace_period=600))"
)

COOPERATIVE = """
import sys, trio
from nanoclaw_agent.signals import run_until_signalled
async def program():
    print("ready", flush=True)
    try:
        await trio.sleep_forever()
    finally:
        print("winding down", flush=True)
sys.exit(trio.run(run_until_signalled, program))
"""


@SIGNALS
@pytest.mark.parametrize("script", [BEFORE_TRIO, BLOCKED, SHIELDED, COOPERATIVE])
async def test_one_signal_ends_any_program(start_python, script, number, status):
    """Outside of Trio, blocked, shielded or cancelled: one signal is enough, with its status."""
    agent = await start_python("-c", script)
    assert await agent.read_line() == b"ready"
    agent.process.send_signal(number)
    assert await agent.exit_status() == status
    assert agent.stderr == ""


WOUND_DOWN = COOPERATIVE.replace("import sys, trio", "import signal, sys, trio").replace(
    "sys.exit(trio.run(run_until_signalled, program))",
    """status = trio.run(run_until_signalled, program)
print(*signal.getitimer(signal.ITIMER_REAL), flush=True)
sys.exit(status)
""",
)


@SIGNALS
async def test_no_alarm_outlives_the_grace_period(start_python, number, status):
    """Once the program has wound down, no alarm is left that could end the interpreter's own end
    with a status of SIGALRM's."""
    agent = await start_python("-c", WOUND_DOWN)
    assert await agent.read_line() == b"ready"
    agent.process.send_signal(number)
    assert await agent.read_line() == b"winding down"
    assert await agent.read_line() == b"0.0 0.0"
    assert await agent.exit_status() == status


@SIGNALS
async def test_second_signal_ends_the_grace_period(start_python, number, status):
    """A program that winds down for long is ended by a second signal."""
    agent = await start_python("-c", PATIENT)
    assert await agent.read_line() == b"ready"
    agent.process.send_signal(signal.SIGTERM)
    assert await agent.read_line() == b"winding down"
    agent.process.send_signal(number)
    assert await agent.exit_status() == status
    assert agent.stderr == ""


WITH_CHILDREN = """
import signal, subprocess, sys, time, trio
from nanoclaw_agent.signals import run_until_signalled
LEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
LEAF += "print('leaf', flush=True); time.sleep(600)"
CHILD = "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
CHILD += "child = subprocess.Popen([sys.executable, '-c', sys.argv[1]]); print(child.pid); "
CHILD += "child.wait()"
async def program():
    child = subprocess.Popen(
        [sys.executable, "-u", "-c", CHILD, LEAF], stdout=subprocess.PIPE, text=True
    )
    said = {child.stdout.readline(), child.stdout.readline()} - {"leaf\\n"}
    print(child.pid, *said, flush=True)
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()
trio.run(run_until_signalled, program)
"""


@SIGNALS
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
async def test_signal_leaves_no_child(start_python, number, status):
    """A child and a grandchild that ignore the signal have ended when the agent has. Trap A18."""
    agent = await start_python("-c", WITH_CHILDREN)
    pids = {int(pid) for pid in (await agent.read_line()).split()}
    agent.process.send_signal(number)
    assert await agent.exit_status() == status
    assert len(pids) == 2
    assert not pids & read_parents().keys()
    assert agent.stderr == ""


NO_IMPORTS = """
import builtins, sys, threading, time
from nanoclaw_agent.signals import exit_on_signals
exit_on_signals()
builtins.__import__ = lambda *_: threading.Event().wait()
print("ready", flush=True)
time.sleep(600)
"""


@SIGNALS
async def test_a_handler_imports_nothing(start_python, number, status):
    """A signal in the middle of an import ends the process: its handler doesn't wait for the lock
    of a module that the interrupted import holds."""
    # Unmeasured: coverage saves what it saw in os._exit, and imports for that.
    agent = await start_python("-c", NO_IMPORTS, COVERAGE_PROCESS_CONFIG="")
    assert await agent.read_line() == b"ready"
    agent.process.send_signal(number)
    assert await agent.exit_status() == status
    assert agent.stderr == ""
