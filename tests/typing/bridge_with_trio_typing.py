"""A small bridge in a project that is typed with trio-typing: checked by mypy, and run.

It is no test itself; test_trio_typing.py checks and runs it. Nothing in it makes a concession to
this package: these are the types that such a project has.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from trio_typing import Nursery, TaskStatus, takes_callable_and_args

from nanoclaw_trio import (
    Bridge,
    ChatMessage,
    ContainerInput,
    Delivery,
    Engine,
    RegisteredGroup,
    Registration,
    RunResult,
    Settings,
    open_engine,
    open_run,
)
from nanoclaw_trio.testing import VirtualClock, echo_agent, open_fake_runtime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nanoclaw_trio import ContainerRuntime

T = TypeVar("T")

FAMILY = RegisteredGroup(name="Family", folder="family")


class OneRun:
    """Hands one prompt to an agent, and its answers to whoever asked."""

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


async def start(nursery: Nursery, bridge: OneRun) -> list[str]:
    """Ask, and gather what the chat would show."""
    sender, receiver = trio.open_memory_channel[str](0)
    name: str = await nursery.start(bridge.serve, "Hello", sender)
    with receiver:
        return [name.rsplit("-", 2)[0], *[answer async for answer in receiver]]


class Chat(Bridge):
    """A chat of one family: what is said in it, and what the assistant says."""

    def __init__(self, said: trio.MemorySendChannel[Delivery]) -> None:
        self._said = said
        self.typing: list[bool] = []

    async def deliver(self, delivery: Delivery) -> None:
        """Say something in the chat."""
        await self._said.send(delivery)

    async def set_typing(self, chat_jid: str, *, is_typing: bool) -> None:
        """Show that the assistant is at work."""
        await trio.lowlevel.checkpoint()
        self.typing.append(is_typing)

    async def relay(
        self,
        engine: Engine,
        texts: trio.MemoryReceiveChannel[str],
        task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Hand in what is said."""
        task_status.started()
        async for text in texts:
            now = datetime.now(UTC)
            await engine.send_message(
                ChatMessage(
                    chat_jid="family@chat",
                    id=text,
                    sender="ada@chat",
                    sender_name="Ada",
                    text=text,
                    timestamp=now,
                )
            )


async def talk(settings: Settings, runtime: ContainerRuntime, text: str) -> Delivery:
    """Say one thing in the chat of an engine, and hear what is answered."""
    sender, receiver = trio.open_memory_channel[Delivery](0)
    texts_to_relay, texts = trio.open_memory_channel[str](0)
    chat = Chat(sender)
    async with open_engine(settings, runtime=runtime, bridge=chat) as engine:
        await engine.register_group(Registration(jid="family@chat", group=FAMILY, is_main=True))
        nursery: Nursery
        async with trio.open_nursery() as nursery:
            await nursery.start(chat.relay, engine, texts)
            await texts_to_relay.send(text)
            answer: Delivery = await receiver.receive()
            nursery.cancel_scope.cancel()
    assert chat.typing == [True, False]
    return answer


async def main() -> None:
    """One conversation by a run of one's own, and one by an engine, on the fake runtime."""
    with tempfile.TemporaryDirectory() as project:
        settings = Settings(project_root=Path(project))
        async with open_fake_runtime(echo_agent) as runtime, trio.open_nursery() as nursery:
            bridge = OneRun(settings, runtime)
            print(*await within(60, start, nursery, bridge))
            answer = await within(60, talk, settings, runtime, "Hello again")
    print(*(f"{r.cause} {r.gone}" for r in bridge.results))
    print(answer.kind, answer.in_reply_to, answer.text.count("Hello again"))


if __name__ == "__main__":
    trio.run(main, clock=VirtualClock())
