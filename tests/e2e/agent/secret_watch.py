"""A process that a tool leaves behind, and that watches as the CLI is started anew.

    python3 secret_watch.py PID DIGEST

Once there is a file `go` it ends the CLI with that PID, which the agent then starts again for its
next prompt. From `watching` to `stop` it looks into the environment of every process; `watched` gets
the command lines of those that had the secret with this digest, as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from secret_search import read_file

POLL = 0.01


def wait_until(condition):
    """Wait for what nothing but looking can tell."""
    while not condition():
        time.sleep(POLL)


def look(wanted):
    """The command lines of the processes with the secret in their environment."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in read_file(process / "environ"):
                yield (process / "cmdline").read_text().replace("\0", " ")


def main(pid, wanted):
    """Watch, and put what was found into a file, whole."""
    wait_until(Path("go").exists)
    os.kill(int(pid), signal.SIGINT)
    wait_until(lambda: not Path("/proc", pid).exists())
    Path("watching").touch()
    found = set()
    while not Path("stop").exists():
        found |= set(look(wanted))
    Path("watched.tmp").write_text(json.dumps(sorted(found)))
    Path("watched.tmp").rename("watched")


if __name__ == "__main__":
    main(*sys.argv[1:])
