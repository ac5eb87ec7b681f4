"""A runtime whose containers are plain async functions: a little world for tests.

It keeps the same promises as the real ones, and is held to the same conformance suite.

    async def agent(container: FakeContainer) -> int | None:
        request = await container.read_input()
        await container.write_output(ContainerOutput(status="success", result=request["prompt"]))

    async with open_fake_runtime(agent) as runtime:
        result = await run_container_agent(group, ..., runtime=runtime)

Its pipes hold nothing: a write returns when it was read. With a virtual clock, days pass in
milliseconds.
"""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import trio
import trio.testing
from attrs import evolve, frozen

from nanoclaw_trio.background import open_background_nursery
from nanoclaw_trio.errors import ImageMissing, StartFailed
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.protocol.convert import encode_output, parse_json
from nanoclaw_trio.protocol.frames import END_MARKER, START_MARKER
from nanoclaw_trio.runtimes.abc import (
    STDIN_LEASE,
    STDIN_VARIABLE,
    Container,
    ContainerRuntime,
    ContainerState,
    Phase,
)
from nanoclaw_trio.runtimes.lease import with_lease

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from nanoclaw_trio.errors import NanoclawError
    from nanoclaw_trio.protocol.models import ContainerOutput, VolumeMount
    from nanoclaw_trio.runtimes.abc import ContainerSpec

SIGTERM_STATUS: Final = 143
SIGKILL_STATUS: Final = 137

POLL_INTERVAL: Final = 0.5
"""Seconds between an original agent's looks into its mailbox."""

AgentScript: TypeAlias = "Callable[[FakeContainer], Awaitable[int | None]]"
"""What runs in a container. Its return value is the exit status, None for 0; an exception becomes
a traceback on standard error and exit status 1."""

Fault: TypeAlias = Callable[[], Awaitable[object]]
"""Awaited before a runtime's method does its work: raise, sleep, or never return in it."""


@frozen(kw_only=True)
class FollowUpFile:
    """A follow-up as it lay in the mailbox.

    Attributes:
        name: Its file's name, for an output's `follow_ups`.
        text: What it says.
    """

    name: str
    text: str


class _OutOfMemory(BaseException):
    """Not an Exception: a script can't get around it."""


class FakeContainer:
    """A container seen from inside, which is what a script gets.

    Attributes:
        name: The container's name.
        spec: What it was started with.
        stdin: b"" at its end.
        stdout: A write returns when it was read; trio.BrokenResourceError when nobody will.
        stderr: The same.
    """

    def __init__(self, spec: ContainerSpec) -> None:
        self.spec = spec
        self.name = spec.name
        self._host_stdin, self.stdin = trio.testing.lockstep_stream_one_way_pair()
        self.stdout, self._host_stdout = trio.testing.lockstep_stream_one_way_pair()
        self.stderr, self._host_stderr = trio.testing.lockstep_stream_one_way_pair()
        self._life = trio.CancelScope()
        self._ended = trio.Event()
        self._exit_code = self._status_if_ended = 0
        self._sigterm: trio.Event | None = None
        self._is_leased = spec.environment.get(STDIN_VARIABLE) == STDIN_LEASE
        self._has_input = trio.Event()
        self.out_of_memory = False

    async def read_input(self) -> Any:
        """Standard input as JSON's own types; the secrets are in there.

        To its end, or one line of a lease, whose end is then the container's too.
        """
        content = b""
        async for chunk in self.stdin:
            content += bytes(chunk)
            if self._is_leased and b"\n" in chunk:
                self._has_input.set()
                break
        return parse_json(content)

    async def write_output(self, output: ContainerOutput) -> None:
        """Write an output between its markers, as the real agent does."""
        await self.stdout.send_all(
            b"\n".join((START_MARKER, encode_output(output), END_MARKER, b""))
        )

    def host_path(self, container_path: str) -> Path:
        """Where a path inside the container is on the host. KeyError if it is in no mount."""
        mount = self._mount_of(PurePosixPath(container_path))
        return mount.host_path / PurePosixPath(container_path).relative_to(mount.container_path)

    def writable_path(self, container_path: str) -> Path:
        """The same, for writing: OSError (EROFS) if the mount is read-only."""
        if self._mount_of(PurePosixPath(container_path)).readonly:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), container_path)
        return self.host_path(container_path)

    def _mount_of(self, inside: PurePosixPath) -> VolumeMount:
        over = [m for m in self.spec.mounts if inside.is_relative_to(m.container_path)]
        if not over:
            raise KeyError(str(inside))
        return max(over, key=lambda mount: len(mount.container_path))

    async def next_follow_up(
        self, *, poll: float = POLL_INTERVAL, longest_poll: float | None = None
    ) -> str | None:
        """Wait for the next follow-up in the mailbox; None for `_close`. Both are deleted.

        Looks as often as the agent of the original does, each half second. With `longest_poll` the
        seconds between two looks double from `poll` up to that, each time that it waits: for tests
        in which agents are idle for days.
        """
        taken = await self.take_follow_up(poll=poll, longest_poll=longest_poll)
        return None if taken is None else taken.text

    async def take_follow_up(
        self, *, poll: float = POLL_INTERVAL, longest_poll: float | None = None
    ) -> FollowUpFile | None:
        """The same, with the name of its file."""
        directory = self.host_path("/workspace/ipc/input")
        while (taken := await in_thread(_take_from_mailbox, directory)) is None:
            await trio.sleep(poll)
            poll = max(poll, min(2 * poll, longest_poll or poll))
        return taken if isinstance(taken, FollowUpFile) else None

    @contextmanager
    def open_sigterm_receiver(self) -> Iterator[trio.Event]:
        """Within, a polite stop sets this event; without, it ends the script with status 143."""
        self._sigterm = trio.Event()
        try:
            yield self._sigterm
        finally:
            self._sigterm = None

    def run_out_of_memory(self) -> None:
        """End as the kernel ends a container for want of memory."""
        self.out_of_memory = True
        raise _OutOfMemory

    async def _live(self, script: AgentScript) -> None:
        try:
            with self._life:
                self._exit_code = await self._run_while_leased(script)
            if self._life.cancelled_caught:
                self._exit_code = self._status_if_ended
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                for stream in (self.stdin, self.stdout, self.stderr):
                    await stream.aclose()
            self._ended.set()

    async def _run_while_leased(self, script: AgentScript) -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._mind_lease)
            exit_code = await self._run(script)
            nursery.cancel_scope.cancel()
        return exit_code

    async def _mind_lease(self) -> None:
        await self._has_input.wait()
        async for _ in self.stdin:
            pass  # pragma: no cover - nothing follows the input
        self._end(SIGTERM_STATUS)

    async def _run(self, script: AgentScript) -> int:
        try:
            return await script(self) or 0
        except _OutOfMemory:
            return SIGKILL_STATUS
        except Exception:  # noqa: BLE001 - as a real program: a traceback and exit status 1
            await self.stderr.send_all(traceback.format_exc().encode())
            return 1

    def _end(self, exit_code: int) -> None:
        self._status_if_ended = exit_code
        self._life.cancel()

    def _terminate(self) -> None:
        if self._sigterm is not None:
            self._sigterm.set()
        else:
            self._end(SIGTERM_STATUS)


class _Handle(Container):
    """A container seen from the host."""

    def __init__(self, inside: FakeContainer) -> None:
        self.name = inside.name
        self.stdin = inside._host_stdin  # noqa: SLF001 - the two sides of one thing
        self.stdout = inside._host_stdout  # noqa: SLF001
        self.stderr = inside._host_stderr  # noqa: SLF001
        self._inside = inside
        self._cut_off = trio.CancelScope()

    async def wait(self) -> int:
        await self._inside._ended.wait()  # noqa: SLF001
        return self._inside._exit_code  # noqa: SLF001

    async def aclose(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            await stream.aclose()


class FakeRuntime(ContainerRuntime):
    """Containers that are scripts. Made by :func:`open_fake_runtime`.

    Attributes:
        before: Faults by the name of a method, such as `runtime.before["stop"] =
            trio.sleep_forever`.
        images: The images that are there; None for any.
        offers_lease: Whether their agents take standard input for a lease, where the spec's does.
        containers: What was started and is there, by name.
        started: The specs of all that was ever started, in order.
        explanations: What the runtime takes exit statuses for, as a client's 125 for its engine's.
    """

    name = "fake"

    def __init__(self, script: AgentScript, nursery: trio.Nursery) -> None:
        self._script = script
        self._nursery = nursery
        self.before: dict[str, Fault] = {}
        self.images: set[str] | None = None
        self.offers_lease = False
        self.containers: dict[str, FakeContainer] = {}
        self.started: list[ContainerSpec] = []
        self.explanations: dict[int, NanoclawError] = {}
        self._killed_for_memory: set[str] = set()

    async def check(self) -> str:
        await self._fault("check")
        return "fake runtime"

    async def require_image(self, image: str) -> None:
        await self._fault("require_image")
        if self.images is not None and image not in self.images:
            raise ImageMissing(image, self.name, "add it to `images`")

    async def start(self, spec: ContainerSpec) -> Container:
        await self.require_image(spec.image)
        await self._fault("start")
        if spec.name in self.containers:
            raise StartFailed(spec.name, "its name is in use")
        for mount in spec.mounts:
            if not await in_thread(mount.host_path.exists):
                raise StartFailed(spec.name, f"{mount.host_path} isn't there")
        leased = self.offers_lease and spec.takes_lease
        inside = FakeContainer(with_lease(spec) if leased else spec)
        self.containers[spec.name] = inside
        self.started.append(spec)
        self._nursery.start_soon(self._live, inside)
        handle = _Handle(inside)
        handle.holds_stdin = leased
        return handle

    async def _live(self, inside: FakeContainer) -> None:
        try:
            await inside._live(self._script)  # noqa: SLF001
        finally:
            if inside.out_of_memory:
                self._killed_for_memory.add(inside.name)
            self.containers.pop(inside.name, None)

    async def stop(self, name: str, grace: float) -> bool:
        await self._fault("stop")
        inside = self.containers.get(name)
        if inside is None:
            return False
        inside._terminate()  # noqa: SLF001
        with trio.move_on_after(grace):
            await inside._ended.wait()  # noqa: SLF001
            return True
        return await self._force(name)

    async def kill(self, name: str) -> bool:
        await self._fault("kill")
        return await self._force(name)

    async def remove(self, name: str) -> bool:
        await self._fault("remove")
        return await self._force(name)

    async def inspect(self, name: str) -> ContainerState | None:
        await self._fault("inspect")
        inside = self.containers.get(name)
        return None if inside is None else _state(inside)

    async def list(self, labels: Mapping[str, str]) -> tuple[ContainerState, ...]:
        await self._fault("list")
        return tuple(
            _state(inside)
            for inside in self.containers.values()
            if labels.items() <= inside.spec.labels.items()
        )

    def explain_exit(
        self, spec: ContainerSpec, exit_code: int, stderr: str
    ) -> NanoclawError | None:
        known = self.explanations.get(exit_code)
        return known or super().explain_exit(spec, exit_code, stderr)

    async def find_out_of_memory(self, name: str, since: float) -> bool:
        del since
        return name in self._killed_for_memory

    async def _force(self, name: str) -> bool:
        inside = self.containers.get(name)
        if inside is None:
            return False
        inside._end(SIGKILL_STATUS)  # noqa: SLF001
        await inside._ended.wait()  # noqa: SLF001
        return True

    async def _fault(self, method: str) -> None:
        await trio.lowlevel.checkpoint()
        if method in self.before:
            await self.before[method]()


@asynccontextmanager
async def open_fake_runtime(script: AgentScript) -> AsyncGenerator[FakeRuntime]:
    """A runtime whose containers run `script`; those that still run are killed at the end."""
    async with open_background_nursery() as nursery:
        yield FakeRuntime(script, nursery)


async def echo_agent(container: FakeContainer, *, longest_poll: float | None = None) -> None:
    """The echo agent: `echo: TEXT` for the prompt and each follow-up, until the mailbox is closed.

    `longest_poll` is that of :meth:`FakeContainer.next_follow_up`.
    """
    from nanoclaw_trio.protocol.models import ContainerOutput

    request = await container.read_input()
    session = request.get("sessionId") or f"session-of-{container.name}"
    text = request["prompt"]
    answered: tuple[str, ...] = ()
    while True:
        output = ContainerOutput(
            status="success",
            result=f"echo: {text}",
            new_session_id=session,
            follow_ups=answered,
        )
        await container.write_output(output)
        await container.write_output(evolve(output, result=None))
        follow_up = await container.take_follow_up(longest_poll=longest_poll)
        if follow_up is None:
            return
        text, answered = follow_up.text, (follow_up.name,)


def _state(inside: FakeContainer) -> ContainerState:
    return ContainerState(name=inside.name, phase=Phase.RUNNING, labels=dict(inside.spec.labels))


def _take_from_mailbox(directory: Path) -> FollowUpFile | Literal["_close"] | None:
    for path in sorted(directory.glob("*.json")):
        text = parse_json(path.read_bytes())["text"]
        path.unlink()
        return FollowUpFile(name=path.name, text=text)
    close = directory / "_close"
    if close.exists():
        close.unlink()
        return "_close"
    return None
