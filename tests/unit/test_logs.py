"""Logs: on standard error, or wherever the embedder wants them."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys

import pytest
import structlog

from nanoclaw_trio.logs import LEVELS, configure_logging, log

METHODS = ("debug", "info", "warning", "error")


def emit_all() -> None:
    """One event of each level."""
    for method in METHODS:
        getattr(log, method)(f"a {method} event", number=7)


def test_unconfigured_logs_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Without any configuration nothing is written to standard output: only answers belong there."""
    emit_all()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert 'level=error event="a error event" number=7' in captured.err


def test_unconfigured_level_is_info(capsys: pytest.CaptureFixture[str]) -> None:
    """Without any configuration debug events are left out, and the others are one line each."""
    emit_all()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("level=")[1].split()[0] for line in lines] == ["info", "warning", "error"]


def test_importing_costs_no_structlog() -> None:
    """Who logs nothing doesn't pay for importing structlog."""
    program = "import sys, nanoclaw_trio.logs; sys.exit('structlog' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_program_without_configuration_keeps_standard_output_clean() -> None:
    """In a real process the events are on descriptor 2, and descriptor 1 stays empty."""
    program = "from nanoclaw_trio.logs import log; log.warning('hello', group='family')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b""
    assert b"level=warning event=hello group=family" in done.stderr


def test_embedders_configuration_is_respected(capsys: pytest.CaptureFixture[str]) -> None:
    """A structlog that was configured after the import gets the events, and we write nothing."""
    capturing = structlog.testing.CapturingLoggerFactory()
    structlog.configure(processors=[], logger_factory=capturing)
    emit_all()
    assert [call.method_name for call in capturing.logger.calls] == list(METHODS)
    assert capturing.logger.calls[0].kwargs == {"event": "a debug event", "number": 7}
    assert capsys.readouterr() == ("", "")


def test_reconfiguration_takes_effect_at_the_next_event(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The level that was configured last is the one in force."""
    configure_logging("error")
    log.info("unheard")
    configure_logging("info")
    log.info("heard")
    assert "unheard" not in (captured := capsys.readouterr().err)
    assert "event=heard" in captured


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("trace", 4),
        ("debug", 4),
        ("info", 3),
        ("warn", 2),
        ("warning", 2),
        ("error", 1),
        ("fatal", 0),
    ],
)
def test_level_decides_what_is_written(
    level: str, expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each name that LOG_LEVEL takes writes its own level and what is above it, to stderr only."""
    configure_logging(level)
    emit_all()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == expected


def test_every_level_was_tried() -> None:
    """The table above has every name, and the names are sorted by their numbers."""
    assert list(LEVELS) == ["trace", "debug", "info", "warn", "warning", "error", "fatal"]
    assert list(LEVELS.values()) == sorted(LEVELS.values())


def test_unknown_level_is_a_key_error() -> None:
    """A level that doesn't exist is the program's own mistake, found at once."""
    with pytest.raises(KeyError):
        configure_logging("loud")


def test_events_follow_a_standard_error_that_is_replaced() -> None:
    """The stream is looked up at each event: a progress display may stand in for it for a while."""
    first, second = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(first):
        log.info("one")
    with contextlib.redirect_stderr(second):
        log.info("two")
    assert "event=one" in first.getvalue()
    assert "two" not in first.getvalue()
    assert "event=two" in second.getvalue()


@pytest.mark.parametrize("value", ["two\nlines", 'a "quoted" word', "level=error", "\x1b[31mred"])
def test_field_can_not_forge_a_line(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A field that came from an agent stays inside its own line and its own quotes."""
    log.warning("heard", text=value)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.count(" level=") == 1


def test_exception_is_part_of_its_event(capsys: pytest.CaptureFixture[str]) -> None:
    """An event inside a handler can carry the traceback."""
    try:
        raise OSError("disk full")  # noqa: TRY301
    except OSError:
        log.error("log not written", exc_info=True)
    assert "OSError: disk full" in capsys.readouterr().err


def test_a_text_can_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters of an agent's text are shown, not sent."""
    log.warning("heard", text="\x1b[2Jgone\x9b31m")
    assert "\\x1b[2Jgone\\x9b31m" in capsys.readouterr().err


@pytest.mark.parametrize("character", "\u061c\u200e\u200f\u202a\u202e\u2066\u2069\u2028\u2029")
def test_a_text_can_not_turn_a_line_around(
    character: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What changes the direction of a text, or ends a line for some programs, is shown instead."""
    log.warning("heard", text=f"a{character}b")
    assert f"a\\u{ord(character):04x}b" in capsys.readouterr().err


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("closed file")])
def test_a_standard_error_without_a_reader_breaks_nothing(error: Exception) -> None:
    """A log line that can't be written stands in nobody's way."""

    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise error

    with contextlib.redirect_stderr(Broken()):
        log.error("unheard")


FRESH = """
import sys
from nanoclaw_trio.logs import configure_logging, log
configure_logging("warning")
log.info("unheard")
assert "structlog" not in sys.modules
log.warning("heard")
log.info("unheard")
"""


def test_configuring_a_program_costs_no_structlog() -> None:
    """Structlog is imported and configured by the first event that is written."""
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, check=True)
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
    assert b"level=warning event=heard" in done.stderr


def test_unknown_level_is_a_key_error_before_structlog_is_imported() -> None:
    """The same mistake is found at once there, too."""
    program = "from nanoclaw_trio.logs import configure_logging; configure_logging('loud')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert b"KeyError: 'loud'" in done.stderr


def test_embedders_configuration_after_ours_is_respected() -> None:
    """Who configures structlog before the first event has the last word."""
    program = (
        "from nanoclaw_trio.logs import configure_logging, log; configure_logging('info')\n"
        "import structlog; structlog.configure(processors=[structlog.processors.JSONRenderer()])\n"
        "log.info('heard')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b'{"event": "heard"}\n', b"")
