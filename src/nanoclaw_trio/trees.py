"""Whole trees from the host's own folders into an agent's, as :mod:`nanoclaw_trio.files` does one.

A tree is scanned first and then mirrored, so that what is wrong with it is known before anything
is written.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import evolve, frozen

from nanoclaw_trio.descriptors import is_open_to_us
from nanoclaw_trio.errors import UnsafePath
from nanoclaw_trio.files import Directory, open_directory, real_path, status_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from nanoclaw_trio.files import Owner

_LinkReader: TypeAlias = "Callable[[Directory, str], str | None]"

SKIPPED_NAMES: Final = frozenset({"__pycache__"})
"""Made again by whoever needs it, and of no use to another interpreter."""

DEPTH_LIMIT: Final = 64
"""Directories below each other in a tree that is looked at."""

_NO_LIMIT: Final = sys.maxsize - 1


@frozen(kw_only=True)
class File:
    """A regular file, and what tells two versions of it apart without reading them.

    Attributes:
        name: Its own, without the folder.
        size: Bytes.
        modified: Nanoseconds since 1970.
        mode: What a copy gets: readable by all, and executable if its owner may execute it.
    """

    name: str
    size: int
    modified: int
    mode: int

    @classmethod
    def of(cls, name: str, status: os.stat_result) -> File:
        """The file that a directory's entry is."""
        mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
        return cls(name=name, size=status.st_size, modified=status.st_mtime_ns, mode=mode)

    @property
    def key(self) -> tuple[str, int, int, int]:
        """All of it, which costs less than attrs.astuple."""
        return (self.name, self.size, self.modified, self.mode)

    def is_copied(self, found: os.stat_result | None) -> bool:
        """Whether what was found under its name in a copy's folder is one of it."""
        if found is None or not stat.S_ISREG(found.st_mode):
            return False
        here = (self.size, self.modified, self.mode)
        return here == (found.st_size, found.st_mtime_ns, stat.S_IMODE(found.st_mode))


@frozen(kw_only=True)
class Folder:
    """One directory of a tree.

    Attributes:
        path: The names from the tree's root down to it; empty for the root itself.
        files: Its regular files.
        links: Names of symbolic links, and where they point to, relative to this directory.
        skipped: A sentence for each entry that is left out.
    """

    path: tuple[str, ...]
    files: tuple[File, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    skipped: tuple[str, ...] = ()


# Without slots: they have no room for what is cached.
@frozen(kw_only=True, slots=False)
class Tree:
    """What is in a directory of the host's own; parents come before children."""

    root: Path
    folders: tuple[Folder, ...]

    @property
    def skipped(self) -> tuple[str, ...]:
        """A sentence for each entry that is left out."""
        return tuple(sentence for folder in self.folders for sentence in folder.skipped)

    @cached_property
    def without_root_files(self) -> Tree:
        """The same but for the files that lie in no directory of it."""
        root, *folders = self.folders
        return evolve(self, folders=(evolve(root, files=()), *folders))

    @cached_property
    def paths(self) -> frozenset[str]:
        """Everything in it, relative to its root, with `/` between the names."""
        return frozenset(
            "/".join(names) for folder in self.folders for names in _paths(folder) if names
        )

    @cached_property
    def signature(self) -> str:
        """The same for trees with the same names, links, sizes, times and modes."""
        entries = [(x.path, [y.key for y in x.files], x.links) for x in self.folders]
        return hashlib.sha256(repr(entries).encode(errors="surrogateescape")).hexdigest()


def _paths(folder: Folder) -> Iterator[tuple[str, ...]]:
    yield folder.path
    yield from ((*folder.path, file.name) for file in folder.files)
    yield from ((*folder.path, name) for name, _target in folder.links)


def scan_tree(root: Path) -> Tree:
    """Look at a tree of the host's own. OSError if it can't be read.

    Links that stay within it are kept, as relative ones; those that leave it are left out
    (Trap A19), as are sockets, pipes and devices.
    """
    with open_directory(real_path(root)) as directory:
        return _tree_in(directory, _target_within_base, _NO_LIMIT)


def scan_directory(directory: Directory, *, limit: int = _NO_LIMIT) -> Tree:
    """As :func:`scan_tree`, but of a copy that is in an agent's hands: links are kept as written.

    UnsafePath if it has more than `limit` entries, or is deeper than DEPTH_LIMIT.
    """
    # Not resolved: the host writes finished ones, and an agent's lead through as many others as it
    # likes, which takes recursion for each of them and hours for all.
    return _tree_in(directory, Directory.link_target, limit)


def _tree_in(directory: Directory, read_link: _LinkReader, limit: int) -> Tree:
    return Tree(root=directory.path, folders=tuple(_scan(directory, read_link, limit)))


def _scan(top: Directory, read_link: _LinkReader, limit: int) -> Iterator[Folder]:
    pending: list[tuple[str, ...]] = [()]
    while pending:
        path = pending.pop()
        with top.child(*path) as directory:
            names = directory.names_within(limit + 1)
            limit -= len(names)
            if limit < 0 or len(path) > DEPTH_LIMIT:
                raise UnsafePath(str(directory.path), "too large or too deep a tree")
            folder, below = _look(directory, names, path, read_link)
        yield folder
        pending += [(*path, name) for name in reversed(below)]


def _look(
    directory: Directory, names: Iterable[str], path: tuple[str, ...], read_link: _LinkReader
) -> tuple[Folder, tuple[str, ...]]:
    files, links, folders, skipped = [], [], [], []
    for name in names:
        status = directory.status(name)
        if status is None or name in SKIPPED_NAMES:
            continue
        if stat.S_ISDIR(status.st_mode):
            folders.append(name)
        elif stat.S_ISREG(status.st_mode):
            files.append(File.of(name, status))
        elif not stat.S_ISLNK(status.st_mode):
            skipped.append(
                f"{directory.path / name} is no file, directory or link; it was left out"
            )
        elif (target := read_link(directory, name)) is None:
            skipped.append(
                f"{directory.path / name} is a link that leaves {directory.base}; it was left out"
            )
        else:
            links.append((name, target))
    folder = Folder(path=path, files=tuple(files), links=tuple(links), skipped=tuple(skipped))
    return folder, tuple(folders)


def _target_within_base(directory: Directory, name: str) -> str | None:
    target, place = real_path(directory.path / name), directory.path
    return os.path.relpath(target, place) if target.is_relative_to(directory.base) else None


def mirror_tree(tree: Tree, target: Directory) -> tuple[str, ...]:
    """Make `target` hold all that is in a tree, in its owner's hands; what else it holds stays.

    A file with the original's size, time and mode is taken for unchanged, and not written again.
    Whatever stands in the way of a directory is removed; returned is a sentence for each.
    """
    cleared = []
    for folder in tree.folders:
        if folder.path and _clear_way(target, folder.path):
            place = target.path.joinpath(*folder.path)
            cleared.append(f"{place} was no directory; it was replaced by the host's")
        with target.child(*folder.path, create=True) as copy:
            # Killed between the making of a directory and its gift, a host leaves one of its own.
            if not copy.belongs_to_owner():
                copy.give_away_tree()
            _mirror_folder(folder, tree.root, copy)
    return tuple(cleared)


def is_mirrored(tree: Tree, target: str, owner: Owner | None) -> bool:
    """Whether :func:`mirror_tree` would find nothing to do, told by looks alone; no link is followed.

    False for a tree with links, too. OSError for what isn't there, or can't be looked at.
    """
    for folder in tree.folders:
        place = "/".join((target, *folder.path))
        if folder.links or not is_in_order(place, owner):
            return False
        if not all(file.is_copied(status_at(f"{place}/{file.name}")) for file in folder.files):
            return False
    return True


def is_in_order(place: str, owner: Owner | None) -> bool:
    """Whether it is a directory of the owner's, or ours without one, that we may do everything in.

    No link is followed. OSError for what isn't there, or can't be looked at.
    """
    status = status_at(place)
    # Somebody else's may be closed to us, whatever its mode says.
    belongs = status.st_uid == os.geteuid() if owner is None else owner.owns(status)
    return belongs and is_open_to_us(status)


def _clear_way(target: Directory, path: tuple[str, ...]) -> bool:
    *parents, name = path
    with target.child(*parents) as parent:
        return parent.clear_way(name)


def _mirror_folder(folder: Folder, root: Path, copy: Directory) -> None:
    changed = [file for file in folder.files if not file.is_copied(copy.status(file.name))]
    if changed:
        with open_directory(root) as source, source.child(*folder.path) as original:
            for file in changed:
                copy.copy(file.name, original, mode=file.mode)
    for name, target in folder.links:
        if copy.link_target(name) != target:
            copy.link(name, target)


def remove_paths(directory: Directory, paths: Iterable[str]) -> None:
    """Remove entries by their paths as :attr:`Tree.paths` has them, but no directory in use.

    One that is gone, or behind something that isn't a directory any more, is passed over.
    """
    # The longer first, so that a directory's entries go before it does.
    for path in sorted(paths, reverse=True):
        *parents, name = path.split("/")
        with suppress(FileNotFoundError, UnsafePath), directory.child(*parents) as parent:
            parent.remove_file_or_empty(name)
