"""What happens before a command, and before the CLI forgets."""

from __future__ import annotations

import json
import os
import shlex
from datetime import UTC, datetime

import pytest
import trio

pytest.importorskip("claude_agent_sdk", reason="the agent's own dependencies aren't installed")

from nanoclaw_agent.agents.claude.archive import Archive
from nanoclaw_agent.agents.claude.hooks import Hooks, without_variables

SESSION = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def hooks(tmp_path):
    """Hooks of a session with two secrets."""
    archive = Archive(
        directory=tmp_path / "conversations",
        assistant_name="Andy",
        now=lambda: datetime(2026, 2, 1, 12, 5, tzinfo=UTC),
    )
    return Hooks(secret_names=("KEY", "TOKEN"), archive=archive)


@pytest.fixture
def event(tmp_path):
    """A PreCompact event about a transcript in which the user said something."""
    path = tmp_path / "transcript.jsonl"
    entry = {"type": "user", "message": {"role": "user", "content": "Hello"}}
    path.write_text(json.dumps(entry))
    return {"session_id": SESSION, "transcript_path": str(path), "cwd": str(tmp_path)}


@pytest.mark.parametrize(
    ("names", "command"),
    [
        ((), "date"),
        (("KEY",), "unset KEY\ndate"),
        (("KEY", "TOKEN"), "unset KEY TOKEN\ndate"),
        (("a b", "; rm"), "unset 'a b' '; rm'\ndate"),
    ],
)
def test_variables_are_taken_away_first(names, command):
    """A line of its own before the command, in which no name can be anything but a name."""
    assert without_variables("date", names) == command


async def test_command_runs_without_secrets(hooks):
    """The command that the CLI is told to run instead does the same, without the variables."""
    command = "echo \"$KEY$TOKEN$OTHER\"; cat <<'END'\n$KEY\nEND\n"
    tool_input = {"command": command, "timeout": 5}
    told = (await hooks.before_command({"tool_input": tool_input}, "id", None))[
        "hookSpecificOutput"
    ]
    assert told["hookEventName"] == "PreToolUse"
    assert told["updatedInput"]["timeout"] == 5
    done = await trio.run_process(
        ["bash", "-c", told["updatedInput"]["command"]],
        env={"PATH": os.environ["PATH"], "KEY": "canary", "TOKEN": "canary", "OTHER": "kept"},
        capture_stdout=True,
    )
    assert done.stdout == b"kept\n$KEY\n"
    assert shlex.split(told["updatedInput"]["command"])[:3] == ["unset", "KEY", "TOKEN"]


async def test_command_that_is_none_is_passed_on(hooks):
    """What the CLI will refuse by itself is no error here."""
    told = await hooks.before_command({"tool_input": {}}, None, None)
    assert told["hookSpecificOutput"]["updatedInput"] == {"command": "unset KEY TOKEN\n"}


def test_matchers_name_the_hooks(hooks):
    """Commands alone are changed; each compaction is preceded by the archiving."""
    matchers = hooks.matchers()
    assert matchers["PreToolUse"][0].matcher == "Bash"
    assert matchers["PreToolUse"][0].hooks == [hooks.before_command]
    assert matchers["PreCompact"][0].hooks == [hooks.before_compaction]


def names(hooks):
    return [path.name for path in hooks.archive.directory.iterdir()]


async def test_compaction_is_preceded_by_an_archived_conversation(hooks, event, caplog):
    """A session without a record of its own has no summary, and is archived by the time."""
    assert await hooks.before_compaction(event, None, None) == {}
    assert names(hooks) == ["2026-02-01-conversation-1205.md"]
    assert caplog.records == []


async def test_summary_names_the_file(hooks, event, tmp_path, caplog, monkeypatch):
    """The session's summary, as the SDK finds it in the CLI's records, is the title."""
    project = tmp_path / ".claude" / "projects" / _encoded(tmp_path)
    project.mkdir(parents=True)
    entry = {"type": "user", "message": {"role": "user", "content": "Water the flowers"}}
    (project / f"{SESSION}.jsonl").write_text(json.dumps(entry | {"sessionId": SESSION}) + "\n")
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / ".claude"))
    assert await hooks.before_compaction(event, None, None) == {}
    assert names(hooks) == ["2026-02-01-water-the-flowers.md"]
    assert caplog.records == []


def _encoded(path):
    # As the CLI names a project's records: whatever isn't a letter or a digit is a dash.
    return "".join(c if c.isalnum() else "-" for c in str(path.resolve()))


@pytest.mark.parametrize("change", [{"session_id": 5}, {"session_id": None}, {"cwd": 5}])
async def test_conversation_without_a_summary_is_archived(hooks, event, caplog, change):
    """What the SDK can't find a summary for is kept all the same."""
    assert await hooks.before_compaction(event | change, None, None) == {}
    assert names(hooks) == ["2026-02-01-conversation-1205.md"]


@pytest.mark.parametrize(
    "change",
    [
        {"transcript_path": "/nowhere"},
        {"transcript_path": None},
        {"transcript_path": "a\0b"},
    ],
)
async def test_compaction_goes_on_without_an_archive(hooks, event, caplog, change):
    """Whatever goes wrong is a word in the log, and nothing is left half."""
    assert await hooks.before_compaction(event | change, None, None) == {}
    assert "wasn't archived" in caplog.text
    assert not hooks.archive.directory.exists()


@pytest.mark.parametrize("event", [{}, None])
async def test_event_that_is_none_is_no_error(hooks, event, caplog):
    """The hook never raises, whatever the CLI sends."""
    assert await hooks.before_compaction(event, None, None) == {}
    assert "wasn't archived" in caplog.text
