"""What goes into one prompt or follow-up: everything owed, in order, once."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.engine.chat.batches import (
    PROMPT_LIMIT,
    Batch,
    next_follow_up,
    next_prompt,
    stands_alone,
)
from nanoclaw_trio.engine.chat.incoming import TEXT_LIMIT
from nanoclaw_trio.engine.chat.prompt import format_prompt
from nanoclaw_trio.files import MAILBOX_FILE_LIMIT
from nanoclaw_trio.mailbox.follow_up import encode_follow_up
from nanoclaw_trio.protocol.models import ContainerInput, ImageAttachment
from nanoclaw_trio.store.models import ChatMessage, StoredMessage

reproducible = settings(derandomize=True, deadline=None)

ZONE = "Europe/Berlin"
PICTURE = ImageAttachment(relative_path="cat.jpg", media_type="image/jpeg")


def stored(seq, text="Hello", *, is_owed=True, chat="family@chat", prompt=None):
    message = ChatMessage(
        chat_jid=chat,
        id=f"m{seq}",
        sender="ada@chat",
        sender_name="Ada",
        text=text,
        timestamp=datetime(2026, 1, 31, 13, 30, tzinfo=UTC),
    )
    return StoredMessage(seq=seq, folder="family", message=message, is_owed=is_owed, prompt=prompt)


def context(seq, text="by the way", **fields):
    return stored(seq, text, is_owed=False, **fields)


def submitted(seq, text="Do it", **fields):
    given = ContainerInput(
        prompt=text, group_folder="family", chat_jid="family@chat", is_main=False, **fields
    )
    return stored(seq, text, prompt=given)


def formatted(*messages):
    return format_prompt([one.message for one in messages], timezone=ZONE)


def both(messages):
    """The prompt and the follow-up of these messages, where they don't differ."""
    prompt = next_prompt(messages, timezone=ZONE)
    assert next_follow_up(messages, timezone=ZONE) == prompt
    return prompt


def test_messages_coalesce_into_one_prompt() -> None:
    """All that waits is asked at once, context too, and the owed ones are named."""
    messages = [context(3), stored(5), context(6), stored(9)]
    assert both(messages) == Batch(
        chat_jid="family@chat",
        seqs=(3, 5, 6, 9),
        owed_ids=("m5", "m9"),
        text=formatted(*messages),
    )


def test_context_behind_the_last_owed_one_stays() -> None:
    """It goes along with the next message that asks for an answer."""
    messages = [stored(1), context(2), stored(3), context(4), context(5)]
    assert both(messages).seqs == (1, 2, 3)
    assert both([*messages[3:], stored(6)]).seqs == (4, 5, 6)


def test_what_was_submitted_goes_in_as_it_is() -> None:
    """Runs of chat messages are formatted, submitted prompts are not, in the order they came."""
    messages = [stored(1), stored(2), submitted(3, "<raw>"), submitted(4), context(5), stored(6)]
    batch = both(messages)
    assert batch.text == "\n\n".join(
        [formatted(*messages[:2]), "<raw>", "Do it", formatted(*messages[4:])]
    )
    assert batch.owed_ids == ("m1", "m2", "m3", "m4", "m6")
    assert batch.container_input is None


ALONE = [
    submitted(7, image_attachments=(PICTURE,)),
    submitted(7, session_id="6f1c"),
    submitted(7, is_scheduled_task=True),
    submitted(7, ""),
]
TOGETHER = [
    stored(7),
    submitted(7),
    submitted(7, image_attachments=()),
    submitted(7, session_id=""),
    submitted(7, is_scheduled_task=False),
    submitted(7, assistant_name="Andy"),
]
ids = ["pictures", "session", "task", "empty"]


@pytest.mark.parametrize("special", ALONE, ids=ids)
def test_what_stands_alone_is_a_prompt_by_itself(special: StoredMessage) -> None:
    """It keeps its whole input, takes nobody along, and is no follow-up."""
    assert stands_alone(special)
    assert next_prompt([special, stored(8)], timezone=ZONE) == Batch(
        chat_jid="family@chat",
        seqs=(7,),
        owed_ids=("m7",),
        text=special.message.text,
        container_input=special.prompt,
    )
    assert next_follow_up([special, stored(8)], timezone=ZONE) is None


@pytest.mark.parametrize("special", ALONE, ids=ids)
def test_nothing_is_taken_past_what_stands_alone(special: StoredMessage) -> None:
    """What came before it is asked before it, and what came after it, after it."""
    messages = [stored(5), context(6), special, stored(8)]
    assert both(messages).seqs == (5,)
    assert next_prompt(messages[1:], timezone=ZONE).seqs == (7,)
    assert next_follow_up(messages[1:], timezone=ZONE) is None
    assert both([messages[1], messages[3]]).seqs == (6, 8)


@pytest.mark.parametrize("usual", TOGETHER)
def test_what_doesnt_stand_alone(usual: StoredMessage) -> None:
    """Text alone goes with other text, however it came in."""
    assert not stands_alone(usual)
    assert both([stored(6), usual, stored(8)]).seqs == (6, 7, 8)


def test_another_chats_messages_are_another_batch() -> None:
    """An answer goes to one chat, so a batch comes from one: the first owed one's."""
    messages = [
        context(1, chat="old@chat"),
        context(2),
        stored(3),
        context(4, chat="old@chat"),
        stored(5),
        stored(6, chat="old@chat"),
        stored(7),
    ]
    assert both(messages).seqs == (2, 3, 5)
    rest = [messages[0], messages[3], *messages[5:]]
    assert both(rest).seqs == (1, 4, 6)
    assert both(rest).chat_jid == "old@chat"
    assert both(rest[3:]).seqs == (7,)


@pytest.mark.parametrize("messages", [[], [context(1)], [context(1), context(2)]])
def test_context_alone_is_no_follow_up(messages: list[StoredMessage]) -> None:
    """Where nothing is owed, an agent isn't disturbed."""
    assert next_follow_up(messages, timezone=ZONE) is None


def size(messages):
    return len(encode_follow_up(formatted(*messages)))


def filling(*seqs):
    """Messages that fill a follow-up's file to its last byte."""
    messages = [stored(seq) for seq in seqs]
    room = MAILBOX_FILE_LIMIT - size(messages)
    last = messages[-1]
    longer = evolve(last.message, text=last.message.text + "x" * room)
    return [*messages[:-1], evolve(last, message=longer)]


def test_a_follow_up_has_as_many_as_fit() -> None:
    """The file is filled up to its limit; what doesn't fit is for the next one."""
    messages = [*filling(1, 2, 3), stored(4)]
    assert size(messages[:3]) == MAILBOX_FILE_LIMIT
    batch = next_follow_up(messages, timezone=ZONE)
    assert batch is not None
    assert batch.seqs == (1, 2, 3)
    assert next_prompt(messages, timezone=ZONE).seqs == (1, 2)
    over = evolve(messages[2], message=evolve(messages[2].message, text="x" * MAILBOX_FILE_LIMIT))
    batch = next_follow_up([*messages[:2], over, stored(4)], timezone=ZONE)
    assert batch is not None
    assert batch.seqs == (1, 2)


def test_a_follow_up_ends_at_an_owed_one() -> None:
    """Context isn't sent without the message that it is for, even if it would fit."""
    messages = [stored(1), context(2), stored(3, "x" * MAILBOX_FILE_LIMIT)]
    batch = next_follow_up(messages, timezone=ZONE)
    assert batch is not None
    assert batch.seqs == (1,)
    assert next_follow_up(messages[1:], timezone=ZONE) is None


@pytest.mark.parametrize("text", ["x" * MAILBOX_FILE_LIMIT, '"' * (MAILBOX_FILE_LIMIT // 6)])
def test_what_no_follow_up_holds_waits_for_a_run(text: str) -> None:
    """If not even the first fits, as it is escaped, nothing is sent, and a prompt has it."""
    messages = [stored(1, text), stored(2)]
    assert next_follow_up(messages, timezone=ZONE) is None
    assert next_prompt(messages, timezone=ZONE).seqs == (1,)


kinds = st.sampled_from(["owed", "owed", "context", "submitted", "alone", "elsewhere", "long"])


def line_of(words):
    """Waiting messages of these kinds, in the order of the words."""
    make = {
        "owed": stored,
        "context": context,
        "submitted": submitted,
        "alone": lambda seq: submitted(seq, session_id="6f1c"),
        "elsewhere": lambda seq: stored(seq, chat="old@chat"),
        "long": lambda seq: stored(seq, "x" * (MAILBOX_FILE_LIMIT // 2)),
    }
    return [make[word](seq) for seq, word in zip(count(1), words, strict=False)]


def take(waiting, wants_follow_up):
    batch = next_follow_up(waiting, timezone=ZONE) if wants_follow_up else None
    if batch is not None:
        assert len(encode_follow_up(batch.text)) <= MAILBOX_FILE_LIMIT
        assert batch.container_input is None
    return batch or next_prompt(waiting, timezone=ZONE)


@reproducible
@given(st.lists(kinds, max_size=12), st.lists(st.booleans(), min_size=12, max_size=12))
def test_batch_after_batch_asks_everything_once_and_in_order(words, wishes) -> None:
    """Prompts and follow-ups, however they take turns, have each owed message once, in order."""
    messages = line_of(words)
    waiting, asked, seqs = messages, [], []
    for wants_follow_up in wishes:
        if not any(one.is_owed for one in waiting):
            break
        batch = take(waiting, wants_follow_up)
        asked += batch.owed_ids
        seqs += batch.seqs
        assert list(batch.seqs) == sorted(batch.seqs)
        waiting = [one for one in waiting if one.seq not in batch.seqs]
    assert asked == [one.message.id for one in messages if one.is_owed]
    assert len(seqs) == len(set(seqs))
    assert {one.seq for one in waiting} == {one.seq for one in messages} - set(seqs)


@reproducible
@given(st.lists(kinds, max_size=12))
def test_context_goes_with_what_follows_it(words) -> None:
    """A batch's context stands before its last owed message, and none is left before that."""
    messages = line_of(words)
    if not any(one.is_owed for one in messages):
        return
    batch = next_prompt(messages, timezone=ZONE)
    asked = [one for one in messages if one.seq in batch.seqs]
    assert asked[-1].is_owed
    assert {one.message.chat_jid for one in asked} == {batch.chat_jid}
    if batch.container_input is None:
        skipped = [one for one in messages if one.seq < batch.seqs[-1] and one not in asked]
        assert not [one for one in skipped if one.message.chat_jid == batch.chat_jid]


SIXTH = "x" * (PROMPT_LIMIT // 6)


def test_a_prompt_without_room_leaves_the_oldest_context_out() -> None:
    """Its text isn't read, but it is settled with the prompt: it doesn't come back."""
    messages = [*(context(seq, SIXTH) for seq in range(9)), stored(10, "@Andy hi")]
    batch = next_prompt(messages, timezone=ZONE)
    assert batch.seqs == (*range(9), 10)
    assert batch.text == formatted(*messages[4:])
    assert len(batch.text) <= PROMPT_LIMIT


def test_many_owed_messages_are_several_prompts() -> None:
    """What asks for an answer is never left out: it is asked in the next prompt."""
    left, asked = [stored(seq, SIXTH) for seq in range(12)], []
    while left:
        batch = next_prompt(left, timezone=ZONE)
        assert len(batch.text.encode()) <= PROMPT_LIMIT
        asked += batch.owed_ids
        left = [one for one in left if one.seq not in batch.seqs]
        assert len(batch.seqs) == (5 if left or len(asked) == 10 else 2)
    assert asked == [f"m{seq}" for seq in range(12)]


def test_one_message_that_is_longer_than_that_is_a_prompt() -> None:
    """Each prompt has at least one that asks for an answer, however long it becomes by escaping."""
    messages = [context(1), stored(2, "<" * TEXT_LIMIT), context(3), stored(4)]
    batch = next_prompt(messages, timezone=ZONE)
    assert batch.seqs == (1, 2)
    assert batch.text == formatted(messages[1])
    assert next_prompt(messages[2:], timezone=ZONE).seqs == (3, 4)


def test_the_newest_context_stays_with_an_older_message() -> None:
    """It is left out by its age, wherever it stands between those that are owed an answer."""
    messages = [context(1, SIXTH), stored(2, SIXTH * 4), context(3, SIXTH), context(4), stored(5)]
    batch = next_prompt(messages, timezone=ZONE)
    assert batch.seqs == (1, 2, 3, 4, 5)
    assert batch.text == formatted(*messages[1:])
