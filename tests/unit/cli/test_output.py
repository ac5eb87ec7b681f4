"""What goes to standard output."""

from __future__ import annotations

import errno
import json

import pytest
import trio
import trio.testing

from nanoclaw_trio.cli.ending import Ending
from nanoclaw_trio.cli.output import (
    OutputUnwritable,
    Printer,
    answer_text,
    json_line,
    output_record,
    write_text,
)
from nanoclaw_trio.protocol.models import ContainerOutput

ESCAPE = "\x1b[2J\x9b2J"


@pytest.fixture
def make_printer():
    """A printer at a desk."""

    def make(desk, *, as_json=False):
        world = desk.world
        return Printer(world.streams, world.progress, world.interruption, as_json=as_json)

    return make


class FailingStream(trio.abc.SendStream):
    """A stream that fails in its own way."""

    def __init__(self, error):
        self._error = error

    async def send_all(self, _data):
        """Fail."""
        await trio.lowlevel.checkpoint()
        raise self._error

    async def wait_send_all_might_not_block(self):
        """Nothing to wait for."""
        await trio.lowlevel.checkpoint()

    async def aclose(self):
        """Nothing to close."""
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("result", "text"),
    [(None, ""), ("", "\n"), ("a", "a\n"), ("a\n", "a\n"), ("a\n\n", "a\n\n"), ("ü", "ü\n")],
)
def test_an_answer_ends_with_a_line_end(outputs, result, text):
    """An answer is written as it is, with a line end if it lacks one; no answer is no line."""
    assert answer_text(outputs.answer(result), terminal=False) == text


def test_only_a_terminal_is_protected(outputs):
    """Control characters become pictures on a terminal and stay as they are elsewhere."""
    output = outputs.answer(ESCAPE)
    assert answer_text(output, terminal=False) == f"{ESCAPE}\n"
    assert answer_text(output, terminal=True) == "␛[2J\ufffd2J\n"


def test_a_record_has_the_wires_keys():
    """An output keeps its own keys and says what it is."""
    output = ContainerOutput(status="error", result=None, new_session_id="s", error="no")
    assert output_record(output) == {
        "type": "output",
        "status": "error",
        "result": None,
        "newSessionId": "s",
        "error": "no",
    }


def test_a_record_names_no_files_of_the_mailbox():
    """Who runs the command sends follow-ups as text, and their files are no affair of his."""
    output = ContainerOutput(status="success", result="Hi", follow_ups=("1.json",))
    assert output_record(output) == {"type": "output", "status": "success", "result": "Hi"}


@pytest.mark.parametrize("terminal", [False, True])
def test_a_json_line_says_the_same_everywhere(terminal):
    """On a terminal the line has escapes in the place of control characters; else it is as is."""
    line = json_line({"result": f"Grüße{ESCAPE}"}, terminal=terminal)
    assert line.endswith("\n")
    assert "Grüße" in line
    assert ("\x9b" in line) is not terminal
    assert json.loads(line) == {"result": f"Grüße{ESCAPE}"}


async def test_plain_output(make_desk, make_printer, outputs):
    """Answers go to standard output, errors to standard error."""
    desk = make_desk()
    printer = make_printer(desk)
    for output in (outputs.answer("Hi"), outputs.update(), outputs.error("no\nquota")):
        await printer.output(output)
    assert desk.written() == "Hi\n"
    assert desk.said() == ["no quota"]


async def test_json_output(make_desk, make_printer, outputs):
    """Every output is a line, session updates and errors too; standard error has no copy."""
    desk = make_desk()
    printer = make_printer(desk, as_json=True)
    for output in (outputs.answer("Hi"), outputs.update(), outputs.error("no")):
        await printer.output(output)
    await printer.end(Ending(status="success", cause="completed", exit_status=0))
    assert [record["type"] for record in desk.records()] == ["output"] * 3 + ["end"]
    assert desk.said() == []


async def test_what_was_said_is_not_said_twice(make_desk, make_printer, outputs):
    """Where the agent's own error is the reason for the ending, one line has it."""
    desk = make_desk()
    printer = make_printer(desk)
    await printer.output(outputs.error("no quota"))
    await printer.end(Ending(cause="completed", exit_status=1, error="no quota", doubt="?"))
    assert desk.said() == ["no quota", "?"]


async def test_what_happens_again_is_said_again(make_desk, make_printer):
    """Two runs of a conversation that end alike are two endings."""
    desk = make_desk()
    printer = make_printer(desk)
    for _ in range(2):
        await printer.end(Ending(cause="agent_failed", exit_status=1, error="it failed"))
    assert desk.said() == ["it failed", "it failed"]


async def test_a_lost_reader_interrupts(make_desk, make_printer, outputs):
    """Standard output that nobody reads ends the command as SIGPIPE would, without a word."""
    desk = make_desk(stdout=FailingStream(trio.BrokenResourceError()))
    with desk.world.interruption.scope:
        await make_printer(desk).output(outputs.answer("Hi"))
        raise AssertionError("not cancelled")
    assert desk.world.interruption.number == 13
    assert desk.said() == []


async def test_a_full_disk_is_an_error(make_desk):
    """Standard output that can't be written is somebody's fault, and says what to do."""
    desk = make_desk(stdout=FailingStream(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OutputUnwritable, match="No space left on device; write it somewhere else"):
        await write_text(desk.world.streams, desk.world.interruption, "x")


async def test_half_a_character_is_replaced(make_desk):
    """Text that UTF-8 can't hold is written with a replacement rather than not at all."""
    desk = make_desk()
    await write_text(desk.world.streams, desk.world.interruption, "a\ud800b")
    assert desk.written() == "a?b"
