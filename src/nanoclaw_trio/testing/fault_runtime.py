"""A runtime in which things go wrong as a fault plan says, around one that works.

    async with open_fake_runtime(agent) as inner, open_faulty_runtime(inner, plan) as runtime:
        result = await run_container_agent(group, ..., runtime=runtime)

With the fake runtime below it and the virtual clock, thousands of worlds take seconds, and each is
the same each time. It keeps the promises of a runtime: it fails as one may fail, and never says of
a container that lives that it is gone.
"""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from nanoclaw_trio.background import open_background_nursery
from nanoclaw_trio.errors import RuntimeCommandFailed, RuntimeUnavailable, StartFailed
from nanoclaw_trio.runtimes.abc import ContainerRuntime
from nanoclaw_trio.testing.fault_container import LosableContainer, NoContainer
from nanoclaw_trio.testing.faults import RESTARTS, SLOW_DELAY, Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from nanoclaw_trio.errors import NanoclawError
    from nanoclaw_trio.files import Owner
    from nanoclaw_trio.runtimes.abc import Container, ContainerSpec, ContainerState
    from nanoclaw_trio.testing.faults import FaultPlan

T = TypeVar("T")

CLIENT_LOST: Final = 125
"""The exit status of a client that has lost its engine."""

CLIENT_KILLED: Final = 137
"""That of one that was killed by force."""

_IDLE: Final = frozenset(
    {FaultKind.FAIL, FaultKind.PRETEND, FaultKind.GARBAGE, FaultKind.DIE, FaultKind.REFUSE}
)
"""Of these nothing was done."""

_WITHOUT_CONTAINER: Final = {
    FaultKind.PRETEND: 0,
    FaultKind.GARBAGE: 0,
    FaultKind.DIE: CLIENT_KILLED,
    FaultKind.ABANDON: CLIENT_KILLED,
}
"""What the client ends with of a start that starts nothing, and says nothing of that."""


class FaultyRuntime(ContainerRuntime):
    """Made by :func:`open_faulty_runtime`.

    Attributes:
        plan: What goes wrong. Set it to FaultPlan() to let the faults end.
        calls: How often each command was called.
    """

    def __init__(self, inner: ContainerRuntime, plan: FaultPlan, nursery: trio.Nursery) -> None:
        self.name = inner.name
        self.plan = plan
        self.calls: Counter[str] = Counter()
        self._inner = inner
        self._nursery = nursery
        self._refusals = 0
        self._started: list[LosableContainer] = []
        self._losses: dict[str, NanoclawError] = {}

    async def check(self) -> str:
        return await self._call("version", self._inner.check, self._unavailable)

    async def require_image(self, image: str) -> None:
        await self._call(
            "image inspect", lambda: self._inner.require_image(image), self._unavailable
        )

    async def start(self, spec: ContainerSpec) -> Container:
        await self.require_image(spec.image)
        fault = await self._begin("run")
        if fault is None:
            return await self._start(spec)
        if fault.kind is FaultKind.REFUSE:
            raise self._unavailable("it can't be reached")
        if fault.kind is FaultKind.FAIL:
            raise StartFailed(spec.name, "no")
        if fault.kind in _WITHOUT_CONTAINER:
            return NoContainer(spec.name, _WITHOUT_CONTAINER[fault.kind])
        container = await self._start(spec)
        self._disturb(container, fault)
        return container

    async def _start(self, spec: ContainerSpec) -> LosableContainer:
        container = LosableContainer(await self._inner.start(spec), self._nursery)
        self._started.append(container)
        return container

    def _disturb(self, container: LosableContainer, fault: Fault) -> None:
        if fault.kind is FaultKind.FLIP:
            container.flips = True
        elif fault.kind is FaultKind.HANG_AFTER:
            container.fall_silent()
        elif fault.kind is FaultKind.FAIL_AFTER:
            self._lose(container)
        elif fault.kind in RESTARTS:
            container.after_output(lambda: self._go_down(fault))
        else:
            is_cut = fault.kind is FaultKind.CUT
            container.after_output(lambda: container.lose(CLIENT_KILLED), cut=is_cut)

    def _go_down(self, fault: Fault) -> None:
        self._refusals = fault.calls - 1
        for container in self._started:
            self._lose(container)
            if fault.kind is not FaultKind.RESTART_LIVE:
                self._nursery.start_soon(self._inner.remove, container.name)

    def _lose(self, container: LosableContainer) -> None:
        self._losses[container.name] = self._unavailable("it was lost")
        container.lose(CLIENT_LOST)

    async def stop(self, name: str, grace: float) -> bool:
        return await self._act("stop", lambda: self._inner.stop(name, grace))

    async def kill(self, name: str) -> bool:
        return await self._act("kill", lambda: self._inner.kill(name))

    async def remove(self, name: str) -> bool:
        return await self._act("rm", lambda: self._inner.remove(name))

    async def inspect(self, name: str) -> ContainerState | None:
        return await self._call("container inspect", lambda: self._inner.inspect(name), _failed)

    async def list(self, labels: Mapping[str, str]) -> tuple[ContainerState, ...]:
        return await self._call("ps", lambda: self._inner.list(labels), _failed)

    async def end_stale_starts(self, is_stale: Callable[[Mapping[str, str]], bool]) -> None:
        await self._inner.end_stale_starts(is_stale)

    async def find_out_of_memory(self, name: str, since: float) -> bool:
        return await self._act("events", lambda: self._inner.find_out_of_memory(name, since))

    def explain_exit(
        self, spec: ContainerSpec, exit_code: int, stderr: str
    ) -> NanoclawError | None:
        loss = self._losses.get(spec.name) if exit_code == CLIENT_LOST else None
        return loss or self._inner.explain_exit(spec, exit_code, stderr)

    def describe(self, spec: ContainerSpec) -> str:
        return self._inner.describe(spec)

    def workspace_owner(self) -> Owner | None:
        return self._inner.workspace_owner()

    def process_user(self) -> Owner | None:
        return self._inner.process_user()

    @property
    def mounts_files(self) -> bool:
        return self._inner.mounts_files

    @property
    def mounts_sockets(self) -> bool:
        return self._inner.mounts_sockets

    async def _act(self, command: str, work: Callable[[], Awaitable[bool]]) -> bool:
        """A call whose answer is a word that nobody relies on."""

        async def pretend() -> bool:
            await trio.lowlevel.checkpoint()
            return True

        return await self._call(command, work, _failed, pretend)

    async def _call(
        self,
        command: str,
        work: Callable[[], Awaitable[T]],
        error: Callable[[str], NanoclawError],
        pretend: Callable[[], Awaitable[T]] | None = None,
    ) -> T:
        fault = await self._begin(command)
        if fault is None:
            return await work()
        if fault.kind is FaultKind.PRETEND and pretend is not None:
            return await pretend()
        if fault.kind not in _IDLE:
            await work()
        if fault.kind is FaultKind.HANG_AFTER:
            await trio.sleep_forever()
        if fault.kind in RESTARTS:
            self._go_down(fault)
        raise error(str(fault.kind))

    async def _begin(self, command: str) -> Fault | None:
        """The fault of this call. One that is slow has waited; one that hangs doesn't return."""
        await trio.lowlevel.checkpoint()
        self.calls[command] += 1
        if self._refusals and self.plan.faults:
            self._refusals -= 1
            return Fault(command=command, kind=FaultKind.REFUSE)
        fault = self.plan.find(command, self.calls[command])
        if fault is None or fault.kind is FaultKind.SLOW:
            await trio.sleep(0.0 if fault is None else SLOW_DELAY)
            return None
        if fault.kind is FaultKind.HANG:
            await trio.sleep_forever()
        return fault

    def _unavailable(self, why: str) -> RuntimeUnavailable:
        return RuntimeUnavailable(self.name, why, "wait for it")


def _failed(why: str) -> RuntimeCommandFailed:
    return RuntimeCommandFailed("a command", why)


@asynccontextmanager
async def open_faulty_runtime(
    inner: ContainerRuntime, plan: FaultPlan
) -> AsyncGenerator[FaultyRuntime]:
    """A runtime that behaves as `inner`, but for what the plan says.

    `inner` is the caller's, and outlives it. Of a restart, the containers that were started through
    this runtime are ended; whether as gone or as exited is the inner runtime's.
    """
    async with open_background_nursery() as nursery:
        yield FaultyRuntime(inner, plan, nursery)
