"""No container outlives its purpose: orphans, and containers that nobody has confirmed gone."""

from __future__ import annotations

import socket

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.errors import RuntimeCommandFailed
from nanoclaw_trio.runtimes.abc import INSTALL_LABEL, OWNER_LABEL, ContainerSpec
from nanoclaw_trio.workspace.install import install_id

DEAD = f"{socket.gethostname()}:999999999:1"


class Silence:
    """A runtime that doesn't answer what is asked about a container that is to go."""

    METHODS = ("stop", "kill", "remove", "inspect", "list")

    def __init__(self, world):
        self.world = world

    def begin(self, *, hangs=False):
        async def fail():
            if hangs:
                await trio.sleep_forever()
            raise RuntimeCommandFailed("fake", "the daemon doesn't answer")

        for method in self.METHODS:
            self.world.runtime.before[method] = fail

    def end(self):
        self.world.runtime.before.clear()


@pytest.fixture
def silence(world):
    return Silence(world)


async def start_orphan(world, name="orphan", owner=DEAD):
    """A container of this project that another process has left."""
    spec = ContainerSpec(
        name=name,
        image=world.settings.container_image,
        labels={INSTALL_LABEL: install_id(world.settings.project_root), OWNER_LABEL: owner},
    )
    await world.runtime.start(spec)


async def test_orphans_are_gone_before_the_first_start(virtual_clock, world):
    """What a host that was killed left is stopped before this one starts anything, by the install's
    label and not by its name. Trap A26."""
    await start_orphan(world)
    await start_orphan(world, "another project's", DEAD)
    inside = world.runtime.containers["another project's"]
    inside.spec = evolve(inside.spec, labels={**inside.spec.labels, INSTALL_LABEL: "another"})
    seen = []

    async def look():
        seen.append(set(world.runtime.containers))

    await world.start()
    world.runtime.before["start"] = look
    await world.register("home")
    await world.say("home", "hello")
    await trio.sleep(1)
    assert seen == [{"another project's"}]
    (entry,) = await world.events("orphans_reaped")
    assert entry.fields["containers"] == ["orphan"]
    await world.runtime.kill("another project's")


async def test_orphans_are_looked_for_again_and_again(virtual_clock, home):
    """A container that loses its host later is found within the interval. Trap A26."""
    await trio.sleep(1000)
    await start_orphan(home)
    await trio.sleep(301)
    assert not home.runtime.containers
    assert home.engine.statistics().counters.orphans_reaped == 1


async def test_a_runtime_that_does_not_list_is_asked_again(virtual_clock, home, silence):
    """A look for orphans that fails is no failure of the engine."""
    silence.begin()
    await trio.sleep(400)
    silence.end()
    await start_orphan(home)
    await trio.sleep(301)
    assert not home.runtime.containers


async def test_a_group_with_a_container_in_doubt_is_held(virtual_clock, home, silence):
    """As long as nobody says that a group's container is gone, it gets no other; the others go on;
    and when it is gone its messages are answered. Trap A7."""
    await home.register("other")
    await home.say("other", "hello")
    await home.say("home", "hello")
    await trio.sleep(10)
    silence.begin()
    await home.engine.close_group("home")
    await trio.sleep(200)
    assert home.state_of("home") == "no_work" or home.state_of("home") == "held"
    await home.say("home", "are you there?")
    await home.say("other", "and you?")
    await trio.sleep(500)
    assert [said.text for said in home.answers("other")] == ["echo: hello", "echo: and you?"]
    assert len(home.answers("home")) == 1
    assert home.state_of("home") == "held"
    silence.end()
    await trio.sleep(60)
    assert [said.text for said in home.answers("home")] == ["echo: hello", "echo: are you there?"]
    (held,) = [e for e in await home.events("group_held") if e.fields["folder"] == "home"]
    (gone,) = [
        e
        for e in await home.events("container_gone")
        if e.fields["container"] == held.fields["container"]
    ]
    assert held.at < gone.at


async def test_a_container_in_doubt_that_lives_is_stopped_in_the_end(virtual_clock, home, silence):
    """A container that really lives on is stopped as soon as the runtime answers again, and never
    are there two of its group."""
    most = 0

    async def never_mind(turn):
        nonlocal most
        most = max(most, home.running().count("home"))
        with turn.container.open_sigterm_receiver():
            await trio.sleep_forever()

    home.agent.script["never"] = never_mind
    home.settings = evolve(home.settings, container_timeout=60, idle_timeout=10)
    await home.restart()
    await home.say("home", "never mind")
    await trio.sleep(30)
    silence.begin()
    await trio.sleep(400)
    assert home.state_of("home") == "held"
    assert home.running() == ["home"]
    home.agent.script["never"] = home.agent.script["!silent"]
    silence.end()
    await trio.sleep(100)
    assert most == 1
    assert len(home.agent.prompts()) == 2


async def test_a_held_group_is_held_no_more_after_a_restart(virtual_clock, home, silence):
    """The next engine finds the container by its label, or finds it gone, and goes on."""
    await home.say("home", "hello")
    await trio.sleep(10)
    silence.begin()
    await home.engine.close_group("home")
    await trio.sleep(200)
    await home.say("home", "are you there?")
    await trio.sleep(10)
    silence.end()
    await home.restart()
    await trio.sleep(10)
    assert len(home.answers()) == 2


async def test_leaving_waits_for_what_is_held(virtual_clock, world, silence):
    """On leaving, a container in doubt is tried once more, within a bound. Trap T2."""
    await world.start()
    await world.register("home")
    await world.say("home", "!deaf")
    await trio.sleep(1)
    silence.begin()
    with trio.fail_after(600):
        await world.kill()
    silence.end()
    await world.runtime.kill(next(iter(world.runtime.containers), "nothing"))


async def test_a_cut_off_containers_end_is_seen_to(virtual_clock, world, silence):
    """A container whose stop failed while the engine was cancelled is tried again before the engine
    is left: none is left behind if the runtime recovers. Trap A25."""
    await world.start()
    await world.register("home")
    await world.say("home", "!hang")
    await trio.sleep(1)
    silence.begin(hangs=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.kill)
        # The run's own ladder is still on its way down.
        await trio.sleep(30)
        silence.end()
    assert not world.runtime.containers
