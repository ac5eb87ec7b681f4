"""The second baseline: what Trio itself costs. `python plain_trio.py AGENT NAME WORD...`, as workloads.py.

Starts the same agents with the child processes of the engine, reads their streams, finds and decodes
the frames, and that is all: no group, no workspace, no limits, no consumer, no log. Prints JSON as
bare.c does.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress

import trio
from figures import peak_of_this, percentiles, processor_seconds
from plain_runtime import ENVIRONMENT

from nanoclaw_trio.cli.heap import calm_collector
from nanoclaw_trio.protocol.convert import decode_output
from nanoclaw_trio.protocol.frames import Frame, FrameParser, Sentinel
from nanoclaw_trio.runtimes.process import ChildProcess

LARGEST_FRAME = 65 * 1024 * 1024


class Prototype:
    """Runs agents, and notes how long their frames were under way."""

    def __init__(self, agent):
        self._agent = agent
        self._starting = trio.Lock()
        self.delays = []

    async def run(self, *words):
        """One agent, from its start to its end."""
        # One start a pass of the scheduler, as in the engine.
        async with self._starting:
            child = ChildProcess([self._agent, *words], ENVIRONMENT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_outputs, child.stdout)
            nursery.start_soon(self._read_noise, child.stderr)
            with suppress(trio.BrokenResourceError):
                await child.stdin.send_all(b"{}")
            child.stdin.close()
            await child.wait()
        await child.aclose()

    async def _read_outputs(self, stream):
        parser = FrameParser(max_frame_bytes=LARGEST_FRAME)
        async for chunk in stream:
            parser.receive_data(chunk)
            while not isinstance(event := parser.next_event(), Sentinel):
                if isinstance(event, Frame):
                    self._note(decode_output(event.payload).result)

    def _note(self, answer):
        if answer.isdecimal():
            self.delays.append(time.monotonic_ns() - int(answer))

    async def _read_noise(self, stream):
        async for _ in stream:
            pass

    async def sequence(self, count, *words):
        """So many, one after the other."""
        for _ in range(int(count)):
            await self.run(*words)

    async def crowd(self, count, *words):
        """So many at once; each agent gets its number."""
        async with trio.open_nursery() as nursery:
            for index in range(int(count)):
                nursery.start_soon(self.run, *words, str(index))


async def measure(agent, name, words):
    """Run a workload; its figures."""
    prototype = Prototype(agent)
    await prototype.run("true")
    calm_collector()
    base, cpu, wall = peak_of_this(), processor_seconds(), time.perf_counter()
    await getattr(prototype, name)(*words)
    return {
        "wall": time.perf_counter() - wall,
        "cpu": processor_seconds() - cpu,
        "base": base,
        "peak": peak_of_this(),
        **percentiles(prototype.delays),
    }


if __name__ == "__main__":
    print(json.dumps(trio.run(measure, sys.argv[1], sys.argv[2], sys.argv[3:])))
