"""What an image is built from: a directory with a Dockerfile, and a hash of what is in it."""

from __future__ import annotations

import hashlib
import stat
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, cast

from nanoclaw_trio.errors import InvalidFile
from nanoclaw_trio.files import kind_of, open_directory, read_if_present
from nanoclaw_trio.trees import scan_tree
from nanoclaw_trio.workspace.sources import SHIPPED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from io import BufferedReader
    from pathlib import Path

    from nanoclaw_trio.files import Directory
    from nanoclaw_trio.trees import Folder

DOCKERFILE: Final = "Dockerfile"

IGNORE_FILE: Final = ".dockerignore"

OTHER_IGNORE_FILES: Final = (".containerignore", f"{DOCKERFILE}{IGNORE_FILE}")
"""What podman and BuildKit read in place of IGNORE_FILE."""


def find_context(project_root: Path, shipped: Iterable[Path] = SHIPPED) -> Path:
    """The project's container/ if it has a Dockerfile, else the one that we ship.

    A project that has an agent-runner of its own and no Dockerfile needs no other image: its
    agent-runner is mounted over the image's.

    Raises:
        InvalidFile: there is none of them; the installation is broken.
    """
    for candidate in (project_root / "container", *shipped):
        if kind_of(candidate / DOCKERFILE) == stat.S_IFREG:
            return candidate
    path = project_root / "container" / DOCKERFILE
    raise InvalidFile(path, "isn't there", "install nanoclaw-trio again")


def content_hash(context: Path, arguments: Mapping[str, str]) -> str:
    """A hash of all that an image's content depends on and that lies with us.

    Of a base image that is its name: one that changed under the same name isn't noticed.
    OSError if the directory can't be read, UnsafePath if it changes meanwhile.
    """
    digest = hashlib.sha256(repr(sorted(arguments.items())).encode())
    patterns = _find_patterns(context)
    with open_directory(context) as directory:
        for folder in scan_tree(context).folders:
            with directory.child(*folder.path) as current:
                for path, *facts in _describe(folder, current):
                    if path == DOCKERFILE or not is_ignored(path, patterns):
                        digest.update(ascii((path, *facts)).encode())
    return digest.hexdigest()


def _describe(folder: Folder, directory: Directory) -> Iterator[tuple[str, ...]]:
    """The path of each thing in a folder, the folder itself too, and what else is in the image."""
    yield ("/".join(folder.path),)
    for file in folder.files:
        with directory.open_file(file.name) as content:
            # The cast is for typeshed, whose BinaryIO has no readinto().
            digest = hashlib.file_digest(cast("BufferedReader", content), "sha256").hexdigest()
        yield "/".join((*folder.path, file.name)), str(file.mode), digest
    # Not the folder's: an image gets a link as it is written, even one that leaves the context.
    for name in directory.names():
        target = directory.link_target(name)
        if target is not None:
            yield "/".join((*folder.path, name)), target


def _find_patterns(context: Path) -> tuple[str, ...]:
    if any(kind_of(context / name) is not None for name in OTHER_IGNORE_FILES):
        return ()
    content = read_if_present(context / IGNORE_FILE) or b""
    return read_patterns(content.decode(errors="replace"))


def read_patterns(text: str) -> tuple[str, ...]:
    """The patterns of a .dockerignore that mean here what they mean to an engine.

    The others are left out, and so are all if there is an exception (`!`), whose place counts: the
    hash then covers more than the image, which costs a needless build and no missing one.
    """
    lines = [line.strip() for line in text.splitlines()]
    patterns = [line.strip("/") for line in lines if line and not line.startswith("#")]
    if any(line.startswith("!") for line in patterns):
        return ()
    return tuple(line for line in patterns if not set(line) & set("[\\"))


def is_ignored(path: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns leaves out a file, or a directory that it is in."""
    whole = PurePosixPath(path)
    places = (whole, *whole.parents[:-1])
    return any(_fits(place, pattern) for place in places for pattern in patterns)


def _fits(path: PurePosixPath, pattern: str) -> bool:
    # `**/` in front means "in any directory", which is how match() reads a relative pattern.
    parts = PurePosixPath(pattern).parts
    if parts[:1] == ("**",) and len(parts) > 1:
        return path.match("/".join(parts[1:]))
    return len(parts) == len(path.parts) and all(map(fnmatchcase, path.parts, parts))
