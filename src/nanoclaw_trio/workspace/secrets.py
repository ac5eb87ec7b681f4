"""The secrets of a project: read when a run starts, and never shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NoReturn

from nanoclaw_trio.environment import SECRET_VARIABLES, process_environment
from nanoclaw_trio.settings import read_dotenv

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

REDACTED: Final = "[redacted]"
"""What stands in a text where a secret stood."""

SHORTEST: Final = 4
"""Characters of the shortest value that is redacted. No key is shorter, and with a value of one
letter nothing readable would be left of a text."""


class Secrets:
    """Values by the names of their variables. No repr, log or pickle shows them.

    They leave by :meth:`reveal` alone, on their way to an agent's standard input or into the proxy
    that adds them to its requests.
    """

    __slots__ = ("_needles", "_values")

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name: value for name, value in values.items() if value}
        self._needles = tuple({form for value in self._values.values() for form in _forms(value)})

    def reveal(self) -> dict[str, str]:
        """The values, for an agent's standard input or for the credential proxy, and nothing else."""
        return dict(self._values)

    def replaced(self, values: Mapping[str, str]) -> Secrets:
        """Others, to be revealed in the place of these, which are redacted on."""
        others = Secrets(values)
        others._needles = tuple({*others._needles, *self._needles})
        return others

    @property
    def longest(self) -> int:
        """Characters of the longest text that is redacted; 0 if there is none.

        Whoever cuts a text redacts first. Where that can't be, :meth:`redact` is told where it was
        cut.
        """
        return max(map(len, self._needles), default=0)

    def redact(self, text: str, *, cut_start: bool = False, cut_end: bool = False) -> str:
        """The text with each secret in it replaced.

        Found are whole values, as they are and as JSON writes them, and single lines of values that
        have several, since logs are written by lines. Where the text was cut out of a longer one at
        its start or at its end, what may be the rest of a secret there is replaced as well.
        """
        places = [
            *self._places(text),
            *self._places_at_cuts(text, start=cut_start, end=cut_end),
        ]
        parts, end = [], 0
        for start, stop in _merged(sorted(places)):
            parts += [text[end:start], REDACTED]
            end = stop
        return "".join((*parts, text[end:]))

    def _places(self, text: str) -> Iterator[tuple[int, int]]:
        for needle in self._needles:
            start = text.find(needle)
            while start >= 0:
                yield start, start + len(needle)
                start = text.find(needle, start + 1)

    def _places_at_cuts(self, text: str, *, start: bool, end: bool) -> Iterator[tuple[int, int]]:
        for needle in self._needles:
            if start and (size := _overlap(needle, text)):
                yield 0, size
            if end and (size := _overlap(text, needle)):
                yield len(text) - size, len(text)

    def __bool__(self) -> bool:
        return bool(self._values)

    def __repr__(self) -> str:
        return f"<Secrets: {len(self._values)} not shown>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets aren't pickled or copied")


def _forms(value: str) -> Iterator[str]:
    for line in (value, *value.splitlines()):
        for text in (line, line.strip()):
            if len(text.strip()) >= SHORTEST:
                yield text
                yield json.dumps(text)[1:-1]
                yield json.dumps(text, ensure_ascii=False)[1:-1]


def _overlap(left: str, right: str) -> int:
    """How many characters, at most, are both the end of the one and the start of the other."""
    sizes = range(min(len(left), len(right)), 0, -1)
    return next((size for size in sizes if left.endswith(right[:size])), 0)


def _merged(places: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    # Not one replacement after the other: where two secrets overlap, a part of one would stay.
    start, stop = -1, -1
    for begin, end in places:
        if begin <= stop:
            stop = max(stop, end)
            continue
        if stop >= 0:
            yield start, stop
        start, stop = begin, end
    if stop >= 0:
        yield start, stop


def read_secrets(project_root: Path, environ: Mapping[str, str] | None = None) -> Secrets:
    """The secrets of a project: each from its .env, else from the environment (wire-formats 9).

    `environ` replaces the process's environment. An empty value counts as none.

    Raises:
        InvalidSetting: the .env can't be read.
    """
    environ = process_environment() if environ is None else environ
    dotenv = read_dotenv(project_root)
    return Secrets({name: dotenv.get(name) or environ.get(name, "") for name in SECRET_VARIABLES})
