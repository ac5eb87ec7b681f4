"""`nanoclaw-trio serve`: the engine, with a bridge for the terminal and one over a Unix socket."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio
from attrs import frozen

from nanoclaw_trio.background import open_background_nursery
from nanoclaw_trio.cli.bridges.combined import CombinedBridge
from nanoclaw_trio.cli.bridges.place import check_place, listening
from nanoclaw_trio.cli.bridges.reception import receive
from nanoclaw_trio.cli.bridges.socket import SocketBridge
from nanoclaw_trio.cli.bridges.terminal import (
    PREFIX,
    TerminalBridge,
    TerminalUnregistered,
    register_terminal,
)
from nanoclaw_trio.cli.build import provide_image
from nanoclaw_trio.cli.conduct import conduct
from nanoclaw_trio.cli.exit_status import SUCCESS
from nanoclaw_trio.cli.patience import until_available
from nanoclaw_trio.engine.open_engine import open_engine
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.logs import configure_logging
from nanoclaw_trio.repeats import RepeatedWarnings
from nanoclaw_trio.runtimes.choose import choose_runtime, named_runtime
from nanoclaw_trio.settings import IDLE_MARGIN, load_settings
from nanoclaw_trio.store import deliveries, messages
from nanoclaw_trio.store.database import StoreFailed, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from nanoclaw_trio.cli.invocation import ChooseRuntime
    from nanoclaw_trio.cli.program import World
    from nanoclaw_trio.engine.chat.bridge import Bridge
    from nanoclaw_trio.engine.engine import Engine
    from nanoclaw_trio.runtimes.abc import ContainerRuntime
    from nanoclaw_trio.settings import Settings
    from nanoclaw_trio.store.database import Transaction

SOCKET: Final = "nanoclaw.sock"
"""Where the socket is by default, under data/."""


@frozen(kw_only=True)
class ServeOptions:
    """The options of `serve`; None for what wasn't given. `timeout` and `drain` in seconds."""

    project: Path
    runtime: str
    image: str | None
    build: bool
    agent: str | None
    timeout: float | None
    socket: Path | None
    no_socket: bool
    terminal: bool | None
    limit: int | None
    drain: float
    credential_proxy: str | None = None


@frozen(kw_only=True)
class Service:
    """What is served, and to whom.

    Attributes:
        settings: The project's.
        path: Where the socket is to be; None for no socket.
        socket: Its bridge.
        terminal: The terminal's bridge; None for no terminal.
        is_terminal_needed: Whether it is an error where the terminal has no group.
        drain: Seconds.
    """

    settings: Settings
    path: Path | None
    socket: SocketBridge
    terminal: TerminalBridge | None
    is_terminal_needed: bool
    drain: float

    @property
    def trigger(self) -> str:
        """The word that addresses the assistant in a group that is registered without one."""
        return f"@{self.settings.assistant_name}"

    @property
    def bridge(self) -> Bridge:
        """Both as one; without a terminal its chats, too, are the socket's."""
        if self.terminal is None:
            return self.socket
        return CombinedBridge(self.terminal, self.socket, lambda jid: jid.startswith(PREFIX))


async def serve_command(
    options: ServeOptions, world: World, *, choose: ChooseRuntime = choose_runtime
) -> int:
    """Serve the project's groups until a signal, /quit or the end of input; the exit status."""

    async def serve() -> int:
        settings = adjust_settings(await load_settings(options.project), options)
        configure_logging(settings.log_level)
        service = make_service(options, settings, world)
        if service.path is not None:
            await in_thread(partial(check_place, create=options.socket is None), service.path)
        runtime = await _open_runtime(options, settings, world, choose)
        await _serve(service, runtime, world)
        await _tell_what_is_kept(settings.project_root, world)
        return SUCCESS

    status = await conduct(world, serve)
    world.progress.rest()
    number = world.interruption.number
    # Whoever closed the output on purpose waits for no word about it.
    if number is not None and number is not signal.SIGPIPE:
        world.streams.say(f"stopped by {number.name}")
    return status


def adjust_settings(settings: Settings, options: ServeOptions) -> Settings:
    """The settings with the options in their place."""
    values: dict[str, Any] = {
        "container_image": options.image,
        "agent": options.agent,
        "max_concurrent_containers": options.limit,
        "container_timeout": options.timeout,
        "credential_proxy": options.credential_proxy,
    }
    given = {name: value for name, value in values.items() if value is not None}
    if options.timeout is not None:
        given["idle_timeout"] = idle_timeout_below(options.timeout, settings.idle_timeout)
    return settings.with_values(**given)


def idle_timeout_below(timeout: float, idle_timeout: float | None) -> float | None:
    """The idle timeout that leaves a timeout as it is: early enough, or none at all. Pure."""
    latest = timeout - IDLE_MARGIN
    if idle_timeout is None or latest <= 0:
        return None
    return min(idle_timeout, latest)


def make_service(options: ServeOptions, settings: Settings, world: World) -> Service:
    """Whom to serve, as the options have it."""
    asked = options.terminal
    has_terminal = world.streams.stdin_is_terminal if asked is None else asked
    default = settings.project_root / "data" / SOCKET
    return Service(
        settings=settings,
        path=None if options.no_socket else (options.socket or default),
        socket=SocketBridge(),
        terminal=TerminalBridge(world) if has_terminal or options.no_socket else None,
        is_terminal_needed=bool(asked) or options.no_socket,
        drain=options.drain,
    )


async def _open_runtime(
    options: ServeOptions, settings: Settings, world: World, choose: ChooseRuntime
) -> ContainerRuntime:
    """The runtime; one that was named isn't asked whether it works: the engine waits for it."""
    world.progress.doing("looking for a runtime")
    if options.runtime == "auto":
        choice = await until_available(partial(choose, "auto", settings), world)
        runtime = choice.runtime
        world.streams.say(f"runtime {runtime.name}: {choice.reason}")
    else:
        runtime = await in_thread(named_runtime, options.runtime, settings)
    if runtime.caveat is not None:
        world.streams.say(runtime.caveat)
    if options.build:
        await until_available(partial(provide_image, settings, runtime, world), world)
    return runtime


async def _serve(service: Service, runtime: ContainerRuntime, world: World) -> None:
    world.progress.doing("starting")
    async with (
        # Drained below, where the clients are still there to take the last answers.
        open_engine(
            service.settings, runtime=runtime, bridge=service.bridge, drain_timeout=0
        ) as engine,
        _open_to_clients(service, engine),
    ):
        world.interruption.engine = engine
        _announce(service, runtime, world)
        await _attend_terminal(service, engine, world)
        world.progress.doing("waiting for the last answers")
        service.socket.expect_nobody()
        with trio.move_on_after(service.drain):
            await engine.drain()
    world.interruption.engine = None


async def _tell_what_is_kept(project: Path, world: World) -> None:
    """Say it if not all was answered and said in the time that there was."""
    with suppress(StoreFailed):
        async with open_store(project) as store:
            kept = kept_text(*await store.transact(_count_kept))
        if kept is not None:
            world.progress.rest()
            world.streams.say(kept)


def _count_kept(tx: Transaction) -> tuple[int, int]:
    return messages.count_unanswered(tx), deliveries.count_pending(tx)


def kept_text(unanswered: int, unsaid: int) -> str | None:
    """What is kept for the next start, in words; None for nothing. Pure."""
    counts = {"message": unanswered, "answer": unsaid}
    parts = [f"{n} {what}{'s' * (n != 1)}" for what, n in counts.items() if n]
    if not parts:
        return None
    verb = "is" if unanswered + unsaid == 1 else "are"
    return f"{' and '.join(parts)} {verb} kept for the next start"


@asynccontextmanager
async def _open_to_clients(service: Service, engine: Engine) -> AsyncIterator[None]:
    """Within, clients may connect to the socket, if there is to be one."""
    if service.path is None:
        yield
        return
    handler = partial(
        receive,
        bridge=service.socket,
        engine=engine,
        trigger=service.trigger,
        warnings=RepeatedWarnings(),
    )
    async with listening(service.path) as listener, open_background_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handler, [listener])
        yield


def _announce(service: Service, runtime: ContainerRuntime, world: World) -> None:
    world.progress.rest()
    place = "" if service.path is None else f" on {service.path}"
    world.streams.say(f"serving {service.settings.project_root} with {runtime.name}{place}")


async def _attend_terminal(service: Service, engine: Engine, world: World) -> None:
    """Until the terminal has ended; without one, until cancelled."""
    if service.terminal is not None and await _has_group(service, engine, world):
        await service.terminal.talk(engine)
    else:
        await trio.sleep_forever()


async def _has_group(service: Service, engine: Engine, world: World) -> bool:
    try:
        await register_terminal(engine, trigger=service.trigger)
    except TerminalUnregistered as error:
        if service.is_terminal_needed:
            raise
        world.streams.say(str(error))
        return False
    return True
