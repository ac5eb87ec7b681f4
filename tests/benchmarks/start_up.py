"""Measures what the command costs before it does anything: CPU seconds, beside bare starts of Python.

    python tests/benchmarks/start_up.py [--rounds N]

All take turns, so that they see the same of the machine; seconds are of CPU, of user and system
together, medians.

- pass: `python -c pass`
- import trio: `python -c "import trio"`
- help: `python -m nanoclaw_trio --help`
- run: `python -m nanoclaw_trio run Hello`, up to the moment at which docker's socket is asked to make
  the container. A server in docker's place reads in /proc what its client has used, with all of its
  threads, and ends it there.
- run by docker's client: the same with `--runtime docker`, up to the moment at which the client is
  started that is to start the container. That client is a script in docker's place, which does the
  same with its parent. What other clients used before, which are asked for docker's version and for
  the image, is docker's and not counted.

A program's bytecode is on the disk, as pip leaves it: it is written in a round before the first.
Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from threading import Thread

from nanoclaw_trio.testing.docker_stand_in import Scenario, write_docker_stand_in

NANOSECOND = 1e-9

CLIENT = """#!/bin/sh
if [ "$1" = run ]; then
    cat /proc/$PPID/task/*/schedstat > {used}
    kill -KILL $PPID
else
    exec {docker} "$@"
fi
"""


ANSWERS = {
    "version": {"Version": "28.0.0", "ApiVersion": "1.48", "MinAPIVersion": "1.24"},
    "json": {"Id": "an-image", "Config": {"Labels": {}}},
}
"""What docker says, by the last word of what it is asked for."""


class Docker(BaseHTTPRequestHandler):
    """Docker's socket, up to the making of a container."""

    def do_GET(self):
        body = json.dumps(ANSWERS[self.path.rpartition("/")[2]]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        peer = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, _, _ = struct.unpack("3i", peer)
        self.server.used = threads_seconds(pid)
        os.kill(pid, signal.SIGKILL)

    def log_message(self, *_):
        """Nothing is logged."""


def threads_seconds(pid):
    """What all threads of a process have used up to now."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) * NANOSECOND


def cpu_seconds(argv, environment):
    """What a process used from its start to its end, and the exit status."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(argv, env=environment, **quiet)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime, process.returncode


def to_the_end(*words):
    """A measurement of a Python with these words."""

    def measure(environment):
        seconds, status = cpu_seconds([sys.executable, *words], environment)
        assert status == 0, words
        return seconds

    return measure


def make_project(directory):
    """A project with a key; the words that run an agent in it."""
    project = directory / "project"
    project.mkdir(exist_ok=True)
    (project / ".env").write_text("ANTHROPIC_API_KEY=a-key-for-nobody\n")
    return [sys.executable, "-m", "nanoclaw_trio", "run", "--project", str(project), "Hello"]


def to_the_request(directory):
    """A measurement of `run` until docker is asked for its container; it needs a directory."""
    path = directory / "docker.sock"
    docker = ThreadingUnixStreamServer(str(path), Docker)
    Thread(target=docker.serve_forever, daemon=True).start()
    argv = make_project(directory)

    def measure(environment):
        docker.used = None
        cpu_seconds(argv, {**environment, "DOCKER_HOST": f"unix://{path}"})
        return docker.used

    return measure


def to_the_start(directory):
    """A measurement of `run` until its container's client starts; it needs a directory."""
    docker = write_docker_stand_in(directory / "docker", Scenario(agent=("true",)))
    used = directory / "used"
    client = directory / "bin" / "docker"
    client.parent.mkdir()
    client.write_text(CLIENT.format(used=shlex.quote(str(used)), docker=shlex.quote(str(docker))))
    client.chmod(0o755)
    argv = [*make_project(directory), "--runtime", "docker"]

    def measure(environment):
        used.unlink(missing_ok=True)
        path = f"{client.parent}{os.pathsep}{environment['PATH']}"
        cpu_seconds(argv, {**environment, "PATH": path})
        return sum(int(line.split()[0]) for line in used.read_text().splitlines()) * NANOSECOND

    return measure


def surroundings(directory):
    """The variables of all that is measured; bytecode is kept in the directory."""
    unset = {"PYTHONDONTWRITEBYTECODE", "DOCKER_HOST", "DOCKER_CONTEXT"}
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    return {**kept, "PYTHONPYCACHEPREFIX": str(directory / "bytecode")}


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        environment = surroundings(directory)
        measurements = {
            "pass": to_the_end("-c", "pass"),
            "import trio": to_the_end("-c", "import trio"),
            "help": to_the_end("-m", "nanoclaw_trio", "--help"),
            "run": to_the_request(directory),
            "run by docker's client": to_the_start(directory),
        }
        turns = [
            {label: measure(environment) for label, measure in measurements.items()}
            for _ in range(rounds + 1)
        ][1:]
    show({label: statistics.median(turn[label] for turn in turns) for label in measurements})


def show(seconds):
    """Print each with its ratios to the bare ones."""
    print("| start | CPU seconds | by `import trio` | by `pass` |")
    print("| --- | --- | --- | --- |")
    for label, value in seconds.items():
        by_trio, by_pass = value / seconds["import trio"], value / seconds["pass"]
        print(f"| {label} | {value:.3f} | {by_trio:.2f} | {by_pass:.1f} |")


if __name__ == "__main__":
    main()
