"""Containers that an engine finds at its start: none gets company of its own group."""

from __future__ import annotations

import socket

import pytest
import trio

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.errors import RuntimeCommandFailed
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.run.host import this_process
from nanoclaw_trio.runtimes.abc import GROUP_LABEL, INSTALL_LABEL, OWNER_LABEL, ContainerSpec
from nanoclaw_trio.workspace.claim import GroupClaim
from nanoclaw_trio.workspace.install import install_id

DEAD = f"{socket.gethostname()}:999999999:1"


@pytest.fixture
def refusal(world):
    """A runtime that stops nothing: `refusal.begin()`, `refusal.end()`."""

    class Refusal:
        def begin(self, *methods):
            for method in methods or ("stop", "kill", "remove"):
                world.runtime.before[method] = self._refuse

        def end(self):
            world.runtime.before.clear()

        async def _refuse(self):
            raise RuntimeCommandFailed("fake", "the daemon says no")

    return Refusal()


@pytest.fixture
def leave_behind(world):
    """Start a container of the group `home` that its owner has left."""

    async def leave_behind(name="left", owner=DEAD):
        root = world.settings.project_root
        labels = {INSTALL_LABEL: install_id(root), GROUP_LABEL: "home", OWNER_LABEL: owner}
        image = world.settings.container_image
        await world.runtime.start(ContainerSpec(name=name, image=image, labels=labels))

    return leave_behind


async def test_orphan_that_cannot_be_stopped_holds_its_group(
    virtual_clock, home, refusal, leave_behind
):
    """A group whose orphan can't be stopped at the start gets no second container until that one is
    gone; others go on meanwhile. Traps A7, A26."""
    await home.register("other")
    await home.kill()
    await leave_behind()
    refusal.begin()
    await home.start()
    await home.say("home", "hello")
    await home.say("other", "hello")
    await trio.sleep(1000)
    assert home.state_of("home") == "held"
    assert home.running().count("home") == 1
    assert not home.answers("home")
    assert len(home.answers("other")) == 1
    refusal.end()
    await trio.sleep(60)
    assert [said.text for said in home.answers("home")] == ["echo: hello"]
    assert "left" not in home.runtime.containers


async def test_group_is_held_until_the_last_of_its_orphans_is_gone(
    virtual_clock, home, refusal, leave_behind
):
    """A group that several hosts have left a container of is held until none of them is there."""
    seen = []

    async def look():
        seen.append(home.running())

    await home.kill()
    await leave_behind("first")
    await leave_behind("second")
    refusal.begin()
    await home.start()
    await home.say("home", "hello")
    await trio.sleep(400)
    assert home.state_of("home") == "held"
    refusal.end()
    home.runtime.before["start"] = look
    await trio.sleep(60)
    assert seen == [[]]
    assert [said.text for said in home.answers("home")] == ["echo: hello"]


async def test_what_an_earlier_engine_of_this_process_left(virtual_clock, home, refusal):
    """A container that an engine could not stop at its end is stopped by the next of the same
    process, though its owner lives, before its group gets another. Trap A26."""
    seen = []

    async def look():
        seen.append(home.running())

    await home.say("home", "!hang")
    await trio.sleep(2)
    refusal.begin()
    await home.kill()
    assert home.running() == ["home"]
    refusal.end()
    home.runtime.before["start"] = look
    home.agent.script["!hang"] = home.agent.script["!silent"]
    await home.start()
    await trio.sleep(100)
    assert seen == [[]]
    assert home.engine.statistics().counters.orphans_reaped == 1


async def test_what_is_left_is_looked_for_until_the_runtime_says_what_there_is(
    virtual_clock, home, refusal, leave_behind
):
    """The same where the runtime doesn't say at first which containers there are."""
    await home.kill()
    await leave_behind(owner=this_process())
    refusal.begin("list")
    await home.start()
    await trio.sleep(30)
    refusal.end()
    await home.say("home", "hello")
    await trio.sleep(100)
    assert [said.text for said in home.answers()] == ["echo: hello"]
    assert "left" not in home.runtime.containers


async def test_a_run_of_the_embedders_own_is_let_be(virtual_clock, home, leave_behind):
    """A container of this process whose group is claimed is no leftover: somebody runs it."""
    await home.kill()
    claim = GroupClaim(home.settings.project_root, "home", container="mine", moment=utc_now())
    await in_thread(claim.take)
    await leave_behind("mine", owner=this_process())
    await home.start()
    await trio.sleep(1000)
    assert list(home.runtime.containers) == ["mine"]
    await in_thread(claim.release)
    await home.runtime.kill("mine")
