"""What the model can do: commands in the group's folder, and the chat tools."""

from __future__ import annotations

import json

from nanoclaw_trio.testing.messages_api import Text, ToolUse, scripted


def use(tool, **arguments):
    """One of the chat tools."""
    return ToolUse(f"mcp__nanoclaw__{tool}", arguments)


def read_requests(directory):
    """The requests in a directory of a mailbox, in order."""
    return [json.loads(path.read_text()) for path in sorted(directory.iterdir())]


async def test_a_command_runs(project):
    """A Bash call runs as uid 1000 in the group's folder, and its result reaches the model."""
    command = "pwd; id -u; echo three > made; cat given"
    project.write("groups/family/given", "a file of the group's")
    done = await project.ask(scripted(ToolUse("Bash", {"command": command}), Text("Done.")))
    assert done.answers == ["Done."]
    result = done.requests[1].last_tool_result
    assert result.splitlines() == ["/workspace/group", "1000", "a file of the group's"]
    assert (project.paths().group_dir / "made").read_text() == "three\n"


async def test_chat_tools(project):
    """Requests of the model lie in the group's mailbox as the host reads them; what the model may
    not ask for, or asks for wrongly, is answered with the reason, and leaves no file."""
    interval = {"schedule_type": "interval", "schedule_value": "3600000"}
    group = {"jid": "2@chat", "name": "New", "folder": "new", "trigger": "@Andy"}
    done = await project.ask(
        scripted(
            use("send_message", text="Working on it…", sender="Research"),
            use("schedule_task", prompt="Water the plants", **interval),
            use("schedule_task", prompt="Water", schedule_type="cron", schedule_value="at nine"),
            use("register_group", **group),
            Text("Done."),
        ),
        chat_jid="family@chat",
    )
    assert done.answers == ["Done."]
    sent, scheduled, wrong, refused = [r.last_tool_result for r in done.requests[1:]]

    (message,) = read_requests(project.paths().ipc_dir / "messages")
    assert message.pop("timestamp").endswith("Z")
    assert message == {
        "type": "message",
        "chatJid": "family@chat",
        "text": "Working on it…",
        "sender": "Research",
        "groupFolder": "family",
    }
    assert "mailbox" in sent

    (task,) = read_requests(project.paths().ipc_dir / "tasks")
    assert task["taskId"] in scheduled
    expected = {
        "type": "schedule_task",
        "prompt": "Water the plants",
        "context_mode": "isolated",
        "targetJid": "family@chat",
        **interval,
    }
    assert expected.items() <= task.items()
    assert "cron" in wrong
    assert "only the main group may register groups" in refused
