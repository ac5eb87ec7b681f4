"""Containers whose host is gone: found by their install's label, and seen gone."""

from __future__ import annotations

import json
import os
import socket
from functools import partial

import pytest
import trio

from nanoclaw_trio.engine.reaper import is_orphan, is_stale, reap_orphans, reap_periodically
from nanoclaw_trio.errors import RuntimeCommandFailed
from nanoclaw_trio.run.host import this_process
from nanoclaw_trio.run.receipt import Gone, Unconfirmed
from nanoclaw_trio.runtimes.abc import (
    GROUP_LABEL,
    INSTALL_LABEL,
    OWNER_LABEL,
    ContainerSpec,
    ContainerState,
    Phase,
)
from nanoclaw_trio.testing.fake import open_fake_runtime

OURS = "0123456789abcdef0123456789abcdef"
THEIRS = "fedcba9876543210fedcba9876543210"
DEAD = f"{socket.gethostname()}:999999999:1"
ELSEWHERE = "another-host:1:1"


@pytest.fixture(autouse=True)
def _identity(settings):
    """The project's id is OURS."""
    record = {"id": OURS, "root": os.path.realpath(settings.project_root)}
    (settings.project_root / "data").mkdir()
    (settings.project_root / "data" / "install-id").write_text(json.dumps(record))


@pytest.fixture
async def runtime():
    """A runtime whose containers go on until they are stopped."""

    async def agent(container):
        await trio.sleep_forever()

    async with open_fake_runtime(agent) as runtime:
        yield runtime


@pytest.fixture
def start(runtime):
    """Start a container with these labels."""

    async def start(name, *, install=OURS, owner=DEAD):
        labels = {INSTALL_LABEL: install, GROUP_LABEL: "family", OWNER_LABEL: owner}
        given = {label: value for label, value in labels.items() if value is not None}
        await runtime.start(ContainerSpec(name=name, image="agent", labels=given))

    return start


@pytest.mark.parametrize(
    ("labels", "stale"),
    [
        ({INSTALL_LABEL: OURS, OWNER_LABEL: DEAD}, True),
        ({INSTALL_LABEL: THEIRS, OWNER_LABEL: DEAD}, False),
        ({INSTALL_LABEL: OURS, OWNER_LABEL: ELSEWHERE}, False),
        ({INSTALL_LABEL: OURS, OWNER_LABEL: this_process()}, False),
        ({INSTALL_LABEL: OURS}, False),
        ({}, False),
    ],
)
def test_a_stale_start(labels, stale):
    """A start is stale where the host of this install that began it is known to have ended."""
    assert is_stale(labels, install=OURS) is stale


@pytest.mark.parametrize(
    ("labels", "orphan"),
    [
        ({OWNER_LABEL: DEAD}, True),
        ({OWNER_LABEL: ELSEWHERE}, False),
        ({OWNER_LABEL: "nobody knows"}, False),
        ({}, True),
        ({OWNER_LABEL: None}, False),
    ],
)
def test_is_orphan(labels, orphan):
    """An orphan is a container whose owner has ended, or that has none."""
    labels = {label: this_process() if owner is None else owner for label, owner in labels.items()}
    state = ContainerState(name="c1", phase=Phase.RUNNING, labels=labels)
    assert is_orphan(state) is orphan


async def test_only_orphans_of_our_install(virtual_clock, runtime, start, settings):
    """Trap A26. Reaped is what has our install's label and a host that ended, whatever its name."""
    await start("nanoclaw-family-1")
    await start("another-name-altogether")
    await start("nanoclaw-family-2", install=THEIRS)
    await start("nanoclaw-family-3", owner=this_process())
    await start("nanoclaw-family-4", owner=ELSEWHERE)
    await start("nanoclaw-family-5", install=None)
    await start("nanoclaw-family-6", owner=None)
    receipts = await reap_orphans(runtime, settings=settings)
    assert sorted(receipt.container for receipt in receipts) == [
        "another-name-altogether",
        "nanoclaw-family-1",
        "nanoclaw-family-6",
    ]
    assert all(isinstance(receipt, Gone) for receipt in receipts)
    assert sorted(runtime.containers) == [f"nanoclaw-family-{number}" for number in (2, 3, 4, 5)]


async def test_nothing_to_do(virtual_clock, runtime, settings):
    """Without orphans there are no receipts."""
    assert await reap_orphans(runtime, settings=settings) == ()


async def test_the_receipts_are_honest(virtual_clock, runtime, start, settings, capsys):
    """Trap A26. What could not be seen gone is said to be unconfirmed."""
    await start("c1")
    for method in ("stop", "kill", "remove"):
        runtime.before[method] = trio.sleep_forever
    (receipt,) = await reap_orphans(runtime, settings=settings)
    assert isinstance(receipt, Unconfirmed)
    assert list(runtime.containers) == ["c1"]
    assert "container=c1 receipt=Unconfirmed" in capsys.readouterr().err


async def test_many_at_once(virtual_clock, runtime, start, settings):
    """One that takes long to stop keeps none of the others waiting."""
    for number in range(20):
        await start(f"c{number}")
    runtime.before["stop"] = partial(trio.sleep, 5)
    receipts = await reap_orphans(runtime, settings=settings)
    assert len(receipts) == 20
    assert trio.current_time() == 5


async def refuse():
    """A command that fails."""
    raise RuntimeCommandFailed("fake ps", "refuses")


async def test_a_list_that_fails(virtual_clock, runtime, start, settings):
    """Where the runtime doesn't say what is there, its error arrives as it is, in no group."""
    await start("c1")
    runtime.before["list"] = refuse
    with pytest.raises(RuntimeCommandFailed, match="refuses"):
        await reap_orphans(runtime, settings=settings)
    assert list(runtime.containers) == ["c1"]


async def test_cancelled_while_it_reaps(virtual_clock, runtime, start, settings):
    """Cancelled, it sees through what it has begun to stop."""
    await start("c1")
    runtime.before["stop"] = partial(trio.sleep, 5)
    with trio.move_on_after(1):
        await reap_orphans(runtime, settings=settings)
    assert trio.current_time() == 5
    assert not runtime.containers


class TestPeriodically:
    async def test_at_once_and_then_again(self, virtual_clock, runtime, start, settings, nursery):
        """Trap A26. Orphans are looked for at the start and at each interval, not only once."""
        looked = []

        async def note():
            await trio.lowlevel.checkpoint()
            looked.append((trio.current_time(), sorted(runtime.containers)))

        async def reap():
            await reap_periodically(runtime, settings=settings, interval=60)

        runtime.before["list"] = note
        await start("c1")
        nursery.start_soon(reap)
        await trio.sleep(90)
        await start("c2")
        await trio.sleep(100)
        assert looked == [(0, ["c1"]), (60, []), (120, ["c2"]), (180, [])]
        nursery.cancel_scope.cancel()

    async def test_a_runtime_that_is_down(
        self, virtual_clock, runtime, start, settings, nursery, capsys
    ):
        """A runtime that doesn't answer is logged, and asked again the next time."""
        await start("c1")
        runtime.before["list"] = refuse

        async def reap():
            await reap_periodically(runtime, settings=settings, interval=60)

        nursery.start_soon(reap)
        await trio.sleep(90)
        assert list(runtime.containers) == ["c1"]
        del runtime.before["list"]
        await trio.sleep(60)
        assert not runtime.containers
        logged = capsys.readouterr().err
        assert logged.count('event="orphans not looked for" runtime=fake') == 2
        assert logged.count('event="orphan reaped" container=c1 receipt=Gone') == 1
        nursery.cancel_scope.cancel()

    async def test_until_cancelled(self, virtual_clock, runtime, settings):
        """It goes on for days, and ends when it is cancelled."""
        with trio.move_on_after(3 * 24 * 3600) as scope:
            await reap_periodically(runtime, settings=settings, interval=3600)
        assert scope.cancelled_caught
