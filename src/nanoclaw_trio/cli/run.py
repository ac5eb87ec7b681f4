"""`nanoclaw-trio run`: ask once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoclaw_trio.cli.invocation import Invocation
from nanoclaw_trio.cli.request import make_input, read_input, read_prompt
from nanoclaw_trio.runtimes.choose import choose_runtime

if TYPE_CHECKING:
    from nanoclaw_trio.cli.ending import Ending
    from nanoclaw_trio.cli.invocation import ChooseRuntime
    from nanoclaw_trio.cli.options import Options
    from nanoclaw_trio.cli.program import World
    from nanoclaw_trio.protocol.models import ContainerInput
    from nanoclaw_trio.settings import Settings


async def run_command(
    options: Options, world: World, *, choose: ChooseRuntime = choose_runtime
) -> int:
    """Ask an agent once, print its answers, and see its container gone; the exit status."""
    invocation = Invocation(options, world, choose)

    async def ask() -> Ending:
        settings = await invocation.load_settings()
        container_input = await _make_input(options, world, settings)
        return await ask_once(invocation, container_input, settings)

    return await invocation.conduct(ask)


async def _make_input(options: Options, world: World, settings: Settings) -> ContainerInput:
    if options.input is not None:
        return await read_input(options, options.input, world.streams)
    return make_input(options, await read_prompt(options, world.streams), settings)


async def ask_once(
    invocation: Invocation, container_input: ContainerInput, settings: Settings
) -> Ending:
    """One run, closed as soon as its query has ended."""
    runtime = await invocation.open_runtime(settings)
    async with invocation.open_run(container_input, settings, runtime) as run:
        async for output in run:
            await invocation.hear(output)
            if output.is_session_update:
                await run.close()
    for text in run.undelivered:
        invocation.world.streams.say(f"no agent took this message, send it again: {text}")
    return invocation.conclude(run, runtime)
