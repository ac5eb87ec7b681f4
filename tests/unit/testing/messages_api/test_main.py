"""The imitation as a program."""

from __future__ import annotations

import signal
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
import trio

COMMAND = (sys.executable, "-m", "nanoclaw_trio.testing.messages_api")


@pytest.fixture
def start():
    """Start the program; it is killed with the test, if it still runs."""
    started = []

    def start(*options):
        pipe = subprocess.PIPE
        started.append(subprocess.Popen([*COMMAND, *options], stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield start
    for program in started:
        program.kill()
        program.communicate()


@pytest.mark.parametrize(
    ("options", "expected", "end"),
    [
        ((), "echo: hi", signal.SIGINT),
        (("--reply", "Hello!"), "Hello!", signal.SIGTERM),
    ],
)
async def test_program_serves_until_a_signal(start, client_of, document, options, expected, end):
    """The first line is the URL, where the model answers; a signal ends it without a traceback."""
    program = start(*options)
    url = urlsplit(await trio.to_thread.run_sync(program.stdout.readline))
    async with await trio.open_tcp_stream(url.hostname, url.port) as stream:
        answer = await client_of(stream).call(body=document("hi"))
    assert answer.json()["content"][0]["text"] == expected
    program.send_signal(end)
    with trio.fail_after(60):
        _, errors = await trio.to_thread.run_sync(program.communicate)
    assert (program.returncode, errors) == (0, "")


def test_program_explains_itself():
    """`--help` says what can be set."""
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
    assert "--reply" in done.stdout
