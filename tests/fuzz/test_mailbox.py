"""The files in an agent's mailbox: what it asks for, and what it is told."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from documents import CANARY, VALUES, check_discreet, contents, objects
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_agent.mailbox import InvalidFollowUp, parse_follow_up
from nanoclaw_trio.errors import InputError
from nanoclaw_trio.files import open_directory
from nanoclaw_trio.mailbox.aside import set_aside
from nanoclaw_trio.mailbox.follow_up import check_name, decode_follow_up, encode_follow_up
from nanoclaw_trio.mailbox.reader import InvalidRequest, RequestReader
from nanoclaw_trio.mailbox.requests import KINDS, decode_request
from nanoclaw_trio.protocol.json_text import parse_json

WORDS = st.text(max_size=8) | st.just(CANARY)

KIND_WORDS = st.sampled_from([kind for kinds in KINDS.values() for kind in kinds])

MOUNTS = objects(hostPath=WORDS, containerPath=WORDS, readonly=st.booleans())

CONFIGS = objects(
    additionalMounts=st.lists(MOUNTS, max_size=2),
    timeout=st.integers(-1, 10**12),
    network=WORDS,
    readOnly=st.booleans(),
    memory=WORDS | st.integers(),
    cpus=st.floats() | st.integers(),
)

REQUESTS = contents(
    objects(
        type=KIND_WORDS,
        chatJid=WORDS,
        text=WORDS,
        sender=WORDS,
        prompt=WORDS,
        schedule_type=st.sampled_from(["cron", "interval", "once"]),
        schedule_value=WORDS,
        targetJid=WORDS,
        context_mode=st.sampled_from(["group", "isolated", CANARY]),
        taskId=WORDS,
        jid=WORDS,
        name=WORDS,
        folder=WORDS,
        trigger=WORDS,
        requiresTrigger=st.booleans(),
        containerConfig=CONFIGS,
        groupFolder=WORDS,
    )
)

DIRECTORIES = st.sampled_from(sorted(KINDS))


@given(DIRECTORIES, REQUESTS)
def test_a_file_is_a_request_or_refused_without_its_content(directory, content):
    """Any content is a request of its directory's kinds, or a ValueError that says nothing of it."""
    try:
        request = decode_request(directory, content)
    except ValueError as error:
        check_discreet(error)
    else:
        assert isinstance(request, tuple(KINDS[directory].values()))


NAMES = st.binary(min_size=1, max_size=40).map(
    lambda name: name.replace(b"/", b"_").replace(b"\0", b"_") + b".json"
)


@given(DIRECTORIES, NAMES, REQUESTS)
def test_a_file_of_any_name_is_read_or_set_aside(directory, name, content):
    """Whatever a file in a mailbox is called and holds, it is found, and is a request or an
    InvalidRequest without its content; set aside, it is out of the mailbox and kept."""
    with tempfile.TemporaryDirectory() as root:
        ipc_dir = Path(root, "family")
        place = ipc_dir / directory
        place.mkdir(parents=True)
        Path(os.fsdecode(os.fsencode(place) + b"/" + name)).write_bytes(content)
        reader = RequestReader(ipc_dir)
        (found,) = reader.pending(10).names
        try:
            assert reader.read(found) is not None
        except InvalidRequest as error:
            check_discreet(error)
        with open_directory(place) as opened:
            set_aside(ipc_dir, opened, os.fsdecode(name), "why")
        assert reader.pending(10).names == ()
        (kept,) = Path(root, "errors").iterdir()
        assert kept.read_bytes() == content


ANY_TEXT = st.text(st.characters(), min_size=1, max_size=40) | VALUES.map(json.dumps)


@given(ANY_TEXT)
def test_a_follow_up_is_read_as_it_was_written(text):
    """A follow-up of any text, halves of surrogate pairs and NUL among it, is one line of JSON, in
    which the host and our agent find it again; a half is U+FFFD to the host."""
    content = encode_follow_up(text)
    assert b"\n" not in content
    whole = text.encode(errors="surrogatepass").decode(errors="replace") if has_half(text) else text
    if not has_half(text):
        assert decode_follow_up(content) == parse_follow_up(content) == whole
    else:
        assert len(decode_follow_up(content)) == len(text)
        assert not has_half(decode_follow_up(content))


def has_half(text):
    return any("\ud800" <= character <= "\udfff" for character in text)


FOLLOW_UPS = contents(objects(type=st.just("message") | WORDS, text=WORDS))


@given(FOLLOW_UPS)
def test_what_is_no_follow_up_is_refused_without_its_content(content):
    """Of any content comes a text, or an error without a word of it; and what the host takes for a
    follow-up our agent does too."""
    try:
        text = decode_follow_up(content)
    except ValueError as error:
        check_discreet(error)
    else:
        assert text
    try:
        parse_follow_up(content)
    except InvalidFollowUp as error:
        check_discreet(error)


@given(st.text(max_size=40) | st.from_regex(r"\d{13}-\d{9}-[0-9a-f]{8}\.json"))
def test_a_follow_ups_name_stays_in_its_directory(name):
    """What passes for a follow-up's name is a plain file name that ends in .json."""
    try:
        checked = check_name(name)
    except InputError:
        return
    assert checked == name == os.path.basename(name)  # noqa: PTH119 - names, no paths
    assert name.isascii()
    assert name.endswith(".json")


@given(contents(st.just({}) | VALUES))
def test_json_is_parsed_or_refused_without_its_content(content):
    """Any bytes are JSON, all of whose texts are UTF-8, or a ValueError without a word of them."""
    try:
        value = parse_json(content)
    except ValueError as error:
        check_discreet(error)
    else:
        json.dumps(value, ensure_ascii=False).encode()
