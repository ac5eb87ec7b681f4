"""What `run` and `chat` have in common: settings, a runtime, runs, and an ending in every case."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import trio
from attrs import evolve

from nanoclaw_trio.cli.conclude import (
    after_error,
    after_run,
    after_signal,
    with_receipt,
)
from nanoclaw_trio.cli.exit_status import Tally, status_after_error
from nanoclaw_trio.cli.failure import origin, unwrap
from nanoclaw_trio.cli.leftovers import ask_for_leftovers
from nanoclaw_trio.cli.output import OutputUnwritable, Printer
from nanoclaw_trio.environment import process_environment
from nanoclaw_trio.logs import configure_logging
from nanoclaw_trio.protocol.models import RegisteredGroup
from nanoclaw_trio.run.log import VERBOSE_LEVELS
from nanoclaw_trio.run.open_run import open_run
from nanoclaw_trio.runtimes.choose import choose_runtime
from nanoclaw_trio.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from nanoclaw_trio.cli.ending import Ending
    from nanoclaw_trio.cli.options import Options
    from nanoclaw_trio.cli.program import World
    from nanoclaw_trio.protocol.models import ContainerInput, ContainerOutput
    from nanoclaw_trio.run.agent_run import AgentRun
    from nanoclaw_trio.runtimes.abc import ContainerRuntime
    from nanoclaw_trio.runtimes.choose import RuntimeChoice
    from nanoclaw_trio.settings import Settings

    ChooseRuntime: TypeAlias = Callable[[str, Settings], Awaitable[RuntimeChoice]]


class Invocation:
    """One call of the command, from its options to its ending.

    Attributes:
        options: What was asked for.
        world: What it finds around it.
        printer: What writes its output.
        tally: Of the outputs of the run under way, or of the last one.
    """

    def __init__(
        self, options: Options, world: World, choose: ChooseRuntime = choose_runtime
    ) -> None:
        self.options = options
        self.world = world
        self.tally = Tally()
        self.printer = Printer(
            world.streams, world.progress, world.interruption, as_json=options.json
        )
        self._choose = choose
        self._settings: Settings | None = None
        self._runtime: ContainerRuntime | None = None
        self._run: AgentRun | None = None
        self._reported: Ending | None = None
        self._began = trio.current_time()

    async def conduct(self, body: Callable[[], Awaitable[Ending]]) -> int:
        """Await the ending, or make one of what came instead; report it; the exit status.

        Raises nothing but Cancelled. After a signal no container is left, or the ending says why
        that isn't certain.
        """
        ending = await self._await_ending(body)
        number = self.world.interruption.number
        if ending is None or number is not None:
            # Nothing but a signal cancels that scope; SIGTERM is here for the type checker.
            ending = await self._after_signal(number or signal.SIGTERM)
        self.world.progress.rest()
        exit_status = await self._report_last(ending)
        # Its reader may have gone away just now.
        number = self.world.interruption.number
        return exit_status if number is None else 128 + number

    async def _report_last(self, ending: Ending) -> int:
        if ending is self._reported:
            return ending.exit_status
        try:
            await self.report(ending)
        except OutputUnwritable as error:
            if str(error) != ending.error:
                self.world.streams.say(str(error))
            return ending.exit_status or status_after_error(error)
        return ending.exit_status

    async def _await_ending(self, body: Callable[[], Awaitable[Ending]]) -> Ending | None:
        """The ending, or None after a signal."""
        try:
            with self.world.interruption.scope:
                return await body()
        except Exception as raised:  # noqa: BLE001 - every failure has its exit status
            error = unwrap(raised)
            if self._is_verbose():
                self.world.streams.stderr.write(origin(error))
            if self.world.interruption.number is None:
                return self._with_receipt(after_error(error, duration=self._elapsed()))
        return None

    async def load_settings(self) -> Settings:
        """The project's settings, with what the options say instead.

        Raises:
            ProjectNotFound, InvalidSetting: as :meth:`Settings.load`.
        """
        settings = await load_settings(self.options.project)
        configure_logging(settings.log_level)
        self._settings = adjust_settings(settings, self.options)
        return self._settings

    async def open_runtime(self, settings: Settings) -> ContainerRuntime:
        """The runtime that was asked for, with its image if that was asked for, too.

        What isn't obvious about it is said.

        Raises:
            RuntimeUnavailable: it can't be used.
            BuildFailed: it can't build the image.
        """
        self.world.progress.doing("looking for a runtime")
        choice = await self._choose(self.options.runtime, settings)
        if self.options.runtime == "auto":
            self.world.streams.say(f"runtime {choice.runtime.name}: {choice.reason}")
        if choice.runtime.caveat is not None:
            self.world.streams.say(choice.runtime.caveat)
        if self.options.build:
            from nanoclaw_trio.cli.build import provide_image

            await provide_image(settings, choice.runtime, self.world)
        self._runtime = choice.runtime
        return choice.runtime

    @asynccontextmanager
    async def open_run(
        self, container_input: ContainerInput, settings: Settings, runtime: ContainerRuntime
    ) -> AsyncGenerator[AgentRun]:
        """As :func:`nanoclaw_trio.open_run`, within the reach of signals and of the live line."""
        folder = container_input.group_folder
        group = RegisteredGroup(name=folder, folder=folder)
        self.tally, self._began = Tally(), trio.current_time()
        self.world.progress.doing("starting the container")
        async with open_run(group, container_input, settings=settings, runtime=runtime) as run:
            self._run = self.world.interruption.run = run
            self.world.progress.doing("waiting for the agent", run)
            yield run

    async def hear(self, output: ContainerOutput) -> None:
        """Count an output, and print it. OutputUnwritable if standard output can't take it."""
        self.tally = self.tally.with_output(output)
        await self.printer.output(output)

    def conclude(self, run: AgentRun, runtime: ContainerRuntime) -> Ending:
        """The ending of a run whose outputs were read to their end."""
        self._run = self.world.interruption.run = None
        return after_run(run.result, self.tally, runtime=runtime.name)

    async def report(self, ending: Ending) -> None:
        """Write an ending, which :meth:`conduct` then doesn't. OutputUnwritable if it can't be."""
        self._reported = ending
        with self.world.interruption.last_words():
            await self.printer.end(ending)

    async def _after_signal(self, number: signal.Signals) -> Ending:
        ending = after_signal(number, duration=self._elapsed())
        if self._run is not None or self._runtime is None or self._settings is None:
            return self._with_receipt(ending)
        # Cut off while its container was being started, a run has no receipt to show.
        return await ask_for_leftovers(ending, self._runtime, bound=self._settings.grace.command)

    def _with_receipt(self, ending: Ending) -> Ending:
        if self._run is None or self._runtime is None:
            return ending
        run, log_path = self._run, self._run.log_path
        ending = evolve(
            ending, exit_code=run.exit_code, log_path=None if log_path is None else str(log_path)
        )
        return with_receipt(ending, run.container_name, run.receipt, runtime=self._runtime.name)

    def _is_verbose(self) -> bool:
        if self._settings is not None:
            return self._settings.log_level in VERBOSE_LEVELS
        return process_environment().get("LOG_LEVEL", "").lower() in VERBOSE_LEVELS

    def _elapsed(self) -> float:
        return trio.current_time() - self._began


def adjust_settings(settings: Settings, options: Options) -> Settings:
    """The settings with the options in their place."""
    values = {
        "container_image": options.image,
        "agent": options.agent,
        "credential_proxy": options.credential_proxy,
    }
    adjusted = settings.with_values(**{k: v for k, v in values.items() if v is not None})
    if options.timeout is None:
        return adjusted
    # No idle close is due here that a short timeout would have to leave time for.
    return adjusted.with_values(container_timeout=options.timeout, idle_timeout=None)
