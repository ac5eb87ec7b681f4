"""Clients of an engine's that have outlived their host are ended, and nobody else."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
import trio

from nanoclaw_trio.errors import RuntimeCommandFailed
from nanoclaw_trio.runtimes.docker import DockerRuntime
from nanoclaw_trio.runtimes.stale_clients import end_stale_clients, labels_of

GUARD = 60
"""Seconds after which a process is given up."""


@pytest.fixture
def start():
    """Start a process with these words in its command line."""
    processes = []

    def start(*words):
        argv = [sys.executable, "-c", "input()", *words]
        processes.append(subprocess.Popen(argv, stdin=subprocess.PIPE))
        return processes[-1]

    yield start
    for process in processes:
        process.stdin.close()
        process.kill()
        process.wait(GUARD)


def test_stale_clients_end(start):
    """Those are killed of which it is said by their containers' labels; the others go on."""
    stale = start("run", "--label", "host=dead", "--label", "install=ours-3c1f", "image")
    living = start("run", "--label", "host=here", "--label", "install=ours-3c1f", "image")
    other = start("ps", "--filter", "label=install=ours-3c1f")

    def is_stale(labels):
        return labels == {"host": "dead", "install": "ours-3c1f"}

    assert end_stale_clients(is_stale) == (stale.pid,)
    assert stale.wait(GUARD) == -signal.SIGKILL
    assert (living.poll(), other.poll()) == (None, None)
    assert end_stale_clients(is_stale) == ()


async def test_a_runtime_ends_them(start, settings):
    """A runtime that is driven by a client ends those that are stale."""
    stale = start("run", "--label", "install=ours-91c5", "image")
    with trio.fail_after(GUARD):
        await DockerRuntime(settings).end_stale_starts(
            lambda labels: "ours-91c5" in labels.values()
        )
        assert await trio.to_thread.run_sync(stale.wait) == -signal.SIGKILL


def test_a_strangers_client_is_let_be(made_up_proc):
    """A process that may not be looked at is another user's, and none of ours."""
    made_up_proc.add(77, stat=made_up_proc.FORBIDDEN)
    assert end_stale_clients(lambda _: True) == ()


async def test_clients_that_can_not_be_looked_for(made_up_proc, settings):
    """A process that can't be looked at may be a stale client: the runtime says that it can't tell,
    before anybody takes its list for all that there will be."""
    made_up_proc.add(77, stat=made_up_proc.BROKEN)
    with trio.fail_after(GUARD), pytest.raises(RuntimeCommandFailed, match="/proc"):
        await DockerRuntime(settings).end_stale_starts(lambda _: True)


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        ("docker run --label a=b --label c=d=e image", {"a": "b", "c": "d=e"}),
        ("docker run --label a=b --label a=c image", {"a": "c"}),
        ("docker run --label a image --label", {}),
        ("docker ps --filter label=a=b", {}),
        ("", {}),
    ],
)
def test_labels_of_a_command(words, labels):
    """A label is what stands behind `--label` and has a value."""
    assert labels_of(words.split()) == labels
