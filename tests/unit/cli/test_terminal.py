"""An agent doesn't steer the user's terminal."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.cli.terminal import neutralize, neutralize_json, one_line

TURNING = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
"""Unicode's classes of the characters that embed, override or isolate a direction."""

reproducible = settings(derandomize=True, deadline=None)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("Grüße 你好 🙂", "Grüße 你好 🙂"),
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("over\rwritten", "over␍written"),
        ("dos\r\nline", "dos\nline"),
        ("a\x00b\x7fc", "a␀b␡c"),
        ("\x9b31m", "\ufffd31m"),
        ("mv a\u202eb\u2066c\u2069", "mv a\ufffdb\ufffdc\ufffd"),
        ("שלום\u200f!", "שלום\u200f!"),
    ],
)
def test_neutralize(text, shown):
    """Control characters become pictures, and what turns the order of a text around is shown;
    line ends, tabs and all else stay."""
    assert neutralize(text) == shown


@reproducible
@given(st.text())
def test_no_control_character_passes(text):
    """Whatever the text, a terminal gets no control character but line ends and tabs."""
    shown = neutralize(text)
    assert all(unicodedata.category(c) != "Cc" or c in "\n\t" for c in shown)
    assert not {unicodedata.bidirectional(c) for c in shown} & TURNING


@reproducible
@given(st.text())
def test_json_is_the_same_without_control_characters(text):
    """A program reads the same from the neutralized line, and a terminal obeys nothing in it."""
    line = neutralize_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(line) == text
    assert all(unicodedata.category(character) != "Cc" for character in line)
    assert not {unicodedata.bidirectional(c) for c in line} & TURNING


def test_one_line():
    """An error is one line, whatever it quotes."""
    assert one_line("a\n  b\r\nc ") == "a b c"
