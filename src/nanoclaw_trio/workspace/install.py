"""Which installation this is: the id that its containers are labelled with (Trap A26)."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.errors import InvalidFile
from nanoclaw_trio.files import Directory, open_directory, read_if_present, real_path
from nanoclaw_trio.protocol.converters import own, structure
from nanoclaw_trio.protocol.json_text import dump_json, parse_json

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME: Final = "install-id"
"""Under data/: {"id": 32 hexadecimal digits, "root": the project's real path}."""

_ID: Final = re.compile(r"[0-9a-f]{32}")


@frozen(kw_only=True)
class InstallRecord:
    """An installation's id, and the place that it was given to."""

    id: str
    root: str


def install_id(project_root: Path) -> str:
    """The id of the installation in this project; made and written down where it has none.

    Two processes that ask at once get one id. A project that was copied to another place gets
    another id, so that neither of the two takes the other's containers for its own orphans.

    Raises:
        InvalidFile: the record is broken. It isn't replaced, since nobody would look any more for
            containers with the id that was in it.
        OSError: it can't be read or written.
    """
    root = real_path(project_root)
    path = root / "data" / FILE_NAME
    content = read_if_present(path)
    if content is not None:
        known = _parse(path, content)
        if known.root == _text(root):
            return known.id
    return _write_down(root)


def _write_down(root: Path) -> str:
    with open_directory(root / "data", create=True) as data:
        known = _known(data)
        if known.root == _text(root):
            return known.id
        moved = InstallRecord(id=_derived(known.id, root), root=_text(root))
        data.write(FILE_NAME, _dump(moved))
    return moved.id


def _known(data: Directory) -> InstallRecord:
    path = data.path / FILE_NAME
    content = read_if_present(path)
    if content is None:
        record = InstallRecord(id=secrets.token_hex(16), root=_text(data.path.parent))
        data.create(FILE_NAME, _dump(record))
        # Read and not remembered: another process may have been the first.
        content = read_if_present(path)
    return _parse(path, content or b"")


def _parse(path: Path, content: bytes) -> InstallRecord:
    try:
        record = _structure(content)
    except ValueError as error:
        problem = str(error)
    else:
        if _ID.fullmatch(record.id):
            return record
        problem = "not 32 hexadecimal digits @ $.id"
    raise InvalidFile(
        path, problem, "stop the containers that this project may still have, and remove the file"
    )


# Each run asks, and it hardly ever changes.
@lru_cache(maxsize=2)
def _structure(content: bytes) -> InstallRecord:
    return structure(own, parse_json(content), InstallRecord)


def _derived(id_: str, root: Path) -> str:
    # Not a random one: two processes that notice the move at once have to come to the same.
    return hashlib.sha256(f"{id_}\0{_text(root)}".encode()).hexdigest()[:32]


def _text(path: Path) -> str:
    # A path may hold bytes that are no text, and JSON can't.
    return os.fsencode(path).decode(errors="replace")


def _dump(record: InstallRecord) -> bytes:
    return dump_json(own.unstructure(record)) + b"\n"
