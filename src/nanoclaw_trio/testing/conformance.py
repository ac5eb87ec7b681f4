"""What every runtime promises, as tests, to hold yours to.

    class TestMyRuntime(RuntimeConformance):
        @pytest.fixture
        def world(self, tmp_path):
            return RuntimeWorld(runtime=MyRuntime(), image="my-image", directory=tmp_path)

The image has to run `python -m nanoclaw_agent` with /app/src on its path, as this project's does:
a probe takes the agent's place there. It must be able to write as whoever `workspace_owner()` says.
"""

from __future__ import annotations

import json
import secrets
import shutil
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio
from attrs import evolve, field, frozen

from nanoclaw_trio.errors import StartFailed
from nanoclaw_trio.files import open_directory
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.run.receipt import Gone
from nanoclaw_trio.run.stop import StopLadder
from nanoclaw_trio.runtimes.abc import (
    INSTALL_LABEL,
    STDIN_LEASE,
    STDIN_VARIABLE,
    ContainerSpec,
    Phase,
)
from nanoclaw_trio.settings import GracePeriods

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from nanoclaw_trio.runtimes.abc import Container, ContainerRuntime

PROBE_SOURCE: Final = Path(__file__).parent / "probe"
"""What is mounted at /app/src; `nanoclaw_agent` in it does what NANOCLAW_PROBE says."""

KILLED: Final = 137
"""The exit status of what SIGKILL ended."""

GUARD: Final = 60.0
"""Seconds after which a test gives up. Generous: it guards against a hang, it measures nothing."""


@frozen(kw_only=True)
class RuntimeWorld:
    """A runtime under test and what it needs.

    Attributes:
        runtime: The runtime.
        image: The image to start; anything for a runtime without images.
        directory: A folder for the mounts, emptied by nobody.
        install: The label's value by which this world's containers are told from others.
        grace: Seconds that a container gets to end by itself.
    """

    runtime: ContainerRuntime
    image: str
    directory: Path
    install: str = field(factory=lambda: secrets.token_hex(8))
    grace: float = 5.0

    def spec(self, probe: str, **changes: Any) -> ContainerSpec:
        """A container that runs this probe."""
        spec = ContainerSpec(
            name=f"nanoclaw-conformance-{secrets.token_hex(6)}",
            image=self.image,
            environment={"TZ": "UTC", "NANOCLAW_PROBE": probe},
            mounts=(self._source(), self.mount("group", "/workspace/group")),
            labels={INSTALL_LABEL: self.install},
            user=self.runtime.process_user(),
        )
        return evolve(spec, **changes)

    def mount(self, name: str, container_path: str, *, readonly: bool = False) -> VolumeMount:
        """A folder of this world as a mount."""
        path = self.directory / name
        with open_directory(path, create=True, owner=self.runtime.workspace_owner()) as made:
            made.give_away_tree()
        return VolumeMount(host_path=path, container_path=container_path, readonly=readonly)

    def _source(self) -> VolumeMount:
        path = self.directory / "probe"
        if not path.exists():
            shutil.copytree(PROBE_SOURCE, path, ignore=shutil.ignore_patterns("__pycache__"))
        return VolumeMount(host_path=path, container_path="/app/src", readonly=True)

    @asynccontextmanager
    async def started(self, spec: ContainerSpec) -> AsyncGenerator[Container]:
        """A started container that is gone afterwards, and a guard against hanging."""
        with trio.fail_after(GUARD):
            container = await self.runtime.start(spec)
            try:
                yield container
            finally:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + GUARD):
                    await self.runtime.remove(spec.name)
                    await container.aclose()

    async def output(self, probe: str, **changes: Any) -> str:
        """What a probe writes to standard output until its end."""
        async with self.started(self.spec(probe, **changes)) as container:
            await container.stdin.aclose()
            return (await read_all(container.stdout)).decode()

    async def gone(self, name: str) -> bool:
        """Whether the runtime says, soon, that there is no such container."""
        with trio.move_on_after(GUARD):
            while await self.runtime.inspect(name) is not None:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.05)  # pragma: no cover - only some runtimes take a while
            return True
        return False  # pragma: no cover - a runtime that fails here


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """A stream to its end."""
    content = b""
    async for chunk in stream:
        content += bytes(chunk)
    return content


async def wait_until_ready(container: Container) -> None:
    """Until a probe that sleeps says so."""
    heard = b""
    while b"ready\n" not in heard:
        chunk = await container.stdout.receive_some()
        assert chunk, "the probe ended before it was ready"
        heard += bytes(chunk)


async def send_for_ever(stream: trio.abc.SendStream) -> None:
    """Until nobody reads any more."""
    while True:
        await stream.send_all(b"x" * 65536)


class RuntimeConformance:
    """Subclass it, and give it a fixture `world` that returns a :class:`RuntimeWorld`."""

    pytestmark = pytest.mark.trio

    async def test_check_says_something(self, world: RuntimeWorld) -> None:
        """A runtime that works says so in a line for people."""
        with trio.fail_after(GUARD):
            assert await world.runtime.check()

    async def test_streams_carry_bytes_both_ways(self, world: RuntimeWorld) -> None:
        """What is written to standard input arrives whole, with its end, and comes back."""
        text = "grüße, 世界 🌍\n".encode() * 1000
        async with world.started(world.spec("echo")) as container:
            async with trio.open_nursery() as nursery:

                async def write() -> None:
                    await container.stdin.send_all(text)
                    await container.stdin.aclose()

                nursery.start_soon(write)
                assert await read_all(container.stdout) == text
            assert await container.wait() == 0

    @pytest.mark.parametrize("takes_lease", [False, True])
    async def test_a_lease_is_told_of(self, world: RuntimeWorld, *, takes_lease: bool) -> None:
        """A program knows of a lease where standard input is held, and where its spec takes one."""
        spec = world.spec("environ", takes_lease=takes_lease)
        async with world.started(spec) as container:
            environment = json.loads(await read_all(container.stdout))
            told = environment.get(STDIN_VARIABLE) == STDIN_LEASE
            assert told is container.holds_stdin
            assert takes_lease or not told

    @pytest.mark.parametrize("status", [0, 1, 3, 125, 137])
    async def test_exit_status_is_the_programs_own(self, world: RuntimeWorld, status: int) -> None:
        """wait() gives the program's exit status as it is, though its input was never read."""
        async with world.started(world.spec(f"leave {status}")) as container:
            assert await container.wait() == status

    async def test_unread_input_is_an_error_of_the_stream_only(self, world: RuntimeWorld) -> None:
        """Trap A1. Writing to a program that ended raises BrokenResourceError and nothing else."""
        async with world.started(world.spec("leave 0")) as container:
            await container.wait()
            with pytest.raises(trio.BrokenResourceError):
                await send_for_ever(container.stdin)

    async def test_standard_error_is_apart(self, world: RuntimeWorld) -> None:
        """Standard error is a stream of its own, and standard output ends without a byte."""
        async with world.started(world.spec("complain oh no")) as container:
            heard: list[bytes] = []
            async with trio.open_nursery() as nursery:

                async def listen() -> None:
                    heard.append(await read_all(container.stderr))

                nursery.start_soon(listen)
                assert await read_all(container.stdout) == b""
            assert heard == [b"oh no"]

    async def test_a_flood_on_both_streams_arrives(self, world: RuntimeWorld) -> None:
        """Neither stream blocks the other."""
        size = 4 * 1024 * 1024
        async with world.started(world.spec(f"flood {size}")) as container:
            counted = {"stdout": 0, "stderr": 0}

            async def count(name: str, stream: trio.abc.ReceiveStream) -> None:
                async for chunk in stream:
                    counted[name] += len(chunk)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(count, "stdout", container.stdout)
                nursery.start_soon(count, "stderr", container.stderr)
            assert counted == {"stdout": size, "stderr": size}
            assert await container.wait() == 0

    async def test_many_may_wait(self, world: RuntimeWorld) -> None:
        """Any number of tasks may wait for the end, together and afterwards."""
        heard: list[int] = []
        async with world.started(world.spec("leave 3")) as container:

            async def wait() -> None:
                heard.append(await container.wait())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                nursery.start_soon(wait)
            await wait()
        assert heard == [3, 3, 3]

    async def test_inspect_follows_a_life(self, world: RuntimeWorld) -> None:
        """It runs, then there is no such container."""
        spec = world.spec("sleep")
        async with world.started(spec) as container:
            await wait_until_ready(container)
            state = await world.runtime.inspect(spec.name)
            assert state is not None
            assert (state.name, state.phase) == (spec.name, Phase.RUNNING)
            assert await world.runtime.kill(spec.name)
            await container.wait()
            await world.runtime.remove(spec.name)
            assert await world.gone(spec.name)

    async def test_polite_stop_lets_it_have_its_last_word(self, world: RuntimeWorld) -> None:
        """stop() sends SIGTERM to the program, whose last words are read and whose status counts."""
        spec = world.spec("farewell")
        async with world.started(spec) as container:
            await wait_until_ready(container)
            last_words: list[bytes] = []

            async def listen() -> None:
                last_words.append(await read_all(container.stdout))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                assert await world.runtime.stop(spec.name, world.grace)
            assert last_words == [b"bye\n"]
            assert await container.wait() == 0
            assert await world.gone(spec.name)

    async def test_stop_ends_who_ignores_it(self, world: RuntimeWorld) -> None:
        """Trap A7. After its grace, stop() ends a program that ignores SIGTERM."""
        spec = world.spec("stubborn")
        async with world.started(spec) as container:
            await wait_until_ready(container)
            assert await world.runtime.stop(spec.name, 1)
            assert await container.wait() == KILLED
            assert await world.gone(spec.name)

    async def test_kill_ends_it(self, world: RuntimeWorld) -> None:
        """kill() asks nobody."""
        spec = world.spec("stubborn")
        async with world.started(spec) as container:
            await wait_until_ready(container)
            killed = await world.runtime.kill(spec.name)
            assert killed, await world.runtime.inspect(spec.name)
            assert await container.wait() == KILLED

    async def test_remove_ends_and_removes(self, world: RuntimeWorld) -> None:
        """remove() leaves nothing of a container that runs."""
        spec = world.spec("stubborn")
        async with world.started(spec) as container:
            await wait_until_ready(container)
            assert await world.runtime.remove(spec.name)
            assert await container.wait() == KILLED
            assert await world.gone(spec.name)

    async def test_what_is_not_there_is_said_so(self, world: RuntimeWorld) -> None:
        """All four say "not there" of a name that was never used, and none fails."""
        with trio.fail_after(GUARD):
            assert await world.runtime.inspect("nanoclaw-never-was") is None
            assert not await world.runtime.stop("nanoclaw-never-was", 1)
            assert not await world.runtime.kill("nanoclaw-never-was")
            assert not await world.runtime.remove("nanoclaw-never-was")

    async def test_list_goes_by_labels(self, world: RuntimeWorld) -> None:
        """Trap A26. list() gives the containers of one install and no other's."""
        other = world.spec("sleep", labels={INSTALL_LABEL: "another-install"})
        ours = world.spec("sleep")
        async with world.started(other) as first, world.started(ours) as second:
            await wait_until_ready(first)
            await wait_until_ready(second)
            listed = await world.runtime.list({INSTALL_LABEL: world.install})
            assert [state.name for state in listed] == [ours.name]
            assert listed[0].labels[INSTALL_LABEL] == world.install
        assert not await world.runtime.list({INSTALL_LABEL: world.install})

    async def test_letting_go_stops_nothing_by_itself(self, world: RuntimeWorld) -> None:
        """After aclose() a container is still stopped by its name, whether or not it lived on."""
        spec = world.spec("sleep")
        async with world.started(spec) as container:
            await wait_until_ready(container)
            await container.aclose()
            await world.runtime.stop(spec.name, 1)
            assert await world.gone(spec.name)

    async def test_mounts_are_as_asked(self, world: RuntimeWorld) -> None:
        """A read-write mount is written through to the host, a read-only one refuses."""
        open_to_it = world.mount("open", "/workspace/open")
        shut = world.mount("shut", "/workspace/shut", readonly=True)
        mounts = (*world.spec("").mounts, open_to_it, shut)
        assert await world.output("write /workspace/open/file", mounts=mounts) == "written"
        assert (open_to_it.host_path / "file").read_text() == "from the container\n"
        assert await world.output("write /workspace/shut/file", mounts=mounts) == "OSError"
        assert not (shut.host_path / "file").exists()

    async def test_a_path_may_hold_anything(self, world: RuntimeWorld) -> None:
        """Trap A16. Colons, commas, quotes and spaces in a host path are part of it."""
        odd = world.mount('a:b, "c" d', "/workspace/odd", readonly=True)
        (odd.host_path / "file").write_text("found")
        mounts = (*world.spec("").mounts, odd)
        assert await world.output("read /workspace/odd/file", mounts=mounts) == "found"

    async def test_a_missing_source_starts_nothing(self, world: RuntimeWorld) -> None:
        """Trap A16. A mount whose source isn't there fails the start and creates nothing."""
        missing = world.directory / "missing"
        mount = VolumeMount(host_path=missing, container_path="/workspace/m", readonly=False)
        spec = world.spec("sleep", mounts=(mount,))
        with trio.fail_after(GUARD), pytest.raises(StartFailed, match="missing"):
            await world.runtime.start(spec)
        assert not missing.exists()
        assert await world.gone(spec.name)

    async def test_environment_is_what_was_given(self, world: RuntimeWorld) -> None:
        """The program sees the variables it was given."""
        environment = {**world.spec("environ").environment, "TZ": "Asia/Tokyo", "WITH": "a b=c"}
        seen = json.loads(await world.output("environ", environment=environment))
        assert seen["TZ"] == "Asia/Tokyo"
        assert seen["WITH"] == "a b=c"

    async def test_a_cancelled_start_is_cleaned_up_by_name(self, world: RuntimeWorld) -> None:
        """Trap A10. However far a cancelled start came, the stop ladder leaves nothing of it."""
        spec, container = world.spec("sleep"), None
        with trio.fail_after(GUARD):
            with trio.CancelScope() as scope:
                scope.cancel()
                container = await world.runtime.start(spec)
            receipt = await StopLadder(
                world.runtime, spec.name, grace=GracePeriods(stop=1)
            ).descend(container)
            if container is not None:  # pragma: no cover - only where a start has no checkpoint
                await container.aclose()
        assert isinstance(receipt, Gone)
