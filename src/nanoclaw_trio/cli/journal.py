"""`nanoclaw-trio journal`: whether the engine has kept what it promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from nanoclaw_trio.cli.conduct import conduct, write_lines, write_records
from nanoclaw_trio.cli.exit_status import SUCCESS
from nanoclaw_trio.engine.journal.invariants import examine_journal
from nanoclaw_trio.engine.journal.journal import read_journal
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nanoclaw_trio.cli.program import World
    from nanoclaw_trio.engine.journal.invariants import Examination, OpenItem, Violation

VIOLATED: Final = 1
"""The exit status where the journal shows that a promise was broken."""


@frozen(kw_only=True)
class CheckOptions:
    """The options of `journal check`."""

    project: Path
    as_json: bool


async def check_command(options: CheckOptions, world: World) -> int:
    """Check the project's journal, and write what it shows; the exit status."""

    async def check() -> int:
        settings = await load_settings(options.project)
        path = settings.project_root / "data" / "journal.jsonl"
        # Only reading, and it may be long: a signal doesn't wait for it.
        examination = await in_thread(_examine, path, abandon_on_cancel=True)
        if options.as_json:
            await write_records(world, _records(examination))
        else:
            await write_lines(world, _lines(examination))
        return VIOLATED if examination.violations else SUCCESS

    return await conduct(world, check)


def _examine(path: Path) -> Examination:
    return examine_journal(read_journal(path))


def _lines(examination: Examination) -> Iterator[str]:
    for violation in examination.violations:
        yield f"{violation.place} {violation.at} [{violation.rule}] {violation.what}"
    yield (
        f"{examination.entries} entries, {len(examination.violations)} promises broken, "
        f"{len(examination.open_items)} under way at the end"
    )


def _records(examination: Examination) -> Iterator[dict[str, Any]]:
    yield from (_record("violation", violation) for violation in examination.violations)
    yield from (_record("open", item) for item in examination.open_items)
    yield {
        "type": "journal",
        "entries": examination.entries,
        "violations": len(examination.violations),
        "open": len(examination.open_items),
    }


def _record(kind: str, item: Violation | OpenItem) -> dict[str, Any]:
    return {
        "type": kind,
        "rule": item.rule.value,
        "what": item.what,
        "at": item.at,
        "place": item.place,
    }
