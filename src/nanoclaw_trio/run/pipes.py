"""The three tasks of a run that deal with its container's streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
from attrs import evolve

from nanoclaw_trio.logs import log
from nanoclaw_trio.protocol.convert import encode_input
from nanoclaw_trio.run.capture import Capture, LineSplitter
from nanoclaw_trio.run.drain import Drain
from nanoclaw_trio.run.log import VERBOSE_LEVELS
from nanoclaw_trio.run.outcome import STDERR_EXCERPT
from nanoclaw_trio.run.outputs import OutputReader

if TYPE_CHECKING:
    from nanoclaw_trio.protocol.models import ContainerOutput
    from nanoclaw_trio.run.assignment import Assignment
    from nanoclaw_trio.run.limits import MovableDeadline
    from nanoclaw_trio.runtimes.abc import Container

END: Final = b""
"""What is read at the end of a stream."""


class Pipes:
    """Writes a container's input, and reads its outputs and its standard error.

    Attributes:
        has_heard: Whether anything came on standard output: then the container has been there.
        stdout: What is kept of standard output for the run log.
        stderr: The same of standard error.
        reader: What came as outputs.
    """

    def __init__(
        self,
        assignment: Assignment,
        deadline: MovableDeadline,
        outputs: trio.MemorySendChannel[ContainerOutput],
    ) -> None:
        settings = assignment.settings
        self._assignment = assignment
        self._deadline = deadline
        self._outputs = outputs
        self._secrets = assignment.workspace.secrets
        self.has_heard = False
        self.stdout = Capture(settings.max_output_bytes)
        self.stderr = Capture(settings.max_output_bytes)
        self._drain = Drain(settings.grace.drain)
        self._writing = trio.CancelScope()
        self.reader = OutputReader(
            self.stdout,
            max_frame_bytes=settings.max_frame_bytes,
            container=assignment.spec.name,
        )

    # As AgentRun.conduct, whose protection these tasks, which it starts, don't inherit.
    @trio.lowlevel.enable_ki_protection
    async def write_input(self, container: Container) -> None:
        """Write the input, secrets included, and close the stream, unless it is a lease.

        A lease stays open until the container is let go of: its end tells an agent that we are gone
        (docs/protocol 1). An agent that ends without reading it is an event of that run and no more: its outcome
        comes from its exit status and its standard error (Trap A1).
        """
        document = encode_input(self._assignment.container_input, self._secrets.reveal())
        with self._writing:
            try:
                if container.holds_stdin:
                    await container.stdin.send_all(document + b"\n")
                else:
                    await container.stdin.send_all(document)
                    await container.stdin.aclose()
            except trio.BrokenResourceError:
                log.debug("input not read", container=container.name)

    def container_ended(self) -> None:
        """From now on what it wrote is read, within a bound, and nothing is written.

        Where it ended without reading its input, and left a child that has it open, that would be
        written to for ever.
        """
        self._writing.cancel()
        self._drain.begin()

    @trio.lowlevel.enable_ki_protection
    async def read_stdout(self, container: Container) -> None:
        """Frames, to outputs, to the caller: in order, and no faster than the caller takes them."""
        await self._drain.read(container.stdout, self._take)
        await self._take(END)

    async def _take(self, chunk: bytes) -> None:
        self.has_heard = self.has_heard or bool(chunk)
        for output in self.reader.feed(chunk, after_limit=self._deadline.fired is not None):
            if output is None:
                await trio.lowlevel.checkpoint()
                continue
            self._deadline.marker()
            if self._assignment.streaming:
                await self._hand_out(self._without_keys(output))
            else:
                await trio.lowlevel.checkpoint()

    async def _hand_out(self, output: ContainerOutput) -> None:
        # To a consumer that waits, without a checkpoint: the next output finds him at work.
        try:
            self._outputs.send_nowait(output)
        except trio.WouldBlock:
            # He may have asked, and then asked no more: that isn't the agent's silence either.
            self.consumer_works()
            await self._outputs.send(output)

    def consumer_waits(self) -> None:
        """The consumer asks for the next output: time is the agent's from now on."""
        self._deadline.consumer_waits()
        self._drain.resume()

    def consumer_works(self) -> None:
        """The consumer has an output, or lets one wait: time is his own until he asks."""
        self._deadline.consumer_works()
        self._drain.pause()

    def _without_keys(self, output: ContainerOutput) -> ContainerOutput:
        """An agent may quote its key, and what it says is shown, logged and kept."""
        if not self._secrets:
            return output
        return evolve(
            output,
            result=None if output.result is None else self._secrets.redact(output.result),
            error=None if output.error is None else self._secrets.redact(output.error),
        )

    @trio.lowlevel.enable_ki_protection
    async def read_stderr(self, container: Container) -> None:
        """Keep standard error for the log, and log it line by line where that is asked for.

        It is not a sign of life: it moves no deadline.
        """
        if self._assignment.settings.log_level not in VERBOSE_LEVELS:
            await self._drain.read(container.stderr, self._keep)
            return
        lines = LineSplitter(self._secrets)

        async def keep_and_log(chunk: bytes) -> None:
            self.stderr.feed(chunk)
            await _log_lines(lines.feed(chunk), container)

        await self._drain.read(container.stderr, keep_and_log)
        await _log_lines(lines.feed(END, final=True), container)

    async def _keep(self, chunk: bytes) -> None:
        self.stderr.feed(chunk)

    def stderr_excerpt(self) -> str:
        """The end of standard error for an error's text, redacted."""
        return self.stderr.excerpt(STDERR_EXCERPT, self._secrets)


async def _log_lines(lines: list[str], container: Container) -> None:
    for line in lines:
        log.debug("stderr", container=container.name, line=line)
        # A chunk may have half a million of them.
        await trio.lowlevel.checkpoint()
