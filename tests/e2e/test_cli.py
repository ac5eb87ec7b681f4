"""The command as people and programs run it: a process of its own, real runtimes, real signals."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from attrs import evolve, field, frozen

from nanoclaw_trio.environment import SECRET_VARIABLES
from nanoclaw_trio.runtimes.abc import INSTALL_LABEL
from nanoclaw_trio.runtimes.choose import open_runtime
from nanoclaw_trio.settings import Settings
from nanoclaw_trio.testing.docker_stand_in import (
    HANG,
    Scenario,
    fail,
    kill_containers,
    living_containers,
    read_calls,
    write_docker_stand_in,
)
from nanoclaw_trio.workspace.install import install_id

GUARD = 120.0
"""Seconds after which a test gives up; it guards against a hang and measures nothing."""

POLL = 0.02

ECHO_IMAGE = "nanoclaw-echo:test"
"""What the fixture `docker` makes."""

CANARY = "sk-ant-canary-5f2c"

SETTING_VARIABLES = (
    *SECRET_VARIABLES,
    *("CONTAINER_IMAGE", "CONTAINER_TIMEOUT", "IDLE_TIMEOUT", "LOG_LEVEL", "NANOCLAW_AGENT"),
    *("CONTAINER_STARTUP_TIMEOUT", "CONTAINER_MAX_LIFETIME", "CONTAINER_STOP_GRACE"),
)

AGENT = """
import json, os, signal, sys, time

def write(**output):
    print("---NANOCLAW_OUTPUT_START---")
    print(json.dumps({"result": None, **output}))
    print("---NANOCLAW_OUTPUT_END---", flush=True)

request = json.load(sys.stdin)
words = request["prompt"].split()
if "stubborn" in words:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "leak" in words:
    print(request["secrets"], flush=True)
    print(request["secrets"]["ANTHROPIC_API_KEY"], file=sys.stderr, flush=True)
if "answer" in words:
    write(status="success", result="an answer", newSessionId="s1")
if "escape" in words:
    write(status="success", result="\\x1b[2Jcleared\\x9b2J", newSessionId="s1")
if "error" in words:
    write(status="error", error="no quota")
if "work" in words:
    places = json.loads(os.environ.get("STAND_IN_MOUNTS", "{}"))
    open(places.get("/workspace/group", "/workspace/group") + "/at-work", "w").close()
    time.sleep(3600)
if "fail" in words:
    sys.exit("it failed")
"""
"""An agent that does what its prompt says. `work` goes on until it is stopped."""


def wait_until(condition):
    """Wait for what nothing but looking can tell."""
    deadline = time.monotonic() + GUARD
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(POLL)
    return found


@frozen
class Project:
    """A project, and how the command is called in it."""

    root: Path
    environment: dict[str, str]
    runtime: tuple[str, ...] = ()
    containers: object = None
    started: list[subprocess.Popen] = field(factory=list)

    def arguments(self, *words):
        """The command line for a command and its options."""
        command, *options = words
        return [sys.executable, "-m", "nanoclaw_trio", command, *self.runtime, *options]

    def start(self, *words, **options):
        """Start the command."""
        values = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "cwd": self.root,
            "env": self.environment,
        }
        self.started.append(subprocess.Popen(self.arguments(*words), **(values | options)))
        return self.started[-1]

    def call(self, *words, keys="", **options):
        """Run the command to its end: exit status, standard output, standard error."""
        process = self.start(*words, **({"stdin": subprocess.PIPE} | options))
        out, err = process.communicate(keys.encode(), timeout=GUARD)
        return process.returncode, (out or b"").decode(), (err or b"").decode()

    def call_in_shell(self, redirections, *words):
        """As `call`, by way of a shell's redirections."""
        line = f"{shlex.join(self.arguments(*words))} {redirections}"
        process = subprocess.run(
            ["/bin/sh", "-c", line],
            capture_output=True,
            cwd=self.root,
            env=self.environment,
            timeout=GUARD,
            check=False,
        )
        return process.returncode, process.stdout.decode(), process.stderr.decode()

    def use_agent(self, source=AGENT):
        """Put an agent in the place of the project's agent-runner."""
        package = self.root / "container/agent-runner/src/nanoclaw_agent"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(source)

    def wait_for_work(self):
        """Wait until the agent is at work."""
        wait_until((self.root / "groups/main/at-work").exists)

    def logs(self):
        """The paths of all run logs."""
        return [str(path) for path in self.root.glob("groups/*/logs/*")]

    def with_variables(self, **variables):
        """The same with some variables more."""
        return evolve(self, environment=self.environment | variables)

    def end_all(self):
        """End what a failed test left."""
        for process in self.started:
            process.kill()
            process.wait(GUARD)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


@pytest.fixture
def project(tmp_path):
    """An empty project, apart from whoever runs the tests."""
    root = tmp_path / "project"
    root.mkdir()
    environment = {
        name: value for name, value in os.environ.items() if name not in SETTING_VARIABLES
    }
    environment |= {"HOME": str(tmp_path / "home"), "TZ": "UTC", "TERM": "xterm-256color"}
    project = Project(root, environment)
    yield project
    project.end_all()


@pytest.fixture(params=["bubblewrap", "docker"])
def runtime_name(request):
    """Each of the two in turn, where it works."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def real(project, runtime_name):
    """The project with a real runtime; no container of it is left afterwards."""
    options = ("--runtime", runtime_name, "--image", ECHO_IMAGE)
    settings = Settings(project_root=project.root)
    runtime = trio.run(open_runtime, runtime_name, settings)
    yield evolve(project, runtime=options, containers=runtime)
    assert left(project, runtime) == []


@pytest.fixture
def sandbox(project, bubblewrap):
    """The project with bubblewrap; no sandbox of it is left afterwards."""
    runtime = trio.run(open_runtime, bubblewrap, Settings(project_root=project.root))
    yield evolve(project, runtime=("--runtime", bubblewrap), containers=runtime)
    assert left(project, runtime) == []


def left(project, runtime):
    """The containers of the project, in any phase, by the runtime's word."""
    labels = {INSTALL_LABEL: install_id(project.root)}
    found = trio.run(runtime.list, labels)
    return [state.name for state in found]


def records(out):
    """Standard output as JSON, a line each."""
    return [json.loads(line) for line in out.splitlines()]


def said(err):
    """What the command itself said, without the logs."""
    prefix = "nanoclaw-trio: "
    lines = [line.removeprefix(prefix) for line in err.splitlines() if line.startswith(prefix)]
    return [line for line in lines if not line.startswith("bubblewrap isolates less")]


def test_an_answer(real):
    """The answer is all there is on standard output."""
    status, out, _ = real.call("run", "--agent", "echo", "Grüße")
    assert (status, out) == (0, "echo: Grüße\n")


def test_json(real):
    """Each output is a line, and the last line says that the container is gone."""
    status, out, _ = real.call("run", "--agent", "echo", "--json", "--session", "s7", "Grüße")
    answer, update, end = records(out)
    assert status == 0
    assert "Grüße" in out
    assert answer == {
        "type": "output",
        "status": "success",
        "result": "echo: Grüße",
        "newSessionId": "s7",
    }
    assert update == answer | {"result": None}
    assert (end["status"], end["cause"], end["newSessionId"], end["gone"]) == (
        *("success", "completed", "s7"),
        True,
    )
    assert end["logPath"] in real.logs()


def test_a_prompt_from_standard_input(sandbox):
    """`echo Hello | nanoclaw-trio run`, with a dash and without."""
    for words in (["-"], []):
        assert sandbox.call("run", "--agent", "echo", *words, keys="Hello\n")[:2] == (
            *(0,),
            "echo: Hello\n",
        )


def test_an_input(sandbox):
    """A container input from a file and from standard input; its group is the one that counts."""
    document = {"prompt": "Hi", "groupFolder": "family", "chatJid": "j", "isMain": False}
    (sandbox.root / "input.json").write_text(json.dumps(document))
    for source in ("input.json", "-"):
        status, out, _ = sandbox.call(
            *("run", "--agent", "echo", "--input", source), keys=json.dumps(document)
        )
        assert (status, out) == (0, "echo: Hi\n")
    assert [path.name for path in (sandbox.root / "groups").iterdir()] == ["family"]


def test_a_conversation_through_a_pipe(real):
    """Each line has its answer, in order, and one container has them all."""
    keys = "one\ntwo\n\nthree\n/quit\nfour\n"
    status, out, _ = real.call("chat", "--agent", "echo", "--json", keys=keys)
    *outputs, end = records(out)
    answers = [output["result"] for output in outputs if output["result"]]
    assert (status, end["type"], end["gone"]) == (0, "end", True)
    assert answers == ["echo: one", "echo: two", "echo: three"]
    assert {output["type"] for output in outputs} == {"output"}


@frozen
class Terminal:
    """A terminal of which a process's standard streams are, and what it shows."""

    master: int
    slave: int
    shown: bytearray = field(factory=bytearray)

    def type(self, text):
        """Press these keys."""
        os.write(self.master, text.encode())

    def wait_for(self, text, *, after=0):
        """Wait until it shows the text, somewhere after a position; the position behind it."""
        deadline = time.monotonic() + GUARD
        while (found := self.shown.find(text.encode(), after)) < 0:
            assert time.monotonic() < deadline, self.shown.decode()
            self.read()
        return found + len(text.encode())

    def read(self):
        """Read what has come."""
        if select.select([self.master], [], [], POLL)[0]:
            with suppress(OSError):
                self.shown.extend(os.read(self.master, 65536))

    def take_over(self):
        """In a child: make this the terminal that Ctrl-C in it means."""
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)


@pytest.fixture
def terminal():
    """A terminal, 120 wide."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    yield Terminal(master, slave)
    os.close(master)
    os.close(slave)


def at(terminal, project, *words, **streams):
    """Start the command at a terminal."""
    on_it = dict.fromkeys(("stdin", "stdout", "stderr"), terminal.slave)
    return project.start(
        *words, start_new_session=True, preexec_fn=terminal.take_over, **(on_it | streams)
    )


def wait_at(terminal, process):
    """Wait for a process while its terminal is read; its exit status."""

    def ended():
        terminal.read()
        return process.poll() is not None

    wait_until(ended)
    return process.returncode


@pytest.mark.usefixtures("measured_children")
def test_a_conversation_at_a_terminal(real, terminal):
    """Follow-ups go into the running container; Ctrl-D ends the conversation."""
    process = at(terminal, real, "chat", "--agent", "echo")
    place = terminal.wait_for("> ")
    terminal.type("one\n")
    place = terminal.wait_for("echo: one", after=place)
    place = terminal.wait_for("> ", after=place)
    terminal.type("two\n")
    place = terminal.wait_for("echo: two", after=place)
    terminal.wait_for("> ", after=place)
    terminal.type("\x04")
    assert wait_at(terminal, process) == 0
    assert len(real.logs()) == 1


def test_ctrl_c_at_a_terminal(real, terminal):
    """The live line counts down to the deadline; Ctrl-C reaches the command, not the container."""
    real.use_agent()
    process = at(terminal, real, "run", "work")
    terminal.wait_for("waiting for the agent · 0:0")
    terminal.wait_for("until the limit")
    real.wait_for_work()
    terminal.type("\x03")
    assert wait_at(terminal, process) == 130
    terminal.wait_for("is gone")


def test_a_terminal_that_is_closed(real, terminal):
    """A window that is closed (SIGHUP) leaves no container, with nobody to be told."""
    real.use_agent()
    copy = os.dup(terminal.master)
    process = at(terminal, real, "run", "work", close_fds=True)
    real.wait_for_work()
    # The slave's descriptor in this process would keep the terminal open.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (terminal.master, terminal.slave, copy):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
    os.close(copy)
    assert process.wait(GUARD) == 129


def test_an_agent_doesnt_steer_the_terminal(sandbox, terminal):
    """Escapes are shown as pictures on a terminal, and are passed on elsewhere."""
    sandbox.use_agent()
    process = at(terminal, sandbox, "run", "escape", stderr=subprocess.DEVNULL)
    terminal.wait_for("␛[2Jcleared\ufffd2J")
    assert wait_at(terminal, process) == 0
    assert b"\x1b" not in terminal.shown
    assert sandbox.call("run", "escape")[1] == "\x1b[2Jcleared\x9b2J\n"


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_while_the_agent_works(real, number, status):
    """The container is verified gone before the exit, and that is said."""
    real.use_agent()
    process = real.start("run", "--json", "answer work")
    # What the agent wrote before it went to work may be on its way through the engine still.
    answered = process.stdout.readline()
    real.wait_for_work()
    process.send_signal(number)
    out, err = process.communicate(timeout=GUARD)
    answer, end = records(answered + out)
    assert (process.returncode, answer["result"]) == (status, "an answer")
    assert (end["cause"], end["status"], end["gone"]) == ("cancelled", "error", True)
    assert said(err.decode())[-1] == f"stopped by {number.name}; {end['container']} is gone"
    assert left(real, real.containers) == []


def test_a_signal_during_a_conversation(real):
    """The same holds for a conversation."""
    real.use_agent()
    process = real.start("chat", "work", stdin=subprocess.PIPE)
    real.wait_for_work()
    process.terminate()
    assert process.wait(GUARD) == 143
    process.communicate()
    assert left(real, real.containers) == []


def test_a_second_signal(real):
    """An agent that ignores the polite stop and has an hour for it is killed at once."""
    real.use_agent()
    patient = real.with_variables(CONTAINER_STOP_GRACE="3600000")
    process = patient.start("run", "stubborn work")
    patient.wait_for_work()
    process.terminate()
    text = b""
    while b"once more: without a grace" not in text:
        text += process.stderr.readline()
    process.terminate()
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 143
    assert "SIGTERM again: killing container" in err.decode()


def test_head(real):
    """`| head -1`: the run is stopped as soon as nobody reads any more, without a word."""
    real.use_agent()
    process = real.start("run", "answer work")
    assert process.stdout.readline() == b"an answer\n"
    process.stdout.close()
    assert process.wait(GUARD) == 141
    assert said(process.stderr.read().decode()) == []
    process.stderr.close()


def test_head_takes_standard_error_too(sandbox):
    """`2>&1 | head -1`: words for nobody don't keep the sandbox from being stopped."""
    sandbox.use_agent()
    process = sandbox.start("run", "work", stderr=subprocess.STDOUT)
    process.stdout.readline()
    sandbox.wait_for_work()
    process.stdout.close()
    assert process.wait(GUARD) == 141


@pytest.mark.parametrize(
    ("prompt", "options", "status", "cause", "text"),
    [
        ("fail", (), 1, "agent_failed", "Container exited with code 1: it failed"),
        ("answer fail", (), 1, "agent_failed", "Container exited with code 1: it failed"),
        ("error", (), 1, "completed", "no quota"),
        ("nothing", (), 1, "no_output", "the agent ended without an answer"),
        ("work", ("--timeout", "0.5"), 124, "timed_out", "Container timed out after 500 ms"),
    ],
)
def test_an_agents_failure(sandbox, prompt, options, status, cause, text):
    """Each has its exit status, its cause and its words."""
    sandbox.use_agent()
    actual, out, err = sandbox.call("run", "--json", *options, prompt)
    end = records(out)[-1]
    assert (actual, end["status"], end["cause"], end["gone"]) == (status, "error", cause, True)
    assert end["error"].startswith(text)
    assert said(err)[-1].startswith(text)


@pytest.mark.parametrize(
    ("words", "variables", "text"),
    [
        (("run", "--nothing", "x"), {}, "No such option"),
        (("run", "--project", "/nowhere", "x"), {}, "project folder '/nowhere' isn't there"),
        (("run", "--group", "../x", "x"), {}, "group folder '../x' isn't allowed"),
        (("run", "--timeout", "-1", "x"), {}, "Invalid value for '--timeout'"),
        (("run", "--image", "-x", "x"), {}, "Invalid value for '--image'"),
        (("run", "x"), {"LOG_LEVEL": "loud"}, "setting LOG_LEVEL (from the environment)"),
        (("run", "-"), {}, "the prompt is empty"),
        (("run", "--input", "-"), {}, "container input doesn't fit"),
        (("run", "--input", "nowhere"), {}, "nowhere: no such file"),
        (("chat", "-"), {}, "chat reads its messages from standard input itself"),
        (("chat", "--group", "../x"), {}, "group folder '../x' isn't allowed"),
    ],
)
def test_bad_usage_and_input(project, words, variables, text):
    """Exit status 2, one line for people, one for programs, and nothing was made."""
    status, out, err = project.with_variables(**variables).call(*words, "--json")
    (end,) = records(out)
    assert (status, end["cause"], end["container"], end["gone"]) == (2, "bad_input", None, True)
    assert text in end["error"]
    assert (err.count("\n"), text in err) == (1, True)
    assert list(project.root.iterdir()) == []


def test_a_conflict_with_the_input(project):
    """An option that says something else than the input is named."""
    document = {"prompt": "Hi", "groupFolder": "family", "chatJid": "j", "isMain": False}
    status, _, err = project.call(
        *("run", "--input", "-", "--group", "other"), keys=json.dumps(document)
    )
    assert (status, "--group says something else than groupFolder" in err) == (2, True)


def test_bad_usage_of_mounts(project):
    """The other commands' failing exit statuses."""
    assert project.call("mounts")[0] == 2
    assert project.call("mounts", "check", "../x")[0] == 2
    assert project.call("mounts", "init", "x")[0] == 2


@pytest.fixture
def stand_in(project, tmp_path):
    """A project whose `docker` is the scripted one; its directory."""
    directory = tmp_path / "bin"
    write_docker_stand_in(directory, Scenario(agent=("true",)))
    path = f"{directory}{os.pathsep}{project.environment['PATH']}"
    yield evolve(project.with_variables(PATH=path), runtime=("--runtime", "docker")), directory
    kill_containers(directory)


def use(directory, project, **scenario):
    """Let the stand-in run the project's agent, and behave like that."""
    source = project.root / "container/agent-runner/src"
    program = (
        "-c",
        f"import sys; sys.path.insert(0, {str(source)!r}); import nanoclaw_agent.__main__",
    )
    write_docker_stand_in(directory, Scenario(agent=(sys.executable, "-B", *program), **scenario))


@pytest.mark.parametrize(
    ("scenario", "cause", "text"),
    [
        ({"images": ()}, "image_missing", "run `python -m nanoclaw_trio build`"),
        ({"answers": {"version": fail(1, "no daemon")}}, "runtime_unavailable", "no daemon"),
        (
            {"answers": {"run": fail(125, "docker: Error response from daemon: no space left")}},
            "spawn_failed",
            "no space left",
        ),
    ],
)
def test_no_runtime_no_image_no_container(stand_in, scenario, cause, text):
    """Exit status 3, and what to do."""
    project, directory = stand_in
    project.use_agent()
    use(directory, project, **scenario)
    status, out, err = project.call("run", "--json", "x")
    (end,) = records(out)
    assert (status, end["cause"], end["gone"]) == (3, cause, True)
    assert text in end["error"]
    assert text in said(err)[-1]


def test_no_docker_at_all(project):
    """Without the program there is no runtime."""
    bare = project.with_variables(PATH="/nowhere")
    status, _, err = bare.call("run", "--runtime", "docker", "x")
    assert (status, "there is no program `docker`" in err) == (3, True)


def test_auto_says_what_it_takes_and_why(sandbox, tmp_path):
    """Where no engine answers it is bubblewrap, with the reason and with its caveat."""
    nowhere = {"PATH": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}
    automatic = evolve(sandbox, runtime=()).with_variables(**nowhere)
    status, out, err = automatic.call("run", "--agent", "echo", "Hello")
    assert (status, out) == (0, "echo: Hello\n")
    assert "nanoclaw-trio: runtime bubblewrap: docker-api can't be used" in err
    assert "nanoclaw-trio: bubblewrap isolates less than a container" in err


def test_a_container_that_isnt_confirmed_gone(stand_in):
    """Where the engine refuses every rung, that is said, and what to do."""
    project, directory = stand_in
    project.use_agent()
    refusals = {rung: fail(1, "permission denied") for rung in ("stop", "kill", "rm")}
    use(directory, project, answers=refusals)
    process = project.start("run", "--json", "work")
    project.wait_for_work()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=GUARD)
    (end,) = records(out)
    assert (process.returncode, end["gone"]) == (130, False)
    assert living_containers(directory) == (end["container"],)
    assert said(err.decode())[-1].endswith(f"remove it with `docker rm -f {end['container']}`")


def test_a_signal_while_a_runtime_is_looked_for(stand_in):
    """Before anything is started the exit status is the same."""
    project, directory = stand_in
    write_docker_stand_in(directory, Scenario(agent=("true",), answers={"version": HANG}))
    process = project.start("run", "--json", "x")
    wait_until(lambda: read_calls(directory))
    process.terminate()
    out, err = process.communicate(timeout=GUARD)
    (end,) = records(out)
    assert (process.returncode, end["container"], end["gone"]) == (143, None, True)
    assert said(err.decode()) == ["stopped by SIGTERM; no container is left"]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_during_the_imports(stand_in, tmp_path, number, status):
    """A signal that comes in the middle of an import is obeyed when it can be, once."""
    project, directory = stand_in
    early = tmp_path / "early"
    early.mkdir()
    (early / "click.py").write_text(
        "import os, sys\n"
        f"os.kill(os.getpid(), {int(number)})\n"
        f"sys.path.remove({str(early)!r})\n"
        "del sys.modules['click']\n"
        "import click\n"
    )
    signalled = project.with_variables(PYTHONPATH=str(early))
    returned, out, err = signalled.call("run", "--json", "x")
    (end,) = records(out)
    assert (returned, end["cause"], end["gone"]) == (status, "cancelled", True)
    assert "Traceback" not in err
    assert not [call for call in read_calls(directory) if "run" in call.argv]


@pytest.mark.parametrize("level", ["info", "debug"])
@pytest.mark.parametrize("prompt", ["leak answer", "leak fail", "leak error", "leak work"])
def test_a_key_is_nowhere(sandbox, prompt, level):
    """A key of the project's .env is in no output, no log and no file, whatever the end."""
    (sandbox.root / ".env").write_text(f"ANTHROPIC_API_KEY={CANARY}\n")
    sandbox.use_agent()
    verbose = sandbox.with_variables(LOG_LEVEL=level)
    _, out, err = verbose.call("run", "--json", "--timeout", "3", prompt)
    assert CANARY not in out + err
    assert files_with(CANARY, sandbox.root) == [".env"]


def test_a_key_is_in_no_argument_and_no_environment(stand_in):
    """Neither what docker is called with, nor the variables it gets, have a key."""
    project, directory = stand_in
    project.use_agent()
    use(directory, project)
    keyed = project.with_variables(ANTHROPIC_API_KEY=CANARY, CLAUDE_CODE_OAUTH_TOKEN=CANARY)
    status, out, err = keyed.call("run", "--json", "leak answer")
    assert status == 0
    assert CANARY not in out + err
    calls = read_calls(directory)
    assert any("run" in call.argv for call in calls)
    assert CANARY not in repr(calls)
    assert not {name for call in calls for name in call.environment} & set(SECRET_VARIABLES)
    assert files_with(CANARY, project.root, directory) == []


def files_with(text, *roots):
    """The names of the files that hold a text."""
    return [
        path.name
        for root in roots
        for path in root.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    ]


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_is_quick(project, option):
    """What takes time to import isn't imported to print a help text."""
    program = (
        "import sys\n"
        "from nanoclaw_trio.cli import main\n"
        f"status = main(['run', '--help'] if {option!r} == '--help' else [{option!r}])\n"
        "print(sorted({'trio', 'rich', 'cattrs', 'orjson', 'structlog'} & set(sys.modules)))\n"
        "sys.exit(status)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, capture_output=True, env=project.environment, timeout=GUARD, check=False
    )
    assert (done.returncode, done.stdout.decode().splitlines()[-1]) == (0, "[]")


def test_the_installed_command(project):
    """`nanoclaw-trio` is the same as `python -m nanoclaw_trio`."""
    program = shutil.which("nanoclaw-trio", path=str(Path(sys.executable).parent))
    done = subprocess.run(
        [program, "--version"],
        capture_output=True,
        env=project.environment,
        timeout=GUARD,
        check=False,
    )
    assert re.fullmatch(rb"nanoclaw-trio \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize("words", [("run", "--help"), ("mounts", "check")])
@pytest.mark.usefixtures("measured_children")
def test_standard_output_without_a_reader(project, words):
    """Every command ends quietly when nobody reads what it writes."""
    reading, writing = os.pipe()
    os.close(reading)
    process = project.start(*words, stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=GUARD)
    assert (process.returncode, err) == (141, b"")


@pytest.fixture
def full_disk():
    """A descriptor that takes nothing."""
    with Path("/dev/full").open("wb") as file:
        yield file.fileno()


@pytest.mark.parametrize("words", [("run", "--help"), ("mounts", "check")])
@pytest.mark.usefixtures("measured_children")
def test_standard_output_on_a_full_disk(project, words, full_disk):
    """What can't be written is a failure, in one line."""
    status, _, err = project.call(*words, stdout=full_disk)
    assert status == 1
    assert err.count("\n") == 1
    assert "standard output can't be written: No space left on device" in err


def test_an_answer_on_a_full_disk(sandbox, full_disk):
    """An answer that can't be written is a failure, and the agent isn't left at work."""
    sandbox.use_agent()
    status, _, err = sandbox.call("run", "answer work", stdout=full_disk)
    assert status == 1
    assert "standard output can't be written" in said(err)[-1]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.usefixtures("measured_children")
def test_closed_streams(sandbox, closed):
    """A standard stream that was closed isn't mistaken for another file."""
    status, out, err = sandbox.call_in_shell(closed, "run", "--agent", "echo", "Hello")
    is_closed = ">&-" in closed.split()
    assert (status, out) == (0, "" if is_closed else "echo: Hello\n")
    assert "Traceback" not in err


@pytest.mark.usefixtures("measured_children")
def test_mounts(project, tmp_path):
    """The allowlist is written once, and decides on what a group asks for."""
    allowlist = tmp_path / "home/.config/nanoclaw/mount-allowlist.json"
    assert project.call("mounts", "init")[:2] == (0, f"{allowlist}\n")
    assert project.call("mounts", "init")[0] == 2
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"additionalMounts": [{"hostPath": "/etc"}]}))
    status, out, _ = project.call("mounts", "check", "family", "--config", str(config))
    assert status == 1
    assert "yes  /workspace/group = " in out
    assert out.splitlines()[-1].startswith("no   /etc: ")
    assert project.call("mounts", "check", "--json")[0] == 0
