"""Columns for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoclaw_trio.cli.terminal import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence


def align(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Rows below their heading, each column as wide as its widest cell; nothing without rows."""
    if not rows:
        return ()
    cells = [[one_line(cell) for cell in row] for row in (heading, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return tuple(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
