"""Does what the variable NANOCLAW_PROBE says, with the standard library alone.

See :mod:`nanoclaw_trio.testing.conformance`, whose tests ask for each of these.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def echo(_: str) -> int:
    """Copy standard input to standard output."""
    sys.stdout.buffer.write(sys.stdin.buffer.read())
    return 0


def leave(status: str) -> int:
    """End with an exit status, standard input unread."""
    return int(status)


def complain(text: str) -> int:
    """Write to standard error."""
    sys.stderr.write(text)
    return 0


def sleep(_: str) -> int:
    """Say so, and sleep for ever."""
    os.write(1, b"ready\n")
    while True:
        time.sleep(3600)


def stubborn(_: str) -> int:
    """Sleep for ever, and ignore SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return sleep("")


def farewell(_: str) -> int:
    """Sleep until SIGTERM, then have a last word and end with status 0."""

    def part(*_: object) -> None:
        # Not through sys.stdout: the signal may come while that is still in its own write.
        os.write(1, b"bye\n")
        os._exit(0)

    signal.signal(signal.SIGTERM, part)
    return sleep("")


def flood(size: str) -> int:
    """Write that many bytes to both streams."""
    block = b"x" * 65536
    for _ in range(int(size) // len(block)):
        sys.stdout.buffer.write(block)
        sys.stderr.buffer.write(block)
    return 0


def write(path: str) -> int:
    """Write a file; `written`, or the name of the error."""
    try:
        Path(path).write_text("from the container\n")
    except OSError as error:
        sys.stdout.write(type(error).__name__)
    else:
        sys.stdout.write("written")
    return 0


def read(path: str) -> int:
    """Print a file; or the name of the error."""
    try:
        sys.stdout.write(Path(path).read_text())
    except OSError as error:
        sys.stdout.write(type(error).__name__)
    return 0


def environ(_: str) -> int:
    """Print the environment as JSON."""
    json.dump(dict(os.environ), sys.stdout)
    return 0


PROBES = {
    probe.__name__: probe
    for probe in (
        echo,
        leave,
        complain,
        sleep,
        stubborn,
        farewell,
        flood,
        write,
        read,
        environ,
    )
}


if __name__ == "__main__":
    name, _, argument = os.environ["NANOCLAW_PROBE"].partition(" ")
    status = PROBES[name](argument)
    sys.stdout.flush()
    sys.exit(status)
