"""The claude agent's surroundings, and a CLI to play with that isn't Claude's."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trio

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def claude_sdk():
    """The Claude Agent SDK, where it is installed; else the test is skipped.

    With NANOCLAW_REQUIRE_AGENT=1 it fails instead.
    """
    try:
        import claude_agent_sdk
    except ModuleNotFoundError as error:
        if os.environ.get("NANOCLAW_REQUIRE_AGENT") == "1":
            pytest.fail(str(error))
        pytest.skip(f"{error}; `pip install 'nanoclaw-trio[agent]'` brings it")
    return claude_agent_sdk


FAKE_CLI = r'''#!{python} -IS
"""Speaks as the CLI does, and does what it is told by the last word of a prompt."""

import json
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
SESSION = "11111111-1111-4111-8111-111111111111"
CLEARED = "22222222-2222-4222-8222-222222222222"
RESULT = {"type": "result", "subtype": "success", "duration_ms": 1, "duration_api_ms": 1,
          "is_error": False, "num_turns": 1, "session_id": SESSION}


def write(**document):
    print(json.dumps(document), flush=True)


def note(kind, document):
    with (HERE / f"{kind}.jsonl").open("a") as file:
        file.write(json.dumps(document) + "\n")


def refuse(words):
    write(**RESULT | {"is_error": True, "subtype": "error_during_execution", "errors": [words]})
    sys.exit(1)


def reply(text, uuid):
    write(type="system", subtype="init", session_id=SESSION, claude_code_version="2.1.330")
    word = text.split()[-1]
    if word == "clear":
        write(**RESULT | {"session_id": CLEARED, "user_message_uuids": [uuid]})
        sys.exit(0)
    if word == "vanish":
        sys.exit(0)
    if word == "crash":
        sys.exit(3)
    if word == "die":
        os.kill(os.getpid(), 9)
    if word in {"hang", "wait"}:
        note("hanging", os.getpid())
        time.sleep(600 if word == "hang" else 0)
        return
    if word == "refuse":
        refuse("API Error: the key canary-key is refused")
    if word == "complain":
        print("the key canary-key is old", file=sys.stderr, flush=True)
    message = {"role": "assistant", "model": "m", "content": [{"type": "text", "text": text}]}
    number = len((HERE / "prompts.jsonl").read_text().splitlines())
    write(type="assistant", message=message, uuid=f"words-{number}", session_id=SESSION,
          parent_tool_use_id=None)
    write(**RESULT | {"result": f"fake: {text}", "user_message_uuids": [uuid]})
    if word == "exit":
        sys.exit(0)
    if word == "linger":
        note("prompts", json.loads(sys.stdin.readline())["message"]["content"])
        sys.exit(0)


def text_of(content):
    return content if isinstance(content, str) else "|".join(b.get("text", "") for b in content)


note("starts", {"argv": sys.argv[1:], "environment": dict(os.environ)})
if any(argument.startswith("--resume=lost") for argument in sys.argv):
    refuse("No conversation found with session ID: lost")
for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "control_request":
        asked, number = message["request"]["subtype"], message["request_id"]
        answer = {"error": "no"} if asked == "interrupt" else {"response": {}}
        kind = "error" if asked == "interrupt" else "success"
        # First: who has the response may end this at once.
        note("requests", asked)
        write(type="control_response", response={"subtype": kind, "request_id": number, **answer})
    elif message["type"] == "user":
        text = text_of(message["message"]["content"])
        note("prompts", text)
        reply(text, message["uuid"])
'''


class FakeCli:
    """A program in the CLI's place, and what it was told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir()
        path.write_text(FAKE_CLI.replace("{python}", os.path.realpath(sys.executable)))
        path.chmod(0o755)

    def _notes(self, kind: str) -> list[Any]:
        file = self.path.parent / f"{kind}.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def prompts(self) -> list[str]:
        """The text of each message that it got."""
        return self._notes("prompts")

    async def has_prompts(self, count: int) -> None:
        """Wait until it has so many."""
        while True:
            if len(self.prompts) >= count:
                return
            await trio.sleep(0.01)

    @property
    def requests(self) -> list[str]:
        """What it was asked for besides."""
        return self._notes("requests")

    @property
    def hanging(self) -> list[int]:
        """The processes that work without an end."""
        return self._notes("hanging")

    async def works_without_an_end(self) -> None:
        """Wait until one does."""
        while True:
            if self.hanging:
                return
            await trio.sleep(0.01)

    @property
    def resumed(self) -> list[list[str]]:
        """For each start, how it was told to go on with a session."""
        return [
            [word for word in start["argv"] if word.startswith("--resume")]
            for start in self._notes("starts")
        ]

    @property
    def environments(self) -> list[dict[str, str]]:
        """The environment of each start."""
        return [start["environment"] for start in self._notes("starts")]


@pytest.fixture
def fake_cli(tmp_path: Path) -> FakeCli:
    """A CLI that answers `fake: PROMPT`, and knows a few words of command."""
    return FakeCli(tmp_path / "programs" / "claude")


@pytest.fixture
def make_surroundings(claude_sdk, tmp_path: Path) -> Callable[..., Any]:
    """The surroundings of a group in a workspace with nothing in it, with these changes."""
    from nanoclaw_agent.agents.claude.surroundings import look_around

    (tmp_path / "group").mkdir()

    def make(**changes: Any) -> Any:
        found = look_around(tmp_path, is_main=False, shell=tmp_path / "no-bash")
        return replace(found, **changes)

    return make
