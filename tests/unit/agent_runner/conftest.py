"""The agent-runner as a host meets it: a process with three pipes and a mailbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

CONTAINER = Path(__file__).parents[3] / "container"
SOURCE = CONTAINER / "agent-runner" / "src"

# The agent-runner is no installed package: a group's copy is found by its path.
sys.path.insert(0, str(SOURCE))

GUARD = 60
"""Seconds after which a test has hung; a process of these takes a third of one."""

INPUT = {"prompt": "Hello", "groupFolder": "family", "chatJid": "1@chat", "isMain": False}


class AgentProcess:
    """One running agent, its standard streams, and its mailbox."""

    def __init__(self, process: trio.Process, workspace: Path) -> None:
        self.process = process
        self.mailbox = workspace / "ipc" / "input"
        self._stderr = workspace / "stderr"
        self._unread = b""

    async def give_input(self, data: dict[str, Any] | bytes) -> None:
        """Write standard input, whole, and close it."""
        assert self.process.stdin is not None
        encoded = data if isinstance(data, bytes) else json.dumps(data).encode()
        with trio.fail_after(GUARD):
            await self.process.stdin.send_all(encoded)
            await self.process.stdin.aclose()

    async def read_line(self) -> bytes:
        """One line of standard output; empty at its end."""
        assert self.process.stdout is not None
        with trio.fail_after(GUARD):
            await trio.lowlevel.checkpoint()
            while b"\n" not in self._unread:
                data = await self.process.stdout.receive_some()
                if not data:
                    assert not self._unread
                    return b""
                self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    async def output(self) -> dict[str, Any] | None:
        """The next output; None at the end. Anything but a marker pair fails the test."""
        start = await self.read_line()
        if not start:
            return None
        assert start == b"---NANOCLAW_OUTPUT_START---"
        document: dict[str, Any] = json.loads((await self.read_line()).decode())
        assert await self.read_line() == b"---NANOCLAW_OUTPUT_END---"
        return document

    async def outputs(self) -> list[dict[str, Any]]:
        """All outputs up to the end of standard output."""
        found = []
        while (output := await self.output()) is not None:
            found.append(output)
        return found

    async def exit_status(self) -> int:
        """Wait for the end of the process."""
        with trio.fail_after(GUARD):
            return await self.process.wait()

    @property
    def stderr(self) -> str:
        """Everything on standard error so far."""
        return self._stderr.read_text()


@pytest.fixture
def mailbox(tmp_path: Path) -> Path:
    """The mailbox's directory, as a host prepares it."""
    directory = tmp_path / "ipc" / "input"
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def send(mailbox: Path) -> Callable[[str, str], None]:
    """Put a follow-up into the mailbox as a host does: whole, by renaming."""

    def put(name: str, text: str) -> None:
        temporary = mailbox / f"{name}.tmp"
        temporary.write_text(json.dumps({"type": "message", "text": text}))
        temporary.rename(mailbox / name)

    return put


@pytest.fixture
def close(mailbox: Path) -> Callable[[], None]:
    """Ask the session to close."""
    return (mailbox / "_close").touch


@pytest.fixture
async def start_python(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[AgentProcess]]]:
    """Start Python on the agent-runner's source with these arguments and variables."""
    started: list[trio.Process] = []

    async def start(*arguments: str, **variables: str) -> AgentProcess:
        with (tmp_path / "stderr").open("wb") as stderr:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-P", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=os.environ | {"PYTHONPATH": str(SOURCE)} | variables,
            )
        started.append(process)
        return AgentProcess(process, tmp_path)

    yield start
    for process in started:
        process.kill()
        with trio.fail_after(GUARD):
            await process.wait()


@pytest.fixture
def start_agent(start_python, tmp_path, mailbox) -> Callable[..., Awaitable[AgentProcess]]:
    """Start an agent, the echo agent unless another is named, in a workspace with a mailbox."""

    async def start(agent: str = "echo", **variables: str) -> AgentProcess:
        return await start_python(
            "-m",
            "nanoclaw_agent",
            NANOCLAW_AGENT=agent,
            NANOCLAW_WORKSPACE=str(tmp_path),
            **variables,
        )

    return start


@pytest.fixture
def input_document() -> dict[str, Any]:
    """A complete input without optional keys; a test may change it."""
    return dict(INPUT)


@pytest.fixture
def container_directory() -> Path:
    """The folder that the image is built from."""
    return CONTAINER
