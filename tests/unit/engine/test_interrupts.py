"""Ctrl-C in a program that embeds an engine, whichever of its tasks the signal comes in."""

from __future__ import annotations

import signal
import socket

import pytest
import trio

from nanoclaw_trio.background import protected, start_protected
from nanoclaw_trio.runtimes.abc import INSTALL_LABEL, OWNER_LABEL, ContainerSpec
from nanoclaw_trio.workspace.install import install_id

pytestmark = pytest.mark.usefixtures("python_handles_sigint")

DEAD = f"{socket.gethostname()}:999999999:1"


def interrupt_once(faults, name):
    """Have the next call of a method be met by a Ctrl-C, in its own task."""

    async def interrupted(*_):
        del faults[name]
        signal.raise_signal(signal.SIGINT)

    faults[name] = interrupted


async def leave_orphan(world):
    """A container of this project that a host which is gone has left."""
    identity = install_id(world.settings.project_root)
    labels = {INSTALL_LABEL: identity, OWNER_LABEL: DEAD}
    spec = ContainerSpec(name="orphan", image=world.settings.container_image, labels=labels)
    await world.runtime.start(spec)


async def interrupted_in_delivery(world):
    """While the bridge says an answer."""
    interrupt_once(world.platform.before, "deliver")
    await world.say("home", "hello")


async def interrupted_in_typing(world):
    """While the bridge shows that an agent is at work."""
    interrupt_once(world.platform.before, "set_typing")
    await world.say("home", "hello")


async def interrupted_in_notice(world):
    """While the bridge tells the operator of an outage."""
    interrupt_once(world.platform.before, "notice")
    world.runtime.images = set()
    await world.say("home", "hello")


async def interrupted_in_reaping(world):
    """While the reaper stops an orphan, in the shield that sees to its end."""
    await leave_orphan(world)
    interrupt_once(world.runtime.before, "stop")


async def interrupted_in_settling(world):
    """While a container is stopped that nobody had confirmed gone."""
    await leave_orphan(world)
    interrupt_once(world.runtime.before, "stop")
    world.engine._dispatcher._keeper.hold("home", "orphan")


@pytest.mark.parametrize(
    "interrupted",
    [
        interrupted_in_delivery,
        interrupted_in_typing,
        interrupted_in_notice,
        interrupted_in_reaping,
        interrupted_in_settling,
    ],
)
def test_an_interrupt_in_an_engines_task(in_world, interrupted):
    """The interrupt reaches the caller's own code as itself, in no group; when the engine is left no
    container is there, and what was being said isn't said again by the next."""

    async def scenario(world):
        world.options["reap_interval"] = 20.0
        caught = await use(world, interrupted)
        assert not world.runtime.containers
        async with world.open():
            await trio.sleep(100)
        return caught, [said.text for said in world.platform.said]

    caught, said = in_world(scenario)
    assert caught is KeyboardInterrupt
    assert len(said) == len(set(said))


async def use(world, interrupted):
    """Run an engine in the main task until it is interrupted; by what."""
    caught = None
    try:
        async with world.open() as world.engine:
            await world.register("home")
            await interrupted(world)
            try:
                await trio.sleep(1000)
            except BaseException as error:
                caught = type(error)
                raise
    except KeyboardInterrupt:
        return caught
    finally:
        world.engine = None
    return None


def test_a_protected_task():
    """An interrupt in a task that was started so goes to the main task, and the task goes on."""
    went_on = []

    async def interrupted(what):
        signal.raise_signal(signal.SIGINT)
        went_on.append(what)

    async def main():
        async with trio.open_nursery() as nursery:
            start_protected(nursery, interrupted, "task")
            with pytest.raises(KeyboardInterrupt):
                await trio.sleep_forever()
            await nursery.start(protected, started)

    async def started(task_status):
        went_on.append("other")
        task_status.started()

    trio.run(main)
    assert went_on == ["task", "other"]
