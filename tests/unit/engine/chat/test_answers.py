"""What of an answer is said: internal parts aren't."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.engine.chat.answers import visible_text

reproducible = settings(derandomize=True, deadline=None)

QUOTES = ("`", '"', "'")

pieces = st.sampled_from(
    ["<internal>", "</internal>", "`", '"', "'", " ", "\n", "a", "b", "<", "/", "internal", ">"]
)
answers = st.lists(pieces, max_size=30).map("".join)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("Hello", "Hello"),
        ("  Hello\n", "Hello"),
        ("", ""),
        (" \n", ""),
        ("<internal>hm</internal>", ""),
        ("<internal></internal>Yes", "Yes"),
        ("<internal>hm</internal>\nYes", "Yes"),
        ("Yes\n<internal>one\ntwo\n</internal>\n", "Yes"),
        ("<internal>a</internal>One <internal>b</internal>two<internal>c</internal>", "One two"),
        ("Yes</internal>", "Yes</internal>"),
        ("</internal>Yes<internal>hm</internal>", "</internal>Yes"),
        ("<Internal>loud</Internal>", "<Internal>loud</Internal>"),
        ("<internals>x</internals>", "<internals>x</internals>"),
    ],
)
def test_closed_parts_are_not_said(result: str, said: str) -> None:
    """From each opening tag to the next closing one nothing is said, and the rest is stripped."""
    assert visible_text(result) == said


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("Sure!\n<internal>now I wonder wheth", "Sure!"),
        ("Sure! <internal>now I wonder", "Sure!"),
        ("<internal>Noted. Nothing to say.", ""),
        ("<internal>a</internal>Yes<internal>b", "Yes"),
        ("Yes <internal>a <internal>b", "Yes"),
        ("Yes <internal>I ran `ls`", "Yes"),
        ("I ran `ls`<internal>and wonder", "I ran `ls`"),
        ("Yes <internal>`ls` is odd", "Yes"),
    ],
)
def test_an_unclosed_part_is_not_said(result: str, said: str) -> None:
    """An agent that forgot the closing tag, or was cut off, leaks nothing."""
    assert visible_text(result) == said


@pytest.mark.parametrize(
    "result",
    [
        "`<internal>` hides what follows it.",
        'I don\'t send what is in "<internal>", as you know.',
        "The tag '<internal>' is mine.",
        "Put `<internal>` first and '<internal>' never.",
    ],
)
def test_a_quoted_tag_hides_nothing(result: str) -> None:
    """An agent that is asked about the tag can name it, and its answer arrives whole."""
    assert visible_text(result) == result


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("`<internal>` is a tag. <internal>why asks he?", "`<internal>` is a tag."),
        ("I ran `a`<internal>`b` is odd</internal>. Done.", "I ran `a`. Done."),
        ("Write `<internal>` and `</internal>` around it.", "Write `` around it."),
    ],
)
def test_quotation_marks_protect_no_internal_part(result: str, said: str) -> None:
    """A quoted tag before it doesn't show an unclosed part, and a closed one goes as ever."""
    assert visible_text(result) == said


def up_to_unquoted(text: str) -> str:
    for place in range(len(text)):
        around = (text[place - 1 : place], text[place + 10 : place + 11])
        if text.startswith("<internal>", place) and not all(mark in QUOTES for mark in around):
            return text[:place]
    return text


@reproducible
@given(answers)
def test_what_is_said_is_what_the_original_leaves_up_to_an_unclosed_part(result: str) -> None:
    """The original's pattern takes the closed parts out; behind them an unquoted tag ends it."""
    *before, behind = re.split(r"<internal>.*?</internal>", result, flags=re.DOTALL)
    assert visible_text(result) == ("".join(before) + up_to_unquoted(behind)).strip()


class Watched(str):
    """A text that counts the characters that are searched in it."""

    __slots__ = ("searched",)

    def find(self, what, start=0):
        found = super().find(what, start)
        self.searched = (
            getattr(self, "searched", 0) + (len(self) if found == -1 else found + len(what)) - start
        )
        return found


@pytest.mark.parametrize(
    "hostile",
    [
        "<internal>" * 100_000,
        "`<internal>`" * 100_000,
        "<internal></internal>" * 100_000,
        "</internal>" * 100_000,
        "<internal" * 100_000,
        "<internal>" * 100_000 + "</internal>" * 100_000,
    ],
    ids=["opened", "quoted", "empty", "closed", "broken", "opened, then closed"],
)
def test_hostile_answers_are_looked_through_once(hostile: str) -> None:
    """A hundred thousand tags are searched for once each, and not each up to the end."""
    watched = Watched(hostile)
    visible_text(watched)
    assert watched.searched < 4 * len(hostile)
