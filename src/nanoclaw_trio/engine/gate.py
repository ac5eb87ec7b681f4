"""Whether containers can be started: asks the runtime while they can't, and tells of it once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from nanoclaw_trio.engine.chat.bridge import Notice, NoticeKind
from nanoclaw_trio.engine.notifier import Notifier
from nanoclaw_trio.engine.queue.breaker import Breaker, BreakerChange, BreakerState
from nanoclaw_trio.errors import NanoclawError
from nanoclaw_trio.logs import log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nanoclaw_trio.engine.chat.bridge import Bridge
    from nanoclaw_trio.engine.journal.journal import Journal
    from nanoclaw_trio.engine.queue.breaker import FailureKind
    from nanoclaw_trio.engine.runs.aftermath import Aftermath
    from nanoclaw_trio.engine.statistics import RuntimeState
    from nanoclaw_trio.runtimes.abc import ContainerRuntime
    from nanoclaw_trio.settings import Settings

NOTICE_BOUND = 30.0
"""Seconds for the bridge to tell the operator."""

ASK_COMMANDS = 3
"""Commands' bounds within which a runtime has to answer: two that it may take, and one to spare. It
has bounds of its own; one that breaks them would keep all groups waiting for ever."""


class Gate:
    """The way to the runtime: shut until it answered once and what an earlier host left is gone.

    After that it is shut while the breaker is open. Messages are taken in meanwhile, and wait.
    """

    def __init__(
        self,
        settings: Settings,
        runtime: ContainerRuntime,
        bridge: Bridge,
        journal: Journal,
        *,
        prepare: Callable[[], Awaitable[object]],
        on_change: Callable[[], None],
    ) -> None:
        """`prepare` is awaited once, when the runtime answers for the first time: the reaper.

        `on_change` is called when starts may be possible that weren't before.
        """
        self._settings = settings
        self._runtime = runtime
        self._bridge = bridge
        self._journal = journal
        self._prepare = prepare
        self._on_change = on_change
        self._breaker = Breaker()
        self._kind: FailureKind = "infrastructure"
        self._is_prepared = False
        self._trusts_probes = True
        self._changed = Notifier()
        self._notices: list[Notice] = []

    @property
    def is_open(self) -> bool:
        """Whether containers are started, all that there is a slot for."""
        return self._is_prepared and self._breaker.state is BreakerState.CLOSED

    @property
    def state(self) -> RuntimeState:
        """`up`, `down`, or `probing`: nobody knows yet, or one start is being tried."""
        if self._breaker.state is BreakerState.OPEN:
            return "down"
        return "up" if self.is_open else "probing"

    def may_start(self, starting: int) -> bool:
        """Whether a container may be started, while that many starts are under way."""
        return self._is_prepared and self._breaker.may_start(starting)

    def started(self) -> None:
        """A container was started."""
        self._trusts_probes = True
        self._tell(self._breaker.started(trio.current_time()))

    def failed(self, kind: FailureKind, aftermath: Aftermath) -> None:
        """A container could not be started."""
        self._kind = kind
        why = aftermath.why or "no container could be started"
        self._tell(self._breaker.failed(kind, why, trio.current_time()))

    async def is_down(self) -> bool:
        """Ask the runtime now whether it starts containers.

        An agent's words can look like those of the runtime's client, which passes them on: they are
        no evidence against the runtime.
        """
        return await self._ask() is not None

    async def run(self) -> None:
        """Ask the runtime when that is due, and tell the operator what changed; until cancelled."""
        if not self._is_prepared:  # pragma: no branch - begun again, after a failure of its own
            await self._ask_first()
        while True:
            await self._say_notices()
            with trio.move_on_at(self._breaker.probe_at):
                await self._changed.wait()
                continue
            await self._probe()

    async def _ask_first(self) -> None:
        why_not = await self._ask()
        if why_not is not None:
            self._tell(self._breaker.trip(why_not, trio.current_time()))
        else:
            self._on_change()

    async def _probe(self) -> None:
        why_not = await self._ask()
        self._breaker.probed(why_not, trio.current_time())
        if why_not is None and self._kind == "infrastructure" and self._trusts_probes:
            # That the runtime answers and has the image is all that was missing. If it fails again
            # before a container has run, a probe sees less than a start does.
            self._trusts_probes = False
            self._tell(self._breaker.started(trio.current_time()))
        self._on_change()

    async def _ask(self) -> str | None:
        """Why no container could be started; None if one could."""
        bound = ASK_COMMANDS * self._settings.grace.command
        try:
            with trio.fail_after(bound):
                await self._runtime.check()
                await self._runtime.require_image(self._settings.container_image)
            if not self._is_prepared:
                await self._prepare()
                self._is_prepared = True
        except trio.TooSlowError:
            return f"{self._runtime.name} doesn't answer within {bound:g} s"
        except (NanoclawError, OSError) as error:
            return str(error)
        return None

    def _tell(self, change: BreakerChange | None) -> None:
        if change is BreakerChange.OPENED:
            why = self._breaker.why or ""
            log.error("no container can be started", runtime=self._runtime.name, why=why)
            self._journal.note("runtime_down", why=why)
            self._notices.append(Notice(kind=NoticeKind.RUNTIME_DOWN, text=why))
        elif change is BreakerChange.CLOSED:
            text = f"{self._runtime.name} starts containers again"
            log.info("containers can be started again", runtime=self._runtime.name)
            self._journal.note("runtime_back")
            self._notices.append(Notice(kind=NoticeKind.RUNTIME_BACK, text=text))
        self._changed.notify()
        self._on_change()

    async def _say_notices(self) -> None:
        while self._notices:
            notice = self._notices.pop(0)
            with trio.move_on_after(NOTICE_BOUND):  # noqa: ASYNC912 - telling is one
                try:
                    await self._bridge.notice(notice)
                except Exception as error:  # noqa: BLE001 - it is in the log already
                    log.warning("operator not told", notice=str(notice.kind), why=str(error))
