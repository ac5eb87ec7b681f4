"""What engines say of containers."""

from __future__ import annotations

import pytest

from nanoclaw_trio.runtimes.abc import ContainerState, Phase
from nanoclaw_trio.runtimes.engine_api.connection import Answer
from nanoclaw_trio.runtimes.engine_api.container import read_exit_code
from nanoclaw_trio.runtimes.engine_api.engine import message
from nanoclaw_trio.runtimes.engine_api.replies import read_container, read_containers

INSPECTED = {"Name": "/x", "State": {"Status": "running"}, "Config": {"Labels": {"a": "b"}}}
LISTED = {"Names": ["/x", "/other/x"], "State": "exited", "Labels": {"a": "b,c=d"}}


def test_inspected():
    """A container is known by its name without the slash, its phase and its labels."""
    state = ContainerState(name="x", phase=Phase.RUNNING, labels={"a": "b"})
    assert read_container(INSPECTED) == state


def test_without_labels():
    """Without labels there are none."""
    assert read_container({**INSPECTED, "Config": {"Labels": None}}).labels == {}


def test_listed():
    """A list has the same of each."""
    state = ContainerState(name="x", phase=Phase.EXITED, labels={"a": "b,c=d"})
    assert read_containers([LISTED]) == (state,)
    assert read_containers([]) == ()


@pytest.mark.parametrize(
    ("read", "document"),
    [
        (read_container, None),
        (read_container, {}),
        (read_container, {**INSPECTED, "Name": 1}),
        (read_container, {**INSPECTED, "State": "running"}),
        (read_container, {**INSPECTED, "Config": {"Labels": ["a"]}}),
        (read_containers, {}),
        (read_containers, None),
        (read_containers, ["x"]),
        (read_containers, [{**LISTED, "Names": []}]),
        (read_containers, [{**LISTED, "Labels": "a=b"}]),
    ],
)
def test_garbage(read, document):
    """What isn't that is an error, never a container."""
    with pytest.raises(ValueError, match="no "):
        read(document)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"StatusCode":7,"Error":null}', 7),
        (b'{"StatusCode":137}', 137),
        (b'{"StatusCode":0,"Error":{"Message":""}}', 0),
    ],
)
def test_exit_status(body, status):
    """The answer to `wait` has the exit status."""
    assert read_exit_code(Answer(status=200, body=body)) == status


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"StatusCode":0,"Error":{"Message":"it broke"}}', "it broke"),
        (b'{"StatusCode":-1}', "no exit status"),
        (b'{"message":"no such container"}', "no exit status"),
        (b"", "empty document"),
    ],
)
def test_no_exit_status(body, words):
    """An engine that can't tell the status is never taken for one that says 0."""
    with pytest.raises(ValueError, match=words):
        read_exit_code(Answer(status=200, body=body))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"message":"Conflict.  In\\nuse."}', "Conflict. In use."),
        (b"plain words", "plain words"),
        (b'{"cause":"x"}', '{"cause":"x"}'),
        (b"\xff", "\ufffd"),
        (b"", "no reason given"),
    ],
)
def test_message(body, words):
    """The reason for a refusal is the engine's own words, on one line."""
    assert message(Answer(status=500, body=body)) == words
