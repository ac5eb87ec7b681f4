"""Conversations, kept as files that people and agents can read, before the CLI compacts them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nanoclaw_agent.agents.claude.transcript import format_conversation, parse_transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

LONGEST_NAME: Final = 50
"""Characters of a file's name that come from the summary."""

WITHOUT_SUMMARY: Final = "conversation"


@dataclass(frozen=True, kw_only=True)
class Archive:
    """Where conversations go, what the agent is called in them, and what time it is there."""

    directory: Path
    assistant_name: str
    now: Callable[[], datetime]


def archive_transcript(path: str, summary: str | None, archive: Archive) -> Path | None:
    """Write the conversation in a transcript to a new file; None if nothing was said in it.

    The file is named by the day and the summary, and is there whole or not at all.

    Raises:
        OSError: the transcript can't be read, or the file can't be written.
    """
    turns = parse_transcript(Path(path).read_bytes())
    if not turns:
        return None
    now = archive.now()
    text = format_conversation(
        turns, title=summary, archived=now, assistant_name=archive.assistant_name
    )
    archive.directory.mkdir(parents=True, exist_ok=True)
    return _write_new(archive.directory, file_names(now, summary), text)


def file_names(now: datetime, summary: str | None) -> Iterator[str]:
    """The names to try, one after the other. Pure."""
    stem = f"{now:%Y-%m-%d}-{slug(summary) or f'{WITHOUT_SUMMARY}-{now:%H%M}'}"
    yield f"{stem}.md"
    number = 2
    while True:
        yield f"{stem}-{number}.md"
        number += 1


def slug(summary: str | None) -> str:
    """The summary's letters and digits, of whatever script, with single dashes between. Pure."""
    words = re.findall(r"[^\W_]+", (summary or "").lower())
    return "-".join(words)[:LONGEST_NAME].strip("-")


def _write_new(directory: Path, names: Iterator[str], text: str) -> Path:
    temporary = directory / f".archive-{os.getpid()}.tmp"
    try:
        # A transcript is JSON, which allows half a surrogate pair; UTF-8 doesn't.
        temporary.write_text(text, encoding="utf-8", errors="replace")
        return _link_as_first_free(temporary, directory, names)
    finally:
        temporary.unlink(missing_ok=True)


def _link_as_first_free(temporary: Path, directory: Path, names: Iterator[str]) -> Path:
    # A link, unlike a rename, never replaces what is there.
    for name in names:
        path = directory / name
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            continue
        return path
    raise AssertionError("there is no end of names")  # pragma: no cover - they don't end
