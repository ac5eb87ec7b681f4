"""The host's skills, mirrored into a group's .claude/skills before each run (Trap A19).

What the host put there before is written down where no agent can change it, so that a skill that
was removed on the host goes from the group, and what the agent made itself stays.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.errors import UnsafePath
from nanoclaw_trio.known_trees import scan_known_tree
from nanoclaw_trio.protocol.converters import own, structure
from nanoclaw_trio.protocol.json_text import dump_json, parse_json
from nanoclaw_trio.trees import is_mirrored, mirror_tree, remove_paths

if TYPE_CHECKING:
    from pathlib import Path

    from nanoclaw_trio.files import Directory, Owner
    from nanoclaw_trio.trees import Tree

RECORD_NAME: Final = "skills.json"
"""In data/sessions/FOLDER, beside what is mounted: {"paths": what the host put into skills/}."""

_RECORD_LIMIT: Final = 16 * 1024 * 1024


@frozen(kw_only=True)
class SkillRecord:
    """What the host put into a group's skills, by its paths."""

    paths: tuple[str, ...] = ()


def mirror_skills(source: Path | None, claude: Directory, sessions: Directory) -> tuple[str, ...]:
    """Make a group's skills what the host's are; a sentence for each thing that was out of order.

    Cheap when nothing changed. OSError if the disk refuses; the next call goes on from there.
    """
    tree = _skill_tree(source)
    wanted = frozenset[str]() if tree is None else tree.paths
    before, warnings = _read_record(sessions)
    if not wanted and not before:
        return (*warnings, *_skipped(tree))
    # Both, before anything is copied: what a crash leaves half done is known to be the host's.
    _write_record(sessions, before, before | wanted)
    if claude.clear_way("skills"):
        warnings += (f"{claude.path / 'skills'} was no directory; it was replaced by the host's",)
    with claude.child("skills", create=True) as skills:
        remove_paths(skills, before - wanted)
        if tree is not None:
            warnings += mirror_tree(tree, skills)
    _write_record(sessions, before | wanted, wanted)
    return (*warnings, *_skipped(tree))


def are_mirrored(
    source: Path | None, claude: Path, sessions: Directory, owner: Owner | None
) -> bool:
    """Whether :func:`mirror_skills` would find nothing to do or to say, told by looks alone.

    OSError if what a mirror would have isn't there.
    """
    tree = _skill_tree(source)
    wanted = frozenset[str]() if tree is None else tree.paths
    before, warnings = _read_record(sessions)
    if warnings or before != wanted or _skipped(tree):
        return False
    return tree is None or not wanted or is_mirrored(tree, f"{claude}/skills", owner)


def _skill_tree(source: Path | None) -> Tree | None:
    return None if source is None else scan_known_tree(source).without_root_files


def _skipped(tree: Tree | None) -> tuple[str, ...]:
    return () if tree is None else tree.skipped


def _read_record(sessions: Directory) -> tuple[frozenset[str], tuple[str, ...]]:
    try:
        return _parse(sessions.read(RECORD_NAME, limit=_RECORD_LIMIT)), ()
    except FileNotFoundError:
        return frozenset(), ()
    except (UnsafePath, ValueError) as error:
        # Not an error: the runs of this group would fail from now on, and all that is lost is
        # which of its skills the host removed.
        place = sessions.path / RECORD_NAME
        warning = f"{place} can't be used ({error}); skills removed on the host stay in the group"
        return frozenset(), (warning,)


# All groups that are up to date have the same.
@lru_cache(maxsize=2)
def _parse(content: bytes) -> frozenset[str]:
    record = structure(own, parse_json(content), SkillRecord)
    for path in record.paths:
        if {"", ".", ".."} & set(path.split("/")):
            raise ValueError("a path that leads elsewhere @ $.paths")
    return frozenset(record.paths)


def _write_record(sessions: Directory, old: frozenset[str], new: frozenset[str]) -> None:
    if old == new:
        return
    record = SkillRecord(paths=tuple(sorted(new)))
    sessions.write(RECORD_NAME, dump_json(own.unstructure(record)) + b"\n", mode=0o600)
