"""Which of a group's waiting messages go into one prompt, or into one follow-up.

Messages that ask for an answer are owed one; the others are context, and go along with the next
that does. What is too much for one prompt becomes several; of context, the oldest is left out. Order is kept among those that are owed one: nothing is taken before what stands ahead
of it, nothing twice.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate, groupby, takewhile
from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.engine.chat.prompt import format_prompt
from nanoclaw_trio.errors import InputError
from nanoclaw_trio.mailbox.follow_up import encode_follow_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nanoclaw_trio.protocol.models import ContainerInput
    from nanoclaw_trio.store.models import StoredMessage

PROMPT_LIMIT: Final = 512 * 1024
"""Bytes of UTF-8 of a prompt with more than one message. It is some 130,000 tokens of English, of
the 200,000 that a model takes at once, its own instructions and tools included; an agent that is
given more fails, and would fail again at each retry."""

MOST_MESSAGES: Final = 5_000
"""Messages of which a prompt can be made: more don't fit in one. Each has a hundred bytes around it,
and a hundred at most are context."""


@frozen(kw_only=True)
class Batch:
    """Messages that an agent gets at once.

    Attributes:
        chat_jid: The chat that they come from, all of them, and where the answer belongs.
        seqs: All of them, context too, in their order; also context that the text leaves out.
        owed_ids: The ids of those that are owed an answer, in their order; at least one.
        text: What the agent reads.
        container_input: Of one that stands alone: its input as it was submitted. Else None.
    """

    chat_jid: str
    seqs: tuple[int, ...]
    owed_ids: tuple[str, ...]
    text: str
    container_input: ContainerInput | None = None


def next_prompt(messages: Sequence[StoredMessage], *, timezone: str) -> Batch:
    """What the group's next run begins with.

    The messages up to the last that is owed an answer; context behind that one stays. One that
    stands alone (see :func:`stands_alone`) ends what comes before it, and is then a prompt by
    itself; so does one of another chat, whose answer belongs elsewhere.

    Of more than PROMPT_LIMIT the oldest context is left out, for good, and then those that are owed
    an answer wait for the next prompt, all but one.

    Args:
        messages: All that wait in the group, in their order, or the first MOST_MESSAGES, or those
            before which there are PROMPT_LIMIT bytes; at least one is owed an answer.
        timezone: As for :func:`~nanoclaw_trio.engine.chat.prompt.format_prompt`.
    """
    first = next(stored for stored in messages if stored.is_owed)
    if stands_alone(first):
        return _batch([first], timezone, container_input=first.prompt)
    together = _together_with(first, messages)
    sizes = {stored.seq: _size(stored, timezone) for stored in together}
    together = together[: _end_within_limit(together, sizes)]
    return _batch(together, timezone, shown=_without_oldest_context(together, sizes))


def next_follow_up(messages: Sequence[StoredMessage], *, timezone: str) -> Batch | None:
    """What a run that goes on is given next: of the same messages as many as a follow-up holds.

    None if none can go: none is owed an answer, the first that is stands alone, or with its context
    it is too long for a follow-up. Then it waits for a run of its own.
    """
    first = next((stored for stored in messages if stored.is_owed), None)
    if first is None or stands_alone(first):
        return None
    together = _together_with(first, messages)
    ends = _ends(together)
    fitting = bisect_left(
        ends, x=True, key=lambda end: not _fits_follow_up(_text(together[:end], timezone))
    )
    return _batch(together[: ends[fitting - 1]], timezone) if fitting else None


def stands_alone(stored: StoredMessage) -> bool:
    """Whether a message is always a prompt by itself, and never a follow-up.

    One that was submitted with pictures, with a session of its own or as a scheduled task's is: a
    follow-up is text alone, and so is what several messages become. An empty one is, too: agents
    drop an empty follow-up.
    """
    given = stored.prompt
    return given is not None and bool(
        given.image_attachments or given.session_id or given.is_scheduled_task or not given.prompt
    )


def _together_with(first: StoredMessage, messages: Sequence[StoredMessage]) -> list[StoredMessage]:
    """The messages of the first owed one's chat, up to where something else has to come first."""
    chat = first.message.chat_jid

    def comes_along(stored: StoredMessage) -> bool:
        is_elsewhere = stored.message.chat_jid != chat
        return not (stored.is_owed and (is_elsewhere or stands_alone(stored)))

    candidates = takewhile(comes_along, messages)
    return [stored for stored in candidates if stored.message.chat_jid == chat]


def _ends(together: Sequence[StoredMessage]) -> list[int]:
    """After how many messages a batch of these can end: behind each that is owed an answer."""
    return [count for count, stored in enumerate(together, start=1) if stored.is_owed]


def _size(stored: StoredMessage, timezone: str) -> int:
    """Bytes of a message in a prompt; alone it takes some more than among others."""
    return len(_text([stored], timezone).encode(errors="surrogatepass"))


def _end_within_limit(together: Sequence[StoredMessage], sizes: Mapping[int, int]) -> int:
    """After how many messages a prompt ends whose owed ones fit; the first of these always does."""
    ends = _ends(together)
    totals = accumulate(sizes[together[end - 1].seq] for end in ends)
    fitting = sum(1 for total in totals if total <= PROMPT_LIMIT)
    return ends[max(fitting, 1) - 1]


def _without_oldest_context(
    together: Sequence[StoredMessage], sizes: Mapping[int, int]
) -> list[StoredMessage]:
    room = PROMPT_LIMIT - sum(sizes[stored.seq] for stored in together if stored.is_owed)
    context = [stored.seq for stored in reversed(together) if not stored.is_owed]
    totals = accumulate(sizes[seq] for seq in context)
    shown = {seq for seq, total in zip(context, totals, strict=True) if total <= room}
    return [stored for stored in together if stored.is_owed or stored.seq in shown]


def _batch(
    messages: Sequence[StoredMessage],
    timezone: str,
    *,
    shown: Sequence[StoredMessage] | None = None,
    container_input: ContainerInput | None = None,
) -> Batch:
    return Batch(
        chat_jid=messages[0].message.chat_jid,
        seqs=tuple(stored.seq for stored in messages),
        owed_ids=tuple(stored.message.id for stored in messages if stored.is_owed),
        text=_text(messages if shown is None else shown, timezone),
        container_input=container_input,
    )


def _text(messages: Iterable[StoredMessage], timezone: str) -> str:
    """What was submitted as it is, what came from a chat formatted, with blank lines between."""
    parts: list[str] = []
    for is_chat, run in groupby(messages, key=lambda stored: stored.prompt is None):
        if is_chat:
            parts.append(format_prompt((stored.message for stored in run), timezone=timezone))
        else:
            parts += [stored.prompt.prompt for stored in run if stored.prompt is not None]
    return "\n\n".join(parts)


def _fits_follow_up(text: str) -> bool:
    try:
        encode_follow_up(text)
    except InputError:
        return False
    return True
