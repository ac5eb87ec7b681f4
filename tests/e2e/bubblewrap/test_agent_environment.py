"""What a sandbox of the Claude agent is made of, with the real program `claude` in it."""

from __future__ import annotations

import json
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from nanoclaw_trio.errors import KeyUnprotected
from nanoclaw_trio.runtimes.bubblewrap_agent import find_claude
from nanoclaw_trio.runtimes.bubblewrap_check import find_executables, find_working_bwrap
from nanoclaw_trio.runtimes.bubblewrap_host import Bind
from nanoclaw_trio.runtimes.bubblewrap_probe import prove_unreadable

CANARY = "sk-ant-canary-77ab01"

FIND_CLAUDE = """
import os, sys
from importlib.machinery import PathFinder

package = os.path.dirname(PathFinder.find_spec("claude_agent_sdk", sys.path).origin)
claude = package + "/_bundled/claude"
"""

SCANNER = r"""
import ctypes, glob, os, sys

target, canary = int(sys.argv[1]), bytes.fromhex(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def read(path):
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError:
        return b""

def memory(pid):
    try:
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as file:
            for line in maps:
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                try:
                    file.seek(start)
                    yield file.read(min(end - start, 1 << 26))
                except (OSError, OverflowError):
                    pass
    except OSError:
        pass

def call(number, *arguments):
    return libc.syscall(*(ctypes.c_ulong(argument) for argument in (number, *arguments))) >= 0

def vm_read(pid):
    buffer = ctypes.create_string_buffer(8)
    class Vector(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
    local, remote = Vector(ctypes.addressof(buffer), 8), Vector(0x200000, 8)
    pointers = ctypes.addressof(local), 1, ctypes.addressof(remote), 1, 0
    return call(310 if os.uname().machine == "x86_64" else 270, pid, *pointers)

for directory in glob.glob("/proc/[0-9]*"):
    pid = int(directory.rpartition("/")[2])
    if pid == os.getpid():
        continue
    for name in ("environ", "cmdline", "auxv", "comm", "status"):
        if canary in read(f"{directory}/{name}"):
            print("found", name)
    for path in glob.glob(f"{directory}/fd/*"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            continue
        if pid == target:
            print("opened fd")
        os.close(descriptor)
    if any(canary in content for content in memory(pid)):
        print("found memory")
for name in ("maps", "mem", "exe"):
    try:
        open(f"/proc/{target}/{name}", "rb").close()
        print("opened", name)
    except OSError:
        pass
if call(438, os.pidfd_open(target), 1, 0):
    print("took a descriptor")
if vm_read(target):
    print("read across")
if call(101 if os.uname().machine == "x86_64" else 117, 0x4206, target, 0, 0):
    print("traced")
for root in ("/home", "/tmp", "/run", "/var", "/workspace", "/dev/shm", "/app"):
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and canary in read(path):
                print("found file", path)
print("scanned")
"""

AGENT = (
    FIND_CLAUDE
    + f"""
import ctypes, json, subprocess
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
secrets = json.load(sys.stdin)
quiet = {{"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "ANTHROPIC_BASE_URL": "http://[::1]:9"}}
options = ["--print", "--verbose", "--input-format", "stream-json", "--output-format"]
process = subprocess.Popen(
    [claude, *options, "stream-json", "--permission-mode", "bypassPermissions"],
    env={{**os.environ, **quiet, **secrets}},
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
)
# Its answer says that it is up, with the key in its memory.
request = {{"type": "control_request", "request_id": "1", "request": {{"subtype": "initialize"}}}}
process.stdin.write(json.dumps(request).encode() + b"\\n")
process.stdin.flush()
answer = json.loads(process.stdout.readline())
print(answer["type"], answer["response"]["subtype"])
key = secrets["ANTHROPIC_API_KEY"].encode().hex()
scan = [sys.executable, "-c", {SCANNER!r}, str(process.pid), key]
print(subprocess.run(scan, capture_output=True, text=True, check=True).stdout, end="")
process.stdin.close()
process.wait()
"""
)

SECRETS = json.dumps({"ANTHROPIC_API_KEY": CANARY}).encode()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache for the copies of this module's tests, emptied afterwards for their size."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", str(cache))
        yield cache
    for copy in cache.rglob("program-*"):
        copy.unlink()


@pytest.fixture
def claude(claude_sdk, cache, agents):
    """Starts sandboxes for Claude: their agents are named so."""
    del claude_sdk, cache
    return {"environment": {"NANOCLAW_AGENT": "claude"}}


async def test_no_tool_finds_the_key(agents, claude):
    """A sibling process finds the key nowhere: no environment, memory, descriptor or file has it,
    and `claude` can't be traced; whoever the host's user is.
    """
    status, stdout, stderr = await agents.run(AGENT, stdin=SECRETS, **claude)
    assert (stdout.split("\n"), stderr) == (["control_response success", "scanned", ""], "")
    assert status == 0


@pytest.mark.usefixtures("claude_sdk")
async def test_the_search_finds_what_is_there(agents):
    """The same search finds the key where `claude` is the environment's own, which can be read."""
    _, stdout, stderr = await agents.run(AGENT, stdin=SECRETS)
    assert stderr == ""
    assert {"found environ", "found memory", "opened mem", "read across", "traced"} <= set(
        stdout.splitlines()
    )


async def test_the_copy_can_not_be_changed(agents, claude):
    """What the sandbox runs can be run and not be read, and nothing makes it readable."""
    code = FIND_CLAUDE + (
        "import errno, subprocess\n"
        "print(oct(os.stat(claude).st_mode))\n"
        "actions = (open, claude, 'rb'), (os.chmod, claude, 0o755), (os.unlink, claude), "
        "(os.rename, claude, claude + '2'), (os.truncate, claude, 0), "
        "(os.link, claude, '/tmp/claude')\n"
        "for action, *arguments in actions:\n"
        "    try:\n"
        "        action(*arguments)\n"
        "    except OSError as error:\n"
        "        print(errno.errorcode[error.errno])\n"
        "said = subprocess.run([claude, '--version'], capture_output=True, text=True)\n"
        "print('Claude Code' in said.stdout)\n"
    )
    status, stdout, stderr = await agents.run(code, **claude)
    assert (status, stderr) == (0, "")
    mode, read, *changes, runs = stdout.split()
    assert (mode, read, runs) == ("0o100111", "EACCES", "True")
    assert len(changes) == 5
    assert set(changes) <= {"EROFS", "EBUSY", "EXDEV", "EPERM", "EACCES"}


async def test_the_shell_drops_the_key(agents, claude):
    """The shell for the tools is there, runs without the secrets, and can't be changed."""
    code = (
        "import os, subprocess\n"
        "shell = '/opt/nanoclaw/bin/bash'\n"
        f"secrets = {{'ANTHROPIC_API_KEY': {CANARY!r}, 'CLAUDE_CODE_OAUTH_TOKEN': {CANARY!r}}}\n"
        "command = [shell, '-c', 'echo $0 $BASH; env; cat /proc/$$/environ']\n"
        "done = subprocess.run(command, env=os.environ | secrets, capture_output=True, text=True)\n"
        f"print(done.returncode, {CANARY!r} in done.stdout, '/bin/bash' in done.stdout)\n"
        "for path in (shell, shell + '2', '/opt/nanoclaw/x'):\n"
        "    try:\n"
        "        open(path, 'w')\n"
        "    except OSError as error:\n"
        "        print(error.strerror)\n"
    )
    _, stdout, stderr = await agents.run(code, **claude)
    assert (stdout.splitlines(), stderr) == (
        ["0 False True", *["Read-only file system"] * 3],
        "",
    )


def present(*names):
    """Those of these paths in /etc that this host has."""
    return [f"/etc/{name}" for name in names if Path("/etc", name).exists()]


async def test_the_network_and_the_certificates(agents, claude):
    """What a client of an HTTPS API looks for is there: names, certificates, a home, a /tmp."""
    code = (
        "import os, socket, ssl\n"
        f"wanted = {present('hosts', 'nsswitch.conf', 'resolv.conf', 'ssl/certs')}\n"
        "print([path for path in wanted if not os.path.exists(path)])\n"
        "print(socket.getaddrinfo('localhost', 443, socket.AF_INET)[0][4][0])\n"
        "print(os.access(os.environ['HOME'], os.W_OK), os.access('/tmp', os.W_OK))\n"
        "print(len(ssl.create_default_context().get_ca_certs()))\n"
    )
    _, stdout, _ = await agents.run(code, **claude)
    missing, localhost, writable, certificates = stdout.splitlines()
    assert (missing, localhost, writable) == ("[]", "127.0.0.1", "True True")
    assert int(certificates) == len(ssl.create_default_context().get_ca_certs())


async def test_another_agent_has_nothing_copied(agents, tmp_path, monkeypatch):
    """A sandbox of another agent has neither the copy nor the shell, and makes none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code = "import os; print(os.path.exists('/opt/nanoclaw'))"
    assert await agents.run(code, environment={"NANOCLAW_AGENT": "echo"}) == (0, "False\n", "")
    assert not (tmp_path / "cache").exists()


async def test_the_command_line_is_told(agents, runtime, claude):
    """The run log's command line has the copy that the sandbox runs, and it is one and the same."""
    spec = agents.make_spec("pass", **claude)
    started = await runtime.start(spec)
    with trio.fail_after(60):
        assert await started.wait() == 0
    await started.aclose()
    assert "/nanoclaw-trio/programs/program-" in runtime.describe(spec)
    assert " /opt/nanoclaw/bin " in runtime.describe(spec)


@pytest.mark.usefixtures("claude_sdk")
async def test_a_program_that_can_be_read_is_found_out(runtime, tmp_path):
    """Trying it out tells a readable program from a copy, and one that can't be run from both."""
    settings = runtime._settings
    with trio.fail_after(60):
        working = await find_working_bwrap(find_executables(), settings)
        claude = find_claude(working.host.python)
        readable = Bind(source=str(claude.source), target=claude.target)
        with pytest.raises(KeyUnprotected, match="the kernel doesn't go by"):
            await prove_unreadable(readable, "nanoclaw-a-1", working, settings)
        (tmp_path / "garbage").write_text("not a program")
        (tmp_path / "garbage").chmod(0o111)
        garbage = Bind(source=str(tmp_path / "garbage"), target=claude.target)
        with pytest.raises(KeyUnprotected, match=r"garbage can't be run: OSError.*Exec format err"):
            await prove_unreadable(garbage, "nanoclaw-a-1", working, settings)


async def test_no_tool_finds_the_key_of_another_user(
    claude_sdk, agents, other_user, python, run_as, host_program
):
    """The same for a host's user who isn't root, with a copy in that user's own cache."""
    del claude_sdk
    uid, home = other_user
    package = home / "source/nanoclaw_agent"
    package.mkdir(parents=True)
    (package / "__main__.py").write_text(AGENT)
    task = host_program(
        do="run",
        project=str(home),
        name=agents.new_name(),
        mounts=[[str(home / "source"), "/app/src", True]],
        environment={"NANOCLAW_AGENT": "claude"},
        stdin=SECRETS.decode(),
    )
    done = run_as(uid, [python, *task[1:]], home)
    heard = json.loads(done.stdout)
    assert heard == {
        "status": 0,
        "output": "control_response success\nscanned\n",
        "problems": "",
        "gone": True,
    }
    (copy,) = (home / ".cache/nanoclaw-trio/programs").glob("program-*")
    status = copy.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o111, uid)


def test_the_sdk_is_not_imported(claude_sdk):
    """Finding the program doesn't import the SDK, which takes longer than a whole sandbox."""
    del claude_sdk
    code = (
        "import sys\n"
        "from nanoclaw_trio.runtimes.bubblewrap_agent import find_claude\n"
        "from nanoclaw_trio.runtimes.bubblewrap_host import collect_python\n"
        "find_claude(collect_python())\n"
        "print([name for name in sys.modules if name in ('claude_agent_sdk', 'mcp', 'anyio')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
