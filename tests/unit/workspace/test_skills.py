"""Skills: what the host has, the group has; what the agent made, it keeps."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager

import pytest

from nanoclaw_trio.files import open_directory
from nanoclaw_trio.workspace.skills import mirror_skills


@pytest.fixture
def source(tmp_path):
    """The host's skills: one of them, and a file that is none."""
    skills = tmp_path / "skills"
    (skills / "cook" / "recipes").mkdir(parents=True)
    (skills / "cook" / "SKILL.md").write_text("how to cook")
    (skills / "cook" / "recipes" / "soup.md").write_text("water")
    (skills / "README.md").write_text("not a skill")
    return skills


@pytest.fixture
def claude(tmp_path):
    """The group's .claude."""
    return tmp_path / "sessions" / ".claude"


@pytest.fixture
def mirror(source, claude):
    """Mirror the skills once."""

    @contextmanager
    def opened():
        with (
            open_directory(claude, create=True) as into,
            open_directory(claude.parent) as sessions,
        ):
            yield into, sessions

    def run(where=source):
        with opened() as (into, sessions):
            return mirror_skills(where, into, sessions)

    return run


def names_in(directory):
    """Everything below a directory."""
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


COOK = ["cook", "cook/SKILL.md", "cook/recipes", "cook/recipes/soup.md"]


def test_every_directory_is_a_skill(mirror, claude):
    """Directories are copied with all in them; a file beside them isn't a skill."""
    assert mirror() == ()
    assert names_in(claude / "skills") == COOK
    assert (claude / "skills" / "cook" / "SKILL.md").read_text() == "how to cook"


@pytest.mark.parametrize("where", ["none", "empty"])
def test_no_skills(mirror, claude, tmp_path, where):
    """Without skills nothing is made."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".gitkeep").write_bytes(b"")
    assert mirror(None if where == "none" else tmp_path / "empty") == ()
    assert names_in(claude.parent) == [".claude"]


def test_a_changed_skill_comes_again(mirror, source, claude):
    """What the host changed is in the group before the next run."""
    mirror()
    (source / "cook" / "SKILL.md").write_text("how to cook better")
    (source / "cook" / "recipes" / "bread.md").write_text("flour")
    mirror()
    assert (claude / "skills" / "cook" / "SKILL.md").read_text() == "how to cook better"
    assert (claude / "skills" / "cook" / "recipes" / "bread.md").exists()


def test_repeated_without_a_change(mirror, claude):
    """A second time nothing is written, not even the record."""
    mirror()
    before = {path: path.lstat() for path in claude.parent.rglob("*") if path.is_file()}
    mirror()
    for path, status in before.items():
        assert (path.lstat().st_ino, path.lstat().st_mtime_ns) == (
            status.st_ino,
            status.st_mtime_ns,
        )


@pytest.mark.parametrize("removed", ["cook", "cook/SKILL.md", "cook/recipes"])
def test_what_the_host_removed_goes(mirror, source, claude, removed):
    """Trap A19. A skill, or a part of one, that was removed on the host goes from the group."""
    mirror()
    if (source / removed).is_dir():
        shutil.rmtree(source / removed)
    else:
        (source / removed).unlink()
    assert mirror() == ()
    left = [name for name in COOK if name != removed and not name.startswith(f"{removed}/")]
    assert names_in(claude / "skills") == left


def test_no_skills_any_more(mirror, claude):
    """Trap A19. The last skill goes as well, and nothing is remembered of it."""
    mirror()
    mirror(None)
    assert names_in(claude / "skills") == []
    assert json.loads((claude.parent / "skills.json").read_text()) == {"paths": []}


def test_what_the_agent_made_stays(mirror, source, claude):
    """Its own skills, and its own files in the host's, outlive the host's."""
    mirror()
    (claude / "skills" / "own").mkdir()
    (claude / "skills" / "own" / "SKILL.md").write_text("own")
    (claude / "skills" / "cook" / "notes.md").write_text("own")
    mirror()
    shutil.rmtree(source / "cook")
    mirror()
    assert names_in(claude / "skills") == ["cook", "cook/notes.md", "own", "own/SKILL.md"]


def test_a_name_that_both_use(mirror, claude):
    """A skill of the agent's that the host gets, too, becomes the host's, file by file."""
    (claude / "skills" / "cook").mkdir(parents=True)
    (claude / "skills" / "cook" / "SKILL.md").write_text("own")
    mirror()
    assert (claude / "skills" / "cook" / "SKILL.md").read_text() == "how to cook"


def test_links_that_leave_are_left_out(mirror, source, claude):
    """Trap A19. A link out of the skills is neither followed nor copied, and it is said."""
    (source / "cook" / "passwd").symlink_to("/etc/passwd")
    (source / "elsewhere").symlink_to("/etc")
    (source / "alias").symlink_to("cook")
    warnings = mirror()
    assert len(warnings) == 2
    assert all("is a link that leaves" in warning for warning in warnings)
    assert names_in(claude / "skills") == sorted([*COOK, "alias"])
    assert (claude / "skills" / "alias").readlink().as_posix() == "cook"


def test_only_links_that_leave(mirror, tmp_path, claude):
    """Also said where there is nothing else to copy."""
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "elsewhere").symlink_to("/etc")
    assert len(mirror(tmp_path / "odd")) == 1
    assert not (claude / "skills").exists()


@pytest.mark.parametrize("kind", ["link", "dangling link", "file", "pipe", "socket"])
def test_planted_in_place_of_the_skills(mirror, claude, plant, kind):
    """Trap A28. What isn't a directory is replaced, with a warning, and the run goes on."""
    claude.mkdir(parents=True)
    plant(claude / "skills", kind)
    assert mirror() == (f"{claude / 'skills'} was no directory; it was replaced by the host's",)
    assert names_in(claude / "skills") == COOK


@pytest.mark.parametrize("kind", ["link", "dangling link", "file", "pipe", "socket"])
def test_planted_in_place_of_a_skill(mirror, claude, plant, kind):
    """Trap A28. The same below."""
    mirror()
    shutil.rmtree(claude / "skills" / "cook")
    plant(claude / "skills" / "cook", kind)
    assert len(mirror()) == 1
    assert names_in(claude / "skills") == COOK


BROKEN = [
    "",
    "[]",
    '{"paths": "cook"}',
    '{"paths": ["cook"], "more": 1}',
    '{"paths": ["../../../etc"]}',
    '{"paths": ["/etc"]}',
    '{"paths": ["cook/./x"]}',
    '{"paths": [""]}',
]


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_record(mirror, source, claude, text):
    """It is written anew with a warning; only what the host removed meanwhile stays."""
    mirror()
    shutil.rmtree(source / "cook" / "recipes")
    (claude.parent / "skills.json").write_text(text)
    (warning,) = mirror()
    assert "skills removed on the host stay in the group" in warning
    assert str(claude.parent / "skills.json") in warning
    assert names_in(claude / "skills") == COOK
    assert mirror() == ()


def test_a_record_that_is_no_file(mirror, claude, plant):
    """The record is replaced whatever is in its place."""
    claude.mkdir(parents=True)
    plant(claude.parent / "skills.json", "directory")
    assert len(mirror()) == 1
    assert mirror() == ()
