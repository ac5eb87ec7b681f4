"""The example examples/chat_room.py: a room over TCP, with an assistant in it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import lockstep_stream_pair

from nanoclaw_trio import check_journal, open_engine, open_runtime, read_journal
from nanoclaw_trio.runtimes.abc import INSTALL_LABEL
from nanoclaw_trio.testing import echo_agent, open_fake_runtime
from nanoclaw_trio.workspace.install import install_id

EXAMPLE = Path(__file__).parents[2] / "examples" / "chat_room.py"

GUARD = 120.0


def load(path):
    """A program as a module."""
    spec = spec_from_file_location(path.stem, path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_length():
    """A complete bridge takes less than a hundred lines."""
    assert len(EXAMPLE.read_text().splitlines()) < 100


class Person:
    """Somebody at a terminal, with `nc`."""

    def __init__(self, port, name):
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=GUARD)
        self._lines = self._connection.makefile("r", encoding="utf-8")
        self._name = name
        self.say(name)

    def say(self, text):
        self._connection.sendall(f"{text}\n".encode())

    def hears(self):
        """The next line."""
        return self._lines.readline().rstrip("\n")

    def hears_until(self, beginning):
        """The lines up to one that begins like this."""
        lines = [self.hears()]
        while not lines[-1].startswith(beginning):
            assert lines[-1], "the connection was closed"
            lines.append(self.hears())
        return lines

    def is_in(self):
        """What one says is heard by all who are in, oneself too: before that one may miss others."""
        self.say("hello")
        self.hears_until(f"{self._name}: hello")

    def leave(self):
        self._lines.close()
        self._connection.close()


@pytest.fixture
def process(settings, tmp_path, bubblewrap):
    """The example as a program, in an empty project."""
    home = tmp_path / "home"
    home.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLE), bubblewrap, "0"],
        cwd=settings.project_root,
        env={**os.environ, "HOME": str(home), "NANOCLAW_AGENT": "echo", "TZ": "UTC"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def test_it_runs(process, settings):
    """Whoever says `@Andy` is answered, before everybody and once, with what was said before that;
    Ctrl-C ends it, and no container is left."""
    port = int(re.fullmatch(r"the room is at port (\d+)\n", process.stdout.readline())[1])
    ada, bob = Person(port, "Ada"), Person(port, "Bob")
    for person in (ada, bob):
        person.is_in()
    ada.say("is anybody here?")
    assert bob.hears() == "Ada: is anybody here?"
    bob.say("@Andy hello")
    answers = [person.hears_until("</messages>") for person in (ada, bob)]
    process.send_signal(signal.SIGINT)
    assert process.wait(GUARD) == 0
    for said in answers:
        assert said[-8:-5] == [
            "Bob: @Andy hello",
            'Andy: echo: <context timezone="UTC" />',
            "<messages>",
        ]
        assert said[-3].endswith("is anybody here?</message>")
    for person in (ada, bob):
        assert person.hears() == ""
        person.leave()
    entries = list(read_journal(settings.project_root / "data" / "journal.jsonl"))
    assert [entry.event for entry in entries].count("delivered") == 1
    assert check_journal(entries) == ()
    runtime = await open_runtime("bubblewrap", settings)
    assert await runtime.list({INSTALL_LABEL: install_id(settings.project_root)}) == ()


class Guest:
    """Somebody at the other end of a stream in memory."""

    def __init__(self, stream):
        self._stream = stream
        self._unread = b""

    async def types(self, *pieces):
        for piece in pieces:
            await self._stream.send_all(piece)

    async def hears(self, count):
        """The next lines."""
        with trio.fail_after(3600):
            while self._unread.count(b"\n") < count:
                chunk = await self._stream.receive_some()
                assert chunk, self._unread
                self._unread += chunk
        *lines, self._unread = self._unread.split(b"\n", count)
        return [line.decode() for line in lines]

    async def leaves(self):
        await self._stream.aclose()


@pytest.fixture
async def enter(virtual_clock, nanoclaw_settings):
    """A way into a room on the fake runtime."""
    chat_room = load(EXAMPLE)
    room = chat_room.Room()
    async with open_fake_runtime(echo_agent) as runtime, trio.open_nursery() as nursery:
        opened = open_engine(nanoclaw_settings, runtime=runtime, bridge=room)
        async with opened as engine:
            await engine.register_group(chat_room.ROOM)

            def enter():
                outside, inside = lockstep_stream_pair()
                nursery.start_soon(room.welcome, engine, inside)
                return Guest(outside)

            yield enter
            nursery.cancel_scope.cancel()


async def test_everybody_hears_everybody(virtual_clock, enter):
    """What one says and what the assistant answers is before all, however a line comes in."""
    ada, bob = enter(), enter()
    await trio.testing.wait_all_tasks_blocked()
    await ada.types(b"Ad", b"a\nhel", b"lo\n@An", b"dy hello\n")
    for person in (ada, bob):
        assert await person.hears(2) == ["Ada: hello", "Ada: @Andy hello"]
        assert (await person.hears(1))[0].startswith("Andy: echo: <context")


async def test_an_answer_waits_for_somebody(virtual_clock, enter):
    """An answer for which nobody stayed is said to the next who comes."""
    ada = enter()
    await ada.types(b"Ada\n@Andy hello\n")
    assert await ada.hears(1) == ["Ada: @Andy hello"]
    await ada.leaves()
    await trio.sleep(600)
    (line,) = await enter().hears(1)
    assert line.startswith("Andy: echo: <context")


async def test_a_line_without_end_fills_nothing(virtual_clock, enter):
    """Of a line that doesn't end no more is kept than its beginning."""
    ada = enter()
    await ada.types(b"Ada\n", *[b"x" * 50_000] * 20, b"\n")
    (line,) = await ada.hears(1)
    assert len(line) < 150_000
