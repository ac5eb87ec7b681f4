"""What crosses the line, as bytes: inputs with secrets, outputs, snapshots."""

from __future__ import annotations

import json
import traceback
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.errors import InvalidContainerInput, InvalidContainerOutput
from nanoclaw_trio.protocol.convert import (
    decode_input,
    decode_output,
    describe_input,
    encode_groups,
    encode_input,
    encode_output,
    encode_tasks,
)
from nanoclaw_trio.protocol.converters import MOST_ENTRIES, MOST_PROBLEMS
from nanoclaw_trio.protocol.models import (
    AvailableGroup,
    ContainerInput,
    ContainerOutput,
    ImageAttachment,
    TaskSnapshot,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

reproducible = settings(derandomize=True, deadline=None)

CANARY = "canary-" + "4711"
"""In two pieces, so that a traceback's source lines don't hold it."""

INPUT = ContainerInput(prompt="hi", group_folder="family", chat_jid="1@chat", is_main=False)
SECRETS = {"ANTHROPIC_API_KEY": CANARY}

outputs = st.builds(
    ContainerOutput,
    status=st.sampled_from(["success", "error"]),
    result=st.none() | st.text(),
    new_session_id=st.none() | st.text(),
    error=st.none() | st.text(),
    follow_ups=st.none() | st.lists(st.text(), max_size=3).map(tuple),
)
inputs = st.builds(
    ContainerInput,
    prompt=st.text(),
    group_folder=st.text(),
    chat_jid=st.text(),
    is_main=st.booleans(),
    session_id=st.none() | st.text(),
    is_scheduled_task=st.none() | st.booleans(),
    assistant_name=st.none() | st.text(),
    image_attachments=st.none()
    | st.lists(
        st.builds(ImageAttachment, relative_path=st.text(), media_type=st.text()), max_size=2
    ).map(tuple),
)


def whole_chain(error: BaseException | None) -> Iterator[str]:
    """Everything that a log could print of an error and of what preceded it."""
    while error is not None:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
        yield from traceback.format_exception(error, chain=True)
        error = error.__cause__ or error.__context__


@reproducible
@given(outputs)
def test_any_output_survives_the_way_there_and_back(output: ContainerOutput) -> None:
    """An output is one line of JSON, and read as the same output."""
    payload = encode_output(output)
    assert b"\n" not in payload
    assert decode_output(payload) == output


@reproducible
@given(inputs, st.dictionaries(st.text(min_size=1), st.text()))
def test_any_input_survives_and_its_secrets_do_not(
    container_input: ContainerInput, secrets: dict[str, str]
) -> None:
    """An input is read as the same input, whatever secrets were written beside it."""
    assert decode_input(encode_input(container_input, secrets)) == container_input


def test_input_is_the_formats() -> None:
    """Absent keys are left out rather than null, and secrets are an object of their own."""
    assert json.loads(encode_input(INPUT, SECRETS)) == {
        "prompt": "hi",
        "groupFolder": "family",
        "chatJid": "1@chat",
        "isMain": False,
        "secrets": {"ANTHROPIC_API_KEY": CANARY},
    }


def test_without_secrets_there_is_no_key_for_them() -> None:
    """No secrets: no `secrets` in the document, not an empty one."""
    assert "secrets" not in json.loads(encode_input(INPUT, {}))


def test_output_always_has_a_result() -> None:
    """`result` is written even when null; the other absent keys are not."""
    assert encode_output(ContainerOutput(status="success", result=None)) == (
        b'{"status":"success","result":null}'
    )


def test_output_of_an_older_or_newer_agent_is_read() -> None:
    """Null for an absent value and keys that we don't know are no fault."""
    payload = b'{"status":"error","result":null,"newSessionId":null,"error":"e","cost":0.1}'
    assert decode_output(payload) == ContainerOutput(status="error", result=None, error="e")


@pytest.mark.parametrize(
    ("follow_ups", "read"),
    [
        (b"", None),
        (b',"followUps":null', None),
        (b',"followUps":[]', ()),
        (b',"followUps":["2.json","1.json","2.json"]', ("2.json", "1.json", "2.json")),
    ],
)
def test_output_says_what_it_answers_or_does_not(
    follow_ups: bytes, read: tuple[str, ...] | None
) -> None:
    """An agent that names no files is told from one that doesn't say which it has answered."""
    output = decode_output(b'{"status":"success","result":"Hi"%s}' % follow_ups)
    assert output == ContainerOutput(status="success", result="Hi", follow_ups=read)


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b"", "not JSON: "),
        (b'{"status":"success","result":NaN}', "not JSON: "),
        (b'{"status":"success","result":Infinity}', "not JSON: "),
        (b"[" * 10_000, "not JSON: "),
        (b'{"status":"success","result":' + b"[" * 100_000, "more than 20000 values"),
        (b"null", "not an object @ $"),
        (b'{"result":"hi"}', "required field missing @ $.status"),
        (b'{"status":"success"}', "required field missing @ $.result"),
        (b'{"status":"success","result":{}}', "not a string @ $.result"),
        (b'{"status":"success","result":"","followUps":"1.json"}', "not an array @ $.followUps"),
        (b'{"status":"success","result":"","followUps":{"a":1}}', "not an array @ $.followUps"),
        (b'{"status":"success","result":"","followUps":[1]}', "not a string @ $.followUps[0]"),
        (b'{"status":"success","result":"","followUps":[null]}', "not a string @ $.followUps[0]"),
        (
            b'{"status":"success","result":"","followUps":[%s""]}' % (b'"",' * MOST_ENTRIES),
            "more than 10000 entries @ $.followUps",
        ),
    ],
)
def test_output_that_does_not_fit_is_the_agents_fault(payload: bytes, problem: str) -> None:
    """A wrong payload is an InvalidContainerOutput that says what is wrong, and where."""
    with pytest.raises(InvalidContainerOutput) as caught:
        decode_output(payload)
    assert str(caught.value).startswith(problem)


def test_what_is_wrong_with_many_entries_is_said_of_a_few() -> None:
    """An agent can't fill the log with what is wrong with its output."""
    payload = b'{"status":"success","result":"","followUps":[%s1]}' % (b"1," * (MOST_ENTRIES - 1))
    with pytest.raises(InvalidContainerOutput) as caught:
        decode_output(payload)
    problems = str(caught.value).split("; ")
    assert problems == [f"not a string @ $.followUps[{n}]" for n in range(MOST_PROBLEMS)]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"hello", "not JSON: "),
        (b"[]", "not an object @ $"),
        (b'{"prompt":"hi"}', "required field missing @ $.groupFolder"),
        (b'{"prompt":1,"groupFolder":"a","chatJid":"b","isMain":1}', "not a string @ $.prompt"),
    ],
)
def test_input_that_does_not_fit_is_the_callers_fault(data: bytes, problem: str) -> None:
    """A wrong input is an InvalidContainerInput that says what is wrong, and where."""
    with pytest.raises(InvalidContainerInput) as caught:
        decode_input(data)
    assert caught.value.problem.startswith(problem)


def test_half_an_emoji_does_not_lose_the_answer() -> None:
    """JavaScript cuts text between the halves of a pair: the answer arrives with U+FFFD there."""
    payload = rb'{"status":"success","result":"cut here: \ud83d","newSessionId":"s"}'
    expected = ContainerOutput(status="success", result="cut here: \ufffd", new_session_id="s")
    assert decode_output(payload) == expected


def test_half_an_emoji_in_a_prompt_reaches_the_agent() -> None:
    """A prompt that was cut so is sent as JSON's escape, and every other character as it is."""
    data = encode_input(evolve(INPUT, prompt="half \ud83d"), SECRETS)
    assert json.loads(data)["prompt"] == "half \ud83d"
    assert decode_input(data).prompt == "half \ufffd"


def test_half_an_emoji_in_a_prompt_can_be_described() -> None:
    """What goes into the run log can be written to a file, whatever the prompt."""
    described = describe_input(evolve(INPUT, prompt="half \ud83d"))
    assert json.loads(described.encode())["prompt"] == "half \ud83d"


def test_description_is_for_people_and_has_no_secrets() -> None:
    """The run log's input is indented, in plain characters, and the model has no secrets."""
    described = describe_input(evolve(INPUT, prompt="Grüße 😀"))
    assert '\n  "prompt": "Grüße 😀"' in described
    assert "secrets" not in described


def test_secrets_of_an_input_file_are_not_taken_over() -> None:
    """Secrets come from .env or the environment: those in an input reach no model."""
    data = encode_input(INPUT, SECRETS)
    assert CANARY.encode() in data
    container_input = decode_input(data)
    assert container_input == INPUT
    assert CANARY not in repr(container_input)
    assert CANARY not in describe_input(container_input)


@pytest.mark.parametrize(
    "data",
    [
        b'{"secrets":{"K":"%s"}}',
        b'{"prompt":1,"groupFolder":"%s","chatJid":"b","isMain":"%s","secrets":{"K":"%s"}}',
        b'{"prompt":"hi", "secrets":{"K":"%s"}',
        b'{"prompt":"hi", "secrets":{"K":"%s \\ud83d"}',
        b'{"prompt":"hi", "secrets":{"K":"%s \\ud83d \xff"}}',
        b'{"prompt":NaN, "secrets":{"K":"%s \\ud83d"}}',
        b'["%s"]',
    ],
)
def test_no_error_holds_a_secret(data: bytes) -> None:
    """Whatever is wrong with a document that holds a secret, no part of the error repeats it."""
    document = data.replace(b"%s", CANARY.encode())
    for decode in (decode_input, decode_output):
        with pytest.raises((InvalidContainerInput, InvalidContainerOutput)) as caught:
            decode(document)
        assert not any(CANARY in text for text in whole_chain(caught.value))


def test_failing_encoder_holds_no_secret() -> None:
    """A value that JSON has no word for is reported without the secrets beside it."""
    wrong = {"ANTHROPIC_API_KEY": CANARY, "OTHER": CANARY.encode()}
    with pytest.raises(TypeError) as caught:
        encode_input(INPUT, wrong)  # type: ignore[arg-type]
    assert not any(CANARY in text for text in whole_chain(caught.value))


def test_secret_that_is_not_utf_8_still_reaches_the_agent() -> None:
    """A key with a byte that isn't UTF-8, as the environment gives it, breaks nothing."""
    data = encode_input(INPUT, {"ANTHROPIC_API_KEY": f"{CANARY}\udcff"})
    assert json.loads(data)["secrets"]["ANTHROPIC_API_KEY"] == f"{CANARY}\udcff"


TASK = TaskSnapshot(
    id="t",
    group_folder="family",
    prompt="half \ud83d, Grüße",
    schedule_type="interval",
    schedule_value="60000",
    status="active",
    next_run=None,
)
GROUP = AvailableGroup(jid="j", name="half \ud83d", last_activity="l", is_registered=False)


def test_tasks_are_an_array() -> None:
    """Tasks are written with next_run even when null, whatever text they hold."""
    (task,) = json.loads(encode_tasks((TASK,)))
    assert task["prompt"] == "half \ud83d, Grüße"
    assert task["next_run"] is None
    assert json.loads(encode_tasks(())) == []


def test_groups_are_an_object_with_their_time() -> None:
    """Groups are written under `groups`, beside the time that they were true at."""
    assert json.loads(encode_groups((GROUP,), "2026-02-01T15:30:00.000Z")) == {
        "groups": [{"jid": "j", "name": "half \ud83d", "lastActivity": "l", "isRegistered": False}],
        "lastSync": "2026-02-01T15:30:00.000Z",
    }


@pytest.mark.parametrize("encode", [lambda: encode_tasks((TASK,)), lambda: encode_groups((), "x")])
def test_snapshots_are_indented(encode) -> None:
    """An agent reads them with its file tools, line by line."""
    assert len(encode().splitlines()) > 1
