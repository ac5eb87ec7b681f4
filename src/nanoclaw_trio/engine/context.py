"""What the parts of one engine share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from nanoclaw_trio.engine.chat.bridge import Bridge
    from nanoclaw_trio.engine.chat.outbox import Outbox
    from nanoclaw_trio.engine.journal.journal import Journal
    from nanoclaw_trio.engine.requests.intake import Intake
    from nanoclaw_trio.engine.statistics import Tally
    from nanoclaw_trio.engine.tasks.scheduler import Scheduler
    from nanoclaw_trio.proxy.service import CredentialProxy
    from nanoclaw_trio.runtimes.abc import ContainerRuntime
    from nanoclaw_trio.settings import Settings
    from nanoclaw_trio.store.database import Store


@frozen(kw_only=True)
class EngineContext:
    """What an engine was opened with, and the services that its runs use.

    Attributes:
        settings: The project's.
        runtime: What starts containers.
        bridge: Where answers go.
        store: What is remembered.
        journal: What happened.
        tally: The counters.
        intake: What agents ask of the host.
        outbox: What is to be said in chats.
        scheduler: Which tasks are due.
        proxy: What adds the key to agents' requests; None where they have it themselves.
        owner: This process, as leases name it.
    """

    settings: Settings
    runtime: ContainerRuntime
    bridge: Bridge
    store: Store
    journal: Journal
    tally: Tally
    intake: Intake
    outbox: Outbox
    scheduler: Scheduler
    proxy: CredentialProxy | None
    owner: str
