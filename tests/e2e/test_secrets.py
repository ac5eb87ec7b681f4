"""While a real container works: no other process of the machine has the key."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CANARY = "sk-canary-0ff1ce-that-is-a-key"

HOST = """
import sys, trio
from pathlib import Path
from nanoclaw_trio import ContainerInput, RegisteredGroup, Settings, open_run, open_runtime

async def main(runtime, project):
    settings = Settings.load(project).with_values(agent="echo", container_image="nanoclaw-echo:test")
    group = RegisteredGroup(name="Family", folder="family")
    question = ContainerInput(prompt="Hello", group_folder="family", chat_jid="c", is_main=True)
    engine = await open_runtime(runtime, settings)
    async with open_run(group, question, settings=settings, runtime=engine) as run:
        async for output in run:
            if output.is_session_update:
                print(run.container_name, flush=True)
                await trio.to_thread.run_sync(sys.stdin.readline)
                await run.close()
    print(run.result, flush=True)

trio.run(main, sys.argv[1], Path(sys.argv[2]))
"""


def processes_with(text):
    """All processes whose command line or environment has a text, as far as we may look."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        for part in ("cmdline", "environ"):
            try:
                if text.encode() in (process / part).read_bytes():
                    found[int(process.name)] = (process / "cmdline").read_bytes()
            except OSError:
                continue
    return found


@pytest.mark.parametrize("place", [".env", "environment"])
def test_no_other_process_has_the_key(real_runtime_name, tmp_path, place):
    """Trap A17. A key in .env, or in the host's environment, is in no command line and in no other
    process's environment while the agent works, and in no file afterwards."""
    environment = dict(os.environ)
    if place == ".env":
        (tmp_path / ".env").write_text(f"ANTHROPIC_API_KEY={CANARY}\n")
    else:
        environment["ANTHROPIC_API_KEY"] = CANARY
    with subprocess.Popen(
        [sys.executable, "-c", HOST, real_runtime_name, str(tmp_path)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as host:
        assert host.stdout.readline().startswith("nanoclaw-family-")
        found = processes_with(CANARY)
        found.pop(host.pid, None)
        said = "".join(host.communicate("\n", timeout=120))
    assert found == {}
    assert host.returncode == 0, said
    assert CANARY not in said
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != ".env":
            assert CANARY not in path.read_text(errors="replace"), path


def test_the_search_would_find_it():
    """The search above sees a key in another process's environment."""
    environment = {**os.environ, "SOME_KEY": CANARY}
    with subprocess.Popen(
        ["cat"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        # What comes back proves that it is `cat` by now, and no longer our fork.
        process.stdin.write(b"x")
        process.stdin.flush()
        assert process.stdout.read(1) == b"x"
        assert process.pid in processes_with(CANARY)
        process.kill()
