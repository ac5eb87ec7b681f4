"""Two commands for one group at the same time, as from two terminals."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

GUARD = 60
"""Seconds after which a command is given up."""


@pytest.fixture
def start(bubblewrap, settings):
    """Start the command with an echo agent in a sandbox, on the test's project."""
    processes = []

    def start_it(*words):
        argv = [sys.executable, "-m", "nanoclaw_trio", *words]
        options = ("--runtime", bubblewrap, "--agent", "echo", "--json")
        process = subprocess.Popen(
            [*argv, "--project", str(settings.project_root), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HOME": str(settings.project_root.parent)},
        )
        processes.append(process)
        return process

    yield start_it
    for process in processes:
        process.kill()
        process.communicate()


def end_of(process, keys=""):
    """What a command's last line says, and what it says to people."""
    stdout, stderr = process.communicate(keys, timeout=GUARD)
    return json.loads(stdout.splitlines()[-1]), stderr


def test_the_second_is_told_whose_the_group_is(start):
    """It ends with status 3 and names the first one's process and container, which isn't disturbed;
    once that one has ended the group is free. Trap B2."""
    chat = start("chat", "Hello")
    assert json.loads(chat.stdout.readline())["result"] == "echo: Hello"
    second = start("run", "Hello")
    end, said = end_of(second)
    assert (second.returncode, end["cause"]) == (3, "group_busy")
    assert f"of process {chat.pid}, since 20" in said
    end, _ = end_of(chat, "more\n")
    assert (chat.returncode, end["cause"]) == (0, "completed")
    third = start("run", "Hello")
    assert end_of(third)[0]["cause"] == "completed"


def test_another_group(start):
    """Groups don't keep each other waiting."""
    chat = start("chat", "Hello")
    assert json.loads(chat.stdout.readline())["result"] == "echo: Hello"
    other = start("run", "--group", "friends", "Hello")
    assert end_of(other)[0]["cause"] == "completed"


def test_a_command_that_was_killed(start):
    """The kernel gives the group free, and the next command finds it in order."""
    chat = start("chat", "Hello")
    assert json.loads(chat.stdout.readline())["result"] == "echo: Hello"
    chat.kill()
    chat.wait(GUARD)
    assert end_of(start("run", "Hello"))[0]["cause"] == "completed"
