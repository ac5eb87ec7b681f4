"""What the fake runtime does besides the promises that all runtimes share."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio

from nanoclaw_trio.errors import StartFailed
from nanoclaw_trio.mailbox.writer import Mailbox
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.run.open_run import open_run
from nanoclaw_trio.run.outcome import Cause
from nanoclaw_trio.runtimes.abc import ContainerSpec
from nanoclaw_trio.testing.fake import FakeContainer, FollowUpFile, echo_agent, open_fake_runtime


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


@pytest.fixture
def container(tmp_path):
    """A container with a mailbox."""
    (tmp_path / "input").mkdir()
    mount = VolumeMount(host_path=tmp_path, container_path="/workspace/ipc", readonly=False)
    return FakeContainer(ContainerSpec(name="c", image="any", mounts=(mount,)))


async def test_a_follow_up_can_be_had_with_its_name(virtual_clock, container, tmp_path):
    """A script that wants to say what it has answered gets the file's name; None for a close."""
    mailbox = Mailbox(tmp_path)
    names = [await mailbox.send_message(text) for text in ("one", "two")]
    assert await container.take_follow_up() == FollowUpFile(name=names[0], text="one")
    assert await container.next_follow_up() == "two"
    for take in (container.take_follow_up, container.next_follow_up):
        await mailbox.close()
        assert await take() is None


@pytest.mark.parametrize(
    ("options", "looks"),
    [
        ({}, [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]),
        ({"poll": 1}, [1, 2, 3, 4]),
        ({"longest_poll": 2}, [0.5, 1.5, 3.5, 5.5]),
        ({"poll": 3, "longest_poll": 2}, [3, 6]),
    ],
)
async def test_how_often_the_mailbox_is_looked_into(
    virtual_clock, container, tmp_path, options, looks
):
    """Each half second unless told otherwise; where it may be longer, twice as long each time."""
    sent = looks[-2] + 0.1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_at, Mailbox(tmp_path), sent)
        assert await container.next_follow_up(**options) == "one"
    assert trio.current_time() == looks[-1]


async def _send_at(mailbox, moment):
    await trio.sleep_until(moment)
    await mailbox.send_message("one")


async def test_the_echo_agent_looks_as_seldom_as_it_is_told(virtual_clock, tmp_path):
    """For a simulation of weeks its looks can be made rare: it ends at the first after a close."""
    (tmp_path / "input").mkdir()
    mount = VolumeMount(host_path=tmp_path, container_path="/workspace/ipc", readonly=False)
    spec = ContainerSpec(name="c", image="any", mounts=(mount,))
    async with open_fake_runtime(partial(echo_agent, longest_poll=600)) as runtime:
        handle = await runtime.start(spec)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read_all, handle.stdout)
            await handle.stdin.send_all(b'{"prompt":"Hello"}')
            await handle.stdin.aclose()
            await trio.sleep(3600)
            await Mailbox(tmp_path).close()
            assert await handle.wait() == 0
    assert trio.current_time() == sum(0.5 * 2**n for n in range(11)) + 5 * 600


async def _read_all(stream):
    async for _ in stream:
        pass


async def test_the_callers_exception_comes_out_as_it_is(virtual_clock):
    """An exception of the block isn't wrapped in a group by the runtime's own nursery."""
    with pytest.raises(LookupError, match="mine"):
        async with open_fake_runtime(echo_agent):
            raise LookupError("mine")


async def test_a_lease_that_is_held(virtual_clock):
    """Where the runtime offers leases, the input is a line, and the host's end is the agent's."""

    async def waiting(container):
        assert await container.read_input() == {"prompt": "Hello"}
        await trio.sleep_forever()

    async with open_fake_runtime(waiting) as runtime:
        runtime.offers_lease = True
        handle = await runtime.start(ContainerSpec(name="c", image="any", takes_lease=True))
        assert handle.holds_stdin
        await handle.stdin.send_all(b'{"prompt": "Hello"}\n')
        with trio.move_on_after(3600):
            await handle.wait()
        await handle.stdin.aclose()
        assert await handle.wait() == 143


@pytest.mark.parametrize(("offers", "takes"), [(True, False), (False, True)])
async def test_no_lease_unless_both_know_it(virtual_clock, offers, takes):
    """By default, and for a spec that takes none, standard input ends with the input."""
    heard = []

    async def reading(container):
        heard.append(await container.read_input())

    async with open_fake_runtime(reading) as runtime:
        runtime.offers_lease = offers
        handle = await runtime.start(ContainerSpec(name="c", image="any", takes_lease=takes))
        assert not handle.holds_stdin
        await handle.stdin.send_all(b"{}\n")
        await handle.stdin.aclose()
        assert await handle.wait() == 0
    assert heard == [{}]


async def test_a_whole_run_under_a_lease(virtual_clock, group, container_input, settings):
    """A run with a follow-up and a close holds its lease to the container's own end."""
    async with open_fake_runtime(echo_agent) as runtime:
        runtime.offers_lease = True
        async with open_run(group, container_input, settings=settings, runtime=runtime) as run:
            assert run.container.holds_stdin
            heard = []
            async for output in run:
                heard.append(output.result)
                if heard == ["echo: Hello", None]:
                    await run.send_message("more")
                if heard[2:] == ["echo: more", None]:
                    await run.close()
        assert (run.result.cause, run.result.exit_code) == (Cause.COMPLETED, 0)
