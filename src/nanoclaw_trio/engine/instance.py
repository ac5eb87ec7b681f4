"""One engine for a project: two would answer each message twice.

The engine locks data/engine.lock (an flock) for as long as it is open; the kernel releases the lock
of a process that dies, however it does. Who has it stands in data/engine.json, for the error of
whoever comes second. Containers can read neither: the lock file has no mode for reading, which would
do for locking it.
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.clock import iso_timestamp
from nanoclaw_trio.errors import EngineRunning
from nanoclaw_trio.files import open_directory
from nanoclaw_trio.protocol.converters import own
from nanoclaw_trio.protocol.json_text import dump_json
from nanoclaw_trio.workspace.directories import blamed_on
from nanoclaw_trio.workspace.locks import read_record
from nanoclaw_trio.workspace.project import require_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from nanoclaw_trio.files import Directory, FileLock

LOCK: Final = "engine.lock"
RECORD: Final = "engine.json"


@frozen(kw_only=True)
class Holder:
    """Who has the engine of a project: a process of a machine, since an ISO time."""

    pid: int
    host: str
    since: str


@contextmanager
def held_instance(project_root: Path, moment: datetime) -> Iterator[None]:
    """Within, no other engine opens on this project. `moment` is now.

    Synchronous, and short: the lock must be taken and released where no cancellation comes between.

    Raises:
        EngineRunning: another has it; names who.
        ProjectNotFound: the caller's fault; nothing was made.
        WorkspaceFailed, UnsafePath: the disk, or what lies there, stands in the way.
    """
    require_project(project_root)
    lock = _take(project_root)
    try:
        _note_holder(project_root, moment)
        yield
    finally:
        lock.release()


def _take(project_root: Path) -> FileLock:
    path = project_root / "data"
    with blamed_on(path), open_directory(path, create=True) as data:
        lock = data.lock(LOCK)
        if lock is None:
            raise _running(project_root, data)
    return lock


def _note_holder(project_root: Path, moment: datetime) -> None:
    path = project_root / "data"
    holder = Holder(pid=os.getpid(), host=socket.gethostname(), since=iso_timestamp(moment))
    with blamed_on(path), open_directory(path) as data:
        data.write(RECORD, dump_json(own.unstructure(holder)))


def _running(project_root: Path, data: Directory) -> EngineRunning:
    holder = read_record(data, RECORD, Holder)
    if holder is None:
        return EngineRunning(project_root)
    return EngineRunning(project_root, pid=holder.pid, host=holder.host, since=holder.since)
