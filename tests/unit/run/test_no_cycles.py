"""A run leaves nothing for Python's cyclic collector: what it had is gone when it is.

So a host with many runs need not stop them all to look through their objects (cli/heap.py), and what
a run held, a frame of 16 MiB or an open file, isn't held on until somebody looks.
"""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio

from nanoclaw_trio.run.open_run import open_run
from nanoclaw_trio.testing.fake import echo_agent, open_fake_runtime


def agent(outputs, status):
    """Says these outputs and some noise, and ends with a status; without one, it never does."""

    async def script(container):
        await container.read_input()
        await container.write_stderr(b"noise\n")
        for output in outputs:
            await container.write_output(output)
        if status is None:
            await trio.sleep_forever()
        return status

    return script


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "not"])
@pytest.mark.parametrize("status", [0, 3, None], ids=["success", "failure", "timeout"])
@pytest.mark.parametrize("answers", [True, False], ids=["answers", "silent"])
async def test_however_it_ends(
    virtual_clock, count_garbage, run_script, say, answers, status, streaming
):
    """By itself, with an answer or an error, or by a limit."""
    outputs = (say.answer("hello"), say.update()) if answers else ()
    script = agent(outputs, status)
    assert not await count_garbage(lambda: run_script(script, streaming=streaming))


@pytest.mark.parametrize("way", ["to its end", "left", "cancelled", "failed"])
async def test_however_it_is_read(
    virtual_clock, count_garbage, group, container_input, settings, way
):
    """To its end, with a follow-up; until its block is left, cancelled, or has failed."""

    async def read_one():
        with trio.CancelScope() as scope, suppress(ZeroDivisionError):
            async with (
                open_fake_runtime(echo_agent) as runtime,
                open_run(group, container_input, settings=settings, runtime=runtime) as run,
            ):
                async for output in run:
                    if way == "left":
                        break
                    if way == "cancelled":
                        scope.cancel()
                    if way == "failed":
                        raise ZeroDivisionError
                    if output.result == "echo: Hello":
                        await run.send_message("more")
                    elif output.result == "echo: more":
                        await run.close()

    assert not await count_garbage(read_one)
