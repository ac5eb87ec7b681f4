"""Where an engine's socket is, as its own client would have it. Pure but for one file of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
from attrs import frozen

from nanoclaw_trio.files import read_if_present

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nanoclaw_trio.files import Owner

DOCKER_SOCKET: Final = "/var/run/docker.sock"
"""Where docker's client looks without being told."""

PODMAN_SOCKET: Final = "podman/podman.sock"
"""Below /run, or a user's runtime directory (podman-system-service(1))."""

SCHEME: Final = "unix://"

DEFAULT_CONTEXT: Final = "default"
"""The context that stands for the socket."""


@frozen(kw_only=True)
class EnginePlace:
    """Where to ask.

    Attributes:
        socket: The path of the Unix socket.
        obstacle: Why it isn't to be asked, for people; None if it may be.
    """

    socket: str
    obstacle: str | None = None


def docker_place(environ: Mapping[str, str]) -> EnginePlace:
    """Docker's socket, unless its client would talk to an engine elsewhere.

    In the client's order: DOCKER_HOST, DOCKER_CONTEXT, and the current context in its config.json.
    Nor is it asked where that file has proxies for containers: the client sets them, not the engine.
    """
    path = config_path(environ)
    config = read_config(path)
    place = _find_docker(environ, config, path)
    if place.obstacle is None and has_proxies(config, place.socket):
        why = f"{path} has proxies for containers, which only docker's client gives them"
        return EnginePlace(socket=place.socket, obstacle=why)
    return place


def _find_docker(environ: Mapping[str, str], config: Any, path: Path) -> EnginePlace:
    host = environ.get("DOCKER_HOST")
    if host:
        return place_of("DOCKER_HOST", host, default=DOCKER_SOCKET)
    context = environ.get("DOCKER_CONTEXT")
    origin = "DOCKER_CONTEXT"
    if not context:
        context, origin = current_context(config), str(path)
    if context == DEFAULT_CONTEXT:
        return EnginePlace(socket=DOCKER_SOCKET)
    why = f"{origin} names the context {context!r}, whose engine only docker's client knows"
    return EnginePlace(socket=DOCKER_SOCKET, obstacle=why)


def podman_place(environ: Mapping[str, str], user: Owner) -> EnginePlace:
    """The socket of `podman system service`: that of CONTAINER_HOST, or this user's own."""
    folder = "/run"
    if user.uid != 0:
        folder = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{user.uid}"
    default = f"{folder}/{PODMAN_SOCKET}"
    host = environ.get("CONTAINER_HOST")
    return (
        place_of("CONTAINER_HOST", host, default=default) if host else EnginePlace(socket=default)
    )


def place_of(variable: str, host: str, *, default: str) -> EnginePlace:
    """The place that a variable names, if it is a Unix socket."""
    if host.startswith(SCHEME):
        return EnginePlace(socket=host.removeprefix(SCHEME) or default)
    # Not its value: a URL may hold a password.
    return EnginePlace(
        socket=default, obstacle=f"{variable} names an engine that isn't behind unix://"
    )


def config_path(environ: Mapping[str, str]) -> Path:
    """Where docker's client keeps what its user chose."""
    folder = environ.get("DOCKER_CONFIG")
    return Path(folder or Path(environ.get("HOME") or "/", ".docker"), "config.json")


def read_config(path: Path) -> Any:
    """What its user told docker's client; nothing where the file is missing or can't be read.

    Docker's client goes on without a file that it can't use, too.
    """
    try:
        return orjson.loads(read_if_present(path) or b"{}")
    except (OSError, ValueError):
        return {}


def current_context(config: Any) -> str:
    """The context that is chosen there, or the default one."""
    match config:
        case {"currentContext": str(name)} if name:
            return name
    return DEFAULT_CONTEXT


def has_proxies(config: Any, socket: str) -> bool:
    """Whether there are proxies there for the containers of this engine, or of any."""
    match config:
        case {"proxies": dict(proxies)}:
            return bool(proxies.get(f"{SCHEME}{socket}", proxies.get("default")))
    return False
