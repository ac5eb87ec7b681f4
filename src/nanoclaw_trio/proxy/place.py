"""Where a group's socket is: in a directory of its own, which its container alone gets to see.

Below a directory that nobody but the host's user may enter, so that the socket itself may be open to
all: the agent is another user than the host in most containers.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import stat
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.environment import process_environment, runtime_home, sockets_home
from nanoclaw_trio.errors import UnsafePath
from nanoclaw_trio.files import in_thread, open_directory
from nanoclaw_trio.logs import log
from nanoclaw_trio.proxy.errors import ProxyUnusable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from nanoclaw_trio.files import Directory

SOCKET: Final = "api.sock"

SEPARATOR: Final = "-"

PATH_LIMIT: Final = 103
"""Bytes of the longest path that a Unix socket has everywhere (macOS; 107 on Linux)."""

REMOVAL_BOUND: Final = 5.0
"""Seconds for the disk to remove the socket."""


def socket_directory(project_root: Path, folder: str, home: Path | None) -> Path:
    """Where a group's next socket goes; `home` is the user's runtime directory, if there is one.

    All of a group's begin alike. Each has another name all the same: a run that has let go of its
    group, and removes its own, must not meet the next one's.
    """
    group = hashlib.sha256(f"{project_root}\0{folder}".encode(errors="surrogateescape"))
    return sockets_home(home) / f"{group.hexdigest()[:16]}{SEPARATOR}{secrets.token_hex(4)}"


@asynccontextmanager
async def listening(
    project_root: Path, folder: str
) -> AsyncGenerator[tuple[Path, trio.SocketListener]]:
    """A directory with a socket of a group's, and who listens on it; removed in the end.

    What a host left behind which was killed goes first. Call it while you hold the group.

    Raises:
        ProxyUnusable: there can't be one.
    """
    home = runtime_home(process_environment())
    path = socket_directory(project_root, folder, home) / SOCKET
    bound = await in_thread(bind, path)
    try:
        async with trio.SocketListener(trio.socket.from_stdlib_socket(bound)) as listener:
            yield path.parent, listener
    finally:
        with trio.move_on_after(REMOVAL_BOUND, shield=True):
            await in_thread(_remove, path, abandon_on_cancel=True)


def bind(path: Path) -> socket.socket:
    """Make a directory and a socket in it, and listen. Blocking; ProxyUnusable if it can't be."""
    if len(os.fsencode(path)) > PATH_LIMIT:
        raise ProxyUnusable(
            f"the path {path} is too long for a socket; set XDG_RUNTIME_DIR to a shorter directory"
        )
    private, group = path.parent.parent, path.parent
    try:
        with (
            open_directory(private.parent) as shared,
            shared.child(private.name, create=True) as ours,
        ):
            _keep_private(ours)
            _remove_stale(ours, group.name)
            with ours.child(group.name, create=True) as directory:
                return _bind(path, directory)
    except UnsafePath as error:
        raise ProxyUnusable(f"{error}, or set XDG_RUNTIME_DIR to a directory of yours") from error
    except OSError as error:
        raise ProxyUnusable(
            f"there can't be a socket at {path}: {error.strerror}; set XDG_RUNTIME_DIR to a "
            "directory of yours"
        ) from error


def _keep_private(directory: Directory) -> None:
    # Owned by somebody else it would be in their hands, whatever its mode.
    if os.fstat(directory.descriptor).st_uid != os.geteuid():
        raise ProxyUnusable(
            f"{directory.path} is somebody else's; remove it, or set XDG_RUNTIME_DIR"
        )
    os.fchmod(directory.descriptor, stat.S_IRWXU)


def _remove_stale(directory: Directory, name: str) -> None:
    prefix = name.partition(SEPARATOR)[0] + SEPARATOR
    for left in directory.names():
        if left.startswith(prefix):
            directory.remove(left)


def _bind(path: Path, directory: Directory) -> socket.socket:
    # The umask may be 077, and the agent is another user.
    os.fchmod(directory.descriptor, 0o755)
    with ExitStack() as unless_done:
        listener = unless_done.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listener.bind(str(path))
        directory.set_mode(path.name, 0o666)
        listener.listen(socket.SOMAXCONN)
        unless_done.pop_all()
    return listener


def _remove(path: Path) -> None:
    try:
        with open_directory(path.parent.parent) as ours:
            ours.remove(path.parent.name)
    except FileNotFoundError:
        # A session that ended has taken its runtime directory along.
        pass
    except (OSError, UnsafePath) as error:
        # What the run did is done; the group's next one tries again.
        log.warning("a socket's directory wasn't removed", path=path.parent, why=str(error))
