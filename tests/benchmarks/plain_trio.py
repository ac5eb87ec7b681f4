"""The second baseline: what Trio itself costs. `python plain_trio.py AGENT NAME WORD...`, as workloads.py.

Starts the same agents with the child processes of the engine, reads their streams, finds and decodes
the frames, and that is all: no group, no workspace, no limits, no consumer, no log. Prints JSON as
bare.c does.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress

import trio
from figures import Workloads
from plain_runtime import ENVIRONMENT

from nanoclaw_trio.protocol.convert import decode_output
from nanoclaw_trio.protocol.frames import Frame, FrameParser, Sentinel
from nanoclaw_trio.runtimes.process import ChildProcess

LARGEST_FRAME = 65 * 1024 * 1024


class Prototype(Workloads):
    """Runs agents, and does nothing with what they say."""

    def __init__(self, agent):
        super().__init__()
        self._agent = agent
        self._starting = trio.Lock()

    async def run(self, *words, index=0):
        """One agent, from its start to its end."""
        del index
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
                    self.note(decode_output(event.payload).result)

    async def _read_noise(self, stream):
        async for _ in stream:
            pass


async def measure(agent, name, words):
    """Run a workload; its figures."""
    return await Prototype(agent).measure(name, words)


if __name__ == "__main__":
    print(json.dumps(trio.run(measure, sys.argv[1], sys.argv[2], sys.argv[3:])))
