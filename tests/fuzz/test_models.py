"""What crosses the line between host and container, on both of its sides."""

from __future__ import annotations

import json

from documents import CANARY, VALUES, check_discreet, contents, objects
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_agent.container_input import parse_input
from nanoclaw_agent.errors import InvalidInput
from nanoclaw_trio.errors import InvalidContainerInput, InvalidContainerOutput
from nanoclaw_trio.protocol.convert import (
    decode_input,
    decode_output,
    describe_input,
    encode_input,
    encode_output,
)
from nanoclaw_trio.protocol.converters import own, structure, wire
from nanoclaw_trio.protocol.json_text import dump_json, parse_json
from nanoclaw_trio.protocol.models import (
    AdditionalMount,
    ContainerConfig,
    ContainerInput,
    ContainerOutput,
    ImageAttachment,
    RegisteredGroup,
)

TEXTS = st.text(max_size=10)

MAYBE = st.none() | TEXTS

INPUTS = st.builds(
    ContainerInput,
    prompt=TEXTS,
    group_folder=TEXTS,
    chat_jid=TEXTS,
    is_main=st.booleans(),
    session_id=MAYBE,
    is_scheduled_task=st.none() | st.booleans(),
    assistant_name=MAYBE,
    image_attachments=st.none()
    | st.lists(st.builds(ImageAttachment, relative_path=TEXTS, media_type=TEXTS), max_size=2).map(
        tuple
    ),
)

OUTPUTS = st.builds(
    ContainerOutput,
    status=st.sampled_from(["success", "error"]),
    result=MAYBE,
    new_session_id=MAYBE,
    error=MAYBE,
    follow_ups=st.none() | st.lists(TEXTS, max_size=3).map(tuple),
)

GROUPS = st.builds(
    RegisteredGroup,
    name=TEXTS,
    folder=TEXTS,
    trigger=TEXTS,
    added_at=TEXTS,
    requires_trigger=st.none() | st.booleans(),
    container_config=st.none()
    | st.builds(
        ContainerConfig,
        additional_mounts=st.lists(
            st.builds(
                AdditionalMount, host_path=TEXTS, container_path=MAYBE, readonly=st.booleans()
            ),
            max_size=2,
        ).map(tuple),
        timeout=st.none() | st.integers(-(2**63), 2**63 - 1),
    ),
)

SECRETS = st.dictionaries(
    st.from_regex(r"[A-Z][A-Z_]{0,9}", fullmatch=True),
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=20),
    max_size=3,
)


@given(INPUTS, SECRETS)
def test_our_agent_reads_what_the_host_writes(container_input, secrets):
    """An input with its secrets is one line, which our agent takes apart into the same fields and
    the same secrets, and which the host reads back without the secrets."""
    line = encode_input(container_input, secrets)
    assert b"\n" not in line
    assert decode_input(line) == container_input
    read, kept = parse_input(line)
    assert kept.environment() == secrets
    assert read.prompt == container_input.prompt
    assert read.session_id == container_input.session_id
    assert read.is_scheduled_task == bool(container_input.is_scheduled_task)
    pictures = [(p.relative_path, p.media_type) for p in container_input.image_attachments or ()]
    assert [(p.relative_path, p.media_type) for p in read.image_attachments] == pictures


@given(INPUTS)
def test_the_run_log_shows_an_input_without_secrets(container_input):
    """What the run log says of an input is that input, and has no place for a secret."""
    assert decode_input(describe_input(container_input).encode()) == container_input
    assert "secrets" not in json.loads(describe_input(container_input))


@given(OUTPUTS)
def test_an_output_is_read_as_it_was_written(output):
    """An output is one line, and the same when it is read."""
    line = encode_output(output)
    assert b"\n" not in line
    assert decode_output(line) == output


@given(GROUPS)
def test_a_group_is_read_as_it_was_written(group):
    """A registered group is the same when it is read, by the strict reader too."""
    for converter in (wire, own):
        document = parse_json(dump_json(converter.unstructure(group)))
        assert structure(converter, document, RegisteredGroup) == group


INPUT_FILES = contents(
    objects(
        prompt=st.just(CANARY) | TEXTS,
        groupFolder=TEXTS,
        chatJid=TEXTS,
        isMain=st.booleans(),
        sessionId=MAYBE,
        isScheduledTask=st.none() | st.booleans(),
        assistantName=MAYBE,
        secrets=st.dictionaries(TEXTS | st.just("KEY"), st.just(CANARY) | VALUES, max_size=2),
        imageAttachments=st.lists(objects(relativePath=TEXTS, mediaType=TEXTS), max_size=2),
    )
)


@given(INPUT_FILES)
def test_our_agent_refuses_an_input_without_its_content(content):
    """Of any standard input our agent makes an input, or InvalidInput in which nothing stands of
    what it holds, keys and prompt least; and no repr shows a secret's value."""
    try:
        read, secrets = parse_input(content)
    except InvalidInput as error:
        check_discreet(error)
    else:
        assert isinstance(read.prompt, str)
        values = [value for value in secrets.environment().values() if CANARY in value]
        names = "".join(secrets.names)
        assert not values or CANARY not in repr(secrets) or CANARY in names


@given(INPUT_FILES)
def test_the_host_refuses_an_input_without_its_content(content):
    """Of any document the host makes an input, or InvalidContainerInput without its content."""
    try:
        decode_input(content)
    except InvalidContainerInput as error:
        check_discreet(error)


DOCUMENTS = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3), max_leaves=4)


@given(DOCUMENTS, st.sampled_from([ContainerInput, ContainerOutput, RegisteredGroup]))
def test_what_does_not_fit_is_a_value_error(document, kind):
    """Of any of JSON's values comes the model, or a ValueError without a value of it."""
    for converter in (wire, own):
        try:
            structure(converter, document, kind)
        except ValueError as error:
            # A strict reader names keys that it doesn't know.
            if converter is wire or not has_key(document):
                check_discreet(error)


def has_key(document):
    """Whether a key has it."""
    if isinstance(document, list):
        return any(map(has_key, document))
    if isinstance(document, dict):
        return any(CANARY in key for key in document) or any(map(has_key, document.values()))
    return False


@given(contents(objects(status=VALUES, result=VALUES)))
def test_the_host_refuses_an_output_without_its_content(payload):
    """Of any payload the host makes an output, or InvalidContainerOutput without its content."""
    try:
        decode_output(payload)
    except InvalidContainerOutput as error:
        check_discreet(error)
