"""Trees of the host's own that are scanned before each run, and hardly ever change.

A scan opens each directory and looks at each entry. That nothing has changed since can be told by
one look at each place: a directory's times change with its entries, a file's with its content.
"""

from __future__ import annotations

import os
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.files import identity_of
from nanoclaw_trio.trees import scan_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from nanoclaw_trio.files import Identity
    from nanoclaw_trio.trees import Tree

SETTLING: Final = 2 * 10**9
"""Nanoseconds that a tree is left alone for before it is taken for known. Disks keep times in steps,
of 10 ms as a rule: what changes twice within one looks the same after both."""

KNOWN: Final = 16
"""Trees that are kept in mind."""


class KnownTree:
    """A place, and the tree that was found there, once it lay still."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._found: _Found | None = None

    def scan(self) -> Tree:
        """The tree as it is now. OSError if it can't be read."""
        found = self._found
        if found is None or _identify_all(found.places) != found.identities:
            found = self._found = _find(self._root)
        return found.tree


@frozen
class _Found:
    tree: Tree
    places: tuple[str, ...]
    identities: tuple[Identity, ...] | None


@lru_cache(maxsize=KNOWN)
def _known(root: Path) -> KnownTree:
    return KnownTree(root)


def scan_known_tree(root: Path) -> Tree:
    """As :func:`~nanoclaw_trio.trees.scan_tree`, which it only calls after a change."""
    return _known(root).scan()


def _find(root: Path) -> _Found:
    settled = time.time_ns() - SETTLING
    tree = scan_tree(root)
    places = tuple(_places(tree, root)) if _is_plain(tree) else ()
    identities = _identify_all(places)
    if not identities or identities[0] != identities[1] or _last_change(identities) > settled:
        return _Found(tree, (), None)
    return _Found(tree, places, identities)


def _last_change(identities: Iterable[Identity]) -> int:
    return max(max(modified, changed) for modified, changed, *_ in identities)


def _is_plain(tree: Tree) -> bool:
    # Where a link leads to can change without the link.
    return not tree.skipped and not any(folder.links for folder in tree.folders)


def _places(tree: Tree, root: Path) -> Iterator[str]:
    """What the root leads to, where that was found, and all that is in there."""
    # The root may be a link, and lead elsewhere one day: with a dot it is what it leads to.
    yield os.path.join(root, ".")  # noqa: PTH118 - a Path has no dot
    for folder in tree.folders:
        place = os.path.join(tree.root, *folder.path)  # noqa: PTH118 - a tenth of the cost
        yield place
        yield from (f"{place}/{file.name}" for file in folder.files)


def _identify_all(places: tuple[str, ...]) -> tuple[Identity, ...] | None:
    try:
        return tuple(map(identity_of, places))
    except OSError:
        return None
