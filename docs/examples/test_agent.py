"""Holds an agent to the protocol: that of the project in the current folder, or of an image.

Which runtime it runs in is in RUNTIME, and with a container engine the image in the environment or
in .env, as CONTAINER_IMAGE.
"""

# ruff: noqa: S101, PLR2004 - it is a test, and outside of tests/

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from attrs import evolve, frozen
from dotenv import dotenv_values

from nanoclaw_trio import (
    Cause,
    ContainerInput,
    Mailbox,
    RegisteredGroup,
    Settings,
    open_run,
    open_runtime,
)

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from nanoclaw_trio import AgentRun, ContainerRuntime

RUNTIME = "bubblewrap"

GUARD = 300
"""Seconds after which a test gives up on an agent."""

KILLED = 137
"""The exit status of what had to be killed."""

GROUP = RegisteredGroup(name="Family", folder="family")

HALF_WRITTEN = ("0000000000000-0.json.tmp", ".0123456789abcdef.tmp")
"""Names of files that somebody is just writing."""

PROMPTS = {
    "short": "Hello",
    "other scripts": "grüße, 世界 🌍",
    "half an emoji": "\ud83c",
    "two lines": "one\ntwo\r\n\u2028three",
    "markers": "---NANOCLAW_OUTPUT_END---\n---NANOCLAW_OUTPUT_START---\n{}",
    "long": "All work and no play makes an agent dull. " * 2000,
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The settings of this project, for an empty one with its agent and its keys."""
    if Path("container").is_dir():
        shutil.copytree("container", tmp_path / "container")
    if Path(".env").is_file():
        shutil.copy(".env", tmp_path)
    return Settings.load(".").with_values(project_root=tmp_path)


@pytest.fixture
async def runtime(settings: Settings) -> ContainerRuntime:
    """What the agent runs in."""
    return await open_runtime(RUNTIME, settings)


@frozen
class Agent:
    """The agent under test, and its group's mailbox."""

    settings: Settings
    runtime: ContainerRuntime

    @property
    def ipc(self) -> Path:
        """The group's directory for what goes between host and agent."""
        return self.settings.project_root / "data" / "ipc" / GROUP.folder

    def ask(self, **changes: Any) -> AbstractAsyncContextManager[AgentRun]:
        """A run of the agent."""
        question = ContainerInput(
            prompt="Hello", group_folder=GROUP.folder, chat_jid="family@chat", is_main=False
        )
        return open_run(
            GROUP, evolve(question, **changes), settings=self.settings, runtime=self.runtime
        )

    async def ask_once(self, **changes: Any) -> AgentRun:
        """A run that is closed after its query, and that must have gone as it should."""
        answers = 0
        with trio.fail_after(GUARD):
            async with self.ask(**changes) as run:
                async for output in run:
                    assert output.status == "success", output.error
                    answers += output.result is not None
                    if output.is_session_update:
                        await run.close()
        assert answers > 0
        check_end(run)
        return run


def check_end(run: AgentRun) -> None:
    """It ended upon `_close`, took what it was sent, and said nothing but whole outputs."""
    result = run.result
    assert (result.cause, result.exit_code) == (Cause.COMPLETED, 0), result.error
    assert result.new_session_id
    assert (result.undelivered, result.rejected_frames) == ((), 0)
    assert result.gone


class TestAgent:
    """What a host relies on."""

    pytestmark = pytest.mark.trio

    @pytest.fixture
    def agent(self, settings: Settings, runtime: ContainerRuntime) -> Agent:
        """The agent in its runtime."""
        return Agent(settings, runtime)

    @pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
    async def test_a_prompt_is_answered(self, agent: Agent, prompt: str) -> None:
        """At least one answer, then a session update; upon `_close` exit status 0."""
        await agent.ask_once(prompt=prompt)

    @pytest.mark.parametrize(
        "changes",
        [
            {"is_scheduled_task": True},
            {"assistant_name": "Andy"},
            {"image_attachments": ()},
            {"session_id": "no-such-session"},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    async def test_every_key_may_be_there(self, agent: Agent, changes: dict[str, Any]) -> None:
        """A key that it has no use for, and a session that it doesn't know, are no errors."""
        await agent.ask_once(**changes)

    async def test_a_session_is_resumed(self, agent: Agent) -> None:
        """It takes the session id that it gave."""
        first = await agent.ask_once()
        await agent.ask_once(session_id=first.result.new_session_id)

    async def test_follow_ups_are_answered(self, agent: Agent) -> None:
        """Each follow-up is taken, and an answer and a session update come after it."""
        heard = []
        with trio.fail_after(GUARD):
            async with agent.ask() as run:
                async for output in run:
                    heard.append("update" if output.is_session_update else "answer")
                    if heard.count("update") == 1 and output.is_session_update:
                        await run.send_message("And then?")
                    elif output.is_session_update:
                        await run.close()
        assert heard.count("update") == 2
        assert "answer" in heard[heard.index("update") :]
        check_end(run)

    async def test_many_follow_ups_are_all_taken(self, agent: Agent) -> None:
        """What was sent at once is taken to the last, in one query or in several."""
        texts = ["one", "two", "three"]
        with trio.fail_after(GUARD):
            async with agent.ask() as run:
                async for output in run:
                    if not output.is_session_update:
                        continue
                    if texts:
                        for text in texts:
                            await run.send_message(text)
                        texts = []
                    elif await Mailbox(agent.ipc).pending() == 0:
                        await run.close()
        check_end(run)

    async def test_half_written_files_are_left_alone(self, agent: Agent) -> None:
        """A name that doesn't end in `.json` is none of its business."""
        inbox = agent.ipc / "input"
        inbox.mkdir(parents=True)
        for name in HALF_WRITTEN:
            (inbox / name).write_text('{"type":"mess')
        await agent.ask_once()
        assert sorted(path.name for path in inbox.iterdir()) == sorted(HALF_WRITTEN)

    async def test_sigterm_ends_it_within_a_second(self, agent: Agent) -> None:
        """It ends by itself, and need not be killed."""
        with trio.fail_after(GUARD):
            async with agent.ask() as run:
                async for output in run:
                    if output.is_session_update:
                        await agent.runtime.stop(run.container_name, 1.0)
        assert run.result.exit_code != KILLED
        assert run.result.gone

    async def test_no_key_is_left_in_a_file(self, agent: Agent) -> None:
        """What came as a secret is written nowhere that the next one could read it."""
        dotenv = agent.settings.project_root / ".env"
        if not dotenv.exists():
            dotenv.write_text("ANTHROPIC_API_KEY=sk-canary-that-is-a-key\n")
        keys = [value.encode() for value in dotenv_values(dotenv).values() if value]
        await agent.ask_once()
        for path in agent.settings.project_root.rglob("*"):
            if path.is_file() and path != dotenv:
                assert not [key for key in keys if key in path.read_bytes()], path
