"""Which runtime to use: the one that was named, or the first that answers."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import trio
from attrs import frozen

from nanoclaw_trio.background import start_protected
from nanoclaw_trio.errors import InputError, RuntimeUnavailable
from nanoclaw_trio.logs import log
from nanoclaw_trio.runtimes.client import EngineClient

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nanoclaw_trio.runtimes.abc import ContainerRuntime
    from nanoclaw_trio.settings import Settings

RuntimeName: TypeAlias = Literal[
    "auto", "docker-api", "docker", "podman-api", "podman", "container", "bubblewrap"
]
"""What may be asked for."""

RUNTIME_NAMES: Final[tuple[RuntimeName, ...]] = (
    "auto",
    "docker-api",
    "docker",
    "podman-api",
    "podman",
    "container",
    "bubblewrap",
)
"""All of them."""

ENGINES: Final = ("docker-api", "docker", "podman", "container")
"""Container engines as `auto` asks them, the one to prefer first; they isolate more than the
embedded default. Podman's socket is not among them: its imitation does less than its client."""

SOCKETS: Final[Mapping[str, str]] = {"docker-api": "docker", "podman-api": "podman"}
"""Those that take no program of the engine's, and the engine's name."""

HEAD_START: Final = 0.5
"""Seconds before the others are asked, too: the first has no client to start, and takes a hundredth
of one where it can be used at all."""

FALLBACK: Final = "bubblewrap"
"""What `auto` takes where no engine answers: a pip install brings it along."""

_CLASSES: Final[Mapping[str, tuple[str, str]]] = {
    "docker-api": ("nanoclaw_trio.runtimes.engine_api.docker", "DockerApiRuntime"),
    "docker": ("nanoclaw_trio.runtimes.docker", "DockerRuntime"),
    "podman-api": ("nanoclaw_trio.runtimes.engine_api.podman", "PodmanApiRuntime"),
    "podman": ("nanoclaw_trio.runtimes.podman", "PodmanRuntime"),
    "container": ("nanoclaw_trio.runtimes.apple", "AppleRuntime"),
    "bubblewrap": ("nanoclaw_trio.runtimes.bubblewrap", "BubblewrapRuntime"),
}
"""The module and the name of each; imported when it is wanted, since a command wants one of them."""


class UnknownRuntime(InputError):
    """There is no runtime of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is no runtime {name!r}; name one of these: {', '.join(RUNTIME_NAMES)}"
        )
        self.name = name


@frozen(kw_only=True)
class RuntimeChoice:
    """A runtime that works, and why it was taken, for people."""

    runtime: ContainerRuntime
    reason: str


@frozen(kw_only=True)
class RuntimeAnswer:
    """What came of asking one runtime.

    Attributes:
        name: The runtime's.
        version: What it says of itself; None if it can't be used.
        refusal: Why it can't be used; None if it can.
    """

    name: str
    version: str | None = None
    refusal: str | None = None


async def open_runtime(name: RuntimeName, settings: Settings) -> ContainerRuntime:
    """A runtime that works here; which and why goes to the log.

    `auto` takes docker (by its socket, or else its client), podman or Apple's container, in this
    order, if their engine answers within a bound, else bubblewrap. May be cancelled; it leaves
    nothing behind, and nothing to close.

    Raises:
        UnknownRuntime: there is none of this name.
        RuntimeUnavailable: it can't be used, or none of them can; says why and what to do.
    """
    choice = await choose_runtime(name, settings)
    log.info("runtime chosen", runtime=choice.runtime.name, reason=choice.reason)
    if choice.runtime.caveat is not None:
        log.warning(choice.runtime.caveat, runtime=choice.runtime.name)
    return choice.runtime


async def choose_runtime(name: str, settings: Settings) -> RuntimeChoice:
    """As :func:`open_runtime`, with the reason instead of a log record."""
    if name == "auto":
        return await _choose_automatically(settings)
    if name not in _CLASSES:
        raise UnknownRuntime(name)
    runtime = _make(name, settings)
    return RuntimeChoice(
        runtime=runtime, reason=f"asked for by name; it is {await runtime.check()}"
    )


def named_runtime(name: str, settings: Settings) -> ContainerRuntime:
    """A runtime of this name, of which nobody has asked yet whether it works; `auto` is none.

    For whoever can wait until it works. Looks for its program, and starts nothing.

    Raises:
        UnknownRuntime: there is none of this name.
        RuntimeUnavailable: it isn't installed.
    """
    if name not in _CLASSES:
        raise UnknownRuntime(name)
    runtime = _make(name, settings)
    if not _is_installed(runtime):
        what = "bwrap" if name == FALLBACK else SOCKETS.get(name, name)
        remedy = "install it, or name another runtime"
        raise RuntimeUnavailable(name, f"there is no program `{what}` on the PATH", remedy)
    return runtime


def _is_installed(runtime: ContainerRuntime) -> bool:
    """Whether the program is there; where it comes by a socket, the engine's client or that."""
    from nanoclaw_trio.runtimes.container_engine import ContainerEngine

    installed = SOCKETS.get(runtime.name, runtime.name) in installed_runtimes()
    return installed or (isinstance(runtime, ContainerEngine) and runtime.has_socket())


def _make(name: str, settings: Settings) -> ContainerRuntime:
    module, class_name = _CLASSES[name]
    runtime: ContainerRuntime = getattr(import_module(module), class_name)(settings)
    return runtime


def installed_runtimes() -> tuple[str, ...]:
    """The names of those whose program is there, whether they work or not."""
    from nanoclaw_trio.runtimes.bubblewrap_check import find_executables

    programs = (name for name in ENGINES if name not in SOCKETS)
    engines = tuple(name for name in programs if EngineClient(name).find() is not None)
    # Where bubblewrap can't work at all, its program is no use.
    has_bwrap = sys.platform == "linux" and find_executables()
    return (*engines, FALLBACK) if has_bwrap else engines


async def _choose_automatically(settings: Settings) -> RuntimeChoice:
    runtimes = {name: _make(name, settings) for name in ENGINES}
    answers = await _ask_engines([runtimes[name] for name in ENGINES])
    if decide(answers) is None:
        runtimes[FALLBACK] = _make(FALLBACK, settings)
        answers = (*answers, await _ask(runtimes[FALLBACK]))
    name = decide(answers)
    if name is None:
        raise RuntimeUnavailable(
            "auto", reasons(answers), "mend one of them; `--runtime NAME` asks one alone"
        )
    return RuntimeChoice(runtime=runtimes[name], reason=reasons(answers))


async def _ask_engines(engines: Sequence[ContainerRuntime]) -> tuple[RuntimeAnswer, ...]:
    """Ask all at once, so that four that hang cost one bound; their answers, in this order.

    Up to the first that can be used: who comes after it is not waited for. The very first has a
    head start: where it answers, no client is started at all.
    """
    answers: dict[str, RuntimeAnswer] = {}
    answered = {engine.name: trio.Event() for engine in engines}
    first = engines[0].name

    async def ask(engine: ContainerRuntime) -> None:
        if engine.name != first:
            with trio.move_on_after(HEAD_START):
                await answered[first].wait()
            # Whoever cancels this hears of the answer in the same moment, and perhaps later.
            if first in answers and decide([answers[first]]) is not None:
                return
        answers[engine.name] = await _ask(engine)
        answered[engine.name].set()

    heard: tuple[RuntimeAnswer, ...] = ()
    async with trio.open_nursery() as nursery:
        for engine in engines:
            start_protected(nursery, ask, engine)
        for name, event in answered.items():
            await event.wait()
            heard = (*heard, answers[name])
            if decide(heard) is not None:
                nursery.cancel_scope.cancel()
                break
    return heard


async def _ask(runtime: ContainerRuntime) -> RuntimeAnswer:
    try:
        return RuntimeAnswer(name=runtime.name, version=await runtime.check())
    except RuntimeUnavailable as error:
        return RuntimeAnswer(name=runtime.name, refusal=error.why)


def decide(answers: Sequence[RuntimeAnswer]) -> str | None:
    """The first that can be used, or None if none of them can. Pure."""
    return next((answer.name for answer in answers if answer.version is not None), None)


def reasons(answers: Sequence[RuntimeAnswer]) -> str:
    """The answers for people: who can't be used and why not, and who answered. Pure."""
    return "; ".join(
        f"{answer.name} answers: it is {answer.version}"
        if answer.version is not None
        else f"{answer.name} can't be used: {answer.refusal}"
        for answer in answers
    )
