"""What an agent in a sandbox can see and change, and what it can't."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.errors import RuntimeCommandFailed, RuntimeUnavailable, StartFailed
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.runtimes.bubblewrap_check import list_executables
from nanoclaw_trio.runtimes.bubblewrap_processes import find_sandboxes

CANARY = "canary-5f1d"

ATTEMPT = """
import errno
def attempt(action, *arguments):
    try:
        action(*arguments)
    except OSError as error:
        print(errno.errorcode[error.errno])
    else:
        print("done")
"""


def mount(host_path, container_path, *, readonly):
    """A mount."""
    return VolumeMount(host_path=host_path, container_path=container_path, readonly=readonly)


async def test_mounts_are_as_writable_as_they_say(agents, tmp_path):
    """What is mounted read-write can be changed, what is mounted read-only can't."""
    group, extra = tmp_path / "group", tmp_path / "extra"
    group.mkdir()
    extra.mkdir()
    code = ATTEMPT + (
        "from pathlib import Path\n"
        "attempt(Path('written').write_text, 'by the agent')\n"
        "attempt(Path('/workspace/extra/x/written').write_text, 'no')\n"
        "attempt(Path('/app/src/nanoclaw_agent/__main__.py').unlink)\n"
    )
    mounts = (
        mount(group, "/workspace/group", readonly=False),
        mount(extra, "/workspace/extra/x", readonly=True),
    )
    assert await agents.run(code, mounts=mounts) == (0, "done\nEROFS\nEROFS\n", "")
    assert (group / "written").read_text() == "by the agent"
    assert (group / "written").stat().st_uid == os.geteuid()
    assert list(extra.iterdir()) == []


async def test_the_projects_env_reads_as_empty(agents, tmp_path):
    """A file with /dev/null mounted over it reads as empty, in a directory that is read-only."""
    (tmp_path / "project/.env").write_text(CANARY)
    mounts = (
        mount(tmp_path / "project", "/workspace/project", readonly=True),
        mount(Path("/dev/null"), "/workspace/project/.env", readonly=True),
    )
    code = "print(repr(open('/workspace/project/.env').read()))"
    assert await agents.run(code, mounts=mounts) == (0, "''\n", "")


async def test_a_source_that_goes_away_is_a_failed_start(agents, runtime, tmp_path):
    """A mount that bwrap can't make is told as such, and not as the agent's failure."""
    readonly = tmp_path / "readonly"
    readonly.mkdir()
    mounts = (
        mount(readonly, "/workspace/extra", readonly=True),
        mount(readonly, "/workspace/extra/below", readonly=True),
    )
    status, _, stderr = await agents.run("print('never')", mounts=mounts)
    explained = runtime.explain_exit(agents.make_spec("pass"), status, stderr)
    assert isinstance(explained, StartFailed)
    assert "/extra/below" in str(explained)


async def test_the_rest_of_the_host_is_invisible(agents, tmp_path):
    """Home directories, the project, other users' files and sockets are not there."""
    hidden = [
        *(str(Path.home() / name) for name in (".ssh", ".bashrc", ".config")),
        # The project's folder itself may be there, empty: an environment may lie below it.
        *(str(path) for path in (tmp_path, Path(__file__), tmp_path / "project")),
        *("/etc/shadow", "/etc/ssl/private", "/etc/gitconfig", "/etc/pip.conf"),
        *("/run/docker.sock", "/var/run/docker.sock", "/var/lib", "/sys", "/mnt", "/boot"),
    ]
    code = f"import os\nprint([path for path in {hidden} if os.path.lexists(path)])"
    assert await agents.run(code) == (0, "[]\n", "")


async def test_a_user_without_privileges(agents):
    """The agent is `node`, 1000, without capabilities, and can't get a namespace of its own."""
    code = (
        "import ctypes, os, pwd\n"
        "print(os.getuid(), os.getgid(), pwd.getpwuid(os.getuid()).pw_name)\n"
        "lines = open('/proc/self/status').read().splitlines()\n"
        "print(*[line.split()[1] for line in lines if line[:6] in ('CapPrm', 'CapBnd', 'NoNewP')])\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "print(libc.unshare(0x10000000))\n"
    )
    status, stdout, _ = await agents.run(code)
    assert status == 0
    assert stdout.splitlines() == ["1000 1000 node", f"{'0' * 16} {'0' * 16} 1", "-1"]


async def test_the_kernels_settings_are_out_of_reach(agents):
    """No file in /proc/sys can be opened for writing, though the host's user be root."""
    code = ATTEMPT + (
        "import os\n"
        "found = 0\n"
        "for directory, _, names in os.walk('/proc/sys'):\n"
        "    for name in names:\n"
        "        try:\n"
        "            os.close(os.open(f'{directory}/{name}', os.O_WRONLY | os.O_NONBLOCK))\n"
        "        except OSError:\n"
        "            continue\n"
        "        print(directory, name)\n"
        "attempt(open, '/proc/sys/kernel/core_pattern', 'r+b')\n"
    )
    status, stdout, _ = await agents.run(code)
    assert (status, stdout) in [(0, "EROFS\n"), (0, "EACCES\n")]


async def test_what_is_writable_is_the_sandboxs_own(agents):
    """Home, /tmp and the workspace can be written to; the rest of the tree can't."""
    code = ATTEMPT + (
        "from pathlib import Path\n"
        "for name in ('/home/node', '/tmp', '/var/tmp', '/run', '/workspace/ipc', '/dev/shm'):\n"
        "    attempt(Path(name).mkdir, 0o777, True, True)\n"
        "    attempt(Path(name, 'file').write_text, 'x')\n"
        "for name in ('/', '/usr', '/etc', '/opt', '/opt/venv', '/app', '/app/src'):\n"
        "    attempt(Path(name, 'file').write_text, 'x')\n"
    )
    status, stdout, _ = await agents.run(code)
    assert (status, stdout.split()) == (0, ["done"] * 12 + ["EROFS"] * 7)


async def test_the_agents_environment(agents):
    """The agent finds the variables of the image, with those of its spec."""
    code = (
        "import json, os; print(json.dumps([dict(os.environ), os.getcwd(), os.uname().nodename]))"
    )
    _, stdout, _ = await agents.run(
        code, environment={"NANOCLAW_AGENT": "echo", "TZ": "Asia/Tokyo"}
    )
    environment, directory, hostname = json.loads(stdout)
    assert (directory, hostname) == ("/workspace/group", "nanoclaw")
    assert environment.pop("PATH").endswith(":/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    assert environment.pop("PYTHONPATH").split(":")[0] == "/app/src"
    assert environment.pop("NANOCLAW_CONTAINER").startswith("nanoclaw-test-")
    assert {name: value for name, value in environment.items() if name != "PWD"} == {
        "NANOCLAW_LABELS": "{}",
        "NANOCLAW_AGENT": "echo",
        "HOME": "/home/node",
        "LANG": "C.UTF-8",
        "TZ": "Asia/Tokyo",
        "CLAUDE_CONFIG_DIR": "/home/node/.claude",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


async def test_no_secret_gets_in(agents, host_program, tmp_path):
    """What is exported on the host is in no environment that the agent can read, and in no argv."""
    source = agents.write(
        "import glob\n"
        "for name in ('environ', 'cmdline'):\n"
        "    for path in glob.glob(f'/proc/[0-9]*/{name}'):\n"
        "        print(path, open(path).read().count('canary'))\n"
    )
    argv = host_program(
        do="run",
        project=str(tmp_path),
        name=agents.new_name(),
        mounts=[[str(source.host_path), "/app/src", True]],
    )
    exported = {"ANTHROPIC_API_KEY": CANARY, "CLOUD_SECRET_KEY": CANARY}
    with trio.fail_after(60):
        result = await trio.run_process(argv, capture_stdout=True, env={**os.environ, **exported})
    heard = json.loads(result.stdout)
    lines = [line.split() for line in heard["output"].splitlines()]
    assert {path for path, _ in lines} == {"/proc/2/environ", "/proc/2/cmdline"}
    assert {count for _, count in lines} == {"0"}
    assert (heard["status"], heard["problems"], heard["gone"]) == (0, "", True)


async def test_bwrap_gets_no_environment(agents):
    """Seen from the host, bwrap was started without any variable: its memory is the agent's to read."""
    container = await agents.start("print(flush=True); input()")
    with trio.fail_after(60):
        await container.stdout.receive_some()
    parts = [part for part in find_sandboxes() if part.name == container.name]
    environments = [
        await trio.Path(f"/proc/{part.process.pid}/environ").read_bytes() for part in parts
    ]
    assert environments == [b"", b""]


INTERFACES = """
import socket
print(*sorted(name for _, name in socket.if_nameindex()))
peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
"""


async def test_without_a_network_there_is_no_route(agents):
    """With the network `none` there is a loopback interface and no way out."""
    code = INTERFACES + ATTEMPT + "attempt(peer.connect, ('192.0.2.1', 53))"
    assert await agents.run(code, network="none") == (0, "lo\nENETUNREACH\n", "")


async def test_the_default_network_is_the_hosts(agents):
    """By default the sandbox is in the host's network namespace, and with `none` it isn't."""
    code = "import os; print(os.readlink('/proc/self/ns/net'), end='')"
    hosts = str(await trio.Path("/proc/self/ns/net").readlink())
    assert (await agents.run(code, network="default"))[1] == hosts
    assert (await agents.run(code, network="none"))[1] != hosts


async def test_an_unknown_network_starts_nothing(agents, runtime):
    """A spec with a network of a name is refused before anything is started."""
    spec = evolve(agents.make_spec("pass"), network="bridge-7")
    with pytest.raises(StartFailed, match="no network 'bridge-7'"):
        await runtime.start(spec)
    assert await runtime.inspect(spec.name) is None


@pytest.mark.usefixtures("runtime")
async def test_a_system_without_user_namespaces_is_told(host_program, tmp_path):
    """Where the kernel gives no namespace, nothing is started and the reason is passed on."""
    bwrap = list_executables(os.environ["PATH"])[-1]
    program = host_program(do="run", project=str(tmp_path), name="x")
    argv = [bwrap, "--dev-bind", "/", "/", "--unshare-user", "--disable-userns", "--", *program]
    with trio.fail_after(60):
        result = await trio.run_process(argv, capture_stdout=True)
    heard = json.loads(result.stdout)
    assert heard["error"] == RuntimeUnavailable.__name__
    assert "namespace" in heard["message"].partition("; ")[0]


@pytest.mark.usefixtures("runtime")
@pytest.mark.usefixtures("measured_children")
async def test_an_empty_proc_is_not_taken_for_an_end(host_program, tmp_path):
    """Where /proc doesn't show the processes, nothing is said to be gone."""
    bwrap = list_executables(os.environ["PATH"])[-1]
    program = host_program(do="inspect", project=str(tmp_path), name="x")
    # Bound, not read-only: the program's coverage is written where it is on the host.
    argv = [bwrap, "--dev-bind", "/", "/", "--tmpfs", "/proc", "--", *program]
    with trio.fail_after(60):
        result = await trio.run_process(
            argv, capture_stdout=True, stderr=subprocess.DEVNULL, check=False
        )
    heard = json.loads(result.stdout)
    assert heard["error"] == RuntimeCommandFailed.__name__
    assert "doesn't show the processes" in heard["message"]
