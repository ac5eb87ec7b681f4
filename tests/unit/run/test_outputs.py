"""From bytes to outputs: every event, every cut, and what it all amounts to."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.protocol.convert import encode_output
from nanoclaw_trio.protocol.frames import END_MARKER, START_MARKER
from nanoclaw_trio.protocol.models import ContainerOutput
from nanoclaw_trio.run.capture import Capture
from nanoclaw_trio.run.outcome import Heard
from nanoclaw_trio.run.outputs import OutputReader
from nanoclaw_trio.workspace.secrets import Secrets

reproducible = settings(derandomize=True, deadline=None)


def output(text, session=None):
    """An agent's output."""
    return ContainerOutput(status="success", result=text, new_session_id=session)


def frame(payload):
    """A payload between its markers."""
    return b"\n".join((START_MARKER, payload, END_MARKER, b""))


def framed(*outputs):
    """Outputs as an agent writes them."""
    return b"".join(frame(encode_output(each)) for each in outputs)


def make_reader(*, limit=10_000, cap=1_000):
    """A reader that keeps and takes that many bytes."""
    return OutputReader(Capture(limit), max_frame_bytes=cap, container="c1")


def read(reader, *chunks, after_limit=False):
    """All outputs of these chunks and the end of the stream."""
    return [
        each
        for chunk in (*chunks, b"")
        for each in reader.feed(chunk, after_limit=after_limit)
        if each is not None
    ]


def test_outputs_come_in_order_with_what_they_amount_to():
    """Outputs come as they were written; the last, the last answer and the last id are kept."""
    reader = make_reader()
    written = [output("one", "s1"), output("two", "s2"), output(None, "s3"), output(None)]
    assert read(reader, framed(*written)) == written
    assert (reader.outputs, reader.rejected) == (4, 0)
    assert reader.conclude() == Heard(
        last=written[-1], last_answer=written[1], last_session_id="s3", silent=False
    )


def test_an_output_is_given_as_soon_as_its_end_is_there():
    """Nothing is held back until the next chunk."""
    reader = make_reader()
    stream = framed(output("now"))
    cut = stream.rindex(END_MARKER) + len(END_MARKER)
    assert list(reader.feed(stream[: cut - 1], after_limit=False)) == []
    assert list(reader.feed(stream[cut - 1 : cut], after_limit=False)) == [output("now")]


@reproducible
@given(st.lists(st.text(max_size=20), max_size=4), st.data())
def test_every_cut_gives_the_same(texts, data):
    """Trap A2. However the stream is cut, the outputs and what they amount to are the same."""
    stream = framed(*(output(text, f"s{text}") for text in texts)) + "Grüße 🌍".encode()
    cuts = sorted(data.draw(st.lists(st.integers(1, len(stream)), max_size=8, unique=True)))
    chunks = [
        stream[start:end]
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        if stream[start:end]
    ]
    whole, cut = make_reader(), make_reader()
    assert read(cut, *chunks) == read(whole, stream)
    assert cut.conclude() == whole.conclude()
    assert [each.result for each in read(make_reader(), stream)] == texts


REJECTED = [
    (frame(b"nonsense"), "not JSON"),
    (frame(b"\xff\xfe"), "not JSON"),
    (frame(b""), "not JSON"),
    (frame(b"{}"), "required field missing @ $.status"),
    (frame(b'{"status":"maybe","result":null}'), "$.status"),
    (frame(b'{"status":"success","result":42}'), "$.result"),
    (frame(b"x" * 2000), "an output is larger than 1000 bytes (CONTAINER_MAX_FRAME_SIZE)"),
    (
        START_MARKER + b"\nhalf\n" + frame(encode_output(output("whole"))),
        "an output was begun and not ended before the next",
    ),
    (START_MARKER + b"\nhalf", "the stream ended within an output"),
]


@pytest.mark.parametrize(("stream", "problem"), REJECTED)
def test_what_cannot_be_understood(stream, problem, capsys):
    """Traps A3 and A4. A bad frame is counted and logged by its problem; the stream goes on."""
    reader = make_reader()
    before, after = output("before"), output("after")
    wholes = [output("whole")] if b"whole" in stream else []
    closed = b"" if stream.endswith(b"half") else framed(after)
    outputs = read(reader, framed(before) + stream + closed)
    assert outputs == [before, *wholes, *([after] if closed else [])]
    assert reader.rejected == 1
    assert problem in str(reader.heard.problem)
    logged = capsys.readouterr().err
    assert 'event="output rejected" container=c1' in logged
    assert problem in logged


def test_no_content_is_logged(capsys):
    """What is wrong with a frame is said without anything of its content."""
    reader = make_reader()
    canary = b"sk-canary-1234"
    read(reader, frame(canary), frame(b'{"status":"%s","result":null}' % canary))
    assert reader.rejected == 2
    assert canary.decode() not in capsys.readouterr().err + str(reader.conclude())


def test_a_problem_is_no_output():
    """With nothing but a broken frame there is no output, and the last line isn't looked at."""
    reader = make_reader()
    assert read(reader, frame(b"{}") + encode_output(output("a line"))) == []
    heard = reader.conclude()
    assert (heard.last, heard.last_line, heard.silent) == (None, None, False)
    assert heard.problem is not None


@pytest.mark.parametrize(
    ("limits", "after_limit"),
    [([False], False), ([True], True), ([False, True], True), ([False, False], False)],
)
def test_after_limit_is_of_the_last_output(limits, after_limit):
    """It is known whether the last output came after a limit had passed."""
    reader = make_reader()
    for passed in limits:
        list(reader.feed(framed(output("text")), after_limit=passed))
    assert reader.conclude().after_limit is after_limit


def test_noise_after_a_limit_is_no_output():
    """What isn't an output doesn't count as one that came after the limit."""
    reader = make_reader()
    list(reader.feed(framed(output("text")), after_limit=False))
    list(reader.feed(b"shutting down\n" + frame(b"{}"), after_limit=True))
    assert not reader.conclude().after_limit


JSON = encode_output(output("ok", "s1"))

LAST_LINES = [
    (JSON, output("ok", "s1")),
    (JSON + b"\n", output("ok", "s1")),
    (JSON + b"\r\n \n\t\n\n", output("ok", "s1")),
    (b"log\n" + JSON + b"\n", output("ok", "s1")),
    (b"\n  " + JSON, output("ok", "s1")),
    (b"\xff\xfe garbage\n" + JSON, output("ok", "s1")),
    (encode_output(output("Grüße 🌍")), output("Grüße 🌍")),
    (JSON + b"\nlog", None),
    (b"log " + JSON, None),
    (b"log", None),
    (b"{}", None),
    (b"", None),
    (b" \n\n", None),
]


@pytest.mark.parametrize(("stream", "last_line"), LAST_LINES)
@pytest.mark.parametrize("size", [1, 1000])
def test_the_last_line(stream, last_line, size):
    """Without any marker the last line that isn't blank may be an output; white space is silence."""
    reader = make_reader()
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert read(reader, *chunks) == []
    assert reader.conclude() == Heard(last_line=last_line, silent=not stream.strip())


def test_a_marker_makes_the_last_line_noise():
    """Where there was an output, no line is taken for another."""
    reader = make_reader()
    assert read(reader, framed(output("framed")) + JSON) == [output("framed")]
    assert reader.conclude().last_line is None


@pytest.mark.parametrize("filler", [b"a", b" "])
def test_a_line_that_was_not_kept_whole_is_no_output(filler):
    """A last line with its middle left out is not taken for a shorter one."""
    reader = make_reader(limit=100)
    stream = b'{"status":"success","result":"' + filler * 500 + b'"}'
    read(reader, stream)
    assert reader.conclude() == Heard(silent=False)


@pytest.mark.parametrize(
    ("padding", "found"),
    [(0, True), (800, True), (1001 - 30, False), (2000, False)],
)
def test_a_line_beyond_the_cap_is_no_output(padding, found):
    """Trap A4. A last line larger than a frame may be isn't an output either."""
    line = b" " * padding + b'{"status":"success","result":"ok"}'
    reader = make_reader()
    read(reader, b"log " + line)
    assert reader.conclude().last_line is None
    reader = make_reader()
    read(reader, b"log\n" + line)
    assert (reader.conclude().last_line is not None) is found


def test_what_was_left_out_was_no_silence():
    """An agent that said something was not silent, even if only blank lines of it were kept."""
    reader = make_reader(limit=10)
    read(reader, b"\n" * 10, b"a word", b"\n" * 20)
    assert reader.conclude() == Heard(silent=False)


def test_everything_is_kept_for_the_log():
    """Frames and noise alike go into what is kept for the run log."""
    capture = Capture(10_000)
    reader = OutputReader(capture, max_frame_bytes=1_000, container="c1")
    stream = b"noise\n" + framed(output("text")) + b"noise\n"
    read(reader, stream[:10], stream[10:])
    assert capture.text(Secrets({})) == stream.decode()
