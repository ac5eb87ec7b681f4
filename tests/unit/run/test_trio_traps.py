"""What Trio itself invites, where no other test has it (docs/history)."""

from __future__ import annotations

import re
from pathlib import Path

import trio
import trio.testing
from attrs import evolve

from nanoclaw_trio.run.open_run import open_run
from nanoclaw_trio.runtimes.process import ChildProcess
from nanoclaw_trio.testing.fake import echo_agent, open_fake_runtime

REPOSITORY = Path(__file__).parents[3]


async def test_many_runs_that_start_in_one_tick(virtual_clock, group, container_input, settings):
    """Trap T8. Runs that are started together mix nothing up, in whatever order they get on."""
    heard = {}

    async def one(number):
        own = evolve(group, folder=f"family-{number}")
        asked = evolve(container_input, group_folder=own.folder)
        async with open_run(own, asked, settings=settings, runtime=runtime) as run:
            heard[number] = [(await anext(run)).new_session_id, run.container_name]

    async with open_fake_runtime(echo_agent) as runtime, trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(one, number)
    assert all(session == f"session-of-{name}" for session, name in heard.values())
    assert len({name for _, name in heard.values()}) == len(heard) == 10


async def test_a_reader_is_gone_before_its_stream_is_closed(
    virtual_clock, group, container_input, settings
):
    """Trap T9. A run that is left while its readers are blocked closes no stream under them: their
    ClosedResourceError would come out of the block."""

    async def silent(container):
        await trio.sleep_forever()

    async with open_fake_runtime(silent) as runtime:
        async with open_run(group, container_input, settings=settings, runtime=runtime) as run:
            await trio.testing.wait_all_tasks_blocked()
        assert run.receipt is not None
        assert not runtime.containers


async def test_letting_go_of_a_process_with_a_reader():
    """Trap T9. The reader of a child's output is told, and nothing hangs."""
    child = ChildProcess(("sleep", "600"), {"PATH": "/bin:/usr/bin"})
    told = []

    async def read():
        try:
            await child.stdout.receive_some()
        except trio.ClosedResourceError:
            told.append(True)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            await child.aclose()
    assert told == [True]


def test_both_linters_are_run():
    """Trap T12. The project's check runs flake8-async besides ruff."""
    check = (REPOSITORY / ".ci" / "run").read_text()
    assert re.search(r"^  \.venv-lint/bin/ruff check$", check, re.MULTILINE)
    assert ".venv-lint/bin/flake8-async" in check
