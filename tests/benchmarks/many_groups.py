"""Measures an engine with many groups, one message each, in one run, and prints ratios.

    python tests/benchmarks/many_groups.py [--rounds N] [--groups N ...]

Each number of groups is a process of its own; they take turns, so that each sees the same of the
machine's load. Containers are the fake runtime's, at most fifty at a time, on a virtual clock: what
is measured is the engine, its store and its files. Times are CPU seconds of the whole process and
wall seconds, less those of a process with one group; memory is the peak of what was resident, less
that of the same.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trio

from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.chat.bridge import Bridge
from nanoclaw_trio.engine.open_engine import open_engine
from nanoclaw_trio.protocol.models import ContainerOutput, RegisteredGroup
from nanoclaw_trio.settings import Settings
from nanoclaw_trio.store import groups
from nanoclaw_trio.store.models import ChatMessage, Registration
from nanoclaw_trio.testing.clock import VirtualClock
from nanoclaw_trio.testing.fake import open_fake_runtime

CAP = 50
SIZES = (100, 300, 1000)


class Counting(Bridge):
    """A platform that counts."""

    def __init__(self):
        self.delivered = 0

    async def deliver(self, delivery):
        self.delivered += 1


async def answer(container):
    """An agent that answers once."""
    await container.read_input()
    await container.write_output(ContainerOutput(status="success", result="hi", follow_ups=()))


def registration(number):
    """The group of that number."""
    group = RegisteredGroup(
        name=f"Group {number}", folder=f"group{number:05}", requires_trigger=False
    )
    return Registration(jid=f"{number}@chat", group=group)


def register_all(tx, count):
    """All groups in one transaction: what registering costs isn't what is measured."""
    for number in range(count):
        groups.register(tx, registration(number))


async def serve(project, count):
    """One message in each group; all are answered when it returns."""
    settings = Settings(
        project_root=project,
        allowlist_path=project / "allowlist.json",
        max_concurrent_containers=CAP,
    )
    bridge = Counting()
    async with open_fake_runtime(answer) as runtime:
        async with open_engine(
            settings, runtime=runtime, bridge=bridge, drain_timeout=1_000_000
        ) as engine:
            await engine._context.store.transact(register_all, count)
            for number in range(count):
                message = ChatMessage(
                    chat_jid=f"{number}@chat",
                    id="1",
                    sender="ada@chat",
                    sender_name="Ada",
                    text="hello",
                    timestamp=utc_now(),
                )
                await engine.send_message(message)
        most = bridge.delivered
    if most != count:
        sys.exit(f"{most} of {count} messages were answered")


def run(count):
    """The workload, in this process."""
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory, "project")
        project.mkdir()
        trio.run(serve, project, count, clock=VirtualClock())


def measure(count):
    """One process: its CPU seconds, its wall seconds, and its peak resident MiB."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, __file__, "--only", str(count)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{count} groups failed with exit status {process.returncode}")
    wall = time.perf_counter() - start
    return usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024


def compare(sizes, rounds):
    """The medians of each size, and those of one group."""
    measured = {size: [] for size in (1, *sizes)}
    for _ in range(rounds):
        for size, figures in measured.items():
            figures.append(measure(size))
    return {
        size: tuple(map(statistics.median, zip(*figures, strict=True)))
        for size, figures in measured.items()
    }


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--groups", type=int, nargs="+", default=SIZES)
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only is not None:
        run(options.only)
        return
    medians = compare(options.groups, options.rounds)
    empty = medians.pop(1)
    first = None
    print("| groups | CPU ms a group | wall ms a group | KiB a group | CPU, by the first |")
    print("| --- | --- | --- | --- | --- |")
    for size, figures in medians.items():
        cpu, wall, memory = (
            1000 * (figure - base) / size for figure, base in zip(figures, empty, strict=True)
        )
        first = first or cpu
        print(f"| {size} | {cpu:.1f} | {wall:.1f} | {1.024 * memory:.1f} | {cpu / first:.2f} |")


if __name__ == "__main__":
    main()
