"""A group's directories: what is out of order, and whom errors of the disk are blamed on."""

from __future__ import annotations

import errno
import os
import shutil

import pytest

from nanoclaw_trio.errors import WorkspaceFailed
from nanoclaw_trio.workspace.directories import _are_in_order, blamed_on, make_directories


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "settings.json"),
            "No space left on device (settings.json)",
        ),
        (OSError(errno.EIO, "Input/output error", 7), "Input/output error;"),
        (OSError("odd"), "an error of the system;"),
    ],
)
def test_blame(tmp_path, error, words):
    """An error of the disk names the place, the entry in it, and what the system said."""
    with pytest.raises(WorkspaceFailed) as caught, blamed_on(tmp_path):
        raise error
    assert words in str(caught.value)
    assert caught.value.path == tmp_path
    assert caught.value.__cause__ is error


def replaced(path):
    path.rename(path.with_name("away"))
    path.symlink_to("away")


def of_ours_and_closed(path):
    path.chmod(0o500)


DISORDER = {
    "a group's folder that is a link": lambda paths: replaced(paths.group_dir),
    "a mailbox that is a link": lambda paths: replaced(paths.ipc_dir),
    "an inbox that is a link": lambda paths: replaced(paths.input_dir),
    "an inbox that isn't there": lambda paths: paths.input_dir.rmdir(),
    "logs that are closed to us": lambda paths: of_ours_and_closed(paths.logs_dir),
    "settings that aren't there": lambda paths: (paths.claude_dir / "settings.json").unlink(),
    "settings that are a link": lambda paths: replaced(paths.claude_dir / "settings.json"),
    "a skill that isn't there": lambda paths: (paths.claude_dir / "skills/a/SKILL.md").unlink(),
    "a skill that was changed": lambda paths: (paths.claude_dir / "skills/a/SKILL.md").write_text(
        "x"
    ),
    "a skill that is a link": lambda paths: replaced(paths.claude_dir / "skills/a/SKILL.md"),
    "a skill's directory that is a link": lambda paths: replaced(paths.claude_dir / "skills/a"),
    "skills that are a link": lambda paths: replaced(paths.claude_dir / "skills"),
    "a record of skills that isn't there": lambda paths: (
        paths.sessions_dir / "skills.json"
    ).unlink(),
    "another skill": lambda paths: (paths.project_root / "container/skills/b").mkdir(),
    "a skill less": lambda paths: shutil.rmtree(paths.project_root / "container/skills/a"),
    "a pipe among the skills": lambda paths: os.mkfifo(paths.project_root / "container/skills/p"),
    "no runner": lambda paths: shutil.rmtree(paths.runner_dir),
    "a runner that is a link": lambda paths: replaced(paths.runner_dir),
    "an empty runner": lambda paths: shutil.rmtree(paths.runner_dir / "agent"),
    "another runner": lambda paths: (
        paths.project_root / "container/agent-runner/src/new.py"
    ).touch(),
    "a record of the runner that isn't there": lambda paths: (
        paths.sessions_dir / "agent-runner.json"
    ).unlink(),
    "no cover": lambda paths: (paths.cover_dir / "ipc").rmdir(),
}


@pytest.fixture
def made(paths):
    """A group's directories, with a skill."""
    skill = paths.project_root / "container" / "skills" / "a"
    skill.mkdir()
    (skill / "SKILL.md").write_text("a skill")
    make_directories(paths, None, is_main=True)
    return paths


def test_in_order(made):
    """What was made needs nothing more, whatever the agent has in there besides."""
    assert _are_in_order(made, None, is_main=True)
    (made.group_dir / "own").mkdir()
    (made.claude_dir / "settings.json").write_text("{}")
    (made.claude_dir / "skills" / "own").mkdir()
    (made.runner_dir / "agent" / "__main__.py").write_text("own")
    (made.input_dir / "message.json").touch()
    assert _are_in_order(made, None, is_main=True)


def test_in_order_without_a_skill(paths):
    """A project without skills has nothing to mirror."""
    make_directories(paths, None, is_main=False)
    assert _are_in_order(paths, None, is_main=False)
    (paths.project_root / "container" / "skills").rmdir()
    assert make_directories(paths, None, is_main=False) == ()


@pytest.mark.parametrize("disorder", DISORDER.values(), ids=DISORDER)
def test_out_of_order(made, disorder):
    """Each thing that the host sees to is seen to, if it isn't as it should be."""
    disorder(made)
    assert not _are_in_order(made, None, is_main=True)


def test_in_other_hands(made, agent):
    """What doesn't belong to the agent yet is given to it."""
    assert not _are_in_order(made, agent, is_main=True)
    make_directories(made, agent, is_main=True)
    assert _are_in_order(made, agent, is_main=True)


@pytest.mark.parametrize("place", ["group_dir", "logs_dir", "ipc_dir", "input_dir", "claude_dir"])
def test_in_somebody_elses_hands(made, agent, place):
    """What isn't ours may be closed to us, which shows only when it is gone through."""
    os.chown(getattr(made, place), agent.uid, agent.gid)
    assert not _are_in_order(made, None, is_main=True)
    assert make_directories(made, None, is_main=True) == ()


@pytest.mark.parametrize("place", ["skills", "skills/a"])
def test_a_skills_directory_that_was_not_given_away(made, agent, place):
    """What a root host made, and was killed before it gave it away, is the agent's after all."""
    make_directories(made, agent, is_main=True)
    os.chown(made.claude_dir / place, 0, 0)
    assert not _are_in_order(made, agent, is_main=True)
    assert make_directories(made, agent, is_main=True) == ()
    assert agent.owns((made.claude_dir / place).stat())
    assert _are_in_order(made, agent, is_main=True)
