"""A small bridge in a project that is typed with trio-typing: checked by mypy, and run.

It is no test itself; test_trio_typing.py checks and runs it. Nothing in it makes a concession to
this package: these are the types that such a project has.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from trio_typing import Nursery, TaskStatus, takes_callable_and_args

from nanoclaw_trio import ContainerInput, RegisteredGroup, RunResult, Settings, open_run
from nanoclaw_trio.testing import VirtualClock, echo_agent, open_fake_runtime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nanoclaw_trio import ContainerRuntime

T = TypeVar("T")

FAMILY = RegisteredGroup(name="Family", folder="family")


class Bridge:
    """Hands the messages of a chat to an agent, and its answers to the chat."""

    def __init__(self, settings: Settings, runtime: ContainerRuntime) -> None:
        self._settings = settings
        self._runtime = runtime
        self.results: list[RunResult] = []

    async def serve(
        self,
        prompt: str,
        answers: trio.MemorySendChannel[str],
        task_status: TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Answer one prompt; started as soon as the container's name is known."""
        question = ContainerInput(
            prompt=prompt, group_folder=FAMILY.folder, chat_jid="family@chat", is_main=False
        )
        with answers:
            async with open_run(
                FAMILY, question, settings=self._settings, runtime=self._runtime
            ) as run:
                task_status.started(run.container_name)
                async for output in run:
                    if output.result is not None:
                        await answers.send(output.result)
                    if output.is_session_update:
                        await run.close()
            self.results.append(run.result)


@takes_callable_and_args
async def within(seconds: float, function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Call a function, with a bound."""
    with trio.fail_after(seconds):
        return await function(*args)


async def start(nursery: Nursery, bridge: Bridge) -> list[str]:
    """Ask, and gather what the chat would show."""
    sender, receiver = trio.open_memory_channel[str](0)
    name: str = await nursery.start(bridge.serve, "Hello", sender)
    with receiver:
        return [name.rsplit("-", 2)[0], *[answer async for answer in receiver]]


async def main() -> None:
    """One conversation on the fake runtime."""
    with tempfile.TemporaryDirectory() as project:
        settings = Settings(project_root=Path(project))
        async with open_fake_runtime(echo_agent) as runtime, trio.open_nursery() as nursery:
            bridge = Bridge(settings, runtime)
            print(*await within(60, start, nursery, bridge))
    print(*(f"{r.cause} {r.gone}" for r in bridge.results))


if __name__ == "__main__":
    trio.run(main, clock=VirtualClock())
