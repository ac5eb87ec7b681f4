"""A follow-up's file: its content and its name."""

from __future__ import annotations

import json
import traceback
from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.errors import InputError
from nanoclaw_trio.files import MAILBOX_FILE_LIMIT
from nanoclaw_trio.mailbox.follow_up import NameSource, decode_follow_up, encode_follow_up

reproducible = settings(derandomize=True, deadline=None)

MOMENT = datetime(2026, 2, 1, 15, 30, tzinfo=UTC)
FRAME = len(encode_follow_up("x")) - 1


def test_content_is_the_formats() -> None:
    """The file holds the two keys that an agent for the original host looks for."""
    assert json.loads(encode_follow_up("wie geht's?")) == {"type": "message", "text": "wie geht's?"}


@reproducible
@given(st.text(min_size=1))
def test_text_survives_the_way_there_and_back(text: str) -> None:
    """Any text that UTF-8 can hold comes back as it went, NUL and line ends included."""
    assert decode_follow_up(encode_follow_up(text)) == text


@reproducible
@given(st.text(st.characters(), min_size=1))
def test_half_a_surrogate_pair_costs_only_itself(text: str) -> None:
    """Text with half an emoji is sent all the same; the half is read as U+FFFD."""
    broken = f"{text}\ud83d!"
    assert decode_follow_up(encode_follow_up(broken)) == f"{text}\ufffd!"


def test_longest_text_is_the_one_whose_file_is_read() -> None:
    """The limit is the reader's: the longest text that is taken makes a file that is read."""
    longest = encode_follow_up("x" * (MAILBOX_FILE_LIMIT - FRAME))
    assert len(longest) == MAILBOX_FILE_LIMIT
    assert len(decode_follow_up(longest)) == MAILBOX_FILE_LIMIT - FRAME


@pytest.mark.parametrize(
    "text",
    [
        "x" * (MAILBOX_FILE_LIMIT - FRAME + 1),
        "x" * MAILBOX_FILE_LIMIT,
        "\n" * (MAILBOX_FILE_LIMIT // 2),
        "é" * (MAILBOX_FILE_LIMIT // 2),
        "\ud83d" * (MAILBOX_FILE_LIMIT // 6),
    ],
    ids=["one too many", "a mebibyte", "escapes", "two bytes each", "halves"],
)
def test_too_long_text_is_refused(text: str) -> None:
    """What would make a file that no reader takes is the caller's fault, and said with numbers."""
    with pytest.raises(InputError, match=f"too long.*{MAILBOX_FILE_LIMIT} are allowed; send it"):
        encode_follow_up(text)


def test_empty_text_is_refused() -> None:
    """Agents drop an empty follow-up, so that its sender would wait for an answer in vain."""
    with pytest.raises(InputError, match="no text"):
        encode_follow_up("")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not JSON: "),
        (b"{", "not JSON: "),
        (b"[]", "not an object @ $"),
        (b'"text"', "not an object @ $"),
        (b'{"text":"hi"}', "required field missing @ $.type"),
        (b'{"type":"message"}', "required field missing @ $.text"),
        (b'{"type":"message","text":null}', "not a string @ $.text"),
        (b'{"type":"message","text":5}', "not a string @ $.text"),
        (b'{"type":"message","text":""}', "empty @ $.text"),
        (b'{"type":"other","text":"hi"}', "not one of message @ $.type"),
        (b"[" * 100_000, "more than 20000 values"),
    ],
)
def test_wrong_content_is_refused_with_the_path(content: bytes, problem: str) -> None:
    """What isn't a follow-up is a ValueError that says where, whatever it is."""
    with pytest.raises(ValueError) as caught:
        decode_follow_up(content)
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize(
    "content", [b'{"type":"message","text":5,"x":"canary"}', b'{"type":"canary","text":"a"}']
)
def test_refusal_has_nothing_of_the_content(content: bytes) -> None:
    """The error's text goes into a log: nothing of what somebody wrote is in it."""
    with pytest.raises(ValueError) as caught:
        decode_follow_up(content)
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_unknown_keys_are_ignored() -> None:
    """A newer host may write more: what is needed is taken."""
    assert decode_follow_up(b'{"type":"message","text":"hi","sender":"Ada"}') == "hi"


def test_names_are_the_moment_a_sequence_and_chance() -> None:
    """Milliseconds as in the original's names, a sequence number, eight hex digits."""
    names = NameSource()
    assert names.next_name(MOMENT).startswith("1769959800000-000000000-")
    assert names.next_name(MOMENT).startswith("1769959800000-000000001-")
    later = names.next_name(MOMENT + timedelta(milliseconds=1))
    assert later.startswith("1769959800001-000000000-")
    assert len(later) == len("1769959800000-000000002-01234567.json")


@reproducible
@given(st.lists(st.integers(-5000, 5000)))
def test_names_sort_in_their_order_whatever_the_clock_does(steps: list[int]) -> None:
    """Standing still, stepping back, leaping: names sort as they were asked for. Trap A21."""
    source, moment, names = NameSource(), MOMENT, []
    for step in steps:
        moment += timedelta(milliseconds=step)
        names.append(source.next_name(moment))
    assert names == sorted(names)
    assert len(set(names)) == len(names)


def test_a_thousand_in_one_millisecond_sort() -> None:
    """The sequence number is padded: the tenth doesn't sort before the second. Trap A21."""
    source = NameSource()
    names = [source.next_name(MOMENT) for _ in range(1000)]
    assert names == sorted(names)


def test_two_processes_in_one_millisecond_write_two_files() -> None:
    """Two sources, as in two processes, never give one name twice."""
    assert NameSource().next_name(MOMENT) != NameSource().next_name(MOMENT)


def test_names_are_unique_from_several_threads() -> None:
    """Two Trio loops in two threads of one process share the sequence."""
    source = NameSource()
    lists: list[list[str]] = [[] for _ in range(4)]

    def ask(names: list[str]) -> None:
        names.extend(source.next_name(MOMENT)[:23] for _ in range(500))

    threads = [Thread(target=ask, args=(names,)) for names in lists]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = [name for names in lists for name in names]
    assert len(set(together)) == len(together) == 2000
    assert all(names == sorted(names) for names in lists)
