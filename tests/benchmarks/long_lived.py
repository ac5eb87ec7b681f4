"""Measures what long-lived containers cost the host, and how long one takes to its first output.

    python tests/benchmarks/long_lived.py [--containers N] [--rounds N] [--network NAME]

By docker's client (`--runtime docker`) and by its socket (`--runtime docker-api`), in turns. Needs
Docker and root, or a user who may use it. The container is `cat`: it writes back what it gets, so
that its first output is what was written to it, and lives for as long as its input is open.

- memory: so many containers at once, each started and heard; the host process and all its children.
  `resident` counts pages that processes share once for each of them, `own` leaves them out.
  A process of its own for each of the two.
- start: from `start` to the first output, one at a time; medians. The first of each isn't counted.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from pathlib import Path

import trio

from nanoclaw_trio import ContainerSpec, Settings, open_runtime
from nanoclaw_trio.logs import configure_logging

RUNTIMES = ("docker", "docker-api")
LABELS = {"nanoclaw.install": f"benchmark-{uuid.uuid4().hex[:8]}"}
MIB = 1024 * 1024
AT_ONCE = 8


def make_image():
    """An image of this host's `cat`; its name."""
    tag = f"nanoclaw-benchmark-cat:{uuid.uuid4().hex[:8]}"
    program = shutil.which("cat")
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.add(os.path.realpath(program), "bin/cat")
        for library in re.findall(r"(/\S+) \(0x", said):
            tar.add(os.path.realpath(library), library.lstrip("/"))
    command = ["docker", "import", "-c", 'CMD ["/bin/cat"]', "-", tag]
    subprocess.run(command, input=content.getvalue(), stdout=subprocess.DEVNULL, check=True)
    return tag


def new_spec(options):
    """A container that writes back what it gets."""
    return ContainerSpec(
        name=f"nanoclaw-benchmark-{uuid.uuid4().hex[:12]}",
        image=options.image,
        labels=LABELS,
        network=options.network,
    )


async def start(runtime, spec):
    """Start one and hear its first output; it, and the seconds that took."""
    began = time.perf_counter()
    container = await runtime.start(spec)
    await container.stdin.send_all(b"hello\n")
    assert await container.stdout.receive_some() == b"hello\n"
    return container, time.perf_counter() - began


async def end(container):
    """End its input, upon which it ends, and wait for that."""
    await container.stdin.aclose()
    assert await container.wait() == 0
    await container.aclose()


async def measure_start(options):
    """Seconds to the first output, by runtime, in turns."""
    with tempfile.TemporaryDirectory() as project:
        settings = Settings(project_root=Path(project))
        runtimes = {name: await open_runtime(name, settings) for name in RUNTIMES}
        seconds = {name: [] for name in RUNTIMES}
        for _ in range(options.rounds + 1):
            for name, runtime in runtimes.items():
                container, taken = await start(runtime, new_spec(options))
                seconds[name].append(taken)
                await end(container)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


async def measure_memory(options):
    """This process, and its children, with all the containers alive; prints what they hold."""
    limit = trio.CapacityLimiter(AT_ONCE)
    containers = []
    with tempfile.TemporaryDirectory() as project:
        runtime = await open_runtime(options.memory_of, Settings(project_root=Path(project)))

        async def start_one():
            async with limit:
                containers.append((await start(runtime, new_spec(options)))[0])

        before = held(processes())
        async with trio.open_nursery() as nursery:
            for _ in range(options.containers):
                nursery.start_soon(start_one)
        alive = processes()
        after = held(alive)
        async with trio.open_nursery() as nursery:
            for container in containers:
                nursery.start_soon(end, container)
    print(json.dumps({"processes": len(alive), "before": before, "after": after}))


def processes():
    """This process and all its descendants."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(fields[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def held(pids):
    """Bytes that they hold: resident, and of their own."""
    totals = {"resident": 0, "own": 0}
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        sizes = {name: int(kib) * 1024 for name, kib in re.findall(r"(\w+):\s+(\d+) kB", text)}
        totals["resident"] += sizes["Rss"]
        totals["own"] += sizes["Private_Clean"] + sizes["Private_Dirty"]
    return totals


def memory_of(name, options):
    """What a process of its own measured for this runtime."""
    argv = [sys.executable, __file__, "--memory-of", name, "--image", options.image]
    argv += ["--containers", str(options.containers), "--network", options.network]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def print_memory(options):
    """The first table."""
    print(f"| {options.containers} containers at once | processes | resident MiB | own MiB |")
    print("| --- | --- | --- | --- |")
    for name in RUNTIMES:
        measured = memory_of(name, options)
        resident, own = (
            (measured["after"][kind] - measured["before"][kind]) / MIB
            for kind in ("resident", "own")
        )
        print(f"| {name} | {measured['processes']} | {resident:.1f} | {own:.1f} |")


def print_start(seconds):
    """The second table."""
    print("\n| start to first output | ms | ratio |\n| --- | --- | --- |")
    for name, value in seconds.items():
        print(f"| {name} | {value * 1000:.0f} | {value / seconds['docker']:.2f} |")


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--containers", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--network", default="none")
    parser.add_argument("--image", help=argparse.SUPPRESS)
    parser.add_argument("--memory-of", choices=RUNTIMES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    configure_logging("error")
    if options.memory_of:
        trio.run(measure_memory, options)
        return
    options.image = make_image()
    try:
        print_memory(options)
        print_start(trio.run(measure_start, options))
    finally:
        names = ["docker", "ps", "-aq", "--filter", f"ancestor={options.image}"]
        left = subprocess.run(names, capture_output=True, text=True, check=False).stdout.split()
        if left:
            subprocess.run(["docker", "rm", "-f", *left], stdout=subprocess.DEVNULL, check=False)
        removal = ["docker", "image", "rm", options.image]
        subprocess.run(removal, stdout=subprocess.DEVNULL, check=False)


if __name__ == "__main__":
    main()
