"""What engines answer, as tables."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.runtimes.abc import ContainerState, Phase
from nanoclaw_trio.runtimes.answers import (
    EXCERPT_LIMIT,
    excerpt,
    read_apple_states,
    read_ids,
    read_phase,
    read_state_lines,
)


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("created", Phase.CREATED),
        ("configured", Phase.CREATED),
        ("initialized", Phase.CREATED),
        ("running", Phase.RUNNING),
        ("paused", Phase.RUNNING),
        ("restarting", Phase.RUNNING),
        ("stopping", Phase.RUNNING),
        ("removing", Phase.EXITED),
        ("exited", Phase.EXITED),
        ("Exited", Phase.EXITED),
        ("stopped", Phase.EXITED),
        ("dead", Phase.EXITED),
        ("unknown", Phase.RUNNING),
        ("a word of next year's", Phase.RUNNING),
    ],
)
def test_phases(status, phase):
    """Every engine's word has its phase, and one that we don't know means that it may run."""
    assert read_phase(status) is phase


@pytest.mark.parametrize(
    ("output", "states"),
    [
        ("", ()),
        (
            '["/a","running",{"nanoclaw.group":"main","x":"a,b=\\"c"}]\n',
            (
                ContainerState(
                    name="a",
                    phase=Phase.RUNNING,
                    labels={"nanoclaw.group": "main", "x": 'a,b="c'},
                ),
            ),
        ),
        (
            '["/a","exited",null]\n\n["b","created",{}]\n',
            (
                ContainerState(name="a", phase=Phase.EXITED),
                ContainerState(name="b", phase=Phase.CREATED),
            ),
        ),
    ],
)
def test_state_lines(output, states):
    """One array a line, of name, state and labels; docker's slash before the name is left out."""
    assert read_state_lines(output) == states


@pytest.mark.parametrize(
    "output",
    [
        "<html>",
        "{}",
        "[]",
        '["/a","running"]',
        '["/a",null,{}]',
        '["/a","running",[]]',
        '[1,"running",{}]',
    ],
)
def test_state_lines_that_are_garbage(output):
    """Anything else is an error, rather than a container or none."""
    with pytest.raises(ValueError):
        read_state_lines(output)


def test_ids():
    """Ids are told one a line."""
    assert read_ids(f"{'a' * 64}\n{'0' * 12}\n") == ("a" * 64, "0" * 12)
    assert read_ids("") == ()


@pytest.mark.parametrize("output", ["<html>", "abc", "Cannot connect", "-" * 64])
def test_ids_that_are_garbage(output):
    """Anything else is an error: it would become an argument."""
    with pytest.raises(ValueError):
        read_ids(output)


@pytest.mark.parametrize(
    ("containers", "states"),
    [
        ([], ()),
        (
            [{"status": "running", "networks": [], "configuration": {"id": "a", "mounts": []}}],
            (ContainerState(name="a", phase=Phase.RUNNING),),
        ),
        (
            [
                {
                    "id": "a",
                    "configuration": {"id": "a", "labels": {"k": "v"}},
                    "status": {"state": "stopped", "networks": []},
                }
            ],
            (ContainerState(name="a", phase=Phase.EXITED, labels={"k": "v"}),),
        ),
        (
            [{"status": {"state": "stopping"}, "configuration": {"id": "a", "labels": None}}],
            (ContainerState(name="a", phase=Phase.RUNNING),),
        ),
    ],
)
def test_apple_states(containers, states):
    """Both forms of Apple's JSON are understood, that of 0.x and that of later versions."""
    assert read_apple_states(json.dumps(containers)) == states


@pytest.mark.parametrize(
    "output",
    [
        "ID  IMAGE",
        "{}",
        "[1]",
        "[{}]",
        '[{"configuration": {}, "status": "running"}]',
        '[{"configuration": {"id": "a"}, "status": {}}]',
        '[{"configuration": {"id": "a", "labels": ["x"]}, "status": "running"}]',
    ],
)
def test_apple_states_that_are_garbage(output):
    """Anything else is an error, rather than a container or none."""
    with pytest.raises(ValueError):
        read_apple_states(output)


@given(st.one_of(st.text(), st.recursive(st.none() | st.text(), st.lists).map(json.dumps)))
def test_garbage_is_never_anything_but_a_value_error(output):
    """No text makes a parser fail in another way."""
    for read in (read_state_lines, read_apple_states, read_ids):
        try:
            read(output)
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("Error: one\n  two\n", "Error: one two"),
        ("docker: no\n\nRun 'docker run --help' for more information\n", "docker: no"),
        ("unknown flag: --x\nSee 'docker run --help'.\n", "unknown flag: --x"),
        ("x" * 400, "…" + "x" * EXCERPT_LIMIT),
    ],
)
def test_excerpt(text, line):
    """An engine's words become one line of bounded length, without the hint at --help."""
    assert excerpt(text) == line
