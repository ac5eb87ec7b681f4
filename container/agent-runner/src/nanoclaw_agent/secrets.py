"""What came through standard input and must reach the model's API, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SHORTEST: Final = 6
"""Characters of a value that is looked for in a text; shorter ones would be found everywhere."""


class Secrets:
    """Environment variables for the one program that needs them. Their values aren't shown."""

    def __init__(self, values: Mapping[str, str]) -> None:
        # The longest first: one value may be a part of another.
        self._values = dict(sorted(values.items(), key=lambda pair: -len(pair[1])))

    @property
    def names(self) -> tuple[str, ...]:
        """The variables' names, which are no secret."""
        return tuple(self._values)

    def environment(self) -> dict[str, str]:
        """The variables with their values. For nothing but the environment of that program."""
        return dict(self._values)

    def redact(self, text: str) -> str:
        """The text without any of the values."""
        for name, value in self._values.items():
            if len(value) >= SHORTEST:
                text = text.replace(value, f"[{name}]")
        return text

    def __repr__(self) -> str:
        return f"<Secrets {', '.join(self.names)}>"
