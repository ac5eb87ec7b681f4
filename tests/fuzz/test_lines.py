"""What comes line by line: a bridge's requests on the socket, and the journal."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

from documents import CANARY, check_discreet, check_said, contents, objects
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.cli.bridges.cutter import LineCutter, TooLong
from nanoclaw_trio.cli.bridges.requests import (
    REQUESTS,
    ChatsRequest,
    InvalidRequest,
    MessageRequest,
    RegisterRequest,
    chat_message,
    decode_request,
    group_wish,
    told_chats,
)
from nanoclaw_trio.engine.journal.events import JournalEntry, decode_line

LIMIT = 12

CUTS = st.lists(st.integers(0, 300), max_size=30)


def cut(data, cuts):
    edges = sorted({0, len(data), *(place for place in cuts if place < len(data))})
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.lists(st.binary(max_size=2 * LIMIT) | st.just(b"\n"), max_size=20).map(b"\n".join), CUTS)
def test_lines_are_the_same_however_they_are_cut(data, cuts):
    """Any bytes, cut anywhere, are the lines that they have whole; of one that is too long nothing
    is kept."""
    cutter, lines = LineCutter(LIMIT), []
    for chunk in cut(data, cuts):
        lines += cutter.receive_data(chunk)
        assert sum(map(len, cutter._parts)) <= LIMIT
    lines += cutter.receive_end()
    *ended, rest = data.split(b"\n")
    whole = ended + ([rest] if rest else [])
    assert lines == [line if len(line) <= LIMIT else TooLong(LIMIT) for line in whole]


WORDS = st.text(max_size=6) | st.just(CANARY)

TIMES = WORDS | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat) | st.none()

LINES = contents(
    objects(
        type=st.sampled_from(sorted(REQUESTS)),
        ref=WORDS | st.none(),
        chatJid=WORDS,
        id=WORDS,
        sender=WORDS,
        senderName=WORDS,
        text=WORDS,
        timestamp=TIMES,
        jid=WORDS,
        folder=WORDS,
        name=WORDS,
        trigger=WORDS,
        requiresTrigger=st.booleans(),
        isMain=st.booleans(),
        containerConfig=objects(timeout=st.integers(-1, 9), network=WORDS),
        chats=st.lists(objects(jid=WORDS, name=WORDS, lastActivity=TIMES), max_size=2),
    )
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(LINES)
def test_a_bridges_line_is_a_request_or_refused_without_its_content(line):
    """Any line of a bridge is a request that can be carried out, or an InvalidRequest that says
    nothing of it but its own `ref`, and a misspelt key of a container's configuration."""
    try:
        carry_out(decode_request(line))
    except InvalidRequest as error:
        if CANARY not in str(error.ref) and "unknown key" not in str(error):
            check_discreet(error)


def carry_out(request):
    match request:
        case MessageRequest():
            chat_message(request, NOW)
        case ChatsRequest():
            told_chats(request)
        case RegisterRequest():
            group_wish(request)


ENTRIES = contents(
    objects(
        at=st.just("2026-01-01T00:00:00.000Z") | WORDS,
        event=st.sampled_from(["message_accepted", "run_started", "delivered"]) | WORDS,
        engine=WORDS,
        chat=WORDS,
        id=WORDS,
        folder=WORDS,
        owed=st.booleans(),
        container=WORDS,
    )
)


@given(ENTRIES)
def test_a_journals_line_is_an_entry_or_torn_or_none(line):
    """Any line is an entry, a torn one, or a ValueError."""
    try:
        entry = decode_line(line, "journal.jsonl:1")
    except ValueError as error:
        check_said(error)
    else:
        assert entry is None or isinstance(entry, JournalEntry)
