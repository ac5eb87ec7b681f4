"""Which runtime is chosen, as a table and with programs on the PATH."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, get_args

import pytest
import structlog
import structlog.testing
import trio
from attrs import evolve, frozen

from nanoclaw_trio.errors import InputError, RuntimeUnavailable
from nanoclaw_trio.runtimes.choose import (
    RUNTIME_NAMES,
    RuntimeAnswer,
    RuntimeName,
    UnknownRuntime,
    choose_runtime,
    decide,
    installed_runtimes,
    named_runtime,
    open_runtime,
    reasons,
)
from nanoclaw_trio.settings import GracePeriods

if TYPE_CHECKING:
    from pathlib import Path

GUARD = 60.0

PROGRAM = """#!{python} -IS
import os, sys, time
folder = os.path.dirname(os.path.abspath(sys.argv[0]))
open(os.path.join(folder, "asked-" + os.path.basename(sys.argv[0])), "w").close()
{body}
"""

ANSWERS = "print('1.2.3 1.24')"
HANGS = "time.sleep(600)"
FAILS = "sys.exit('not today')"
WAITS_FOR_ALL = """
names = ["asked-docker", "asked-podman", "asked-container"]
while not all(os.path.exists(os.path.join(folder, name)) for name in names):
    time.sleep(0.01)
print("1.2.3 1.24")
"""


def yes(name):
    """A runtime that can be used."""
    return RuntimeAnswer(name=name, version="1.0")


def no(name):
    """A runtime that can't."""
    return RuntimeAnswer(name=name, refusal="not there")


@frozen
class Engines:
    """Programs in a folder that is the whole PATH."""

    folder: Path

    def __call__(self, **bodies):
        """Write them."""
        for name, body in bodies.items():
            path = self.folder / name
            path.write_text(PROGRAM.format(python=sys.executable, body=body))
            path.chmod(0o755)

    def asked(self):
        """The names of those that were started."""
        return {path.name.removeprefix("asked-") for path in self.folder.glob("asked-*")}


@pytest.fixture
def engines(tmp_path, monkeypatch):
    """No program at all on the PATH, until some are written, and no engine's socket."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    monkeypatch.delenv("CONTAINER_HOST", raising=False)
    return Engines(tmp_path)


VERSION = b'{"Version":"1.2.3","ApiVersion":"1.41","Components":[]}'


@frozen
class Daemon:
    """A socket, and what is said to each that asks; without words nobody gets an answer."""

    path: Path

    async def serve(self, words=None, *, task_status=trio.TASK_STATUS_IGNORED):
        """Take connections until cancelled."""
        listener = trio.socket.socket(trio.socket.AF_UNIX)
        with listener:
            await listener.bind(str(self.path))
            listener.listen(4)
            task_status.started()
            async with trio.open_nursery() as nursery:
                while True:
                    connection, _ = await listener.accept()
                    nursery.start_soon(self._answer, connection, words)

    async def _answer(self, connection, words):
        with connection:
            await connection.recv(65536)
            if words is None:
                await trio.sleep_forever()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(words)}\r\n\r\n"
            await connection.send(head.encode() + words)


@pytest.fixture
def daemon(engines, tmp_path):
    """Docker's socket, once it is served."""
    return Daemon(tmp_path / "docker.sock")


@pytest.fixture
def patient(settings):
    """Settings for engines that answer; CHECK_BOUND is the bound then."""
    return evolve(settings, grace=GracePeriods(command=60.0))


@pytest.fixture
def brief(settings):
    """Settings for engines that hang."""
    return evolve(settings, grace=GracePeriods(command=3.0))


@pytest.mark.parametrize(
    ("answers", "chosen"),
    [
        ([], None),
        ([yes("docker")], "docker"),
        ([no("docker"), yes("podman")], "podman"),
        ([no("docker"), yes("podman"), yes("container")], "podman"),
        ([no("docker"), no("podman"), no("container")], None),
        ([no("docker"), no("podman"), no("container"), yes("bubblewrap")], "bubblewrap"),
        ([no("docker"), no("podman"), no("container"), no("bubblewrap")], None),
    ],
)
def test_decide(answers, chosen):
    """The first that can be used is taken."""
    assert decide(answers) == chosen


def test_reasons():
    """The reason names everybody who was asked, with what was said."""
    assert reasons([no("docker"), yes("podman")]) == (
        "docker can't be used: not there; podman answers: it is 1.0"
    )


def test_names():
    """The names are those of the type, and each is a runtime's or auto."""
    assert get_args(RuntimeName) == RUNTIME_NAMES


async def test_unknown_name(settings):
    """A name that there is no runtime of is the caller's mistake, and the error lists the names."""
    with pytest.raises(UnknownRuntime, match="'lxc'; name one of these: auto, docker") as caught:
        await choose_runtime("lxc", settings)
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize("name", ["docker", "podman", "container"])
async def test_by_name(engines, patient, name):
    """A runtime that was named is asked, and no other."""
    engines(docker=ANSWERS, podman=ANSWERS, container=ANSWERS)
    choice = await choose_runtime(name, patient)
    assert choice.runtime.name == name
    assert choice.reason.startswith(f"asked for by name; it is {name} ")
    assert engines.asked() == {name}


async def test_by_name_without_it(engines, patient):
    """A runtime that was named and can't be used is an error, and no other is taken."""
    engines(podman=ANSWERS)
    with pytest.raises(RuntimeUnavailable, match=r"docker can't be used: there is no program"):
        await choose_runtime("docker", patient)


@pytest.mark.parametrize(
    ("programs", "chosen"),
    [
        ({"docker": ANSWERS, "podman": ANSWERS, "container": ANSWERS}, "docker"),
        ({"docker": FAILS, "podman": ANSWERS, "container": ANSWERS}, "podman"),
        ({"container": ANSWERS}, "container"),
    ],
)
async def test_auto(engines, patient, programs, chosen):
    """The first engine that answers is taken, in the order docker, podman, container."""
    engines(**programs)
    assert (await choose_runtime("auto", patient)).runtime.name == chosen


async def test_socket_that_answers(mock_clock, engines, patient, daemon, nursery):
    """Docker's socket is taken if it answers, and no client is even started: its half second of a
    start over the others doesn't pass on this clock, which stands still."""
    engines(docker=ANSWERS, podman=ANSWERS)
    await nursery.start(daemon.serve, VERSION)
    choice = await choose_runtime("auto", patient)
    assert choice.runtime.name == "docker-api"
    assert choice.reason == "docker-api answers: it is docker-api 1.2.3"
    assert engines.asked() == set()


@pytest.mark.parametrize("words", [None, b"{}", b'{"Version":"1","ApiVersion":"1.2"}'])
async def test_socket_that_is_no_use(engines, brief, daemon, nursery, words):
    """A socket that hangs or says what can't be used is passed over, for docker's own client."""
    engines(docker=ANSWERS)
    await nursery.start(daemon.serve, words)
    with trio.fail_after(GUARD):
        choice = await choose_runtime("auto", brief)
    assert choice.runtime.name == "docker"
    assert choice.reason.startswith("docker-api can't be used: ")


@pytest.mark.parametrize(
    ("variable", "value"), [("DOCKER_HOST", "tcp://10.0.0.1:2375"), ("DOCKER_CONTEXT", "away")]
)
async def test_client_that_talks_elsewhere(engines, patient, daemon, monkeypatch, variable, value):
    """Where docker's client would talk to another engine, it is asked, and the reason says so."""
    engines(docker=ANSWERS)
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setenv(variable, value)
    with trio.fail_after(GUARD):
        choice = await choose_runtime("auto", patient)
    assert choice.runtime.name == "docker"
    assert f"docker-api can't be used: {variable} names" in choice.reason


async def test_socket_by_name(engines, patient, daemon, nursery):
    """A runtime that goes by a socket is had by its name, and needs no program."""
    await nursery.start(daemon.serve, VERSION)
    with trio.fail_after(GUARD):
        choice = await choose_runtime("docker-api", patient)
    assert choice.reason == "asked for by name; it is docker-api 1.2.3"
    assert named_runtime("docker-api", patient).name == "docker-api"


async def test_engines_are_asked_at_once(engines, patient):
    """All engines are asked at the same time: each of these answers only when all were asked."""
    engines(docker=WAITS_FOR_ALL, podman=WAITS_FOR_ALL, container=WAITS_FOR_ALL)
    with trio.fail_after(GUARD):
        assert (await choose_runtime("auto", patient)).runtime.name == "docker"


async def test_engine_that_hangs(engines, brief):
    """An engine that hangs is passed over after its bound."""
    engines(docker=HANGS, podman=ANSWERS)
    with trio.fail_after(GUARD):
        choice = await choose_runtime("auto", brief)
    assert choice.runtime.name == "podman"
    assert "docker can't be used" in choice.reason
    assert "did not answer within" in choice.reason


async def test_engine_that_is_not_needed(engines, settings):
    """An engine that hangs is not waited for when a better one has answered."""
    engines(docker=ANSWERS, podman=HANGS)
    endless = evolve(settings, grace=GracePeriods(command=600.0))
    with trio.fail_after(GUARD):
        choice = await choose_runtime("auto", endless)
    assert choice.reason.endswith("; docker answers: it is docker 1.2.3")


async def test_nothing_works(engines, brief, monkeypatch):
    """Where nothing works, the error has everybody's reason."""
    engines(docker=FAILS)
    monkeypatch.setattr("sys.platform", "sunos5")
    with pytest.raises(RuntimeUnavailable) as caught:
        await choose_runtime("auto", brief)
    for words in ("auto can't be used", "not today", "podman can't", "container can't", "bubblewr"):
        assert words in str(caught.value)


async def test_bubblewrap_where_no_engine_answers(engines, patient):
    """Without an engine the embedded default is taken, and the reason says who was missed."""
    engines(docker=FAILS)
    choice = await choose_runtime("auto", patient)
    assert choice.runtime.name == "bubblewrap"
    assert "docker can't be used" in choice.reason


async def test_open_runtime_logs_its_choice(engines, patient):
    """Which runtime was chosen, and why, goes to the log."""
    engines(docker=ANSWERS)
    structlog.configure()
    with structlog.testing.capture_logs() as logs:
        runtime = await open_runtime("auto", patient)
    (record,) = logs
    assert record["event"] == "runtime chosen"
    assert record["runtime"] == runtime.name == "docker"
    assert record["reason"].endswith("; docker answers: it is docker 1.2.3")


class TestWithoutAsking:
    @pytest.mark.parametrize("name", ["docker", "podman", "container"])
    def test_named(self, engines, settings, name):
        """A runtime that is installed is had by its name, and isn't asked whether it works."""
        engines(**{name: FAILS})
        assert named_runtime(name, settings).name == name
        assert engines.asked() == set()

    @pytest.mark.parametrize("name", ["docker", "podman", "container"])
    def test_not_installed(self, engines, settings, name):
        """One that isn't installed will not come back by waiting."""
        with pytest.raises(RuntimeUnavailable, match=f"there is no program `{name}` on the PATH"):
            named_runtime(name, settings)

    @pytest.mark.parametrize(
        ("name", "program"), [("docker-api", "docker"), ("podman-api", "podman")]
    )
    def test_socket(self, engines, settings, monkeypatch, name, program):
        """One that goes by a socket will come back if the engine's client is installed."""
        monkeypatch.setenv("CONTAINER_HOST", f"unix://{engines.folder}/podman.sock")
        with pytest.raises(RuntimeUnavailable, match=f"there is no program `{program}` on"):
            named_runtime(name, settings)
        engines(**{program: FAILS})
        assert named_runtime(name, settings).name == name

    def test_bubblewrap(self, engines, settings, monkeypatch):
        """It is there with the program `bwrap`, and on Linux only."""
        engines(bwrap=FAILS)
        monkeypatch.setattr("sys.platform", "linux")
        assert named_runtime("bubblewrap", settings).name == "bubblewrap"
        assert engines.asked() == set()
        monkeypatch.setattr("sys.platform", "darwin")
        with pytest.raises(RuntimeUnavailable, match="there is no program `bwrap`"):
            named_runtime("bubblewrap", settings)

    @pytest.mark.parametrize("name", ["lxc", "auto"])
    def test_unknown(self, settings, name):
        """What is no runtime's name is the caller's mistake; nor is `auto` one."""
        with pytest.raises(UnknownRuntime, match=f"'{name}'"):
            named_runtime(name, settings)

    def test_installed(self, engines, monkeypatch):
        """Those whose program is there, in the order in which they are preferred."""
        monkeypatch.setattr("sys.platform", "darwin")
        assert installed_runtimes() == ()
        engines(container=FAILS, docker=HANGS)
        assert installed_runtimes() == ("docker", "container")
        assert engines.asked() == set()
