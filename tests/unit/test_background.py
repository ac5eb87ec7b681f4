"""The nursery behind a context manager: what goes out of it, and what doesn't.

There are two of it, since the agent-runner shares no code with the host; they promise the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

from nanoclaw_trio import background as host

# The agent-runner is no installed package: a group's copy is found by its path.
sys.path.insert(0, str(Path(__file__).parents[2] / "container" / "agent-runner" / "src"))

from nanoclaw_agent import background as agent

pytestmark = pytest.mark.parametrize(
    "open_background_nursery",
    [host.open_background_nursery, agent.open_background_nursery],
    ids=["host", "agent"],
)


async def fail():
    """A task with a defect."""
    raise KeyError("a defect")


async def resist():
    """Answer a cancellation with an error of one's own."""
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("hindered")


async def what_comes_out(block, *arguments):
    """The exception of a block, cancellations too; None if there is none.

    Not left to pytest-trio, which takes a cancellation that has lost its scope for its own.
    """
    try:
        await block(*arguments)
    except BaseException as error:  # noqa: BLE001 - it is what is looked at
        return error
    return None


async def test_the_end_of_the_block_ends_its_tasks(open_background_nursery):
    """Leaving the block cancels what runs in its background."""
    async with open_background_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
    assert not nursery.child_tasks


@pytest.mark.parametrize(
    "error", [ValueError("a"), ExceptionGroup("b", [ValueError()]), KeyboardInterrupt()]
)
async def test_an_exception_of_the_block_goes_on_as_it_is(open_background_nursery, error):
    """What the block raises comes out, itself and in no group."""

    async def block():
        async with open_background_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise error

    assert await what_comes_out(block) is error


@pytest.mark.parametrize("cancels", [("outer",), ("inner", "outer"), ("outer", "inner")])
@pytest.mark.parametrize("is_plain", [False, True], ids=["both", "plain"])
async def test_cancelled_one_in_the_other(open_background_nursery, cancels, is_plain):
    """Of two, one in the other, whichever is cancelled ends in silence: no cancellation comes out
    of the scope that it was for."""
    open_inner = trio.open_nursery if is_plain else open_background_nursery

    async def block():
        async with open_background_nursery() as outer, open_inner() as inner:
            inner.start_soon(trio.sleep_forever)
            for name in cancels:
                {"outer": outer, "inner": inner}[name].cancel_scope.cancel()
            await trio.sleep_forever()

    assert await what_comes_out(block) is None


async def test_a_defect_around_another(open_background_nursery):
    """When a background task fails around another such nursery, its error comes out, not the
    cancellation that it was the cause of."""

    async def block():
        async with open_background_nursery() as outer:
            outer.start_soon(fail)
            async with open_background_nursery() as inner:
                inner.start_soon(trio.sleep_forever)
                await trio.sleep_forever()

    group = await what_comes_out(block)
    assert isinstance(group, ExceptionGroup)
    assert [type(error) for error in group.exceptions] == [KeyError]


async def test_an_error_beside_a_cancellation(open_background_nursery):
    """What fails while it is cancelled comes out, and the cancellation stays in."""

    async def block():
        async with open_background_nursery() as outer, trio.open_nursery() as inner:
            inner.start_soon(resist)
            await trio.testing.wait_all_tasks_blocked()
            outer.cancel_scope.cancel()
            await trio.sleep_forever()

    group = await what_comes_out(block)
    assert isinstance(group, ExceptionGroup)
    assert [type(error) for error in group.exceptions] == [ValueError]


@pytest.mark.parametrize("is_nested", [False, True])
async def test_a_cancellation_from_outside_goes_on_outside(open_background_nursery, is_nested):
    """A cancellation of a scope around it comes out, so that nothing after the block is done."""

    async def block(scope):
        async with open_background_nursery() as nursery:
            scope.cancel()
            if is_nested:
                nursery.cancel_scope.cancel()
                async with open_background_nursery():
                    await trio.sleep_forever()
            await trio.sleep_forever()

    with trio.CancelScope() as scope:
        assert isinstance(await what_comes_out(block, scope), BaseException)
        await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
