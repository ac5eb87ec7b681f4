"""What is left of a run that was cut off while its container was being started."""

from __future__ import annotations

import pytest
import trio

from nanoclaw_trio.cli.ending import Ending
from nanoclaw_trio.cli.leftovers import ask_for_leftovers
from nanoclaw_trio.errors import RuntimeCommandFailed
from nanoclaw_trio.run.host import this_process
from nanoclaw_trio.runtimes.abc import OWNER_LABEL, ContainerSpec
from nanoclaw_trio.testing.fake import open_fake_runtime

ENDING = Ending(cause="cancelled", exit_status=130)


async def sleep(_container):
    """A script that never ends."""
    await trio.sleep_forever()


def spec(owner):
    """A container that this process of a host started."""
    return ContainerSpec(name="c1", image="i", labels={OWNER_LABEL: owner})


async def test_nothing_is_left():
    """Another process's container is none of ours."""
    async with open_fake_runtime(sleep) as runtime:
        await runtime.start(spec("another:1:1"))
        assert await ask_for_leftovers(ENDING, runtime, bound=1) == ENDING


async def test_a_container_is_left():
    """A container that this process started is named, and isn't said to be gone."""
    async with open_fake_runtime(sleep) as runtime:
        await runtime.start(spec(this_process()))
        ending = await ask_for_leftovers(ENDING, runtime, bound=1)
    assert (ending.container, ending.gone) == ("c1", False)
    assert ending.doubt.startswith("container c1 may still run: its start was cut off")


async def refuse():
    """A runtime that doesn't answer."""
    await trio.lowlevel.checkpoint()
    raise RuntimeCommandFailed("ps", "failed")


@pytest.mark.parametrize(
    ("fault", "why"), [(refuse, "`ps` failed"), (trio.sleep_forever, "no answer within 7 s")]
)
async def test_a_runtime_that_doesnt_say(virtual_clock, fault, why):
    """No answer isn't "gone", and isn't waited for without bound."""
    async with open_fake_runtime(sleep) as runtime:
        runtime.before["list"] = fault
        ending = await ask_for_leftovers(ENDING, runtime, bound=7)
    assert (ending.container, ending.gone) == (None, False)
    assert ending.doubt.startswith(f"a container may still run: {why}")
