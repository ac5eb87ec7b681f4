"""What becomes of an incoming message: by its chat, its sender, and how it begins."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.engine.chat.reception import Reception, receive
from nanoclaw_trio.engine.chat.triggers import (
    Route,
    begins_with_trigger,
    is_refusal_told,
    needs_trigger,
    route,
    trigger_of,
)
from nanoclaw_trio.logs import configure_logging
from nanoclaw_trio.protocol.models import RegisteredGroup
from nanoclaw_trio.store import groups
from nanoclaw_trio.store.connection import open_database
from nanoclaw_trio.store.models import ChatMessage, Registration
from nanoclaw_trio.workspace.senders import SenderAllowlist, SenderFile, SenderPolicy, SenderRule

reproducible = settings(derandomize=True, deadline=None)

OPEN = SenderPolicy()
NOBODY = SenderPolicy(
    allowlist=SenderAllowlist(default=SenderRule(allow=frozenset(), mode="trigger"))
)
DROPPING = SenderPolicy(
    allowlist=SenderAllowlist(default=SenderRule(allow=frozenset(), mode="drop"))
)


def said(text):
    return ChatMessage(
        chat_jid="family@chat",
        id="1",
        sender="ada@chat",
        sender_name="Ada",
        text=text,
        timestamp=datetime(2026, 1, 31, tzinfo=UTC),
    )


def registered(*, trigger="", requires_trigger=None, is_main=False):
    group = RegisteredGroup(
        name="Family", folder="family", trigger=trigger, requires_trigger=requires_trigger
    )
    return Registration(jid="family@chat", group=group, is_main=is_main)


QUIET = SenderPolicy(
    allowlist=SenderAllowlist(default=SenderRule(allow=frozenset(), mode="drop"), log_denied=False)
)
CALLED, CHATTER = "@Andy lunch?", "lunch?"


@pytest.mark.parametrize(
    ("registration", "text", "senders", "expected"),
    [
        (None, CALLED, OPEN, Route.UNREGISTERED),
        (None, CALLED, DROPPING, Route.UNREGISTERED),
        (registered(), CALLED, OPEN, Route.OWED),
        (registered(), CHATTER, OPEN, Route.CONTEXT),
        (registered(), CALLED, NOBODY, Route.CONTEXT),
        (registered(), CHATTER, NOBODY, Route.CONTEXT),
        (registered(), CALLED, DROPPING, Route.DROPPED),
        (registered(), CHATTER, DROPPING, Route.DROPPED),
        (registered(is_main=True), CHATTER, OPEN, Route.OWED),
        (registered(is_main=True), CHATTER, NOBODY, Route.CONTEXT),
        (registered(is_main=True), CHATTER, DROPPING, Route.DROPPED),
        (registered(requires_trigger=False), CHATTER, OPEN, Route.OWED),
        (registered(requires_trigger=False), CHATTER, NOBODY, Route.CONTEXT),
        (registered(trigger="@Bot"), CALLED, OPEN, Route.CONTEXT),
        (registered(trigger="@Bot"), "@bot lunch?", OPEN, Route.OWED),
        (registered(requires_trigger=True, is_main=True), CHATTER, OPEN, Route.CONTEXT),
        (registered(requires_trigger=True, is_main=True), CALLED, OPEN, Route.OWED),
    ],
)
def test_routes(
    registration: Registration | None, text: str, senders: SenderPolicy, expected: Route
) -> None:
    """The chat decides first, then the sender, then the trigger."""
    found = route(said(text), registration, senders=senders, assistant_name="Andy")
    assert found is expected


@pytest.mark.parametrize(
    ("requires_trigger", "is_main", "needs"),
    [
        (None, False, True),
        (None, True, False),
        (True, False, True),
        (True, True, True),
        (False, False, False),
        (False, True, False),
    ],
)
def test_who_needs_a_trigger(requires_trigger, is_main, needs):
    """What the registration says counts; the main group needs none if it says nothing."""
    registration = registered(requires_trigger=requires_trigger, is_main=is_main)
    assert needs_trigger(registration) is needs


@pytest.mark.parametrize(
    ("trigger", "expected"), [("", "@Andy"), (" \n", "@Andy"), ("@Bot", "@Bot"), (" !ask ", "!ask")]
)
def test_the_trigger_is_the_groups_own_or_the_name(trigger: str, expected: str) -> None:
    """A group without a word of its own is spoken to by the assistant's name."""
    assert trigger_of(registered(trigger=trigger), "Andy") == expected


@pytest.mark.parametrize(
    ("text", "trigger"),
    [
        ("@Andy", "@Andy"),
        ("@Andy hi", "@Andy"),
        (" \n\t@Andy\nhi", "@Andy"),
        ("@Andy, hi", "@Andy"),
        ("@Andy's turn", "@Andy"),
        ("@Andy-bot", "@Andy"),
        ("@Andy…", "@Andy"),
        ("@Andy🙂", "@Andy"),
        ("@Andy\u00a0hi", "@Andy"),
        ("@Andy\u2069 hi", "@Andy"),
        ("@ANDY hi", "@andy"),
        ("@andy hi", "@ANDY"),
        ("@STRASSE hi", "@Straße"),
        ("@straße hi", "@STRASSE"),
        ("@ΣΊΣΥΦΟΣ hi", "@σίσυφος"),
        ("@Andre\u0301 hi", "@André"),
        ("@ANDRÉ hi", "@Andre\u0301"),
        ("Hey Andy hi", "hey andy"),
        ("!help", "!"),
        ("🤖hello", "🤖"),
    ],
)
def test_begins_with_its_trigger(text: str, trigger: str) -> None:
    """Spaces before it and its case don't matter; what follows isn't part of the word."""
    assert begins_with_trigger(text, trigger)


@pytest.mark.parametrize(
    ("text", "trigger"),
    [
        ("", "@Andy"),
        ("hi @Andy", "@Andy"),
        ("@And", "@Andy"),
        ("Andy hi", "@Andy"),
        ("@Andyman", "@Andy"),
        ("@Andy2", "@Andy"),
        ("@Andy_2", "@Andy"),
        ("@Andyé", "@Andy"),
        ("@Andre\u0301", "@Andre"),
        ("@Andy\u0489", "@Andy"),
        ("@ß", "@s"),
        (" ! help", "!h"),
    ],
)
def test_does_not_begin_with_its_trigger(text: str, trigger: str) -> None:
    """A longer word, a shorter one, and one further behind are no trigger."""
    assert not begins_with_trigger(text, trigger)


words = st.text(min_size=1).filter(lambda word: word.strip() == word)


@reproducible
@given(words, st.text())
def test_any_word_triggers_with_a_space_behind_it(word: str, rest: str) -> None:
    """Whatever an operator chose as the word, it works when it stands by itself."""
    assert begins_with_trigger(word, word)
    assert begins_with_trigger(f"  {word} {rest}", word)
    assert begins_with_trigger(f"{unicodedata.normalize('NFD', word)} {rest}", word)


@reproducible
@given(st.text(st.characters(categories=["L", "N"]), min_size=1), st.text())
def test_no_longer_word_triggers(more: str, rest: str) -> None:
    """A name that begins with the assistant's is another's."""
    assert not begins_with_trigger(f"@Andy{more} {rest}", "@Andy")


@pytest.mark.parametrize(
    ("senders", "is_told"), [(OPEN, False), (NOBODY, True), (DROPPING, True), (QUIET, False)]
)
def test_who_is_told_of_as_refused(senders, is_told):
    """The log says whom the operator's list kept from asking, unless the list says it shan't."""
    assert is_refusal_told(said(CALLED), senders) is is_told


def test_the_log_says_who_may_not_ask(settings, tmp_path, capsys):
    """Whom the operator's list keeps from asking in a registered chat is told of, not what he said."""
    path = tmp_path / "senders.json"
    path.write_text('{"default": {"allow": [], "mode": "drop"}}')
    database = open_database(settings.project_root)
    hand_in = partial(
        database.transact,
        receive,
        said(CALLED),
        senders=SenderFile(path),
        assistant_name="Andy",
        now=datetime(2026, 1, 31, tzinfo=UTC),
    )
    configure_logging("info")
    assert hand_in().reception is Reception.UNREGISTERED
    assert capsys.readouterr().err == ""
    database.transact(groups.register, registered())
    assert hand_in().reception is Reception.DROPPED
    logged = capsys.readouterr().err
    assert "sender may not ask" in logged
    assert "sender=ada@chat" in logged
    assert "lunch" not in logged
    database.close()
