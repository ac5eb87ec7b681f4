"""The key is kept from everything that the model can make run."""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path

import pytest

from nanoclaw_trio.run.outcome import Cause
from nanoclaw_trio.testing.messages_api import (
    Text,
    ToolUse,
    echo,
    open_messages_api,
    scripted,
)

PROGRAMS = ("secret_search.py", "secret_watch.py")
"""What the agent's tools run."""

KINDS = ["cmdline", "environ", "fd", "file", "mem"]
"""In each of these kinds of places the search has to find a decoy of its own."""

SEARCHERS = ("bash", "hook", "server")

VARIABLES = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")

QUICK = {"CLAUDE_CODE_MAX_RETRIES": "1"}

CLAUDE_SETTINGS_FILES = (
    "data/sessions/family/.claude/settings.json",
    "groups/family/.claude/settings.json",
    "groups/family/.claude/settings.local.json",
)
"""Where the CLI looks for its user's, the project's and a local setting; all are the agent's."""


def new_key():
    """A key as the search knows keys."""
    return f"sk-canary-{secrets.token_hex(16)}"


def digest(key):
    """What the search knows a key by."""
    return hashlib.sha256(key.encode()).hexdigest()


def search_command(name, *keys):
    """The search, as a command; what it finds is in NAME.json, what it has in NAME.names."""
    pattern = f"^({'|'.join(VARIABLES)})="
    digests = " ".join(map(digest, keys))
    return (
        f"cd /workspace/group; env | grep -E '{pattern}' | cut -d= -f1 > {name}.names;"
        f" python3 secret_search.py {name}.json {digests}"
    )


@pytest.fixture
def programs(project):
    """Put the programs into the group's folder."""
    for name in PROGRAMS:
        project.write(f"groups/family/{name}", Path(__file__).with_name(name).read_bytes())


def use_everything(project, *keys):
    """Have a hook and an MCP server of the group's search, too."""
    hook = {"hooks": [{"type": "command", "command": search_command("hook", *keys)}]}
    project.configure_claude(hooks={"UserPromptSubmit": [hook]}, enableAllProjectMcpServers=True)
    server = {"command": "/bin/sh", "args": ["-c", search_command("server", *keys)]}
    project.write("groups/family/.mcp.json", json.dumps({"mcpServers": {"search": server}}))


def credentials(request):
    """What a request has to show."""
    return request.headers.get("x-api-key"), request.headers.get("authorization")


def leaks(found, key):
    """Where each searcher found the key."""
    return {who: found[who]["secrets"][digest(key)] for who in SEARCHERS}


@pytest.mark.parametrize(
    ("variable", "is_main"), [*zip(VARIABLES, (False, False, True), strict=True)]
)
async def test_no_tool_finds_the_key(project, programs, variable, is_main):
    """Trap A17. The key reaches the API, and neither a command of the model's nor a hook nor an MCP
    server finds it in any process's environment, command line, memory or descriptors or in a file,
    nor does the Read tool."""
    key, control = new_key(), new_key()
    project.secrets = {variable: key}
    project.write("groups/family/control", control)
    use_everything(project, key, control)
    # The server starts beside the conversation.
    wait = "until [ -e server.json ]; do sleep 0.1; done"
    done = await project.ask(
        scripted(
            ToolUse("Bash", {"command": search_command("bash", key, control)}),
            ToolUse("Read", {"file_path": "/proc/self/environ"}),
            ToolUse("Bash", {"command": wait, "timeout": 60_000}),
            Text("Nothing."),
        ),
        is_main=is_main,
    )
    assert done.answers == ["Nothing."]
    shown = (key, None) if variable == "ANTHROPIC_API_KEY" else (None, f"Bearer {key}")
    assert {credentials(request) for request in done.requests} == {shown}

    group = project.paths().group_dir
    found = {who: json.loads((group / f"{who}.json").read_text()) for who in SEARCHERS}
    assert {who: found[who]["decoys"] for who in SEARCHERS} == dict.fromkeys(SEARCHERS, KINDS)
    for places in leaks(found, control).values():
        assert "/workspace/group/control" in places
    assert leaks(found, key) == {who: [] for who in SEARCHERS}
    assert [(group / f"{who}.names").read_text() for who in SEARCHERS] == ["", "", ""]
    assert key not in json.dumps([request.body for request in done.requests])
    for path in project.root.rglob("*"):
        if path.is_file() and path.name != ".env":
            assert key.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("variable", ["ANTHROPIC_BASE_URL", "HTTP_PROXY"])
async def test_no_settings_of_the_group_send_the_key_elsewhere(project, variable):
    """What the agent may write into the CLI's settings leads the key to no other server than the
    project's."""
    async with open_messages_api(echo, host=project.place.host) as elsewhere:
        for path in CLAUDE_SETTINGS_FILES:
            project.write(path, json.dumps({"env": {**QUICK, variable: elsewhere.url}}))
        done = await project.ask(scripted(Text("Here.")))
    assert elsewhere.requests == ()
    assert done.answers == ["Here."]


async def test_no_process_left_behind_finds_the_key(project, programs, wait_for):
    """A CLI that ends while it waits is started again for the next prompt, and goes on with the
    conversation; a process that a command left behind doesn't see the key come by."""
    project.secrets = {"ANTHROPIC_API_KEY": (key := new_key())}
    group = project.paths().group_dir
    watch = f"setsid python3 secret_watch.py $CLAUDE_PID {digest(key)} >/dev/null 2>&1 &"
    model = scripted(ToolUse("Bash", {"command": watch}), Text("One."), Text("Two."))
    heard = []
    async with project.serve(model) as api, project.run() as run:
        async for output in run:
            heard.append(output.result)
            if heard == ["One.", None]:
                (group / "go").touch()
                await wait_for(group / "watching")
                await run.send_message("And then?")
            elif heard == ["One.", None, "Two.", None]:
                (group / "stop").touch()
                await wait_for(group / "watched")
                await run.close()
    assert heard == ["One.", None, "Two.", None]
    assert run.result.cause is Cause.COMPLETED
    assert api.requests[-1].texts == ("Hello", "And then?")
    assert json.loads((group / "watched").read_text()) == []
