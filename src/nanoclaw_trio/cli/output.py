"""What the command writes on standard output: answers for people, or JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import evolve

from nanoclaw_trio.cli.ending import end_record, words
from nanoclaw_trio.cli.exit_status import describe_error
from nanoclaw_trio.cli.terminal import neutralize, neutralize_json
from nanoclaw_trio.errors import HostError
from nanoclaw_trio.protocol.convert import wire
from nanoclaw_trio.protocol.json_text import dump_json

if TYPE_CHECKING:
    from typing import Any

    from nanoclaw_trio.cli.ending import Ending
    from nanoclaw_trio.cli.progress import Progress
    from nanoclaw_trio.cli.signals import Interruption
    from nanoclaw_trio.cli.streams import Streams
    from nanoclaw_trio.protocol.models import ContainerOutput


def answer_text(output: ContainerOutput, *, terminal: bool) -> str:
    """An output for people: its result, ending with a line end; empty if it has none."""
    if output.result is None:
        return ""
    text = neutralize(output.result) if terminal else output.result
    return text if text.endswith("\n") else f"{text}\n"


def output_record(output: ContainerOutput) -> dict[str, Any]:
    """An output for programs: what is for them of its own keys, and what it is."""
    return {"type": "output", **wire.unstructure(evolve(output, follow_ups=None))}


def json_line(record: dict[str, Any], *, terminal: bool) -> str:
    """A record on one line."""
    text = dump_json(record).decode()
    return (neutralize_json(text) if terminal else text) + "\n"


class Printer:
    """Writes outputs and endings as they come, each flushed before the next.

    When nobody reads standard output any more, that interrupts the command.
    """

    def __init__(
        self, streams: Streams, progress: Progress, interruption: Interruption, *, as_json: bool
    ) -> None:
        self._streams = streams
        self._progress = progress
        self._interruption = interruption
        self._as_json = as_json
        self._said = ""

    async def output(self, output: ContainerOutput) -> None:
        """Write one output. OutputUnwritable if standard output can't take it."""
        terminal = self._streams.stdout_is_terminal
        if self._as_json:
            await self._write(json_line(output_record(output), terminal=terminal))
            return
        await self._write(answer_text(output, terminal=terminal))
        if output.status == "error":
            self._said = describe_error(output)
            self._streams.say(self._said)

    async def end(self, ending: Ending) -> None:
        """Say how it ended: on standard error for people, and in the last line for programs."""
        # The agent's own words may be all that there is to say; once is enough.
        for text in words(ending):
            if text != self._said:
                self._streams.say(text)
        self._said = ""
        if self._as_json:
            terminal = self._streams.stdout_is_terminal
            await self._write(json_line(end_record(ending), terminal=terminal))

    async def _write(self, text: str) -> None:
        with self._progress.out_of_the_way():
            await write_text(self._streams, self._interruption, text)


class OutputUnwritable(HostError):
    """Standard output can't be written, for another reason than that nobody reads it."""

    def __init__(self, why: str) -> None:
        super().__init__(f"standard output can't be written: {why}; write it somewhere else")


async def write_text(streams: Streams, interruption: Interruption, text: str) -> None:
    """Write text on standard output; nobody reading it is an interruption.

    Raises:
        OutputUnwritable: it can't be written.
    """
    if not text:
        return
    try:
        await streams.stdout.send_all(text.encode(errors="replace"))
    except OSError as error:
        raise OutputUnwritable(error.strerror or "an error of the system") from None
    except trio.BrokenResourceError:
        interruption.output_lost()
        # Where the interruption's scope ends, Cancelled is raised here.
        await trio.lowlevel.checkpoint()
