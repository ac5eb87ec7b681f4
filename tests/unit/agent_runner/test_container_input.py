"""Standard input's parser."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_agent.container_input import ContainerInput, ImageAttachment, parse_input
from nanoclaw_agent.errors import InvalidInput

reproducible = settings(derandomize=True, deadline=None)

COMPLETE = {
    "prompt": "Hello",
    "sessionId": "abc",
    "groupFolder": "family",
    "chatJid": "1@chat",
    "isMain": True,
    "isScheduledTask": True,
    "assistantName": "Andy",
    "secrets": {"KEY": "canary"},
    "imageAttachments": [{"relativePath": "a/b.png", "mediaType": "image/png"}],
    "fromTheFuture": 1,
}

NO_VARIABLE = "a name or a value can't be an environment variable's @ $.secrets"

PRINTABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\0")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


def test_complete_input():
    """Every key arrives under its Python name; secrets are kept apart, unknown keys left behind."""
    parsed, secrets = parse_input(json.dumps(COMPLETE).encode())
    assert parsed == ContainerInput(
        prompt="Hello",
        session_id="abc",
        group_folder="family",
        chat_jid="1@chat",
        is_main=True,
        is_scheduled_task=True,
        assistant_name="Andy",
        image_attachments=(ImageAttachment(relative_path="a/b.png", media_type="image/png"),),
    )
    assert secrets.environment() == {"KEY": "canary"}
    assert "canary" not in repr((parsed, secrets))


@pytest.mark.parametrize(
    "absent", [{}, {"sessionId": None, "imageAttachments": None, "secrets": None}]
)
def test_optional_keys_may_be_absent_or_null(input_document, absent):
    """What the host leaves out, or writes as null, has its default."""
    parsed, secrets = parse_input(json.dumps(input_document | absent).encode())
    assert parsed.session_id is None
    assert parsed.image_attachments == ()
    assert not parsed.is_scheduled_task
    assert secrets.names == ()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"prompt": None}, "required field missing @ $.prompt"),
        ({"prompt": ["canary"]}, "expected a string, got an array @ $.prompt"),
        ({"groupFolder": None}, "required field missing @ $.groupFolder"),
        ({"chatJid": 12345}, "expected a string, got a number @ $.chatJid"),
        ({"isMain": "canary"}, "expected true or false, got a string @ $.isMain"),
        ({"isMain": 1}, "expected true or false, got a number @ $.isMain"),
        ({"sessionId": True}, "expected a string, got true or false @ $.sessionId"),
        ({"isScheduledTask": 0.0}, "expected true or false, got a number @ $.isScheduledTask"),
        ({"imageAttachments": {}}, "expected an array, got an object @ $.imageAttachments"),
        ({"imageAttachments": [None]}, "expected an object, got null @ $.imageAttachments[0]"),
        (
            {"imageAttachments": [{"relativePath": "a", "mediaType": "b"}, {"mediaType": "b"}]},
            "required field missing @ $.imageAttachments[1].relativePath",
        ),
        ({"secrets": "canary"}, "expected an object, got a string @ $.secrets"),
        ({"secrets": ["canary"]}, "expected an object, got an array @ $.secrets"),
        ({"secrets": {"A": "b", "canary": None}}, "expected a string, got null @ $.secrets[1]"),
        ({"secrets": {"canary": 1}}, "expected a string, got a number @ $.secrets[0]"),
        ({"secrets": {"A": ["canary"]}}, "expected a string, got an array @ $.secrets[0]"),
        ({"secrets": {"can ary": "x"}}, NO_VARIABLE),
        ({"secrets": {"": "canary"}}, NO_VARIABLE),
        ({"secrets": {"cänary": "x"}}, NO_VARIABLE),
        ({"secrets": {"A=B": "canary"}}, NO_VARIABLE),
        ({"secrets": {"A": "canary\0"}}, NO_VARIABLE),
        ({"secrets": {"A": "canary\ud800"}}, NO_VARIABLE),
    ],
)
def test_wrong_type_is_named_by_its_path(change, problem):
    """An error has the path, what is expected and what is there, and never the value."""
    with pytest.raises(InvalidInput) as caught:
        parse_input(json.dumps(COMPLETE | change).encode())
    assert str(caught.value) == f"container input doesn't fit: {problem}"
    assert "canary" not in f"{caught.value!r} {caught.value.__context__}"


@reproducible
@given(st.binary() | JSON.map(lambda document: json.dumps(document).encode()))
def test_no_bytes_make_another_error(data):
    """Whatever the bytes are, they are an input or an InvalidInput."""
    with contextlib.suppress(InvalidInput):
        parse_input(data)


@reproducible
@given(prompt=st.text(), is_main=st.booleans(), session=st.none() | st.text(), others=JSON)
def test_any_prompt_arrives_as_it_is(prompt, is_main, session, others):
    """A valid input is read as it was written, whatever stands beside its keys."""
    document = {"prompt": prompt, "isMain": is_main, "groupFolder": "g", "chatJid": "c"}
    document |= {"sessionId": session, "unknown": others}
    parsed, _ = parse_input(json.dumps(document).encode())
    assert (parsed.prompt, parsed.is_main, parsed.session_id) == (prompt, is_main, session)


@reproducible
@given(name=st.from_regex(r"[A-Z_][A-Z0-9_]*", fullmatch=True), value=st.text(PRINTABLE))
def test_any_secret_arrives_as_it_is(name, value):
    """What can be an environment variable is a secret, unchanged, and in no repr."""
    _, secrets = parse_input(json.dumps(COMPLETE | {"secrets": {name: value}}).encode())
    assert secrets.environment() == {name: value}


@reproducible
@given(JSON)
def test_no_secrets_make_another_error(secrets):
    """Whatever stands in their place, it is secrets or an InvalidInput."""
    with contextlib.suppress(InvalidInput):
        parse_input(json.dumps(COMPLETE | {"secrets": secrets}).encode())
