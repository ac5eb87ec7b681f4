"""Directories and files that turn into links while the host is at them. Trap A28.

Each test goes on until the attack has made that many rounds and the host that many attempts. What
the host must not do it must not do at any moment; what it may do is fail, for that group alone.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count

import pytest
from attrs import evolve

from nanoclaw_trio.errors import NanoclawError, UnsafePath, WorkspaceFailed
from nanoclaw_trio.files import open_directory
from nanoclaw_trio.mailbox.reader import InvalidRequest, RequestReader
from nanoclaw_trio.mailbox.requests import SendMessage
from nanoclaw_trio.mailbox.snapshots import write_tasks_snapshot
from nanoclaw_trio.mailbox.writer import Mailbox
from nanoclaw_trio.run.capture import Capture
from nanoclaw_trio.run.log import Retention, RunRecord, write_run_log
from nanoclaw_trio.run.outcome import Cause
from nanoclaw_trio.run.receipt import Gone
from nanoclaw_trio.workspace.folders import GroupPaths
from nanoclaw_trio.workspace.prepare import prepare_workspace
from nanoclaw_trio.workspace.secrets import Secrets
from nanoclaw_trio.workspace.skills import mirror_skills

ROUNDS = 3000
ATTEMPTS = 300
PREPARATIONS = 40

MESSAGE = json.dumps({"type": "message", "chatJid": "c", "text": "the agent's own"})


@pytest.fixture
def paths(settings):
    """A group's places, with a mailbox."""
    paths = GroupPaths(project_root=settings.project_root, folder="family")
    for name in ("input", "messages", "tasks"):
        (paths.ipc_dir / name).mkdir(parents=True)
    return paths


@pytest.fixture
def attempts():
    """Numbers, for as long as the attack and the host both have something to do."""

    def until(rounds, least=ATTEMPTS):
        for number in count():
            if number >= least and int(rounds) >= ROUNDS:
                return
            yield number

    return until


def holds_secret(directory, bait):
    """Whether the secret got into a file of the group's, or of the host's on its account."""
    files = (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    return any(bait.secret.encode() in path.read_bytes() for path in files)


def test_an_attack_that_cannot_be_made(tmp_path, swapping):
    """Where the system refuses to exchange two entries nothing was attacked, and no round counts."""
    (tmp_path / "a").mkdir()
    with swapping({tmp_path / "a" / "..": tmp_path}) as rounds:
        assert rounds.end() == (1, 0)
        with pytest.raises(AssertionError, match="the attack has ended"):
            int(rounds)


@pytest.mark.parametrize("place", ["messages", "messages/1.json"])
def test_requests_that_turn_into_links(paths, bait, swapping, attempts, place):
    """No file outside of the mailbox is read as a request, deleted or set aside, while its directory,
    or a file in there, turns into a link and back."""
    bait.fill("1.json", "2.json")
    (paths.ipc_dir / "messages" / "1.json").write_text(MESSAGE)
    before, heard = bait.picture(), set()
    reader = RequestReader(paths.ipc_dir)
    target = bait.directory if place == "messages" else bait.directory / "1.json"
    with swapping({paths.ipc_dir / place: target}) as rounds:
        for number in attempts(rounds):
            for name in ("messages/1.json", "messages/2.json", *look(reader)):
                with suppress(OSError, UnsafePath, InvalidRequest):
                    heard.add(reader.read(name))
                with suppress(OSError, UnsafePath):
                    reader.remove(name) if number % 2 else reader.set_aside(name, "attack")
    assert bait.picture() == before
    assert {one.text for one in heard if isinstance(one, SendMessage)} <= {"the agent's own"}
    assert not holds_secret(paths.ipc_dir.parent, bait)


def look(reader):
    with suppress(OSError, UnsafePath):
        return reader.pending(10).names
    return ()


@pytest.mark.parametrize("place", ["input", "."])
async def test_a_mailbox_that_turns_into_a_link(paths, settings, bait, swapping, attempts, place):
    """Nothing is written, deleted or read outside of the mailbox, while the host writes follow-ups,
    `_close` and snapshots there, and takes them back."""
    bait.fill("1.json", "_close", "input/1.json", "input/_close", "current_tasks.json")
    before, heard = bait.picture(), set()
    mailbox = Mailbox(paths.ipc_dir)
    target = paths.ipc_dir / place if place != "." else paths.ipc_dir
    with swapping({target: bait.directory}) as rounds:
        for _ in attempts(rounds):
            for act in (mailbox.close_sync, mailbox.pending_sync, mailbox.sweep_close_sync):
                with suppress(OSError, UnsafePath):
                    act()
            with suppress(OSError, UnsafePath):
                mailbox.discard_sync([mailbox.new_name()])
            with suppress(OSError, UnsafePath):
                heard.update(mailbox.sweep_sync())
            with suppress(OSError, NanoclawError):
                await mailbox.send_message("follow-up")
            with suppress(OSError, NanoclawError):
                await write_tasks_snapshot("family", is_main=False, tasks=(), settings=settings)
    assert bait.picture() == before
    assert heard <= {"follow-up"}
    assert not holds_secret(paths.ipc_dir.parent, bait)


@pytest.mark.parametrize("place", ["skills", "skills/cook"])
def test_skills_that_turn_into_links(tmp_path, bait, swapping, attempts, place):
    """The host's skills are mirrored into the group's and into nothing else, and what is no longer
    one of them is removed there and nowhere else."""
    cook, sessions = tmp_path / "source" / "cook", tmp_path / "sessions"
    cook.mkdir(parents=True)
    (sessions / ".claude" / place).mkdir(parents=True)
    bait.fill("SKILL.md", "old", "cook/SKILL.md", "cook/old")
    before = bait.picture()
    with swapping({sessions / ".claude" / place: bait.directory}) as rounds:
        for number in attempts(rounds):
            # Another version each time, or the host would find all as it left it.
            (cook / "SKILL.md").write_text(f"version {number}")
            (cook / "old").touch() if number % 2 else (cook / "old").unlink(missing_ok=True)
            with (
                suppress(OSError, UnsafePath),
                open_directory(sessions) as directory,
                directory.child(".claude") as claude,
            ):
                mirror_skills(cook.parent, claude, directory)
    assert bait.picture() == before
    assert not holds_secret(sessions, bait)


def test_a_workspace_that_turns_into_links(settings, group, bait, swapping, attempts):
    """No run's preparation writes, deletes or gives away anything outside of the group's folders,
    even where something of the agent's were still alive and at it."""
    root = settings.project_root
    source = root / "container" / "agent-runner" / "src" / "agent"
    source.mkdir(parents=True)
    (source / "__main__.py").write_text("the host's own, for all")
    bait.fill("__main__.py", "settings.json", "input/1.json")
    prepare_workspace(group, is_main=False, settings=settings)
    before, sessions = bait.picture(), root / "data" / "sessions" / "family"
    targets = {
        sessions / ".claude" / "settings.json": bait.directory / "settings.json",
        sessions / "agent-runner-src" / "agent": bait.directory,
        root / "groups" / "family" / "logs": bait.directory,
        root / "data" / "ipc" / "family" / "messages": bait.directory,
    }
    with swapping(targets) as rounds:
        for number in attempts(rounds, least=PREPARATIONS):
            (source / "__main__.py").write_text(f"version {number}")
            with suppress(WorkspaceFailed, UnsafePath):
                prepare_workspace(group, is_main=False, settings=settings)
    assert bait.picture() == before
    assert not holds_secret(root / "data", bait)


def test_run_logs_that_turn_into_links(paths, container_input, bait, swapping, attempts):
    """No run log is written outside of the group's folder, and none there is deleted with the old."""
    bait.fill("container-1.log", "container-2.log")
    (paths.logs_dir).mkdir(parents=True)
    before = bait.picture()
    record = RunRecord(
        ended_at=datetime(2026, 2, 1, tzinfo=UTC),
        group_name="Family",
        container="c",
        container_input=container_input,
        command="docker run",
        mounts=(),
        duration=1.0,
        exit_code=0,
        cause=Cause.COMPLETED,
        error=None,
        had_output=True,
        timed_out=False,
        receipt=Gone(container="c", evidence="no such container"),
        stdout=Capture(10),
        stderr=Capture(10),
    )
    with swapping({paths.logs_dir: bait.directory}) as rounds:
        for number in attempts(rounds):
            with suppress(OSError, UnsafePath):
                write_run_log(
                    paths,
                    evolve(record, duration=float(number)),
                    secrets=Secrets({}),
                    verbose=False,
                    keep=Retention(files=1, bytes=1, days=1),
                )
    assert bait.picture() == before
