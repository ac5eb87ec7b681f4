"""`nanoclaw-trio reap`: containers whose host is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from nanoclaw_trio.cli.conduct import conduct, write_lines, write_records
from nanoclaw_trio.cli.exit_status import SUCCESS
from nanoclaw_trio.engine.reaper import is_orphan, reap_orphans
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.logs import configure_logging
from nanoclaw_trio.run.receipt import Gone
from nanoclaw_trio.runtimes.abc import GROUP_LABEL, INSTALL_LABEL
from nanoclaw_trio.runtimes.choose import choose_runtime
from nanoclaw_trio.settings import load_settings
from nanoclaw_trio.workspace.install import install_id

if TYPE_CHECKING:
    from pathlib import Path

    from nanoclaw_trio.cli.invocation import ChooseRuntime
    from nanoclaw_trio.cli.program import World
    from nanoclaw_trio.run.receipt import Receipt
    from nanoclaw_trio.runtimes.abc import ContainerRuntime, ContainerState
    from nanoclaw_trio.settings import Settings

UNCONFIRMED: Final = 1
"""The exit status where a container may live on."""


@frozen(kw_only=True)
class ReapOptions:
    """The options of `reap`."""

    dry_run: bool
    project: Path
    runtime: str
    as_json: bool


async def reap_command(
    options: ReapOptions, world: World, *, choose: ChooseRuntime = choose_runtime
) -> int:
    """Reap the project's orphans, or list them; the exit status."""

    async def reap() -> int:
        settings = await load_settings(options.project)
        configure_logging(settings.log_level)
        world.progress.doing("looking for containers")
        runtime = (await choose(options.runtime, settings)).runtime
        if options.dry_run:
            return await _list(options, world, runtime, settings)
        return await _reap(options, world, runtime, settings)

    status = await conduct(world, reap)
    world.progress.rest()
    return status


async def _list(
    options: ReapOptions, world: World, runtime: ContainerRuntime, settings: Settings
) -> int:
    identity = await in_thread(install_id, settings.project_root)
    states = await runtime.list({INSTALL_LABEL: identity})
    orphans = [state for state in states if is_orphan(state)]
    world.progress.rest()
    if options.as_json:
        await write_records(world, map(_orphan_record, orphans))
    else:
        await write_lines(world, map(_orphan_text, orphans))
    return SUCCESS


async def _reap(
    options: ReapOptions, world: World, runtime: ContainerRuntime, settings: Settings
) -> int:
    world.progress.doing("removing containers")
    receipts = await reap_orphans(runtime, settings=settings)
    world.progress.rest()
    if options.as_json:
        await write_records(world, map(receipt_record, receipts))
    else:
        await write_lines(world, map(receipt_text, receipts))
    return SUCCESS if all(isinstance(receipt, Gone) for receipt in receipts) else UNCONFIRMED


def _orphan_text(state: ContainerState) -> str:
    group = state.labels.get(GROUP_LABEL, "no group's")
    return f"{state.name}: {state.phase.value}, {group}; its host is gone"


def _orphan_record(state: ContainerState) -> dict[str, Any]:
    return {
        "type": "orphan",
        "container": state.name,
        "phase": state.phase.value,
        "group": state.labels.get(GROUP_LABEL),
    }


def receipt_text(receipt: Receipt) -> str:
    """What became of a container, for people."""
    if isinstance(receipt, Gone):
        return f"{receipt.container} is gone: {receipt.evidence}"
    return f"{receipt.container} may still run: {receipt.why}"


def receipt_record(receipt: Receipt) -> dict[str, Any]:
    """The same for programs; `why` is the evidence, or what stood in the way."""
    gone = isinstance(receipt, Gone)
    return {
        "type": "receipt",
        "container": receipt.container,
        "gone": gone,
        "why": receipt.evidence if isinstance(receipt, Gone) else receipt.why,
        "steps": list(receipt.steps),
    }
