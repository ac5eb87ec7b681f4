"""What the bridges ask of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from nanoclaw_trio.engine.chat.reception import Reception
    from nanoclaw_trio.engine.statistics import EngineStatistics
    from nanoclaw_trio.store.models import ChatMessage, Registration


class Front(Protocol):
    """As much of :class:`~nanoclaw_trio.Engine` as a bridge needs."""

    async def send_message(self, message: ChatMessage) -> Reception:
        """Hand in what somebody said in a chat."""
        ...

    async def register_group(self, registration: Registration) -> None:
        """Have a group answer in a chat."""
        ...

    async def groups(self) -> tuple[Registration, ...]:
        """All registered groups."""
        ...

    async def refresh_statistics(self) -> EngineStatistics:
        """A picture of the engine as it is now."""
        ...
