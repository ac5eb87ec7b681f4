"""Which messages are refused when they are handed in, and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, available_timezones

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.engine.chat.incoming import TEXT_LIMIT, check_message, mend_message
from nanoclaw_trio.engine.chat.prompt import display_time
from nanoclaw_trio.errors import InputError
from nanoclaw_trio.files import MAILBOX_FILE_LIMIT
from nanoclaw_trio.store.models import ChatMessage

reproducible = settings(derandomize=True, deadline=None)

GOOD = ChatMessage(
    chat_jid="family@chat",
    id="m1",
    sender="ada@chat",
    sender_name="Ada",
    text="Hello",
    timestamp=datetime(2026, 1, 31, tzinfo=UTC),
)


class Nowhere(tzinfo):
    """A zone that knows no offset, by which a moment is as good as naive."""

    def utcoffset(self, moment):
        return None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sender": "", "sender_name": ""},
        {"text": "x" * TEXT_LIMIT},
        {"text": "é" * (TEXT_LIMIT // 2)},
        {"text": "<" * TEXT_LIMIT},
        {"text": "\ud83d\x00"},
        {"timestamp": datetime(2026, 1, 31, tzinfo=ZoneInfo("Asia/Tokyo"))},
        {"timestamp": datetime(2, 1, 1, tzinfo=UTC)},
        {"timestamp": datetime(9998, 12, 31, 23, 59, tzinfo=UTC)},
    ],
)
def test_what_a_prompt_can_be_made_of_is_taken(changes: dict[str, object]) -> None:
    """The longest text, the oldest message, and one without a sender are all right."""
    check_message(evolve(GOOD, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": ""}, "message '' of chat 'family@chat' has no id: give it"),
        ({"chat_jid": ""}, "message 'm1' of chat '' has no chat_jid: say which"),
        ({"text": ""}, "message 'm1' of chat 'family@chat' has no text: leave it out"),
        ({"text": " \n\u00a0"}, "has no text: leave it out"),
        (
            {"text": "x" * (TEXT_LIMIT + 1)},
            "is too long: its text has 524289 bytes of UTF-8, and 524288 are allowed before",
        ),
        ({"text": "é" * (TEXT_LIMIT // 2 + 1)}, "its text has 524290 bytes"),
        ({"text": "\ud83d" * TEXT_LIMIT}, "its text has 1572864 bytes"),
        ({"timestamp": datetime(2026, 1, 31)}, "has a timestamp without a time zone"),  # noqa: DTZ001
        (
            {"timestamp": datetime(2026, 1, 31, tzinfo=Nowhere())},
            "has a timestamp without a time zone",
        ),
        ({"timestamp": datetime(1, 12, 31, tzinfo=UTC)}, "has a timestamp in the year 1: check"),
        ({"timestamp": datetime(9999, 1, 1, tzinfo=UTC)}, "has a timestamp in the year 9999"),
    ],
)
def test_what_no_prompt_can_be_made_of_is_refused(changes: dict[str, object], words: str) -> None:
    """The caller is told which message it was, what is wrong with it and what to do."""
    with pytest.raises(InputError) as caught:
        check_message(evolve(GOOD, **changes))
    assert words in str(caught.value)


def test_a_refusal_has_nothing_of_the_text() -> None:
    """The error's text goes into a log: nothing of what somebody said is in it."""
    with pytest.raises(InputError) as caught:
        check_message(evolve(GOOD, text="canary" * TEXT_LIMIT))
    assert "canary" not in str(caught.value)


def test_the_longest_text_fits_a_follow_up() -> None:
    """Text with little to escape, up to the limit, never waits for a run of its own."""
    assert TEXT_LIMIT == MAILBOX_FILE_LIMIT // 2


@pytest.mark.parametrize(
    "moment",
    [datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, 23, 59, tzinfo=UTC)],
)
@pytest.mark.parametrize("hours", [-23, 23])
def test_any_moment_that_is_taken_can_be_shown_everywhere(moment: datetime, hours: int) -> None:
    """No moment that was taken is beyond the calendar in the zone of a prompt."""
    shifted = moment.replace(tzinfo=timezone(timedelta(hours=hours)))
    check_message(evolve(GOOD, timestamp=shifted))
    for zone in sorted(available_timezones()):
        assert display_time(shifted, ZoneInfo(zone))


@reproducible
@given(st.text(), st.text())
def test_mending_changes_only_halves_of_pairs(text: str, name: str) -> None:
    """Text that a database takes stays as it is."""
    message = evolve(GOOD, text=text, sender_name=name)
    assert mend_message(message) == message


def test_half_an_emoji_costs_only_itself() -> None:
    """Each field with half of a surrogate pair is kept, with U+FFFD in the half's place."""
    fields = ("chat_jid", "id", "sender", "sender_name", "text")
    mended = mend_message(evolve(GOOD, **dict.fromkeys(fields, "a\ud83d!\ude00é🙂")))
    assert [getattr(mended, name) for name in fields] == ["a\ufffd!\ufffdé🙂"] * 5


@pytest.mark.parametrize("name", ["id", "chat_jid", "sender", "sender_name"])
def test_a_name_that_is_too_long(name: str) -> None:
    """Names and addresses have 1 KiB at most, and an error repeats no more of them than it must."""
    check_message(evolve(GOOD, **{name: "é" * 512}))
    with pytest.raises(InputError, match=f"has 1026 bytes in its {name}, and 1024") as caught:
        check_message(evolve(GOOD, **{name: "é" * 513}))
    assert len(str(caught.value)) < 500
