"""Each group's copy of the agent-runner's source: its own to change, and new while it doesn't.

A group gets a copy at its first run. Where the host's source is another one later, after an upgrade
for one, a copy that nobody touched is replaced; one that the group has changed stays, with a word.
What was copied is written down where no agent can change it.
"""

from __future__ import annotations

import stat
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from nanoclaw_trio.descriptors import is_temporary, temporary_name
from nanoclaw_trio.errors import InvalidFile, UnsafePath
from nanoclaw_trio.files import kind_of
from nanoclaw_trio.known_trees import scan_known_tree
from nanoclaw_trio.protocol.converters import own, structure
from nanoclaw_trio.protocol.json_text import dump_json, parse_json
from nanoclaw_trio.trees import mirror_tree, scan_directory
from nanoclaw_trio.workspace.sources import runner_sources

if TYPE_CHECKING:
    from pathlib import Path

    from nanoclaw_trio.files import Directory, Owner
    from nanoclaw_trio.trees import Tree
    from nanoclaw_trio.workspace.folders import GroupPaths

RECORD_NAME: Final = "agent-runner.json"
"""In data/sessions/FOLDER, beside what is mounted: a RunnerRecord as JSON."""

ENTRY_LIMIT: Final = 10_000
"""Entries of a copy that is looked through; one with more is not the host's any more."""

LEASE_MODULE: Final = ("nanoclaw_agent", "lease.py")
"""What a copy has that takes standard input for a lease (docs/protocol 1)."""


@frozen(kw_only=True)
class RunnerRecord:
    """What a group's copy was made from, and what it was then, each as a tree's signature.

    They differ where the copy's disk keeps times less exactly, or the source changed meanwhile.
    """

    source: str
    copy: str


def make_runner(paths: GroupPaths, sessions: Directory, owner: Owner | None) -> tuple[str, ...]:
    """Make the copy, or make it anew; a sentence for each thing that was out of order.

    Call it with the group's claim, and while no container of the group runs. While the source stays
    the same it is all that is looked at. OSError if the disk refuses; then the copy that was there is still there, or the next
    call makes one.

    Raises:
        InvalidFile: there is no source to copy, and no copy yet.
    """
    _remove_leftovers(sessions)
    name = paths.runner_dir.name
    is_there = _has_copy(evolve(sessions, owner=owner), name)
    source = _find_source(paths, is_needed=not is_there)
    if source is None:
        return ()
    if not is_there:
        return _replace(source, name, sessions, owner)
    record = _read_record(sessions)
    if _is_made_from(source, record):
        return ()
    return _refresh(source, name, sessions, owner, record)


def is_up_to_date(paths: GroupPaths, sessions: Directory) -> bool:
    """Whether :func:`make_runner` would find nothing to do, of an owner's copy or anybody's."""
    if not _has_copy(sessions, paths.runner_dir.name):
        return False
    source = _find_source(paths, is_needed=False)
    return source is None or _is_made_from(source, _read_record(sessions))


def takes_lease(paths: GroupPaths) -> bool:
    """Whether the group's copy says that it takes standard input for a lease.

    One that an earlier version made, and the group has changed, may not.
    """
    package, module = LEASE_MODULE
    source = paths.runner_dir / package
    try:
        # No link is followed: that there is none in the way is seen first.
        return (
            kind_of(source, follow=False) == stat.S_IFDIR
            and kind_of(source / module, follow=False) == stat.S_IFREG
        )
    except OSError:
        return False


def _remove_leftovers(sessions: Directory) -> None:
    """Remove what a host that was killed left here: nobody else makes anything now."""
    for name in filter(is_temporary, sessions.names()):
        sessions.remove(name)


def _has_copy(sessions: Directory, name: str) -> bool:
    """Whether there is a copy with anything in it, which is its owner's from now on."""
    if sessions.kind(name) is None:
        return False
    with sessions.child(name) as copy:
        if not copy.belongs_to_owner():
            copy.give_away_tree()
        return bool(copy.names_within(1))


def _find_source(paths: GroupPaths, *, is_needed: bool) -> Tree | None:
    try:
        return scan_known_tree(runner_sources(paths.project_root))
    except (InvalidFile, OSError):
        if is_needed:
            raise
        return None


def _refresh(
    source: Tree, name: str, sessions: Directory, owner: Owner | None, record: RunnerRecord | None
) -> tuple[str, ...]:
    with sessions.child(name) as copy:
        copied = _signature_of_copy(copy)
    if record is not None and copied == record.copy:
        return _replace(source, name, sessions, owner)
    if copied == source.signature:
        _write_record(sessions, RunnerRecord(source=source.signature, copy=source.signature))
        return ()
    return (_explain_kept(sessions.path / name, source.root),)


def _explain_kept(copy: Path, source: Path) -> str:
    return (
        f"{copy} was changed by the group, or never was the host's, so that it isn't replaced by "
        f"{source}, which is another one; remove it to have that"
    )


def _signature_of_copy(copy: Directory) -> str | None:
    """What the copy looks like; None for what the host could not have made."""
    try:
        tree = scan_directory(copy, limit=ENTRY_LIMIT)
    except UnsafePath:
        return None
    return None if tree.skipped else tree.signature


def _replace(source: Tree, name: str, sessions: Directory, owner: Owner | None) -> tuple[str, ...]:
    made, outdated = temporary_name(), temporary_name()
    try:
        with evolve(sessions, owner=owner).child(made, create=True) as copy:
            mirror_tree(source, copy)
            copied = scan_directory(copy).signature
        # Renamed and not removed: killed amid a removal, it would leave half a copy that looks as
        # if the group had changed it.
        with suppress(FileNotFoundError):
            sessions.rename(name, outdated)
        sessions.rename(made, name)
    finally:
        sessions.remove(made)
        sessions.remove(outdated)
    _write_record(sessions, RunnerRecord(source=source.signature, copy=copied))
    return source.skipped


def _is_made_from(source: Tree, record: RunnerRecord | None) -> bool:
    return record is not None and record.source == source.signature


def _read_record(sessions: Directory) -> RunnerRecord | None:
    try:
        return _parse(sessions.read(RECORD_NAME))
    except (FileNotFoundError, UnsafePath, ValueError):
        return None


# All groups that are up to date have the same.
@lru_cache(maxsize=2)
def _parse(content: bytes) -> RunnerRecord:
    return structure(own, parse_json(content), RunnerRecord)


def _write_record(sessions: Directory, record: RunnerRecord) -> None:
    sessions.write(RECORD_NAME, dump_json(own.unstructure(record)) + b"\n", mode=0o600)
