"""What a build says of itself, understood. Pure.

The forms of a step's first line were seen with docker 28 (its classic builder), podman 4.3 and
BuildKit's `--progress plain`, which Apple's container has, too.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from attrs import frozen

TAIL_LINES: Final = 20
"""Lines that are kept of what a build said last; the reason of a failure is among them."""

LINE_LIMIT: Final = 4096
"""Characters of a line that are kept, from its end."""

_STEP: Final = re.compile(
    r"^(?:\[\d+/\d+\] )?step (?P<number>\d+)/(?P<total>\d+) ?: (?P<instruction>.+)$"
    r"|^#\d+ \[(?:[^\]]* )?(?P<number_>\d+)/(?P<total_>\d+)\] (?P<instruction_>.+)$",
    re.IGNORECASE,
)

_ESCAPE: Final = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[^\[])")

_STAMP: Final = re.compile(r"^#\d+ (?:\d+\.\d+ )?")


@frozen(kw_only=True)
class BuildStep:
    """One instruction of a Dockerfile under way.

    Attributes:
        number: Counted from 1.
        total: How many there are, in this stage.
        instruction: The instruction itself.
    """

    number: int
    total: int
    instruction: str


@frozen(kw_only=True)
class BuildProgress:
    """A line that a build said.

    Attributes:
        line: The line, without control sequences.
        step: The step under way; None before the first.
        is_news: Whether it is worth a line where not every one is shown: a step begins, or we
            wait.
    """

    line: str
    step: BuildStep | None = None
    is_news: bool = False


class LineReader:
    """Lines from the bytes of a pipe. What isn't UTF-8 is replaced; a line without end is cut."""

    def __init__(self) -> None:
        self._rest = b""

    def receive_data(self, data: bytes) -> list[str]:
        """The lines that these bytes end."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-LINE_LIMIT:]
        return [clean(line.decode(errors="replace")) for line in lines]

    def close(self) -> list[str]:
        """The last line, if it has no end."""
        return self.receive_data(b"\n") if self._rest else []


def clean(line: str) -> str:
    """A line as it stands on the screen in the end: a progress bar writes over itself."""
    shown = _ESCAPE.sub("", line).rstrip().rpartition("\r")[2]
    return shown[-LINE_LIMIT:]


def read_step(line: str) -> BuildStep | None:
    """The step that a line begins; None for any other line."""
    match = _STEP.match(line)
    if match is None:
        return None
    number, total, instruction = (group for group in match.groups() if group is not None)
    return BuildStep(number=int(number), total=int(total), instruction=instruction)


class BuildLog:
    """What a build said so far: the step under way, and the end of its words."""

    def __init__(self) -> None:
        self._step: BuildStep | None = None
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)

    @property
    def tail(self) -> tuple[str, ...]:
        """The last TAIL_LINES lines, blank ones left out."""
        return tuple(self._tail)

    def receive_line(self, line: str) -> BuildProgress | None:
        """Take a line in; None for one that is blank."""
        if not line.strip():
            return None
        self._tail.append(line)
        step = read_step(line)
        # BuildKit says a step's first line anew whenever it comes back to it.
        begins = step is not None and step != self._step
        self._step = step or self._step
        return BuildProgress(line=_STAMP.sub("", line), step=self._step, is_news=begins)
