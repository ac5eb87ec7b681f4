"""Sandboxes work for root and for other users, and a stranger's are left alone."""

from __future__ import annotations

import json
import os

import pytest

from nanoclaw_trio.runtimes.abc import ContainerSpec
from nanoclaw_trio.runtimes.bubblewrap_host import holds_processes

CODE = """
import os, trio
from pathlib import Path
Path("written").write_text("by the agent")
print(os.getuid(), Path.home(), os.access("/home/node", os.W_OK), trio.__name__)
"""


def do_as(run_as, uid, home, python, argv):
    """What another user's host program prints."""
    result = run_as(uid, [python, *argv[1:]], home)
    assert result.stdout, result.stderr.decode()
    return json.loads(result.stdout)


@pytest.fixture
def run_agent(agents, other_user, python, run_as, host_program):
    """Run an agent with this program for another user, in a group's folder of his; what came of it."""
    uid, home = other_user

    def run(code):
        for name in ("group", "source/nanoclaw_agent"):
            (home / name).mkdir(parents=True)
            os.chown(home / name, uid, uid)
        (home / "source/nanoclaw_agent/__main__.py").write_text(code)
        mounts = [
            [str(home / "source"), "/app/src", True],
            [str(home / "group"), "/workspace/group", False],
        ]
        task = {"do": "run", "project": str(home), "name": agents.new_name(), "mounts": mounts}
        return do_as(run_as, uid, home, python, host_program(**task))

    return run


async def test_another_user_runs_agents(other_user, run_agent):
    """A user who isn't root runs an agent, whose files in the workspace are that user's own."""
    uid, home = other_user
    assert run_agent(CODE) == {
        "status": 0,
        "output": "1000 /home/node True trio\n",
        "problems": "",
        "gone": True,
    }
    assert (home / "group/written").stat().st_uid == uid


FORKS = """
import os, signal, time
made = 0
try:
    while made < 2000 and os.fork():
        made += 1
except OSError as error:
    print(made, error.strerror, flush=True)
    os.kill(0, signal.SIGKILL)
time.sleep(1000)
"""


async def test_a_users_sandbox_has_so_many_processes(other_user, run_agent):
    """An agent that forks without end gets no more processes than its limit, on a Linux that counts
    them, whatever else its user runs."""
    uid, _ = other_user
    if not holds_processes(os.uname().release, uid):
        pytest.skip("this kernel counts all that a user has on the machine")
    heard = run_agent(FORKS)
    made, why = heard["output"].split(maxsplit=1)
    assert why == "Resource temporarily unavailable\n"
    limit = ContainerSpec(name="x", image="").pids_limit
    # bwrap's process 1, and the agent itself.
    assert int(made) == limit - 2
    assert (heard["status"], heard["gone"]) == (128 + 9, True)


async def test_a_strangers_sandbox_is_seen_and_let_be(
    agents, other_user, python, run_as, host_program
):
    """Another user's sandbox is listed, and an attempt to end it is an error, not a success."""
    uid, home = other_user
    install = agents.new_name()
    container = await agents.start("input()", labels={"install": install})

    def ask(**task):
        return do_as(run_as, uid, home, python, host_program(project=str(home), **task))

    assert ask(do="list_names", labels={"install": install}) == [container.name]
    for do in ("stop", "kill"):
        refused = ask(do=do, name=container.name, grace=1)
        assert refused["error"] == "RuntimeCommandFailed"
        assert "isn't permitted: another user's" in refused["message"]
    assert await agents.runtime.inspect(container.name) is not None
