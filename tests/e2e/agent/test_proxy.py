"""The real agent without a key: it calls its API through the host, which adds it."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from pathlib import Path

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.chat.bridge import Bridge
from nanoclaw_trio.engine.open_engine import open_engine
from nanoclaw_trio.protocol.models import RegisteredGroup
from nanoclaw_trio.proxy.usage import ApiUsage
from nanoclaw_trio.store.models import ChatMessage, Registration
from nanoclaw_trio.testing.messages_api import ApiError, Text, ToolUse, echo, scripted
from nanoclaw_trio.testing.messages_api.answers import answer_reply

FAMILY = RegisteredGroup(name="Family", folder="family")

NEIGHBOUR = RegisteredGroup(name="Neighbour", folder="neighbour")

RUNNER = "data/sessions/{}/agent-runner-src/nanoclaw_agent/{}"

CLAUDE_VARIABLES = ("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN")

PRINTER = """
import json, pathlib, sys
said = [sys.stdin.readline()]
for path in [*pathlib.Path("/proc").glob("[0-9]*/environ"), *pathlib.Path("/proc").glob("[0-9]*/cmdline")]:
    try:
        said.append(repr(path.read_bytes()))
    except OSError:
        pass
print(*said, file=sys.stderr)
pathlib.Path("/workspace/group/printed").write_text("".join(said))
print("---NANOCLAW_OUTPUT_START---")
print(json.dumps({"status": "success", "result": "printed"}))
print("---NANOCLAW_OUTPUT_END---")
"""
"""An agent-runner of the group's own, which gives away all that it gets."""

KNOCKER = """
import json, pathlib, socket, sys, urllib.error, urllib.request
request = json.loads(sys.stdin.readline())
sockets = [str(path) for top in ("/run", "/tmp", "/workspace") for path in pathlib.Path(top).rglob("api.sock")]
def ask(key):
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(sockets[0])
        caller.sendall(f"GET /v1/x HTTP/1.1\\r\\nhost: a\\r\\nx-api-key: {key}\\r\\nconnection: close\\r\\n\\r\\n".encode())
        return int(caller.makefile().readline().split()[1])
other = pathlib.Path("/workspace/group/other").read_text()
found = {"sockets": len(sockets), "own": ask(request["secrets"]["ANTHROPIC_API_KEY"]), "other": ask(other)}
print("---NANOCLAW_OUTPUT_START---")
print(json.dumps({"status": "success", "result": json.dumps(found)}))
print("---NANOCLAW_OUTPUT_END---")
"""
"""An agent-runner of the group's own, which tries its neighbour's placeholder at its own socket."""

TELLER = """
import json, sys, time, pathlib
request = json.loads(sys.stdin.readline())
print("---NANOCLAW_OUTPUT_START---")
print(json.dumps({"status": "success", "result": None, "newSessionId": "s"}))
print("---NANOCLAW_OUTPUT_END---", flush=True)
pathlib.Path("/workspace/group/told").write_text(request["secrets"]["ANTHROPIC_API_KEY"])
while not pathlib.Path("/workspace/ipc/input/_close").exists():
    time.sleep(0.02)
"""
"""An agent-runner that writes its placeholder down, and waits to be closed."""


def new_key():
    """A key as the search knows keys."""
    return f"sk-canary-{secrets.token_hex(16)}"


def digest(key):
    """What the search knows a key by."""
    return hashlib.sha256(key.encode()).hexdigest()


def shown(variable, key):
    """What a request has to show for a key."""
    return (key, None) if variable == "ANTHROPIC_API_KEY" else (None, f"Bearer {key}")


def credentials(request):
    """What a request showed."""
    return request.headers.get("x-api-key"), request.headers.get("authorization")


def through_proxy(project, way="socket", **changes):
    """The project's settings, with the proxy."""
    return evolve(project.settings, credential_proxy=way, **changes)


def rewrite_runner(project, folder, program):
    """Give a group an agent-runner of its own."""
    project.write(RUNNER.format(folder, "__init__.py"), "")
    project.write(RUNNER.format(folder, "__main__.py"), program)


@pytest.mark.parametrize("variable", CLAUDE_VARIABLES[:2])
async def test_no_key_enters(project, variable):
    """Without any network the agent reaches its API, by the socket; the host's key is shown there,
    and its own tools find nothing of it anywhere."""
    key = new_key()
    project.secrets = {variable: key}
    search = Path(__file__).with_name("secret_search.py").read_bytes()
    project.write("groups/family/secret_search.py", search)
    command = f"cd /workspace/group; python3 secret_search.py found.json {digest(key)}"
    done = await project.ask(
        scripted(ToolUse("Bash", {"command": command}), Text("Nothing.")),
        settings=through_proxy(project, network="none"),
    )
    assert done.answers == ["Nothing."], done.heard
    assert {credentials(request) for request in done.requests} == {shown(variable, key)}
    found = json.loads((project.paths().group_dir / "found.json").read_text())
    assert found["secrets"] == {digest(key): []}
    assert "mem" in found["decoys"]


async def ask_copy(project, group, program, **fields):
    """Run a group's own agent-runner; its answer, and what it wrote on standard error."""
    rewrite_runner(project, group.folder, program)
    settings = through_proxy(project, network="none", log_level="debug")
    async with project.run("Hello", group=group, settings=settings, **fields) as run:
        heard = [output.result async for output in run]
    return heard, run.result


async def test_a_runner_that_prints_all_it_gets(project):
    """A group that rewrites its agent-runner has a placeholder in its hands, and no key: not in its
    input, not in any environment, and so in no log."""
    key = new_key()
    project.secrets = {"ANTHROPIC_API_KEY": key}
    async with project.serve(echo):
        heard, result = await ask_copy(project, FAMILY, PRINTER)
    assert heard == ["printed"]
    printed = (project.paths().group_dir / "printed").read_text()
    assert "sk-nanoclaw-" in printed
    assert "NANOCLAW" in printed or "PATH=" in printed
    assert key not in printed
    assert key not in result.log_path.read_text()


async def test_two_groups(project, wait_for):
    """A group finds no socket but its own, at which its neighbour's placeholder opens nothing."""
    rewrite_runner(project, NEIGHBOUR.folder, TELLER)
    settings = through_proxy(project)
    async with project.serve(echo) as api:
        fields = {"group": NEIGHBOUR, "group_folder": NEIGHBOUR.folder}
        async with project.run("Hello", settings=settings, **fields) as neighbour:
            told = project.paths(NEIGHBOUR.folder).group_dir / "told"
            await wait_for(told)
            project.write("groups/family/other", told.read_bytes())
            (answer,), _ = await ask_copy(project, FAMILY, KNOCKER)
            await neighbour.close()
            assert [output.result async for output in neighbour] == [None]
    assert json.loads(answer) == {"sockets": 1, "own": 404, "other": 401}
    assert api.requests == ()


async def test_at_an_address(project):
    """Where no socket can be, or the agent knows none, an address does."""
    settings = through_proxy(project, f"tcp:{project.place.host}")
    done = await project.ask(echo, settings=settings)
    assert done.answers == ["echo: Hello"]
    assert {credentials(request) for request in done.requests} == {
        shown("ANTHROPIC_API_KEY", project.secrets["ANTHROPIC_API_KEY"])
    }


class Listener(Bridge):
    """Keeps what is to be said, by chat."""

    def __init__(self):
        self.heard = {}
        self.changed = trio.Event()

    async def deliver(self, delivery):
        await trio.lowlevel.checkpoint()
        self.heard[delivery.chat_jid] = delivery.text
        self.changed.set()
        self.changed = trio.Event()

    async def wait_for_chats(self, count):
        while len(self.heard) < count:
            await self.changed.wait()


def message(folder):
    """What somebody says in a group's chat."""
    return ChatMessage(
        chat_jid=f"{folder}@chat",
        id=folder,
        sender="7@users",
        sender_name="Ann",
        text=f"Hello, {folder}",
        timestamp=utc_now(),
    )


async def engine_answers(project, model, settings):
    """Say something in both groups' chats, and wait for the answers; they and what the groups used."""
    bridge = Listener()
    async with (
        project.serve(model) as api,
        open_engine(settings, runtime=project.runtime, bridge=bridge) as engine,
    ):
        for folder in (FAMILY.folder, NEIGHBOUR.folder):
            group = RegisteredGroup(name=folder, folder=folder, requires_trigger=False)
            await engine.register_group(Registration(jid=f"{folder}@chat", group=group))
            await engine.send_message(message(folder))
        await bridge.wait_for_chats(2)
    usage = {group.folder: group.api for group in engine.statistics().groups}
    return bridge.heard, usage, api


def output_tokens(request, reply):
    """How many of them the API says that this answer has."""
    said = b"".join(answer_reply(request, reply).pieces)
    return sum(map(int, re.findall(rb'"usage":\{"output_tokens":(\d+)', said)))


async def test_what_is_used_is_counted(project):
    """The counts of a group are what the API has served to its CLI, request by request and token by
    token; an error of the API's counts for the group that met it, and for no other."""
    project.configure_claude(NEIGHBOUR.folder)
    look = (Text("Let me see.", input_tokens=2_000), ToolUse("Bash", {"command": "date"}))
    scripts = {
        "family": scripted(look, Text("It is late.", input_tokens=300)),
        "neighbour": scripted(ApiError(529), Text("Here I am.", input_tokens=50_000)),
    }
    written = dict.fromkeys(scripts, 0)

    def model(request):
        (folder,) = [folder for folder in scripts if folder in request.prompt]
        reply = scripts[folder](request)
        written[folder] += output_tokens(request, reply)
        return reply

    settings = through_proxy(project, network="none")
    heard, usage, api = await engine_answers(project, model, settings)
    assert heard == {"family@chat": "It is late.", "neighbour@chat": "Here I am."}
    assert (len(api.requests), api.side_requests) == (4, ())
    assert usage == {
        "family": ApiUsage(requests=2, input_tokens=2_300, output_tokens=written["family"]),
        "neighbour": ApiUsage(
            requests=2, errors=1, input_tokens=50_000, output_tokens=written["neighbour"]
        ),
    }
    assert 0 < written["neighbour"] < written["family"]
