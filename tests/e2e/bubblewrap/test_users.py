"""Sandboxes work for root and for other users, and a stranger's are left alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import trio

import nanoclaw_trio

CODE = """
import os, trio
from pathlib import Path
Path("written").write_text("by the agent")
print(os.getuid(), Path.home(), os.access("/home/node", os.W_OK), trio.__name__)
"""

PACKAGES = (Path(nanoclaw_trio.__file__).parents[1], Path(trio.__file__).parents[1])


def run_as(uid, argv, home):
    """Run a program as another user, in its home directory and with nothing of our environment."""
    environment = {
        "HOME": str(home),
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(str(path) for path in PACKAGES),
    }
    return subprocess.run(
        argv,
        user=uid,
        group=uid,
        extra_groups=[],
        cwd=home,
        env=environment,
        capture_output=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(params=[1000, 1234])
def other_user(request):
    """Another user's uid and home directory; only root can become one."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        home = Path(directory, "home")
        home.mkdir(mode=0o700)
        os.chown(home, request.param, request.param)
        yield request.param, home


@pytest.fixture
def python(other_user):
    """A Python that the other user can run: this one, or the system's in an environment."""
    uid, home = other_user
    probe = ["-c", "import nanoclaw_trio, trio, orjson"]

    def works(candidate):
        try:
            return run_as(uid, [str(candidate), *probe], home).returncode == 0
        except PermissionError:
            return False

    if works(sys.executable):
        return sys.executable
    environment = home.parent / "environment"
    system = shutil.which("python3", path="/usr/bin")
    if system is not None:
        subprocess.run([system, "-m", "venv", "--without-pip", environment], check=False)
    if not works(environment / "bin/python"):
        pytest.skip(
            f"uid {uid} can run neither {sys.executable} nor the system's python3 with Trio"
        )
    return str(environment / "bin/python")


def do_as(uid, home, python, argv):
    """What another user's host program prints."""
    result = run_as(uid, [python, *argv[1:]], home)
    assert result.stdout, result.stderr.decode()
    return json.loads(result.stdout)


async def test_another_user_runs_agents(agents, other_user, python, host_program):
    """A user who isn't root runs an agent, whose files in the workspace are that user's own."""
    uid, home = other_user
    for name in ("group", "source/nanoclaw_agent"):
        (home / name).mkdir(parents=True)
        os.chown(home / name, uid, uid)
    (home / "source/nanoclaw_agent/__main__.py").write_text(CODE)
    heard = do_as(
        uid,
        home,
        python,
        host_program(
            do="run",
            project=str(home),
            name=agents.new_name(),
            mounts=[
                [str(home / "source"), "/app/src", True],
                [str(home / "group"), "/workspace/group", False],
            ],
        ),
    )
    assert heard == {
        "status": 0,
        "output": "1000 /home/node True trio\n",
        "problems": "",
        "gone": True,
    }
    assert (home / "group/written").stat().st_uid == uid


async def test_a_strangers_sandbox_is_seen_and_let_be(agents, other_user, python, host_program):
    """Another user's sandbox is listed, and an attempt to end it is an error, not a success."""
    uid, home = other_user
    install = agents.new_name()
    container = await agents.start("input()", labels={"install": install})

    def ask(**task):
        return do_as(uid, home, python, host_program(project=str(home), **task))

    assert ask(do="list_names", labels={"install": install}) == [container.name]
    for do in ("stop", "kill"):
        refused = ask(do=do, name=container.name, grace=1)
        assert refused["error"] == "RuntimeCommandFailed"
        assert "isn't permitted: another user's" in refused["message"]
    assert await agents.runtime.inspect(container.name) is not None
