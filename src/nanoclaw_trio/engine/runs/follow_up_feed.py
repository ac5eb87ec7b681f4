"""Messages that come while a group's agent runs, into its mailbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
from attrs import frozen

from nanoclaw_trio.engine.chat.batches import next_follow_up
from nanoclaw_trio.engine.runs.taking import take_stock
from nanoclaw_trio.engine.supervision import STORE_DELAY
from nanoclaw_trio.errors import MailboxUnwritable, RunClosing
from nanoclaw_trio.logs import log
from nanoclaw_trio.store import messages
from nanoclaw_trio.store.database import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from nanoclaw_trio.engine.chat.batches import Batch
    from nanoclaw_trio.engine.context import EngineContext
    from nanoclaw_trio.engine.runs.conversation import Conversation
    from nanoclaw_trio.engine.runs.run_journal import RunJournal
    from nanoclaw_trio.errors import NanoclawError
    from nanoclaw_trio.run.agent_run import AgentRun
    from nanoclaw_trio.store.database import Transaction
    from nanoclaw_trio.store.models import Registration

MOST_IN_FLIGHT: Final = 32
"""Follow-ups that an agent is given before it has answered any of them. Claude's CLI lists what a
query took in up to 64; of one that took in more, the rest would seem unanswered."""


class NeedsRunOfItsOwn(Exception):
    """What waits first can't be a follow-up of this run."""


@frozen(kw_only=True)
class Recipient:
    """Where follow-ups go.

    Attributes:
        run: The run whose agent gets them.
        conversation: What that agent was asked.
        chat_jid: The chat that the run's answers go to. What comes from another (the group was
            registered anew), or can't be a follow-up, has the run end soon for the sake of its own.
        on_change: Told when something is in flight that wasn't.
        on_refusal: Told when the run takes no more.
    """

    run: AgentRun
    conversation: Conversation
    chat_jid: str
    on_change: Callable[[], None]
    on_refusal: Callable[[], None]


class FollowUpFeed:
    """Sends a group's waiting messages into its running container, until it is stopped.

    A follow-up is in the store, under the name of its file, before the file is in the mailbox: after
    a crash in between, the file is looked for and removed, and the messages are asked again.

    Attributes:
        has_work_come: Whether a message came since this was last set to False.
    """

    def __init__(
        self,
        context: EngineContext,
        registration: Registration,
        journal: RunJournal,
    ) -> None:
        self._context = context
        self._folder = registration.folder
        self._journal = journal
        self._came = trio.Event()
        self._is_stopped = False
        self._has_sent = False
        self._sent: dict[str, Batch] = {}
        self._written: set[str] = set()
        self._unsent: tuple[int, ...] = ()
        self.has_work_come = False

    def nudge(self) -> None:
        """A message came."""
        self.has_work_come = True
        self._came.set()

    def stop(self) -> None:
        """Send no more; what waits is for the next run."""
        self._is_stopped = True

    async def run(self, recipient: Recipient) -> None:
        """Send what waits, and what comes, until stopped or cancelled."""
        while not self._is_stopped:
            self._came = trio.Event()
            try:
                if not await self._send_next(recipient):
                    await self._came.wait()
            except NeedsRunOfItsOwn:
                recipient.on_refusal()
            except StoreFailed as error:
                log.warning("follow-ups not looked for", group=self._folder, why=str(error))
                await trio.sleep(STORE_DELAY)

    async def _send_next(self, recipient: Recipient) -> bool:
        run, conversation = recipient.run, recipient.conversation
        self._sent = {name: self._sent[name] for name in conversation.follow_ups}
        self._written &= self._sent.keys()
        if len(self._sent) >= MOST_IN_FLIGHT:
            return False
        name = run.new_follow_up_name()
        batch = await self._context.store.transact(
            take_follow_up,
            self._folder,
            chat_jid=recipient.chat_jid,
            container=run.container_name,
            name=name,
            timezone=self._context.settings.timezone,
        )
        if batch is None:
            return False
        self._sent[name] = batch
        self._has_sent = True
        conversation.sent(name, batch.seqs)
        recipient.on_change()
        try:
            await run.send_message(batch.text, name=name)
        except (RunClosing, MailboxUnwritable) as error:
            self._give_back(recipient, name, error)
        else:
            self._written.add(name)
            self._journal.follow_up_sent(name, batch.owed_ids)
        return True

    @property
    def has_sent(self) -> bool:
        """Whether any follow-up was sent."""
        return self._has_sent

    def output_came(self) -> None:
        """There may be room for more."""
        self._came.set()

    @property
    def written(self) -> frozenset[str]:
        """The files that have been in the mailbox by now."""
        return frozenset(self._written)

    def _give_back(self, recipient: Recipient, name: str, error: NanoclawError) -> None:
        """What the mailbox didn't take is the next run's, which is to come soon."""
        log.info("follow-up kept for the next run", group=self._folder, why=str(error))
        self._unsent += self._sent.pop(name).seqs
        recipient.conversation.unsent(name)
        recipient.on_refusal()
        recipient.on_change()

    def sort_out(self, undelivered: tuple[str, ...]) -> tuple[frozenset[int], tuple[str, ...]]:
        """At the run's end: the messages that no agent took, and texts that aren't ours."""
        texts = list(undelivered)
        untouched = list(self._unsent)
        for batch in self._sent.values():
            if batch.text in texts:
                texts.remove(batch.text)
                untouched += batch.seqs
        return frozenset(untouched), tuple(texts)


def take_follow_up(
    tx: Transaction, folder: str, *, chat_jid: str, container: str, name: str, timezone: str
) -> Batch | None:
    """What waits for a group, as one follow-up of this container; None if nothing does.

    Raises:
        NeedsRunOfItsOwn: what waits first is another chat's, or can't be a follow-up.
    """
    waiting = take_stock(tx, folder)
    if not waiting:
        return None
    batch = next_follow_up(waiting, timezone=timezone)
    if batch is None or batch.chat_jid != chat_jid:
        raise NeedsRunOfItsOwn
    messages.mark_asked(tx, batch.seqs, container, name)
    return batch
