"""A client of the API that knows no more of HTTP than h11 does."""

from __future__ import annotations

import json

import h11
import pytest
import trio
from attrs import frozen

KEY = {"x-api-key": "sk-ant-canary"}


@frozen
class Response:
    """An answer, read to its end."""

    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)


class Client:
    """One connection to a server."""

    def __init__(self, stream):
        self.stream = stream
        self.http = h11.Connection(h11.CLIENT)

    async def send(self, method="POST", path="/v1/messages", body=b"", headers=KEY):
        """Send a call, whose body is bytes or else becomes JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        length = {"host": "test", "content-length": str(len(content))}
        fields = list({**length, **headers}.items())
        request = h11.Request(method=method, target=path, headers=fields)
        for event in (request, h11.Data(data=content), h11.EndOfMessage()):
            await self.stream.send_all(self.http.send(event))

    async def receive(self):
        """The answer; h11.RemoteProtocolError if the connection ends without one."""
        body = b""
        while not isinstance(event := await self.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.Response):
                response = event
            else:
                raise h11.RemoteProtocolError(f"{event} instead of an answer")
        if self.http.our_state is self.http.their_state is h11.DONE:
            self.http.start_next_cycle()
        headers = {name.decode(): value.decode() for name, value in response.headers}
        return Response(response.status_code, headers, body)

    async def next_event(self):
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(bytes(await self.stream.receive_some(65536)))
        return event

    async def call(self, *arguments, **options):
        """Send a call, and wait for the answer."""
        with trio.fail_after(60):
            await self.send(*arguments, **options)
            return await self.receive()


@pytest.fixture
def client_of():
    """Connect a client to a stream that leads to a server."""
    return Client


@pytest.fixture
async def connect():
    """Connect a client to an API; it is closed with the test."""
    clients = []

    async def connect(api):
        clients.append(Client(await trio.open_tcp_stream(api.host, api.port)))
        return clients[-1]

    yield connect
    for client in clients:
        await client.stream.aclose()


@pytest.fixture
def document():
    """Make the document of a call in which a person says something."""

    def document(prompt="hi", **fields):
        messages = [{"role": "user", "content": prompt}]
        return {"model": "claude-test", "max_tokens": 100, "messages": messages, **fields}

    return document
