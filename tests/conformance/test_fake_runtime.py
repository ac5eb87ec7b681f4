"""The fake runtime keeps the promises of the real ones."""

from __future__ import annotations

import json

import pytest
import trio

from nanoclaw_trio.testing.conformance import RuntimeConformance, RuntimeWorld, read_all
from nanoclaw_trio.testing.fake import FakeContainer, open_fake_runtime

BLOCK = b"x" * 65536


async def probe(container: FakeContainer) -> int | None:
    """What testing/probe does, as a script."""
    name, _, argument = container.spec.environment["NANOCLAW_PROBE"].partition(" ")
    return await PROBES[name](container, argument)


async def echo(container, _):
    await container.stdout.send_all(await read_all(container.stdin))


async def leave(_, status):
    return int(status)


async def complain(container, text):
    await container.stderr.send_all(text.encode())


async def sleep(container, _):
    await container.stdout.send_all(b"ready\n")
    await trio.sleep_forever()


async def stubborn(container, argument):
    with container.open_sigterm_receiver():
        await sleep(container, argument)


async def farewell(container, _):
    with container.open_sigterm_receiver() as sigterm:
        await container.stdout.send_all(b"ready\n")
        await sigterm.wait()
        await container.stdout.send_all(b"bye\n")


async def flood(container, size):
    async def pour(stream):
        for _ in range(int(size) // len(BLOCK)):
            await stream.send_all(BLOCK)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pour, container.stdout)
        nursery.start_soon(pour, container.stderr)


async def write(container, path):
    try:
        container.writable_path(path).write_text("from the container\n")
    except OSError as error:
        await container.stdout.send_all(type(error).__name__.encode())
    else:
        await container.stdout.send_all(b"written")


async def read(container, path):
    await container.stdout.send_all(container.host_path(path).read_bytes())


async def environ(container, _):
    await container.stdout.send_all(json.dumps(dict(container.spec.environment)).encode())


PROBES = {
    each.__name__: each
    for each in (echo, leave, complain, sleep, stubborn, farewell, flood, write, read, environ)
}


class TestFakeRuntime(RuntimeConformance):
    @pytest.fixture
    async def world(self, tmp_path):
        async with open_fake_runtime(probe) as runtime:
            yield RuntimeWorld(runtime=runtime, image="any", directory=tmp_path)
