"""Secrets: found where they are, and shown nowhere."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import pytest
from attrs import asdict, frozen
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.environment import SECRET_VARIABLES
from nanoclaw_trio.errors import InvalidSetting
from nanoclaw_trio.workspace.secrets import REDACTED, SHORTEST, Secrets, read_secrets

CANARY = "sk-ant-canary-4711"


def secret(*values):
    """Secrets with these values."""
    return Secrets({f"KEY_{index}": value for index, value in enumerate(values)})


@frozen
class Holder:
    """Something that has secrets among its fields."""

    secrets: Secrets


class TestNotShown:
    @pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r:>60}".format, ascii])
    def test_text(self, show):
        """No way to make text of them shows a value or a name."""
        assert show(secret(CANARY)).strip() == "<Secrets: 1 not shown>"

    def test_within_other_things(self):
        """Nor does what holds them."""
        holder = Holder(secret(CANARY))
        assert CANARY not in repr((holder, [holder], {"a": holder}, asdict(holder)))

    def test_attributes(self):
        """There is no dictionary of attributes to look into."""
        with pytest.raises(TypeError):
            vars(secret(CANARY))

    @pytest.mark.parametrize("store", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_pickling_and_copying(self, store):
        """They can't get into a file or another process by accident."""
        with pytest.raises(TypeError, match="aren't pickled"):
            store(secret(CANARY))

    @pytest.mark.parametrize("take", [json.dumps, dict, list, len])
    def test_no_mapping(self, take):
        """Whatever takes mappings apart finds none."""
        with pytest.raises(TypeError):
            take(secret(CANARY))


def test_reveal():
    """The values leave by one door, as a copy."""
    secrets = Secrets({"A": "1", "EMPTY": ""})
    secrets.reveal()["A"] = "2"
    assert secrets.reveal() == {"A": "1"}


@pytest.mark.parametrize(("values", "truth"), [((), False), (("",), False), (("a",), True)])
def test_truth(values, truth):
    """Empty values are no secrets."""
    assert bool(secret(*values)) is truth


REDACTIONS = [
    ((), "nothing to hide", "nothing to hide"),
    ((CANARY,), "", ""),
    ((CANARY,), CANARY, "[redacted]"),
    ((CANARY,), f"key={CANARY}, again {CANARY}.", "key=[redacted], again [redacted]."),
    ((CANARY,), CANARY * 3, "[redacted]"),
    ((CANARY, f"{CANARY}-long"), f"{CANARY}-long {CANARY}", "[redacted] [redacted]"),
    (("xabc", "abcdefgh"), "xabcdefgh.", "[redacted]."),
    (("abcabc",), "abcabcabc.", "[redacted]."),
    (("redacted",), "redacted, [redacted]", "[redacted], [[redacted]]"),
    (('quo"te\\d',), '{"a":"quo\\"te\\\\d"}', '{"a":"[redacted]"}'),
    (("grüße!",), '"gr\\u00fc\\u00dfe!" "grüße!"', '"[redacted]" "[redacted]"'),
    (("first line\nsecond line",), "first line\nsecond line", "[redacted]"),
    (("first line\nsecond line",), "first line\\nsecond line", "[redacted]"),
    (("first line\nsecond line",), "a: first line\nb: second line", "a: [redacted]\nb: [redacted]"),
    (("first line\r\nsecond line\r\n",), "second line first line", "[redacted] [redacted]"),
    (("  padded key \n",), "[padded key]", "[[redacted]]"),
    (("two\nends",), "ends two\nends", "[redacted] [redacted]"),
    (("long line\n      \nabcdef",), "a       b", "a       b"),
    (("abc",), "abc is no key", "abc is no key"),
    (("abcd",), "abcd is one", "[redacted] is one"),
    (("", "    "), "     ", "     "),
]


@pytest.mark.parametrize(("values", "text", "redacted"), REDACTIONS)
def test_redact(values, text, redacted):
    """Values, their lines and their JSON forms are replaced, overlapping ones together."""
    assert secret(*values).redact(text) == redacted


@given(
    st.lists(st.text("abc\n", min_size=1, max_size=8), max_size=4),
    st.text("abc\n", max_size=60),
)
def test_nothing_of_a_secret_stays(values, text):
    """No value is left in any text, whatever overlaps with what."""
    left = secret(*values).redact(text).split(REDACTED)
    for value in values:
        if len(value.strip()) >= SHORTEST:
            assert all(value not in part for part in left)


@given(
    st.lists(st.text("ab", min_size=SHORTEST, max_size=6), min_size=1, max_size=3),
    st.text("abc", max_size=40),
)
def test_only_secrets_are_replaced(values, text):
    """What is between two replacements is the text as it was."""
    rest = text
    for part in secret(*values).redact(text).split(REDACTED):
        assert part in rest
        rest = rest[rest.index(part) + len(part) :]


@pytest.mark.parametrize(
    ("text", "cut_start", "cut_end", "redacted"),
    [
        ("canary-4711 and on", True, False, "[redacted] and on"),
        ("canary-4711 and on", False, True, "canary-4711 and on"),
        ("it began sk-ant-can", False, True, "it began [redacted]"),
        ("it began sk-ant-can", True, False, "it began sk-ant-can"),
        ("1 between s", True, True, "[redacted] between [redacted]"),
        ("nothing near", True, True, "nothing near"),
        ("nary-47", True, True, "nary-47"),
        (CANARY, True, True, "[redacted]"),
        ("", True, True, ""),
    ],
)
def test_redact_a_piece(text, cut_start, cut_end, redacted):
    """What may be the rest of a secret goes where a text was cut, and only there."""
    assert secret(CANARY).redact(text, cut_start=cut_start, cut_end=cut_end) == redacted


@given(st.text("sk-ant", max_size=20), st.text("47-11", max_size=20), st.integers(0, 60))
def test_no_cut_shows_a_part(before, after, cut):
    """Wherever a text is cut in two, the pieces together show nothing of the secret in it."""
    text = before + CANARY + after
    left = secret(CANARY).redact(text[:cut], cut_end=True)
    right = secret(CANARY).redact(text[cut:], cut_start=True)
    assert len((left + right).replace(REDACTED, "")) <= len(before + after)


@pytest.mark.parametrize(
    ("values", "longest"),
    [((), 0), (("abc",), 0), (("abcd", "abcdef"), 6), (('"quote"',), 9), (("ä" * 10,), 60)],
)
def test_longest(values, longest):
    """The longest text that could be cut in two, in its longest form."""
    assert secret(*values).longest == longest


@pytest.mark.parametrize(
    ("dotenv", "environ", "found"),
    [
        ({}, {}, {}),
        ({"ANTHROPIC_API_KEY": "file"}, {}, {"ANTHROPIC_API_KEY": "file"}),
        ({}, {"ANTHROPIC_API_KEY": "env"}, {"ANTHROPIC_API_KEY": "env"}),
        (
            {"ANTHROPIC_API_KEY": "file"},
            {"ANTHROPIC_API_KEY": "env", "ANTHROPIC_BASE_URL": "url"},
            {"ANTHROPIC_API_KEY": "file", "ANTHROPIC_BASE_URL": "url"},
        ),
        ({"ANTHROPIC_API_KEY": ""}, {"ANTHROPIC_API_KEY": "env"}, {"ANTHROPIC_API_KEY": "env"}),
        ({"OTHER": "file"}, {"PATH": "/bin"}, {}),
        (dict.fromkeys(SECRET_VARIABLES, "x"), {}, dict.fromkeys(SECRET_VARIABLES, "x")),
    ],
)
def test_read_secrets(tmp_path, dotenv, environ, found):
    """Each comes from the project's .env, else from the environment, and nothing else does."""
    lines = [f"{name}={value}\n" for name, value in dotenv.items()]
    (tmp_path / ".env").write_text("".join(lines))
    assert read_secrets(tmp_path, environ).reveal() == found


def test_read_secrets_from_the_process(tmp_path, monkeypatch):
    """People export keys: the process's environment counts where nothing else is given."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    assert read_secrets(tmp_path).reveal()["ANTHROPIC_API_KEY"] == CANARY


def test_read_secrets_from_a_broken_file(tmp_path):
    """A .env that can't be read is an error that shows nothing of it."""
    (tmp_path / ".env").write_bytes(CANARY.encode() + b"\xff")
    with pytest.raises(InvalidSetting) as caught:
        read_secrets(tmp_path, {})
    assert CANARY not in "".join(traceback.format_exception(caught.value))
