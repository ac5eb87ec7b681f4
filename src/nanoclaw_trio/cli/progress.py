"""The live line on a terminal: what the command is doing, and how long until the deadline."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self, TextIO, cast

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.live import Live

    from nanoclaw_trio.cli.streams import StandardError
    from nanoclaw_trio.run.agent_run import AgentRun

REFRESH_INTERVAL: Final = 0.5
"""Seconds between two looks at the clock: it counts seconds, and none is skipped."""


class Progress:
    """What the command is at. This one shows nothing: where there is no terminal."""

    is_live = False
    """Whether anything is shown."""

    def __init__(self) -> None:
        self._doing = "preparing"
        self._since = trio.current_time()
        self._run: AgentRun | None = None

    def doing(self, what: str, run: AgentRun | None = None) -> None:
        """From now on it is at this; with a run, its deadline counts."""
        self._doing, self._run, self._since = what, run, trio.current_time()
        self.refresh()

    def detail(self, what: str) -> None:
        """It is still at the same thing, which the next look shall call so."""
        self._doing = what

    def rest(self) -> None:
        """It is at nothing: the user has the word."""

    def refresh(self) -> None:
        """Show what is true now."""

    @contextmanager
    def out_of_the_way(self) -> Iterator[None]:
        """Within, something else may write on the terminal."""
        yield

    def text(self) -> str:
        """The line as it should be now."""
        now = trio.current_time()
        deadline = math.inf if self._run is None else self._run.statistics().deadline
        return describe(self._doing, elapsed=now - self._since, left=deadline - now)


class LiveLine(Progress):
    """The same on a terminal, as the last line, which is gone when the command is.

    Use it as a context manager, and run :meth:`keep_fresh` meanwhile.
    """

    is_live = True

    def __init__(self, stderr: StandardError) -> None:
        from rich.console import Console

        super().__init__()
        self._stderr = stderr
        self._console = Console(
            file=cast("TextIO", stderr.file), highlight=False, markup=False, emoji=False
        )
        self._live = self._make_live()

    def _make_live(self) -> Live:
        from rich.live import Live

        # Its own thread would write while we do, and its redirection knows nothing of ours.
        return Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._show()
        return self

    def __exit__(self, *_: object) -> None:
        self.rest()

    def _show(self) -> None:
        self._stderr.above = self._print_above
        self._live.start()
        self.refresh()

    def doing(self, what: str, run: AgentRun | None = None) -> None:
        """As said; it is shown again after a rest."""
        super().doing(what, run)
        if not self._live.is_started:
            self._show()

    def rest(self) -> None:
        """Take the line away until there is something to do."""
        self._live.stop()
        self._stderr.above = None

    def refresh(self) -> None:
        """Write the line anew."""
        from rich.text import Text

        if self._live.is_started:
            line = Text(self.text(), no_wrap=True, overflow="ellipsis", style="dim")
            self._live.update(line, refresh=True)

    @contextmanager
    def out_of_the_way(self) -> Iterator[None]:
        """Take the line away, and put it back."""
        shown = self._live.is_started
        self.rest()
        try:
            yield
        finally:
            if shown:
                self._show()

    async def keep_fresh(self) -> None:
        """Refresh it until cancelled."""
        while True:
            await trio.sleep(REFRESH_INTERVAL)
            self.refresh()

    def _print_above(self, text: str) -> None:
        from rich.text import Text

        self._console.print(Text(text), end="", soft_wrap=True)


def describe(doing: str, *, elapsed: float, left: float) -> str:
    """The line: what is done, for how long, and how long until the deadline (inf: there is none)."""
    line = f"{doing} · {_clock(elapsed)}"
    return line if math.isinf(left) else f"{line} · {_clock(left)} until the limit"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
