"""From the bytes of standard output to outputs, and to what they amount to in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from nanoclaw_trio.errors import InvalidContainerOutput
from nanoclaw_trio.logs import log
from nanoclaw_trio.protocol.convert import decode_output, decode_output_in_steps
from nanoclaw_trio.protocol.frames import (
    END_OF_STREAM,
    NEED_DATA,
    Frame,
    FrameParser,
    FrameRestarted,
    FrameTooLarge,
    FrameUnfinished,
)
from nanoclaw_trio.run.outcome import Heard

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from nanoclaw_trio.protocol.models import ContainerOutput
    from nanoclaw_trio.run.capture import Capture


REJECTIONS_LOGGED: Final = 100
"""Outputs of one run that are logged as rejected: an agent can write some ten thousand in the bytes
of one read, and each is a line in the host's log."""


class OutputReader:
    """Takes chunks of standard output and gives the outputs in them, in order.

    A pair of markers that can't be understood is counted, logged by what is wrong with it and never
    by its content, and the stream goes on.
    """

    def __init__(self, capture: Capture, *, max_frame_bytes: int, container: str) -> None:
        self._capture = capture
        self._parser = FrameParser(max_frame_bytes=max_frame_bytes)
        self._container = container
        self._last: ContainerOutput | None = None
        self._last_answer: ContainerOutput | None = None
        self._last_session_id: str | None = None
        self._problem: str | None = None
        self._after_limit = False
        self._silent = True
        self.outputs = 0
        self.rejected = 0

    @property
    def heard(self) -> Heard:
        """What the stream amounted to so far."""
        return Heard(
            last=self._last,
            last_answer=self._last_answer,
            last_session_id=self._last_session_id,
            problem=self._problem,
            after_limit=self._after_limit,
            silent=self._silent,
        )

    def feed(self, chunk: bytes, *, after_limit: bool) -> Iterator[ContainerOutput | None]:
        """The outputs that this chunk completes; b"" says that the stream has ended.

        `after_limit` says that a limit had passed before. Take all of them before the next chunk.
        None stands for a moment to let others go on, in the middle of a large one.
        """
        if chunk:
            self._capture.feed(chunk)
            self._silent = self._silent and chunk.isspace()
        self._parser.receive_data(chunk)
        while (event := self._parser.next_event()) is not NEED_DATA and event is not END_OF_STREAM:
            if isinstance(event, Frame):
                output = yield from self._decode(event.payload)
                if output is not None:
                    self._note(output, after_limit=after_limit)
                    yield output
            else:
                self._reject(_problem(event))
                yield None

    def conclude(self) -> Heard:
        """What it all amounted to; with no markers at all, the last line is looked at."""
        heard = self.heard
        if heard.last is not None or heard.problem is not None:
            return heard
        line = self._capture.last_line(self._parser.max_frame_bytes)
        if line is None:
            return heard
        try:
            return evolve(heard, last_line=decode_output(line))
        except InvalidContainerOutput:
            return heard

    def _decode(self, payload: bytes | bytearray) -> Generator[None, None, ContainerOutput | None]:
        try:
            return (yield from decode_output_in_steps(payload))
        except InvalidContainerOutput as error:
            self._reject(str(error))
            yield None
            return None

    def _note(self, output: ContainerOutput, *, after_limit: bool) -> None:
        self.outputs += 1
        self._last = output
        if output.result is not None:
            self._last_answer = output
        self._last_session_id = output.new_session_id or self._last_session_id
        self._after_limit = after_limit

    def _reject(self, problem: str) -> None:
        self.rejected += 1
        self._problem = problem
        if self.rejected <= REJECTIONS_LOGGED:
            log.warning("output rejected", container=self._container, problem=problem)
        if self.rejected == REJECTIONS_LOGGED:
            log.warning("further ones are counted only", container=self._container)


def _problem(event: FrameTooLarge | FrameRestarted | FrameUnfinished) -> str:
    match event:
        case FrameTooLarge(limit=limit):
            return f"an output is larger than {limit} bytes (CONTAINER_MAX_FRAME_SIZE)"
        case FrameRestarted():
            return "an output was begun and not ended before the next"
        case _:
            return "the stream ended within an output"
