"""`nanoclaw-trio chat`: a conversation, line by line, in as few containers as it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.cli.conclude import describe
from nanoclaw_trio.cli.ending import Ending
from nanoclaw_trio.cli.invocation import Invocation
from nanoclaw_trio.cli.lines import read_lines
from nanoclaw_trio.cli.request import check_prompt, follow_up_input, make_input, read_input
from nanoclaw_trio.errors import NanoclawError, RunClosing
from nanoclaw_trio.runtimes.choose import choose_runtime

if TYPE_CHECKING:
    from nanoclaw_trio.cli.invocation import ChooseRuntime
    from nanoclaw_trio.cli.options import Options
    from nanoclaw_trio.cli.program import World
    from nanoclaw_trio.protocol.models import ContainerInput
    from nanoclaw_trio.run.agent_run import AgentRun
    from nanoclaw_trio.runtimes.abc import ContainerRuntime
    from nanoclaw_trio.settings import Settings

QUIT: Final = "/quit"
"""The line that ends a conversation, as the end of input does."""

SEND_BOUND: Final = 10.0
"""Seconds for a follow-up to be written. The run's end doesn't cut it short: nobody would know
whether it was written, and it would be lost or said twice."""


async def chat_command(
    options: Options, world: World, *, choose: ChooseRuntime = choose_runtime
) -> int:
    """Hold a conversation until its user ends it; the exit status of its last run."""
    invocation = Invocation(options, world, choose)

    async def converse() -> Ending:
        settings = await invocation.load_settings()
        first = await _make_first(options, world, settings)
        runtime = await invocation.open_runtime(settings)
        sender, receiver = trio.open_memory_channel[str](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_lines, world.streams.stdin, sender)
            ending = await Conversation(invocation, settings, runtime, receiver).hold(first)
            nursery.cancel_scope.cancel()
        return ending

    return await invocation.conduct(converse)


async def _make_first(options: Options, world: World, settings: Settings) -> ContainerInput:
    """The first input. Its prompt is empty where the first line is still to come."""
    if options.input is not None:
        return await read_input(options, options.input, world.streams)
    prompt = "" if options.prompt is None else check_prompt(options.prompt)
    return make_input(options, prompt, settings)


class Turn:
    """Whose turn it is: the agent's from a message until it says that its query has ended."""

    def __init__(self) -> None:
        self._ended = trio.Event()

    def begin(self) -> None:
        """A message goes to the agent."""
        self._ended = trio.Event()

    def end(self) -> None:
        """The agent has answered, and waits."""
        self._ended.set()

    async def wait_end(self) -> None:
        """Wait until the agent waits."""
        await self._ended.wait()


class Conversation:
    """Lines become follow-ups of the run under way, or the prompt of the next one.

    What no agent took is never lost: it is the next run's.
    """

    def __init__(
        self,
        invocation: Invocation,
        settings: Settings,
        runtime: ContainerRuntime,
        lines: trio.MemoryReceiveChannel[str],
    ) -> None:
        self._invocation = invocation
        self._settings = settings
        self._runtime = runtime
        self._lines = lines
        self._streams = invocation.world.streams
        self._turn = Turn()
        self._kept: tuple[str, ...] = ()
        self._over = False
        self._session_id: str | None = None

    async def hold(self, first: ContainerInput) -> Ending:
        """Run after run, until the user has ended the conversation and nothing is left to say.

        The ending of the last one. Each is reported when it comes.
        """
        ending = Ending(status="success", cause="completed", exit_status=0)
        self._session_id = first.session_id
        container_input = first if first.prompt else await self._next_input(first)
        while container_input is not None:
            ending = await self._hold_run(container_input)
            await self._invocation.report(ending)
            container_input = await self._next_input(first)
        return ending

    async def _next_input(self, first: ContainerInput) -> ContainerInput | None:
        """The next run's input, from what was kept or else the next line; None: it is over."""
        if self._kept:
            prompt: str | None = "\n".join(self._kept)
            self._kept = ()
        else:
            self._give_word()
            prompt = await self._next_line()
        return None if prompt is None else follow_up_input(first, prompt, self._session_id)

    async def _hold_run(self, container_input: ContainerInput) -> Ending:
        self._turn.begin()
        async with (
            self._invocation.open_run(container_input, self._settings, self._runtime) as run,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._pass_on, run)
            await self._hear_out(run)
            nursery.cancel_scope.cancel()
        self._kept = (*run.result.undelivered, *self._kept)
        return self._invocation.conclude(run, self._runtime)

    async def _hear_out(self, run: AgentRun) -> None:
        async for output in run:
            await self._invocation.hear(output)
            if output.is_session_update:
                self._session_id = output.new_session_id
                self._turn.end()
                self._give_word()

    async def _pass_on(self, run: AgentRun) -> None:
        """Lines into the running container until they end; then let it end, too."""
        while not self._kept:
            if not self._streams.stdin_is_terminal:
                # What a program writes is there at once, and each line shall have its own answer.
                await self._turn.wait_end()
            line = await self._next_line()
            if line is None:
                # Behind `_close` no follow-up is taken: those that are under way go first.
                await self._turn.wait_end()
                break
            await self._send(run, line)
        await run.close()

    async def _send(self, run: AgentRun, line: str) -> None:
        """Send a follow-up, or keep it for the next run."""
        self._turn.begin()
        self._invocation.world.progress.doing("waiting for the agent", run)
        bound = trio.current_time() + SEND_BOUND
        with trio.CancelScope(shield=True, deadline=bound):  # noqa: ASYNC912 - sending is one
            try:
                await run.send_message(line)
            except RunClosing:
                pass
            except (NanoclawError, OSError) as error:
                self._streams.say(f"{describe(error)}; the message goes to the next run")
            else:
                return
        self._kept = (*self._kept, line)

    async def _next_line(self) -> str | None:
        """The next line that isn't blank; None at the end of the conversation, however often."""
        while not self._over:
            try:
                line = await self._lines.receive()
            except trio.EndOfChannel:
                line = QUIT
                # Ctrl-D ends no line, and what comes next shall begin one.
                self._show("\n")
            self._over = line.strip() == QUIT
            if line.strip() and not self._over:
                return line
        return None

    def _give_word(self) -> None:
        """Let a person at a terminal know that it is their turn, unless they said that it is over."""
        self._invocation.world.progress.rest()
        if not self._over:
            self._show("> ")

    def _show(self, text: str) -> None:
        """Write on the terminal, if a person sits there."""
        if self._streams.stdin_is_terminal and self._streams.stderr_is_terminal:
            self._streams.stderr.write(text)
