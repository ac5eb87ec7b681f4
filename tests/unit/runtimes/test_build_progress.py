"""What a build says of itself."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.runtimes.build_progress import (
    LINE_LIMIT,
    TAIL_LINES,
    BuildLog,
    BuildProgress,
    BuildStep,
    LineReader,
    clean,
    read_step,
)


def step(number, total, instruction):
    """A step."""
    return BuildStep(number=number, total=total, instruction=instruction)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Step 3/12 : RUN a && b", step(3, 12, "RUN a && b")),
        ("STEP 3/12: COPY a b", step(3, 12, "COPY a b")),
        ("[2/2] STEP 1/4: FROM x AS y", step(1, 4, "FROM x AS y")),
        ("#7 [3/9] RUN pip install x", step(3, 9, "RUN pip install x")),
        ("#7 [stage-0 3/9] RUN x", step(3, 9, "RUN x")),
        ("#12 [linux/arm64/v8 build 10/11] RUN x", step(10, 11, "RUN x")),
        ("#5 [internal] load build definition from Dockerfile", None),
        ("#7 1.234 Collecting Step 3/12 : x", None),
        ("#7 CACHED", None),
        ("  Step 3/12 : RUN x", None),
        ("Removing intermediate container 1", None),
        ("", None),
    ],
)
def test_read_step(line, expected):
    """The first line of a step is known in each builder's form, and nothing else is taken for it."""
    assert read_step(line) == expected


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain  ", "plain"),
        ("\x1b[31mred\x1b[0m \x1b[2Kx", "red x"),
        ("10%\r20%\r30%", "30%"),
        ("windows\r", "windows"),
        ("a" * (LINE_LIMIT + 1) + "b", "a" * (LINE_LIMIT - 1) + "b"),
    ],
)
def test_clean(line, shown):
    """A line is what a screen would show of it in the end, and not longer than is kept."""
    assert clean(line) == shown


@settings(deadline=None)
@given(st.lists(st.binary(max_size=12)))
def test_lines_are_the_same_however_the_pipe_cuts(chunks):
    """The same bytes are the same lines, however they are cut."""
    reader = LineReader()
    lines = [line for chunk in chunks for line in reader.receive_data(chunk)] + reader.close()
    whole = b"".join(chunks).removesuffix(b"\n")
    expected = [clean(line.decode(errors="replace")) for line in whole.split(b"\n")]
    assert lines == (expected if b"".join(chunks) else [])


def test_a_line_without_an_end_is_cut():
    """A program that never ends its line doesn't fill the memory."""
    reader = LineReader()
    for _ in range(3):
        assert reader.receive_data(b"x" * LINE_LIMIT) == []
    assert reader.receive_data(b"y\n") == ["x" * (LINE_LIMIT - 1) + "y"]
    assert reader.close() == []


def test_log_knows_the_step_under_way():
    """Each line comes with its step; a step that is said twice begins once."""
    log = BuildLog()
    lines = ("Sending", "", "#7 [1/2] RUN x", "#7 0.4 Collecting y", "#7 [1/2] RUN x")
    first = step(1, 2, "RUN x")
    assert [log.receive_line(line) for line in lines] == [
        BuildProgress(line="Sending"),
        None,
        BuildProgress(line="[1/2] RUN x", step=first, is_news=True),
        BuildProgress(line="Collecting y", step=first),
        BuildProgress(line="[1/2] RUN x", step=first),
    ]
    assert log.tail == tuple(line for line in lines if line)


def test_log_keeps_the_end():
    """Of a long build the last lines are kept."""
    log = BuildLog()
    for number in range(100):
        log.receive_line(f"line {number}")
    assert log.tail == tuple(f"line {n}" for n in range(100 - TAIL_LINES, 100))
