"""Standard input as a lease: its end is the host's, and the agent's too."""

from __future__ import annotations

import json

import pytest
import trio

from nanoclaw_agent.children import read_parents

SIGTERM_STATUS = 143


@pytest.fixture
def start_leased(start_agent):
    """Start an echo agent whose standard input is a lease."""

    async def start(**variables):
        return await start_agent(NANOCLAW_STDIN="lease", **variables)

    return start


async def give_line(agent, document) -> None:
    """Write the input, and hold standard input open."""
    await agent.process.stdin.send_all(json.dumps(document).encode() + b"\n")


async def test_input_is_one_line(start_leased, input_document, close):
    """An agent answers though its standard input hasn't ended, and ends as ever by `_close`."""
    agent = await start_leased()
    await give_line(agent, input_document)
    assert (await agent.output())["result"] == "echo: Hello"
    await agent.output()
    close()
    assert await agent.outputs() == []
    assert await agent.exit_status() == 0
    assert agent.stderr == ""


async def test_what_follows_the_line_is_nothing(start_leased, input_document):
    """Bytes behind the input are neither part of it nor the end of the lease."""
    agent = await start_leased()
    encoded = json.dumps(input_document).encode()
    await agent.process.stdin.send_all(encoded + b"\nnoise\n")
    assert (await agent.output())["result"] == "echo: Hello"
    await agent.process.stdin.send_all(b"more")
    assert (await agent.output())["result"] is None
    await agent.process.stdin.aclose()
    assert await agent.exit_status() == SIGTERM_STATUS


async def test_long_input_comes_whole(start_leased, input_document):
    """A line that takes many reads is put together."""
    agent = await start_leased()
    prompt = "ä" * 300_000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_line, agent, input_document | {"prompt": prompt})
        assert (await agent.output())["result"] == f"echo: {prompt}"


async def test_end_while_it_rests(start_leased, input_document):
    """An agent that waits for follow-ups ends with its host, without a word."""
    agent = await start_leased()
    await give_line(agent, input_document)
    assert [await agent.output(), await agent.output()][1]["result"] is None
    await agent.process.stdin.aclose()
    assert await agent.outputs() == []
    assert await agent.exit_status() == SIGTERM_STATUS
    assert agent.stderr == ""


@pytest.mark.parametrize("begun", [b"", b'{"prompt": "Hello"'])
async def test_end_before_the_input_is_whole(start_leased, begun):
    """A host that ended before or amid the input has asked nothing: no output is written."""
    agent = await start_leased()
    await agent.process.stdin.send_all(begun)
    await agent.process.stdin.aclose()
    assert await agent.outputs() == []
    assert await agent.exit_status() == SIGTERM_STATUS
    assert agent.stderr == ""


IMPATIENT = """
import sys
from nanoclaw_agent import program
program.INPUT_LIMIT = 0.2
sys.exit(program.run(agent_name="echo", workspace={workspace!r}, stdin={stdin!r}))
"""


@pytest.mark.parametrize("stdin", ["lease", None])
@pytest.mark.parametrize("begun", [b"", b'{"prompt": "Hello"'])
async def test_an_input_that_never_comes(start_python, tmp_path, stdin, begun):
    """An engine that was killed amid a start may have forgotten the container, and hold its standard
    input open: the agent ends by itself."""
    program = IMPATIENT.format(workspace=str(tmp_path), stdin=stdin)
    agent = await start_python("-c", program)
    if begun:
        await agent.process.stdin.send_all(begun)
    assert await agent.outputs() == []
    assert await agent.exit_status() == SIGTERM_STATUS
    assert agent.stderr == ""


PROGRAM = """
import os, sys, trio
from nanoclaw_agent.lease import read_leased_stdin
from nanoclaw_agent.signals import run_until_signalled
async def program():
    await read_leased_stdin()
    {work}
sys.exit(trio.run(run_until_signalled, program))
"""

SLEEPS = """import time
    print("ready", flush=True)
    time.sleep(600)"""

# For half an hour, in C code that no signal's handler interrupts.
COMPUTES = """import hashlib
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)"""

SHIELDED = """print("ready", flush=True)
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()"""


@pytest.mark.parametrize("work", [SLEEPS, COMPUTES, SHIELDED])
async def test_end_while_the_loop_is_blocked(start_python, work):
    """A program whose main thread is blocked, or that can't be cancelled, ends with its host."""
    agent = await start_python("-c", PROGRAM.format(work=work))
    await agent.process.stdin.send_all(b"{}\n")
    assert await agent.read_line() == b"ready"
    await agent.process.stdin.aclose()
    assert await agent.exit_status() == SIGTERM_STATUS
    assert agent.stderr == ""


CHILD = """import subprocess
    deaf = "import signal, time; signal.signal(15, 1); print(flush=True); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    child.stdout.readline()
    print(child.pid, flush=True)
    child.wait()"""


async def test_no_child_is_left(start_python):
    """A child that ignores SIGTERM has ended when the agent has."""
    agent = await start_python("-c", PROGRAM.format(work=CHILD))
    await agent.process.stdin.send_all(b"{}\n")
    pid = int(await agent.read_line())
    await agent.process.stdin.aclose()
    assert await agent.exit_status() == SIGTERM_STATUS
    assert pid not in read_parents()


INHERITED = """import subprocess
    look = "import os; print(os.path.samestat(os.fstat(0), os.stat(os.devnull)), [fd for fd in range(3, 64) if os.path.exists(f'/proc/self/fd/{fd}')"
    look += " and os.readlink(f'/proc/self/fd/{fd}').startswith('pipe')], flush=True)"
    subprocess.run([sys.executable, "-c", look], close_fds=False)"""


async def test_the_lease_is_for_the_agent_alone(start_python):
    """Trap A17. Its tools have the null device for standard input, and no pipe besides."""
    agent = await start_python("-c", PROGRAM.format(work=INHERITED))
    await agent.process.stdin.send_all(b"{}\n")
    assert await agent.read_line() == b"True []"


NAMES = """
import os, runpy
try:
    runpy.run_module("nanoclaw_agent", run_name="__main__")
except SystemExit:
    print("NANOCLAW_STDIN" in os.environ)
"""


async def test_the_variable_is_for_the_agent_alone(start_python):
    """What the agent's tools start doesn't take its own standard input for a lease."""
    agent = await start_python("-c", NAMES, NANOCLAW_STDIN="lease", NANOCLAW_AGENT="echo")
    await agent.process.stdin.aclose()
    assert await agent.read_line() == b"False"


async def test_another_value_is_no_lease(start_agent, input_document):
    """Only `lease` is one: of anything else standard input is read to its end."""
    agent = await start_agent(NANOCLAW_STDIN="pipe")
    await agent.give_input(input_document)
    assert (await agent.output())["result"] == "echo: Hello"
