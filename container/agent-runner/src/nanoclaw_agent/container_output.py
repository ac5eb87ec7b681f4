"""Standard output: each output is one line of JSON between two marker lines (docs/protocol 2)."""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import trio

from nanoclaw_agent.errors import OutputClosed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

STDOUT: Final = 1

START_MARKER: Final = b"---NANOCLAW_OUTPUT_START---"
END_MARKER: Final = b"---NANOCLAW_OUTPUT_END---"


@dataclass(frozen=True, kw_only=True)
class ContainerOutput:
    """One message to the host.

    Success with a result is an answer; success without one says that the query has ended and in
    which session (a session update); an error carries its text.

    A success also says that the prompts handed out so far are answered, but for the last `pending`
    of them. The host is told so by the names of the files that they came in (session.Answers).
    """

    status: Literal["success", "error"]
    result: str | None = None
    new_session_id: str | None = None
    error: str | None = None
    pending: int = 0

    @property
    def is_session_update(self) -> bool:
        """Whether this says "the query ended" rather than an answer."""
        return self.status == "success" and self.result is None


def answer(text: str, session_id: str, pending: int = 0) -> ContainerOutput:
    """What the agent says to the chat; `pending` prompts aren't answered by it or before."""
    return ContainerOutput(
        status="success", result=text, new_session_id=session_id, pending=pending
    )


def session_update(session_id: str, pending: int = 0) -> ContainerOutput:
    """A query has ended; the session waits for follow-ups, or for its end.

    `pending` prompts belong to a query that hasn't.
    """
    return ContainerOutput(status="success", new_session_id=session_id, pending=pending)


def encode_output(output: ContainerOutput, follow_ups: Iterable[str] = ()) -> bytes:
    """The output as it goes to the host: absent keys are left out.

    `result` and `followUps` are always there: an agent that leaves `followUps` out is one that
    doesn't say which it has answered.
    """
    document: dict[str, object] = {"status": output.status, "result": output.result}
    if output.new_session_id is not None:
        document["newSessionId"] = output.new_session_id
    if output.error is not None:
        document["error"] = output.error
    document["followUps"] = list(follow_ups)
    # A lone surrogate, which JSON allows in an input, can't be written in UTF-8.
    line = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
    return b"\n".join((START_MARKER, line, END_MARKER, b""))


class OutputWriter:
    """Outputs to a stream, one at a time and each whole, whichever task they come from."""

    def __init__(self, stream: trio.abc.SendStream) -> None:
        self._stream = stream
        self._turn = trio.Lock()

    async def write(self, output: ContainerOutput, follow_ups: Iterable[str] = ()) -> None:
        """Send one output, and the names of the follow-ups that are answered by now.

        It waits while the host is slow to read.

        Raises OutputClosed once nobody reads. Cancelled in the middle, it leaves half an output in
        the stream, which a host discards.
        """
        async with self._turn:
            try:
                await self._stream.send_all(encode_output(output, follow_ups))
            except trio.BrokenResourceError:
                raise OutputClosed from None


@asynccontextmanager
async def open_stdout() -> AsyncIterator[OutputWriter]:
    """A writer to standard output, whose waiting can be cancelled."""
    async with trio.lowlevel.FdStream(os.dup(STDOUT)) as stream:
        yield OutputWriter(stream)
