"""A little engine behind a Unix socket: it speaks HTTP, and does what a test has scripted."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import h11
import orjson
import pytest
import trio
from attrs import define, evolve, field, frozen

from nanoclaw_trio.runtimes.abc import ContainerSpec
from nanoclaw_trio.runtimes.engine_api.docker import DockerApiRuntime
from nanoclaw_trio.runtimes.engine_api.podman import PodmanApiRuntime
from nanoclaw_trio.settings import GracePeriods

PATIENT = GracePeriods(command=30.0, drain=0.02)
"""For engines that answer: so much that a busy machine doesn't matter. An end of the output is no end
of the container here unless a test says so, and needn't be waited for."""

BRIEF = GracePeriods(command=0.2)
"""For engines that never answer."""

VERSION = {"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12", "Components": []}
CREATED = {"Id": "0" * 64, "Warnings": []}


def frame(stream, payload):
    """A frame as engines send it."""
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


@frozen
class Asked:
    """A request that the engine got."""

    method: str
    path: str
    query: str
    body: bytes

    @property
    def what(self):
        """The method and the last word of the path: `POST create`, `DELETE NAME`."""
        return f"{self.method} {self.path.rpartition('/')[2]}"


@frozen
class Says:
    """An answer. `document` is JSON, or bytes as they are."""

    status: int = 200
    document: object = None

    async def play(self, line, asked):
        body = self.document if isinstance(self.document, bytes) else orjson.dumps(self.document)
        await line.answer(self.status, b"" if self.document is None else body)


@frozen
class Raw:
    """Bytes instead of an answer, and then the end."""

    data: bytes = b""

    async def play(self, line, asked):
        await line.stream.send_all(self.data)


class Hangs:
    """No answer, until the other side goes away."""

    async def play(self, line, asked):
        with suppress(trio.BrokenResourceError):
            while await line.stream.receive_some():
                pass


@frozen
class Later:
    """An answer once the event is set; that it is waited for, is told by the other."""

    answer: object
    release: trio.Event = field(factory=trio.Event)
    waiting: trio.Event = field(factory=trio.Event)

    async def play(self, line, asked):
        self.waiting.set()
        await self.release.wait()
        await self.answer.play(line, asked)


@frozen
class Attached:
    """The connection becomes a stream: what comes is kept, what is in `output` goes out."""

    output: bytes = b""
    heard: bytearray = field(factory=bytearray)
    input_ended: trio.Event = field(factory=trio.Event)
    end: trio.Event = field(factory=trio.Event)
    behind_head: bytes = b""

    async def play(self, line, asked):
        head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        await line.stream.send_all(head + self.behind_head)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, line)
            await line.stream.send_all(self.output)
            await self.end.wait()
            nursery.cancel_scope.cancel()

    async def _listen(self, line):
        with suppress(trio.BrokenResourceError):
            async for data in line.stream:
                self.heard.extend(data)
        self.input_ended.set()


@frozen
class Ends:
    """`wait`: the head at once, and the body once the container has ended."""

    status: int = 0
    end: trio.Event = field(factory=trio.Event)

    async def play(self, line, asked):
        await line.begin(200)
        await self.end.wait()
        await line.finish(orjson.dumps({"Error": None, "StatusCode": self.status}))


@frozen
class Line:
    """The server's end of a connection."""

    stream: trio.SocketStream
    http: h11.Connection = field(factory=lambda: h11.Connection(h11.SERVER))

    async def receive(self):
        """The request."""
        body = b""
        request = None
        while not isinstance(event := self.http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                self.http.receive_data(await self.stream.receive_some())
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                return None
        path, _, query = request.target.decode().partition("?")
        return Asked(request.method.decode(), path, query, body)

    async def begin(self, status):
        """The head of an answer."""
        head = h11.Response(status_code=status, headers=[("Transfer-Encoding", "chunked")])
        await self.stream.send_all(self.http.send(head))

    async def finish(self, body):
        """The rest of it."""
        data = self.http.send(h11.Data(data=body)) if body else b""
        await self.stream.send_all(data + self.http.send(h11.EndOfMessage()))

    async def answer(self, status, body):
        """The whole answer."""
        headers = [("Content-Length", str(len(body)))]
        data = self.http.send(h11.Response(status_code=status, headers=headers))
        data += self.http.send(h11.Data(data=body)) if body else b""
        await self.stream.send_all(data + self.http.send(h11.EndOfMessage()))


@define
class ScriptedEngine:
    """An engine in which everything goes well, but for what a test has scripted."""

    socket: str
    script: dict[str, object] = field(factory=dict)
    asked: list[Asked] = field(factory=list)
    output: Attached = field(factory=Attached)
    error: Attached = field(factory=Attached)
    end: Ends = field(factory=Ends)
    deaf_after: int | None = None
    deafness: Later | None = None

    async def serve(self, task_status=trio.TASK_STATUS_IGNORED):
        """Take connections until cancelled."""
        listener = trio.socket.socket(trio.socket.AF_UNIX)
        with listener:
            await listener.bind(self.socket)
            listener.listen(16)
            task_status.started()
            async with trio.open_nursery() as nursery:
                while True:
                    connection, _ = await listener.accept()
                    nursery.start_soon(self._take, trio.SocketStream(connection))

    async def _take(self, stream):
        async with stream:
            if len(self.asked) == self.deaf_after:
                await self._hear_nothing()
                return
            with suppress(trio.BrokenResourceError):
                line = Line(stream)
                asked = await line.receive()
                if asked is not None:
                    self.asked.append(asked)
                    await self._reaction(asked).play(line, asked)

    async def _hear_nothing(self):
        if self.deafness is not None:
            self.deafness.waiting.set()
            await self.deafness.release.wait()

    def _reaction(self, asked):
        if asked.what == "POST attach":
            usual = self.error if "stderr" in asked.query else self.output
            which = "attach stderr" if "stderr" in asked.query else "attach stdout"
            return self.script.get(which, usual)
        usual = {
            "GET version": Says(200, VERSION),
            "POST create": Says(201, CREATED),
            "POST wait": self.end,
            "POST start": Says(204),
        }.get(asked.what, Says(404, {"message": "no such container or image"}))
        if asked.method == "GET" and asked.path.startswith("/v1.41/images/"):
            usual = Says(200, {"Id": "sha256:0", "Config": {"Labels": {}}})
        if asked.method == "DELETE":
            return self.script.get("DELETE", Says(204))
        return self.script.get(asked.what, usual)

    def vanish(self):
        """No longer be found, though it listens."""
        Path(self.socket).unlink()

    def has_removed(self, name):
        """Whether a container was removed."""
        return any(each.method == "DELETE" and each.path.endswith(name) for each in self.asked)

    def commands(self):
        """What was asked, in this order, but for the versions and images."""
        whats = [asked.what for asked in self.asked]
        return [what for what in whats if what.startswith(("POST", "DELETE"))]


@pytest.fixture
async def engine(tmp_path, nursery):
    """An engine that listens."""
    engine = ScriptedEngine(str(tmp_path / "engine.sock"))
    await nursery.start(engine.serve)
    return engine


@pytest.fixture
def make_runtime(settings, tmp_path):
    """A runtime that asks this engine."""

    def make(grace=PATIENT, *, podman=False, **options):
        kind = PodmanApiRuntime if podman else DockerApiRuntime
        path = str(tmp_path / "engine.sock")
        return kind(evolve(settings, grace=grace), path, **{"selinux": False, **options})

    return make


@pytest.fixture
def runtime(make_runtime):
    """A runtime for an engine that answers."""
    return make_runtime()


@pytest.fixture
def brief_runtime(make_runtime):
    """A runtime for an engine that doesn't."""
    return make_runtime(BRIEF)


@pytest.fixture
def spec():
    """A container without a mount."""
    return ContainerSpec(name="nanoclaw-x", image="agent:latest")


@pytest.fixture
def world():
    """What an engine can be scripted with, by name."""
    return {
        "Says": Says,
        "Raw": Raw,
        "Hangs": Hangs,
        "Later": Later,
        "Attached": Attached,
        "Ends": Ends,
    }


@pytest.fixture(name="frame")
def _frame():
    """How engines write a frame."""
    return frame
