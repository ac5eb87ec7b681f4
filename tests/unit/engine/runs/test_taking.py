"""What is looked at for a prompt: no more than one can have, whatever waits."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.engine.chat.batches import MOST_MESSAGES, PROMPT_LIMIT, next_prompt
from nanoclaw_trio.engine.chat.prompt import format_prompt
from nanoclaw_trio.engine.runs.taking import CONTEXT_KEPT, take_stock
from nanoclaw_trio.protocol.models import ContainerInput
from nanoclaw_trio.store import messages
from nanoclaw_trio.store.connection import open_database
from nanoclaw_trio.store.models import ChatMessage

NOW = datetime(2026, 1, 31, 13, 30, tzinfo=UTC)

QUARTER = PROMPT_LIMIT // 4


def message(number, text, chat="family@chat", name="Ada"):
    return ChatMessage(
        chat_jid=chat,
        id=f"m{number}",
        sender="ada@chat",
        sender_name=name,
        text=text,
        timestamp=NOW,
    )


def looked_at(tx, said):
    """What is looked at of these, and all that waits."""
    for number, (text, is_owed, prompt) in enumerate(said):
        submitted = ContainerInput(
            prompt=prompt, group_folder="family", chat_jid="family@chat", is_main=False
        )
        messages.accept(
            tx,
            message(number, text),
            "family",
            is_owed=is_owed,
            received_at=NOW,
            prompt=submitted if prompt else None,
        )
    return take_stock(tx, "family"), messages.waiting(tx, "family")


def look(said):
    with TemporaryDirectory() as directory:
        database = open_database(Path(directory))
        try:
            return database.transact(looked_at, said)
        finally:
            database.close()


TEXTS = {"short": "Hello", "accents": "é" * (QUARTER // 2), "long": "x" * (2 * QUARTER)}

lines = st.tuples(
    st.sampled_from(sorted(TEXTS)), st.booleans(), st.sampled_from(["", "", "", "Do it"])
)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(lines, max_size=12))
def test_the_prompt_is_the_same(said):
    """A prompt of what is looked at is that of all that waits. Where something was submitted, which is
    counted twice, it may be the beginning of that."""
    some, everything = look([(TEXTS[name], *rest) for name, *rest in said])
    assert some == everything[: len(some)]
    if not any(one.is_owed for one in everything):
        return
    batch, whole = (next_prompt(waiting, timezone="UTC") for waiting in (some, everything))
    if any(one.prompt for one in everything):
        assert batch.seqs == whole.seqs[: len(batch.seqs)]
        assert batch.owed_ids == whole.owed_ids[: len(batch.owed_ids)] != ()
    else:
        assert batch == whole


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ([], 0),
        ([("c" * PROMPT_LIMIT, False, "")] * 5 + [("Hello", True, "")], 6),
        ([("x" * PROMPT_LIMIT, True, "")] * 5, 2),
        ([("\0" + "x" * PROMPT_LIMIT, True, "")] * 5, 1),
        ([("é" * PROMPT_LIMIT, True, "")] * 5, 1),
        ([("x", True, "p" * PROMPT_LIMIT)] * 5, 1),
        ([("Hello", True, "")] * (MOST_MESSAGES + 100), MOST_MESSAGES),
    ],
)
def test_how_many(said, number):
    """A backlog of any size costs the memory of a prompt or two, and of some context."""
    some, everything = look(said)
    assert (len(some), len(everything)) == (number, len(said))


def test_more_do_not_fit():
    """Of the shortest messages that there are, with all the context, fewer make a prompt."""
    alone = format_prompt([message(1, "x", name="")], timezone="UTC")
    assert PROMPT_LIMIT // len(alone) + CONTEXT_KEPT < MOST_MESSAGES
