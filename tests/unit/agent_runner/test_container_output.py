"""Standard output's encoding, and its writer."""

from __future__ import annotations

import json

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_agent.container_output import (
    ContainerOutput,
    OutputWriter,
    answer,
    encode_output,
    session_update,
)
from nanoclaw_agent.errors import OutputClosed

reproducible = settings(derandomize=True, deadline=None)

TEXTS = st.none() | st.text()


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (
            ContainerOutput(status="success", result="é", new_session_id="s"),
            '{"status":"success","result":"é","newSessionId":"s","followUps":[]}',
        ),
        (ContainerOutput(status="success"), '{"status":"success","result":null,"followUps":[]}'),
        (
            ContainerOutput(status="success", pending=3),
            '{"status":"success","result":null,"followUps":[]}',
        ),
        (
            ContainerOutput(status="error", error="no"),
            '{"status":"error","result":null,"error":"no","followUps":[]}',
        ),
    ],
)
def test_output_is_one_line_between_markers(output, line):
    """Absent keys are left out, result and followUps are always there, and text is UTF-8."""
    frame = f"---NANOCLAW_OUTPUT_START---\n{line}\n---NANOCLAW_OUTPUT_END---\n"
    assert encode_output(output) == frame.encode()


@reproducible
@given(result=TEXTS, session=TEXTS, error=TEXTS)
def test_any_text_stays_on_one_line(result, session, error):
    """An output has four lines, the last one empty, and is read as it was written."""
    output = ContainerOutput(status="success", result=result, new_session_id=session, error=error)
    _, line, _, last = encode_output(output).split(b"\n")
    document = json.loads(line)
    assert last == b""
    assert document["result"] == result
    assert (document.get("newSessionId"), document.get("error")) == (session, error)


def test_output_names_the_files_that_are_answered():
    """The names are an array of strings, whatever an agent of its own called a file."""
    _, line, _, _ = encode_output(answer("Hi", "s"), ("1.json", "é\udcff.json")).split(b"\n")
    assert json.loads(line)["followUps"] == ["1.json", "é?.json"]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (session_update("s"), True),
        (session_update("s", 2), True),
        (answer("Hi", "s"), False),
        (answer("", "s"), False),
        (ContainerOutput(status="error", error="no"), False),
    ],
)
def test_session_update_is_told_from_an_answer(output, expected):
    """A success without a result says that the query has ended, and nothing else does."""
    assert output.is_session_update is expected


async def test_outputs_of_two_tasks_do_not_mix(autojump_clock):
    """Outputs written at once by several tasks arrive one after the other, each whole."""
    near, far = trio.testing.lockstep_stream_one_way_pair()
    outputs = [ContainerOutput(status="success", result=text * 50) for text in "abc"]
    writer = OutputWriter(near)
    received = b""
    async with trio.open_nursery() as nursery:
        for output in outputs:
            nursery.start_soon(writer.write, output)
        while len(received) < sum(len(encode_output(output)) for output in outputs):
            received += await far.receive_some(7)
    frames = [
        frame + b"---NANOCLAW_OUTPUT_END---\n"
        for frame in received.split(b"---NANOCLAW_OUTPUT_END---\n")[:-1]
    ]
    assert sorted(frames) == [encode_output(output) for output in outputs]


async def test_closed_output_is_named():
    """Writing to a host that doesn't read any more raises OutputClosed."""
    near, far = trio.testing.memory_stream_one_way_pair()
    await far.aclose()
    with pytest.raises(OutputClosed):
        await OutputWriter(near).write(ContainerOutput(status="success"))
