"""The project's .env, which holds the keys."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

from documents import CANARY, check_discreet
from hypothesis import example, given
from hypothesis import strategies as st

from nanoclaw_trio.errors import InvalidSetting
from nanoclaw_trio.settings import _VARIABLES, Settings, read_dotenv
from nanoclaw_trio.workspace.secrets import REDACTED, SHORTEST, Secrets

WORDS = [b"ANTHROPIC_API_KEY", b"=", b"'", b'"', b"\n", b"\r\n", b"#", b"export ", b"$", b"${A}"]
WORDS += [b"\\", b" ", b"\0", b"\xff", b"\xef\xbb\xbf", CANARY.encode()]
CONTENTS = st.lists(st.sampled_from(WORDS) | st.binary(max_size=6), max_size=60).map(b"".join)

PLAIN = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="'\\"), min_size=1)


def read(content):
    """What a .env of this content says."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, ".env").write_bytes(content)
        return read_dotenv(Path(directory))


@given(CONTENTS)
@example(b"A='" + b"\\" * 5000)
@example(b"'" * 5000)
@example(b"A=" + b" #" * 5000)
def test_a_dotenv_is_read_or_refused_without_its_content(content):
    """Any .env gives texts by names, or InvalidSetting that says nothing of what is in it."""
    try:
        values = read(content)
    except InvalidSetting as error:
        check_discreet(error)
    else:
        assert all(isinstance(text, str) for pair in values.items() for text in pair)


@given(st.dictionaries(st.from_regex(r"[A-Z_]{1,20}", fullmatch=True), PLAIN, max_size=5))
def test_what_is_written_in_quotes_is_read(values):
    """A value in single quotes is read as it was written, dollar signs and all."""
    content = "".join(f"{name}='{value}'\n" for name, value in values.items())
    assert read(content.encode()) == values


VALUES = (
    st.text(max_size=20)
    | st.integers(-1, 10**20).map(str)
    | st.sampled_from(["default", "none", "1e400", "-1", "1G", "0", "../..", ":/etc/localtime"])
    | st.text(max_size=4).map(lambda text: CANARY + text)
)


@given(st.dictionaries(st.sampled_from(sorted(_VARIABLES)), VALUES), st.booleans())
def test_settings_are_made_or_refused_without_the_value(values, from_file):
    """Whatever variables say, there are settings, or InvalidSetting that names one of them and
    doesn't repeat what it says."""
    environ, dotenv = ({}, values) if from_file else (values, {})
    try:
        settings = Settings.from_sources(Path("/project"), environ, dotenv)
    except InvalidSetting as error:
        check_discreet(error)
        problem = str(error)
        assert any(name in problem for name in values)
    else:
        assert math.isfinite(settings.timeout_for(None))
        assert settings.max_concurrent_containers >= 1


KEYS = st.text(min_size=SHORTEST, max_size=12).filter(lambda text: len(text.strip()) >= SHORTEST)


@given(st.lists(KEYS, min_size=1, max_size=3), st.lists(st.text(max_size=6), max_size=5), st.data())
def test_no_key_is_left_in_a_text(keys, between, data):
    """Of a text with keys in it, overlapping or not, no whole key is left, and nothing else is
    gone than what belongs to one."""
    secrets = Secrets({f"KEY_{number}": key for number, key in enumerate(keys)})
    pieces = [*between, *keys, keys[0][: len(keys[0]) // 2]]
    text = "".join(data.draw(st.permutations(pieces)))
    redacted = secrets.redact(text)
    rest = redacted.split(REDACTED)
    assert not any(key in part for key in keys for part in rest)
    assert all(part in text for part in rest)
