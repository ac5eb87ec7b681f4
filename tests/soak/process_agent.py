"""An agent of the soak as a program: `process_agent.py` with its input on standard input.

Where it finds its mailbox on the host's disk stands in SOAK_MAILBOX; while the file SOAK_CALM is
there it does nothing but echo.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

sys.path.append(str(Path(__file__).parent))

import script

POLL = 0.3
"""Seconds between two looks into the mailbox."""

ORPHAN = "import time; time.sleep(4)"


def write(descriptor, data):
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def put(name, content):
    target = Path(os.environ["SOAK_MAILBOX"], name)
    target.parent.mkdir(exist_ok=True)
    temporary = target.with_suffix(".tmp")
    temporary.write_bytes(content)
    temporary.rename(target)


def close_stdout():
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)


STEPS = {
    "write": write,
    "sleep": time.sleep,
    "put": put,
    "exit": os._exit,
    "memory": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "mute": close_stdout,
    "orphan": lambda: subprocess.Popen([sys.executable, "-IS", "-c", ORPHAN]),
    "stubborn": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
}


def next_follow_up():
    """The next one's name and text; None for the wish that it ends."""
    directory = Path(os.environ["SOAK_MAILBOX"], "input")
    while True:
        for path in sorted(directory.glob("*.json")):
            text = json.loads(path.read_bytes())["text"]
            path.unlink()
            return path.name, text
        close = directory / "_close"
        if close.exists():
            close.unlink()
            return None
        time.sleep(POLL)


def main():
    random = Random(os.environ["SOAK_SEED"])  # noqa: S311 - no secret
    request = json.load(sys.stdin)
    text, session, answered = request["prompt"], request.get("sessionId"), ()
    while True:
        turn = script.Turn(text, session, answered, request, random)
        for step, *arguments in script.behave(turn, is_calm=Path(os.environ["SOAK_CALM"]).exists()):
            STEPS[step](*arguments)
        session = turn.session
        taken = next_follow_up()
        if taken is None:
            return
        answered, text = taken[:1], taken[1]


if __name__ == "__main__":
    main()
