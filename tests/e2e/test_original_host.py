"""Our agents under a host of the original protocol: it knows nothing of what this host adds.

It starts a process or `docker run` with the original's arguments, so that the agent is process 1;
writes the input with the keys in it; looks for markers in text, wherever they stand; names
follow-ups by milliseconds and a random part; sweeps nothing; and stops by `docker stop`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import trio
from attrs import field, frozen

from nanoclaw_trio.testing.messages_api import echo, open_messages_api

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "container" / "agent-runner" / "src"
IMAGE = "nanoclaw-echo:test"

START = "---NANOCLAW_OUTPUT_START---"
END = "---NANOCLAW_OUTPUT_END---"

GUARD = 60
"""Seconds; it guards against a hang and measures nothing."""

KEY = "sk-canary-of-the-original-host"


@frozen(kw_only=True)
class AgentUnderTest:
    """One of the agent-runner's agents.

    Attributes:
        name: As NANOCLAW_AGENT has it.
        environment: What else it needs.
        secrets: What comes with its input.
        answer: What it answers to a prompt.
        image: What it lives in.
    """

    name: str
    environment: dict = field(factory=dict)
    secrets: dict = field(factory=lambda: {"ANTHROPIC_API_KEY": KEY})
    answer: object
    image: str = IMAGE


AGENTS = (AgentUnderTest(name="echo", answer=lambda prompt: f"echo: {prompt}"),)


class OriginalHost:
    """A group's folders, and one agent at a time in them."""

    def __init__(self, agent, folder):
        self.agent = agent
        self.workspace = folder / "workspace"
        self.inbox = self.workspace / "ipc" / "input"
        self.inbox.mkdir(parents=True)
        self.group = self.workspace / "group"
        self.group.mkdir()
        self.process = None
        self._stderr = folder / "stderr"
        self._text = ""

    def command(self):
        """What starts the agent, and its environment."""
        raise NotImplementedError

    async def stop(self, patience=1):
        """As the original does when its timer goes off."""
        raise NotImplementedError

    async def start(self, prompt="Hello", **keys):
        """Start the agent and give it its input."""
        argv, environment = self.command()
        with self._stderr.open("ab") as stderr:
            self.process = await trio.lowlevel.open_process(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **environment},
            )
        document = {
            "prompt": prompt,
            "groupFolder": "family",
            "chatJid": "1@chat",
            "isMain": False,
            "assistantName": "Andy",
            **keys,
            "secrets": self.agent.secrets,
        }
        await self.process.stdin.send_all(json.dumps(document).encode())
        await self.process.stdin.aclose()

    @property
    def stderr(self):
        """What it wrote to standard error."""
        return self._stderr.read_text()

    async def output(self):
        """The next output; None at the end."""
        while END not in self._text:
            chunk = await self.process.stdout.receive_some()
            if not chunk:
                return None
            self._text += bytes(chunk).decode()
        begin = self._text.index(START) + len(START)
        text, self._text = self._text[begin:].split(END, 1)
        return json.loads(text.strip())

    async def outputs(self):
        """All outputs up to the end."""
        found = []
        while (output := await self.output()) is not None:
            found.append(output)
        return found

    async def answer(self):
        """What the agent says up to its next session update, and that update's session id."""
        texts = []
        while (output := await self.output())["result"] is not None:
            texts.append(output["result"])
        assert output["status"] == "success"
        return texts, output["newSessionId"]

    def send(self, text, name=None):
        """Write a follow-up: whole, and by a rename."""
        path = self.inbox / (name or f"{int(time.time() * 1000)}-{secrets.token_hex(2)}.json")
        temporary = path.with_name(f"{path.name}.tmp")
        temporary.write_text(json.dumps({"type": "message", "text": text}))
        temporary.rename(path)

    def close(self):
        """Ask the agent to end."""
        (self.inbox / "_close").write_text("")

    async def exit_status(self):
        """Wait for the end."""
        return await self.process.wait()

    async def aclose(self):
        """End what a failed test left."""
        if self.process is not None:
            self.process.kill()
            await self.process.wait()


class ProcessHost(OriginalHost):
    """Its agent is a plain process."""

    def command(self):
        """Python, on the agent-runner's source."""
        environment = {
            **self.agent.environment,
            "PYTHONPATH": str(SOURCE),
            "NANOCLAW_AGENT": self.agent.name,
            "NANOCLAW_WORKSPACE": str(self.workspace),
        }
        return [sys.executable, "-P", "-m", "nanoclaw_agent"], environment

    async def stop(self, patience=1):
        """SIGTERM, and SIGKILL after a second, or so many."""
        self.process.terminate()
        with trio.move_on_after(patience):
            await self.process.wait()
            return
        self.process.kill()


class DockerHost(OriginalHost):
    """Its agent is in a container, which is started with the original's own arguments."""

    def __init__(self, agent, folder):
        super().__init__(agent, folder)
        self.name = f"nanoclaw-family-{int(time.time() * 1000)}-{uuid.uuid4().hex[:8]}"
        self.source = folder / "agent-runner-src"
        shutil.copytree(SOURCE, self.source, ignore=shutil.ignore_patterns("__pycache__"))
        self.sessions = folder / "sessions" / ".claude"
        self.sessions.mkdir(parents=True)

    def command(self):
        """`docker run -i --rm --name … -e … -v …`: no init, and `-v` rather than `--mount`."""
        variables = {
            **self.agent.environment,
            "TZ": "Europe/Berlin",
            "NANOCLAW_AGENT": self.agent.name,
        }
        mounts = {
            self.group: "/workspace/group",
            self.sessions: "/home/node/.claude",
            self.workspace / "ipc": "/workspace/ipc",
            self.source: "/app/src",
        }
        argv = ["docker", "run", "-i", "--rm", "--name", self.name]
        for name, value in variables.items():
            argv += ["-e", f"{name}={value}"]
        if os.getuid() not in {0, 1000}:
            argv += ["--user", f"{os.getuid()}:{os.getgid()}", "-e", "HOME=/home/node"]
        for source, target in mounts.items():
            argv += ["-v", f"{source}:{target}"]
            self._give_to_agent(source)
        return [*argv, self.agent.image], {}

    @staticmethod
    def _give_to_agent(folder):
        if os.getuid() == 0:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, 1000, 1000)

    async def stop(self, patience=1):
        """`docker stop`, which kills after a second, or so many."""
        command = ["docker", "stop", "-t", str(patience), self.name]
        await trio.run_process(command, capture_stdout=True)

    async def aclose(self):
        """End what a failed test left."""
        await super().aclose()
        remove = ["docker", "rm", "-f", self.name]
        await trio.run_process(remove, capture_stdout=True, capture_stderr=True, check=False)


@pytest.fixture(params=AGENTS, ids=lambda agent: agent.name)
def agent(request):
    """Each agent of the agent-runner."""
    return request.param


@pytest.fixture(params=[ProcessHost, DockerHost], ids=["process", "docker"])
def host_class(request):
    """Each way in which the agent is started."""
    if request.param is DockerHost:
        request.getfixturevalue("docker")
    return request.param


@pytest.fixture
async def host(host_class, agent, tmp_path):
    """An original host."""
    host = host_class(agent, tmp_path)
    yield host
    await host.aclose()


@pytest.fixture
def claude_image(host_class, request):
    """The image that has Claude in it, where one is needed."""
    return request.getfixturevalue("agent_image") if host_class is DockerHost else IMAGE


@pytest.fixture
def api_host(host_class, request):
    """This host's address as the agent reaches it."""
    if host_class is DockerHost:
        return request.getfixturevalue("docker_gateway")
    return "127.0.0.1"


@pytest.fixture
async def claude(host_class, claude_image, api_host, tmp_path):
    """Claude, with an imitated model, under an original host."""
    if importlib.util.find_spec("claude_agent_sdk") is None:
        absent = pytest.fail if os.environ.get("NANOCLAW_REQUIRE_AGENT") == "1" else pytest.skip
        absent("the Claude Agent SDK isn't installed")
    in_docker = host_class is DockerHost
    async with open_messages_api(echo, host=api_host) as api:
        agent = AgentUnderTest(
            name="claude",
            environment={} if in_docker else {"CLAUDE_CONFIG_DIR": str(tmp_path / "claude")},
            secrets={"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": api.url},
            answer=lambda prompt: f"echo: {prompt}",
            image=claude_image,
        )
        host = host_class(agent, tmp_path)
        yield host
        await host.aclose()


async def test_claude_answers_and_closes(claude):
    """Claude, too, works under such a host: an answer, a follow-up in the same session, exit 0 on
    `_close`; and the session goes on in the next container."""
    with trio.fail_after(GUARD):
        await claude.start()
        texts, session = await claude.answer()
        assert texts == ["echo: Hello"]
        claude.send("and more")
        assert await claude.answer() == (["echo: and more"], session)
        claude.close()
        assert await claude.outputs() == []
        assert await claude.exit_status() == 0
        await claude.start("again", sessionId=session)
        assert await claude.answer() == (["echo: again"], session)
        await claude.stop(patience=GUARD)
        assert await claude.exit_status() == 143


async def test_an_answer_a_follow_up_and_a_close(host, agent):
    """Answers and session updates, by markers that are looked for in text; exit 0 on `_close`."""
    with trio.fail_after(GUARD):
        await host.start()
        texts, session = await host.answer()
        assert texts == [agent.answer("Hello")]
        host.send("and more")
        assert await host.answer() == ([agent.answer("and more")], session)
        host.close()
        assert await host.outputs() == []
        assert await host.exit_status() == 0
    assert list(host.inbox.iterdir()) == []


async def test_a_session_is_resumed(host, agent):
    """The session id that it gave comes back as `sessionId`, and is the session again."""
    with trio.fail_after(GUARD):
        await host.start()
        _, session = await host.answer()
        host.close()
        assert await host.exit_status() == 0
        await host.start(sessionId=session)
        assert (await host.answer())[1] == session
        host.close()
        assert await host.exit_status() == 0


async def test_two_follow_ups_of_one_millisecond(host, agent):
    """Both are taken, in the order of their names."""
    with trio.fail_after(GUARD):
        await host.start()
        await host.answer()
        for tail in ("a", "b"):
            host.send(tail, f"1767225600000-{tail}.json")
        heard = []
        while len("".join(heard)) < len(agent.answer("a") + agent.answer("b")):
            heard += (await host.answer())[0]
        host.close()
        assert await host.exit_status() == 0
    assert heard == [agent.answer("a"), agent.answer("b")]


async def test_what_an_earlier_run_left(host, agent):
    """Trap A22. This host sweeps nothing: what lies there is joined to the prompt, and a left
    `_close` ends the session after it, with nothing lost."""
    host.send("left over")
    host.close()
    with trio.fail_after(GUARD):
        await host.start()
        answer = json.dumps([output["result"] for output in await host.outputs()])
        assert await host.exit_status() == 0
    assert "Hello" in answer
    assert ("left over" in answer) != bool(list(host.inbox.glob("*.json")))
    assert not (host.inbox / "_close").exists()


async def test_a_close_goes_before_what_lies_beside_it(host, agent):
    """Trap A22. A follow-up that lies beside `_close` isn't taken; the next run has it."""
    with trio.fail_after(GUARD):
        await host.start()
        await host.answer()
        host.close()
        host.send("too late")
        assert await host.exit_status() == 0
    assert len(list(host.inbox.glob("*.json"))) == 1


async def test_it_ends_within_a_second_of_the_stop(host, agent):
    """Trap A18. As process 1, and idle: it ends by itself and need not be killed."""
    with trio.fail_after(GUARD):
        await host.start()
        await host.answer()
        await host.stop()
        assert await host.exit_status() == 143


async def test_the_key_goes_nowhere(host, agent):
    """Trap A17. It came with the input, and is in no output, no log, no file."""
    with trio.fail_after(GUARD):
        await host.start()
        said = json.dumps(await host.answer())
        host.close()
        assert await host.exit_status() == 0
    assert KEY not in said
    assert KEY not in host.stderr
    for path in host.workspace.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


async def test_an_input_that_does_not_fit(host, agent):
    """An error output, with the text for people, and exit status 1."""
    with trio.fail_after(GUARD):
        await host.start(prompt=None)
        (output,) = await host.outputs()
        assert await host.exit_status() == 1
    assert (output["status"], output["result"]) == ("error", None)
    assert "$.prompt" in output["error"]
