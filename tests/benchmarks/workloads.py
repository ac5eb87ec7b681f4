"""What is measured. Each is a process of its own: `python workloads.py NAME [SIZE]`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

KIB, MIB = 1024, 1024 * 1024

FRAME = """
import os, sys
size = int(sys.argv[1])
def put(data):
    view = memoryview(data)
    while view:
        view = view[os.write(1, view):]
put(b'---NANOCLAW_OUTPUT_START---\\n{"status":"success","result":"')
block = b'x' * 1048576
for _ in range(size // len(block)):
    put(block)
put(b'","newSessionId":"s"}\\n---NANOCLAW_OUTPUT_END---\\n')
"""

NOISE = """
import os, sys
size = int(sys.argv[1])
block = (b'a line of what a program says when nobody listens to it at all\\n' * 16400)[:1048576]
for _ in range(size // len(block)):
    view = memoryview(block)
    while view:
        view = view[os.write(1, view):]
"""

TRIVIAL = ("/bin/true",)


def run_agents(count, *argv, **changes):
    """Run an agent that is this command so many times, one after the other."""
    import trio

    from nanoclaw_trio import ContainerInput, RegisteredGroup, Settings, run_container_agent

    sys.path.insert(0, str(Path(__file__).parent))
    from plain_runtime import PlainRuntime

    group = RegisteredGroup(name="Benchmark", folder="benchmark")
    question = ContainerInput(
        prompt="", group_folder="benchmark", chat_jid="benchmark", is_main=False
    )

    async def take(output):
        pass

    async def main():
        with tempfile.TemporaryDirectory() as directory:
            settings = Settings(project_root=Path(directory), log_level="error", **changes)
            runtime = PlainRuntime(*argv)
            for _ in range(count):
                result = await run_container_agent(
                    group, question, settings=settings, runtime=runtime, on_output=take
                )
                assert result.status == "success", result

    from nanoclaw_trio.logs import configure_logging

    configure_logging("error")
    trio.run(main)


def frame(size):
    """One frame of so many MiB."""
    run_agents(
        1, sys.executable, "-c", FRAME, str(size * MIB), max_frame_bytes=size * MIB + 4 * KIB
    )


def frame_bare(size):
    """The same bytes through a pipe into nothing."""
    pipe((sys.executable, "-c", FRAME, str(size * MIB)))


def noise(size):
    """So many MiB of lines that are no frame."""
    run_agents(1, sys.executable, "-c", NOISE, str(size * MIB))


def noise_bare(size):
    """The same bytes through a pipe into nothing."""
    pipe((sys.executable, "-c", NOISE, str(size * MIB)))


def sequence(count):
    """So many trivial agents, one after the other."""
    run_agents(count, *TRIVIAL)


def sequence_bare(count):
    """So many trivial processes, with three pipes each, one after the other."""
    for _ in range(count):
        subprocess.run(TRIVIAL, stdin=subprocess.DEVNULL, capture_output=True, check=True)


def nothing(_):
    """What importing and an empty run cost, to be taken off."""
    run_agents(0)


def pipe(argv):
    """A producer into `cat`: the bare reader of a pipe."""
    with (
        subprocess.Popen(argv, stdout=subprocess.PIPE) as producer,
        subprocess.Popen(["cat"], stdin=producer.stdout, stdout=subprocess.DEVNULL) as reader,
    ):
        producer.stdout.close()
        reader.wait()


if __name__ == "__main__":
    globals()[sys.argv[1]](int(sys.argv[2]))
