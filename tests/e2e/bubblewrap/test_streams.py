"""A sandbox's three streams and its exit status."""

from __future__ import annotations

import hashlib

import pytest
import trio

ECHO = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"


async def test_what_goes_in_comes_out(agents):
    """The agent reads all of its standard input, and its output arrives whole."""
    text = "ä" * 300_000
    assert await agents.run(ECHO, stdin=text.encode()) == (0, text, "")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("pass", 0),
        ("raise SystemExit(1)", 1),
        ("raise SystemExit(137)", 137),
        ("raise SystemExit(255)", 255),
        ("import os; os.kill(os.getpid(), 15)", 128 + 15),
        ("import os; os.kill(os.getpid(), 9)", 128 + 9),
    ],
)
async def test_the_exit_status_is_the_agents(agents, code, status):
    """The exit status of the agent arrives as it is, and 128 + N for a signal N."""
    assert (await agents.run(code))[0] == status


async def test_much_output_on_both_streams(agents):
    """Megabytes on both streams at once arrive whole and in order."""
    size = 8 * 1024 * 1024
    code = (
        "import sys, threading\n"
        "def write(stream, letter): stream.write(letter * 8 * 1024 * 1024)\n"
        "other = threading.Thread(target=write, args=(sys.stderr, 'e'))\n"
        "other.start(); write(sys.stdout, 'o'); other.join()\n"
    )
    status, stdout, stderr = await agents.run(code)
    assert (status, len(stdout), len(stderr)) == (0, size, size)
    assert hashlib.sha256(stdout.encode()).digest() == hashlib.sha256(b"o" * size).digest()
    assert set(stderr) == {"e"}


async def test_an_agent_that_does_not_read_breaks_the_pipe(agents):
    """Writing to an agent that has ended raises, and hurts nobody else (Trap A1)."""
    container = await agents.start("pass")
    with trio.fail_after(60):
        # More than any pipe holds.
        with pytest.raises(trio.BrokenResourceError):
            await container.stdin.send_all(b"x" * 8 * 1024 * 1024)
        assert await container.wait() == 0


async def test_any_number_may_wait(agents):
    """Several tasks may wait for an end, before and after it."""
    container = await agents.start("input()")
    statuses = []

    async def wait():
        statuses.append(await container.wait())

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait)
            await container.stdin.send_all(b"\n")
        await wait()
    assert statuses == [0, 0, 0]


async def test_trio_is_there(agents):
    """The host's Trio can be imported and run inside."""
    code = "import trio\nasync def main(): print('in trio')\ntrio.run(main)"
    assert await agents.run(code) == (0, "in trio\n", "")


@pytest.mark.slow
async def test_it_outlives_a_worker_thread(agents):
    """A sandbox lives on when the worker threads that were busy at its start have ended.

    Linux sends a parent's death signal when the thread ends that started the child, and Trio's idle
    worker threads end after ten seconds.
    """
    container = await agents.start("print(input(), flush=True)")
    await trio.sleep(12)
    with trio.fail_after(60):
        await container.stdin.send_all(b"still here\n")
        assert await container.stdout.receive_some() == b"still here\n"
        assert await container.wait() == 0


async def test_the_end_is_the_end(agents, runtime):
    """When an end was heard, the runtime says at once that nothing lives on."""
    for _ in range(10):
        container = await agents.start("pass")
        with trio.fail_after(60):
            await container.wait()
            assert await runtime.inspect(container.name) is None


async def test_closing_ends_what_runs(agents, runtime):
    """Closing a container that runs leaves no process, stream or zombie behind."""
    container = await agents.start("input()")
    with trio.fail_after(60):
        await container.aclose()
        assert await container.wait() == 128 + 9
        assert await runtime.inspect(container.name) is None
