"""Sees to it that no container outlives its purpose: orphans, and those of which nobody is certain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.background import start_protected
from nanoclaw_trio.engine.reaper import is_orphan, reap
from nanoclaw_trio.errors import NanoclawError
from nanoclaw_trio.logs import log
from nanoclaw_trio.run.host import this_process
from nanoclaw_trio.run.receipt import Gone
from nanoclaw_trio.run.stop import StopLadder
from nanoclaw_trio.runtimes.abc import GROUP_LABEL, OWNER_LABEL
from nanoclaw_trio.workspace.claim import is_claimed

if TYPE_CHECKING:
    from collections.abc import Callable

    from nanoclaw_trio.engine.journal.journal import Journal
    from nanoclaw_trio.engine.statistics import Tally
    from nanoclaw_trio.runtimes.abc import ContainerRuntime, ContainerState
    from nanoclaw_trio.settings import Settings

HELD_INTERVAL: Final = 15.0
"""Seconds between two attempts at a container that isn't confirmed gone."""


class Keeper:
    """Reaps what other hosts left, and keeps groups in quarantine until their container is gone."""

    def __init__(
        self,
        settings: Settings,
        runtime: ContainerRuntime,
        journal: Journal,
        tally: Tally,
        *,
        interval: float,
        on_hold: Callable[[str], None],
        on_release: Callable[[str], None],
    ) -> None:
        """Nothing is done yet.

        Args:
            settings: The project's.
            runtime: Whose containers they are.
            journal: Told of what is gone.
            tally: Counts orphans.
            interval: Seconds between two looks for orphans.
            on_hold: Told the folder of a group that is held.
            on_release: Told the folder of a group whose container is gone after all.
        """
        self._settings = settings
        self._runtime = runtime
        self._journal = journal
        self._tally = tally
        self._interval = interval
        self._on_hold = on_hold
        self._on_release = on_release
        self._has_reaped = False
        self._held: dict[str, str] = {}
        self._held_one = trio.Event()

    @property
    def held(self) -> dict[str, str]:
        """The folders of the groups with a container in doubt, by the containers' names."""
        return dict(self._held)

    @property
    def bound(self) -> float:
        """Seconds that :meth:`stop` takes at the very most."""
        return StopLadder(self._runtime, "", grace=self._settings.grace).bound

    def hold(self, folder: str, container: str) -> None:
        """A group's container may live on: nothing is started for it until that is settled."""
        log.error("group in quarantine", group=folder, container=container)
        self._journal.note("group_held", folder=folder, container=container)
        self._held[container] = folder
        self._held_one.set()
        self._on_hold(folder)

    async def reap(self) -> None:
        """Stop and remove what hosts that are gone have left. Raises as `reap_orphans`.

        The first time also what an earlier engine of this process has left: its containers have a
        living owner, and nobody who remembers them. A group whose container isn't confirmed gone is
        held.
        """
        is_first, root = not self._has_reaped, self._settings.project_root

        def is_unwanted(state: ContainerState) -> bool:
            folder = state.labels.get(GROUP_LABEL, "")
            is_own = state.labels.get(OWNER_LABEL) == this_process()
            return is_orphan(state) or (is_first and is_own and not is_claimed(root, folder))

        reaped = await reap(self._runtime, settings=self._settings, is_orphan=is_unwanted)
        # Only now: a runtime that didn't say what there is hasn't been looked at.
        self._has_reaped = True
        gone = [one.state.name for one in reaped if isinstance(one.receipt, Gone)]
        self._tally.count("orphans_reaped", len(gone))
        self._journal.note("orphans_reaped", containers=gone)
        for one in reaped:
            if not isinstance(one.receipt, Gone):
                self.hold(one.state.labels.get(GROUP_LABEL, ""), one.state.name)

    async def reap_periodically(self) -> None:
        """Reap again and again, until cancelled.

        The first time soon: what the runtime was just making when we looked at our start is there
        by then.
        """
        await trio.sleep(min(self._interval, self._settings.grace.settle))
        while True:
            try:
                await self.reap()
            except NanoclawError as error:
                log.warning("orphans not looked for", runtime=self._runtime.name, why=str(error))
            await trio.sleep(self._interval)

    async def settle_held(self) -> None:
        """Stop what is held, again and again until it is gone, until cancelled."""
        while True:
            self._held_one = trio.Event()
            async with trio.open_nursery() as nursery:
                for container, folder in self.held.items():
                    start_protected(nursery, self._settle, folder, container)
            if self._held:
                await trio.sleep(HELD_INTERVAL)
            else:
                await self._held_one.wait()

    async def _settle(self, folder: str, container: str) -> None:
        if await self.stop(container):
            del self._held[container]
            # Another of its containers may live on: hosts that were killed in turn leave several.
            if folder not in self._held.values():
                self._journal.note("group_released", folder=folder)
                self._on_release(folder)

    async def stop(self, container: str) -> bool:
        """One descent of the stop ladder; whether the container is gone. Cancelled, it is bounded."""
        ladder = StopLadder(self._runtime, container, grace=self._settings.grace)
        receipt = await ladder.descend(None)
        if isinstance(receipt, Gone):
            self._journal.note("container_gone", container=container)
            return True
        log.error("container not confirmed gone", container=container, why=receipt.why)
        return False
