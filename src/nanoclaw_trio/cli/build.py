"""`nanoclaw-trio build`, and `--build` of the others: the image that agents run in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from nanoclaw_trio.cli.conclude import describe
from nanoclaw_trio.cli.exit_status import SUCCESS, status_after_error
from nanoclaw_trio.cli.failure import unwrap
from nanoclaw_trio.cli.output import json_line, write_text
from nanoclaw_trio.cli.terminal import neutralize
from nanoclaw_trio.errors import BuildFailed, ImageNotNeeded, RuntimeUnavailable
from nanoclaw_trio.logs import configure_logging
from nanoclaw_trio.runtimes.build import build_image
from nanoclaw_trio.runtimes.choose import FALLBACK, choose_runtime
from nanoclaw_trio.runtimes.images import FIRST_ENGINE
from nanoclaw_trio.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from nanoclaw_trio.cli.invocation import ChooseRuntime
    from nanoclaw_trio.cli.program import World
    from nanoclaw_trio.runtimes.abc import ContainerRuntime
    from nanoclaw_trio.runtimes.build import BuiltImage
    from nanoclaw_trio.runtimes.build_progress import BuildProgress
    from nanoclaw_trio.settings import Settings

CANT_BUILD: Final = 1
"""The exit status where the engine can't build the image."""

MEGABYTE: Final = 1_000_000
"""Bytes, as the engines' own lists of images count."""

STEP_LIMIT: Final = 100
"""Characters of a step in a line; some go on for half a screen."""


@frozen(kw_only=True)
class BuildOptions:
    """The options of `build`; None for what wasn't given."""

    project: Path
    runtime: str
    base_image: str | None
    tag: str | None
    force: bool
    no_cache: bool
    as_json: bool


async def build_command(
    options: BuildOptions, world: World, *, choose: ChooseRuntime = choose_runtime
) -> int:
    """Build the image and say what it is; the exit status."""

    async def build() -> int:
        settings = await load_settings(options.project)
        configure_logging(settings.log_level)
        world.progress.doing("looking for a container engine")
        runtime = await _choose_engine(options.runtime, settings, world, choose)
        built = await _build(
            settings,
            runtime,
            world,
            image=options.tag,
            base_image=options.base_image,
            force=options.force or options.no_cache,
            use_cache=not options.no_cache,
        )
        world.progress.rest()
        terminal = world.streams.stdout_is_terminal
        await _write(world, result_line(built, as_json=options.as_json, terminal=terminal))
        return SUCCESS

    try:
        with world.interruption.scope:
            return await build()
    except Exception as raised:  # noqa: BLE001 - every failure has its exit status
        return await _fail(unwrap(raised), world, as_json=options.as_json)
    return await _after_signal(world, as_json=options.as_json)


async def _choose_engine(
    name: str, settings: Settings, world: World, choose: ChooseRuntime
) -> ContainerRuntime:
    choice = await choose(name, settings)
    runtime = choice.runtime
    if name == "auto" and runtime.name == FALLBACK:
        remedy = "mend one of them; without an image `--runtime bubblewrap` runs agents"
        raise RuntimeUnavailable("auto", choice.reason, remedy)
    if name == "auto" and runtime.name.removesuffix("-api") != FIRST_ENGINE:
        # The first may be back when the image is looked for.
        world.streams.say(f"runtime {runtime.name}: {choice.reason}")
    return runtime


async def _fail(error: Exception, world: World, *, as_json: bool) -> int:
    world.progress.rest()
    world.streams.say(describe(error))
    await _write_failure(describe(error), world, as_json=as_json)
    return CANT_BUILD if isinstance(error, BuildFailed) else status_after_error(error)


async def _after_signal(world: World, *, as_json: bool) -> int:
    number = world.interruption.number
    why = "stopped by a signal" if number is None else f"stopped by {number.name}"
    world.progress.rest()
    world.streams.say(f"{why}; nothing of the build is left running")
    await _write_failure(why, world, as_json=as_json)
    return 128 + (number or 0)


async def _write_failure(why: str, world: World, *, as_json: bool) -> None:
    if as_json:
        line = json_line(build_record(None, why), terminal=world.streams.stdout_is_terminal)
        with world.interruption.last_words():
            await _write(world, line)


async def _write(world: World, text: str) -> None:
    with world.progress.out_of_the_way():
        await write_text(world.streams, world.interruption, text)


async def provide_image(settings: Settings, runtime: ContainerRuntime, world: World) -> None:
    """Build the image for a run, if it isn't what container/ says.

    Raises:
        BuildFailed: the engine can't; the last of its words were shown.
    """
    try:
        built = await _build(settings, runtime, world)
    except ImageNotNeeded:
        world.streams.say(f"{runtime.name} needs no image; nothing was built")
        return
    if built.built:
        world.streams.say(result_text(built))


async def _build(
    settings: Settings, runtime: ContainerRuntime, world: World, **what: Any
) -> BuiltImage:
    """As build_image, with its progress shown, and the end of its words if it fails."""
    world.progress.doing("building the image")

    def show(progress: BuildProgress) -> None:
        if world.progress.is_live:
            world.progress.detail(neutralize(progress_text(progress)))
        elif progress.is_news:
            world.streams.say(step_text(progress))

    try:
        return await build_image(settings, runtime=runtime, on_progress=show, **what)
    except BuildFailed as error:
        world.streams.stderr.write("".join(f"{line}\n" for line in error.tail))
        raise


def progress_text(progress: BuildProgress) -> str:
    """What the live line shows: the step, and what it said last."""
    if progress.step is None or progress.is_news:
        return step_text(progress)
    step = f"step {progress.step.number}/{progress.step.total}"
    return f"{step} · {progress.line}"


def step_text(progress: BuildProgress) -> str:
    """A line for where there is no live one: a step that begins, or what is waited for."""
    step = progress.step
    if step is None:
        return progress.line
    text = f"step {step.number}/{step.total}: {' '.join(step.instruction.split())}"
    return text if len(text) <= STEP_LIMIT else f"{text[: STEP_LIMIT - 1]}…"


def result_text(built: BuiltImage) -> str:
    """What was built, for people: its name, id, size, and how long it took."""
    size = "" if built.size is None else f" {built.size / MEGABYTE:.0f} MB"
    name = f"{built.image} {built.id or 'without an id'}{size}"
    return f"{name}, built in {built.duration:.1f} s" if built.built else f"{name}, up to date"


def build_record(built: BuiltImage | None, error: str | None = None) -> dict[str, Any]:
    """The same for programs; all keys are always there."""
    return {
        "type": "image",
        "status": "error" if built is None else "success",
        "image": None if built is None else built.image,
        "id": None if built is None else built.id,
        "sizeBytes": None if built is None else built.size,
        "durationSeconds": None if built is None else round(built.duration, 3),
        "built": built is not None and built.built,
        "error": error,
    }


def result_line(built: BuiltImage, *, as_json: bool, terminal: bool) -> str:
    """The line on standard output."""
    if as_json:
        return json_line(build_record(built), terminal=terminal)
    return f"{result_text(built)}\n"
