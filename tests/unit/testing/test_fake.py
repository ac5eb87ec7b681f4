"""What the fake runtime does besides the promises that all runtimes share."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from nanoclaw_trio.errors import StartFailed
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.runtimes.abc import ContainerSpec
from nanoclaw_trio.testing.fake import FakeContainer, echo_agent, open_fake_runtime


def test_paths_go_through_the_deepest_mount(tmp_path):
    """A path inside is found through the mount that is nearest to it; outside of all, KeyError."""
    inner = tmp_path / "inner"
    spec = ContainerSpec(
        name="c",
        image="any",
        mounts=(
            VolumeMount(host_path=tmp_path, container_path="/w", readonly=False),
            VolumeMount(host_path=inner, container_path="/w/deep", readonly=True),
        ),
    )
    container = FakeContainer(spec)
    assert container.host_path("/w/file") == tmp_path / "file"
    assert container.host_path("/w/deep/file") == inner / "file"
    assert container.writable_path("/w/file") == Path(tmp_path, "file")
    with pytest.raises(OSError, match="Read-only"):
        container.writable_path("/w/deep/file")
    with pytest.raises(KeyError):
        container.host_path("/elsewhere")


async def test_a_name_is_used_once(virtual_clock):
    """A second container of the same name isn't started while the first is there."""

    async def sleeper(container):
        await trio.sleep_forever()

    async with open_fake_runtime(sleeper) as runtime:
        await runtime.start(ContainerSpec(name="c", image="any"))
        with pytest.raises(StartFailed, match="in use"):
            await runtime.start(ContainerSpec(name="c", image="any"))


async def test_a_kill_that_comes_too_late_changes_nothing(virtual_clock):
    """A script that has ended keeps its exit status, and there is nothing left to kill."""

    async def quick(container):
        return 3

    async with open_fake_runtime(quick) as runtime:
        handle = await runtime.start(ContainerSpec(name="c", image="any"))
        assert await handle.wait() == 3
        assert not await runtime.kill("c")
        assert await handle.wait() == 3


async def test_the_callers_exception_comes_out_as_it_is(virtual_clock):
    """An exception of the block isn't wrapped in a group by the runtime's own nursery."""
    with pytest.raises(LookupError, match="mine"):
        async with open_fake_runtime(echo_agent):
            raise LookupError("mine")
