"""Commands, their answers, and engines that don't answer."""

from __future__ import annotations

import gc
import json
import socket
from contextlib import closing
from pathlib import Path

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.errors import (
    ImageIncompatible,
    ImageMissing,
    RuntimeCommandFailed,
    RuntimeUnavailable,
    StartFailed,
)
from nanoclaw_trio.files import Owner
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.runtimes.abc import ContainerState, Phase
from nanoclaw_trio.runtimes.engine_api.docker import DockerApiRuntime
from nanoclaw_trio.runtimes.engine_api.engine import unreachable
from nanoclaw_trio.runtimes.engine_api.podman import PodmanApiRuntime
from nanoclaw_trio.runtimes.images import PROTOCOL_LABEL

GUARD = 60.0

COMMANDS = {
    "stop": lambda runtime: runtime.stop("x", 0.1),
    "kill": lambda runtime: runtime.kill("x"),
    "remove": lambda runtime: runtime.remove("x"),
    "inspect": lambda runtime: runtime.inspect("x"),
    "list": lambda runtime: runtime.list({"a": "b"}),
    "find_out_of_memory": lambda runtime: runtime.find_out_of_memory("x", 1.0),
}

ACTIONS = {
    "stop": "POST stop",
    "kill": "POST kill",
    "remove": "DELETE",
    "inspect": "GET json",
    "list": "GET json",
    "find_out_of_memory": "GET events",
}

INSPECTED = {"Name": "/x", "State": {"Status": "running"}, "Config": {"Labels": {"a": "b"}}}
PODMAN = {"Version": "4.3.1", "ApiVersion": "1.41", "Components": [{"Name": "Podman Engine"}]}


@pytest.fixture(params=COMMANDS)
def command(request):
    """Each command in turn."""
    return request.param


async def test_check(engine, runtime, make_runtime, world):
    """An engine that answers is told with its version; podman's by its own runtime."""
    with trio.fail_after(GUARD):
        assert await runtime.check() == "docker-api 20.10.24"
        engine.script["GET version"] = world["Says"](200, PODMAN)
        assert await make_runtime(podman=True).check() == "podman-api 4.3.1"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda world: world["Hangs"](), "did not answer within 0.2 s"),
        (lambda world: world["Raw"](), "got no answer"),
        (lambda world: world["Raw"](b"SSH-2.0-OpenSSH\r\n\r\n"), "got no answer"),
        (lambda world: world["Says"](200, ["a list"]), "answered garbage"),
        (lambda world: world["Says"](200, b"<html>"), "answered garbage"),
        (lambda world: world["Says"](503, {"message": "starting"}), r"refused \(503\): starting"),
        (lambda world: world["Says"](200, PODMAN), "use `--runtime podman-api`"),
        (
            lambda world: world["Says"](200, {"Version": "1", "ApiVersion": "1.10"}),
            "update the engine",
        ),
        (
            lambda world: world["Says"](200, {"Version": "1", "ApiVersion": "new"}),
            "invalid literal",
        ),
    ],
    ids=["hangs", "cut", "no-http", "list", "html", "refused", "podman", "old", "odd"],
)
async def test_check_fails(engine, brief_runtime, world, answer, words):
    """An engine that can't be used is told with the reason and what to do, within a bound."""
    engine.script["GET version"] = answer(world)
    with trio.fail_after(GUARD), pytest.raises(RuntimeUnavailable, match=words) as caught:
        await brief_runtime.check()
    assert "--runtime docker" in str(caught.value)


async def test_nobody_listens(make_runtime, tmp_path):
    """A socket that nobody listens on any more is told as that."""
    with closing(socket.socket(socket.AF_UNIX)) as left:
        left.bind(str(tmp_path / "engine.sock"))
    with trio.fail_after(GUARD), pytest.raises(RuntimeUnavailable, match="nobody listens there"):
        await make_runtime().check()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(2, "No such file"), "it isn't there"),
        (PermissionError(13, "Permission denied"), "this user may not use it"),
        (ConnectionRefusedError(111, "Connection refused"), "nobody listens there"),
        (OSError(24, "Too many open files"), "Too many open files"),
        (OSError("AF_UNIX path too long"), "AF_UNIX path too long"),
    ],
)
def test_unreachable(error, words):
    """Why a socket can't be reached is said in words, with its path."""
    assert (
        unreachable("/run/x.sock", error) == f"can't reach the engine's socket /run/x.sock: {words}"
    )


async def test_engine_elsewhere(settings, monkeypatch):
    """Where docker's client would talk elsewhere, the socket isn't asked."""
    monkeypatch.setenv("DOCKER_HOST", "ssh://me:canary@far")
    runtime = DockerApiRuntime(settings)
    with (
        trio.fail_after(GUARD),
        pytest.raises(RuntimeUnavailable, match="isn't behind unix") as caught,
    ):
        await runtime.check()
    assert "canary" not in str(caught.value)


def test_places(settings, monkeypatch):
    """Each asks where its own client would."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/d.sock")
    monkeypatch.setenv("CONTAINER_HOST", "unix:///run/p.sock")
    assert DockerApiRuntime(settings).place.socket == "/run/d.sock"
    assert PodmanApiRuntime(settings).place.socket == "/run/p.sock"


async def test_no_answer(engine, brief_runtime, world, command):
    """A command that the engine doesn't answer fails within its bound: nothing is "gone" by that."""
    engine.script[ACTIONS[command]] = world["Hangs"]()
    with trio.fail_after(GUARD), pytest.raises(RuntimeCommandFailed, match="did not answer within"):
        await COMMANDS[command](brief_runtime)


async def test_refused(engine, runtime, world, command):
    """A command that the engine refuses fails with its words."""
    engine.script[ACTIONS[command]] = world["Says"](500, {"message": "not today"})
    with trio.fail_after(GUARD), pytest.raises(RuntimeCommandFailed, match=r"\(500\): not today"):
        await COMMANDS[command](runtime)


async def test_no_engine(make_runtime, command):
    """Without an engine each command fails, and none says that something is gone."""
    with trio.fail_after(GUARD), pytest.raises(RuntimeCommandFailed, match="isn't there"):
        await COMMANDS[command](make_runtime())


@pytest.mark.parametrize("name", ["stop", "kill", "remove", "inspect"])
@pytest.mark.parametrize("status", [404, 500])
async def test_not_there(engine, runtime, world, name, status):
    """What isn't there is said so, though podman says so with a failure's status."""
    engine.script[ACTIONS[name]] = world["Says"](status, {"message": "no such container: x"})
    with trio.fail_after(GUARD):
        assert not await COMMANDS[name](runtime)


@pytest.mark.parametrize("name", ["stop", "kill", "remove", "inspect"])
@pytest.mark.parametrize("document", [{"message": "page not found"}, b"<html>Not Found</html>"])
async def test_something_else_is_not_there(engine, runtime, world, name, document):
    """That something isn't found is no word about a container: only the engine's own words are."""
    engine.script[ACTIONS[name]] = world["Says"](404, document)
    with (
        trio.fail_after(GUARD),
        pytest.raises(RuntimeCommandFailed, match=r"(?i)\(404\): .*not found"),
    ):
        await COMMANDS[name](runtime)


@pytest.mark.parametrize(
    ("name", "status"), [("stop", 204), ("stop", 304), ("kill", 204), ("remove", 204)]
)
async def test_done(engine, runtime, world, name, status):
    """What was done is said so; a container that had ended already was stopped, too."""
    engine.script[ACTIONS[name]] = world["Says"](status)
    with trio.fail_after(GUARD):
        assert await COMMANDS[name](runtime) is True


async def test_queries(engine, runtime, world):
    """The grace is rounded up to whole seconds, and names are quoted."""
    engine.script |= {"POST stop": world["Says"](204), "POST kill": world["Says"](204)}
    with trio.fail_after(GUARD):
        await runtime.stop("a b/c", 1.2)
        await runtime.kill("x")
        await runtime.remove("x")
    assert [(asked.path, asked.query) for asked in engine.asked[1:]] == [
        ("/v1.41/containers/a%20b%2Fc/stop", "t=2"),
        ("/v1.41/containers/x/kill", "signal=KILL"),
        ("/v1.41/containers/x", "force=1&v=1"),
    ]


async def test_kill_of_what_does_not_run(engine, runtime, world):
    """A container that is there and doesn't run can't be killed, which is no failure."""
    words = "Cannot kill container: x: Container x is not running"
    engine.script["POST kill"] = world["Says"](409, {"message": words})
    with trio.fail_after(GUARD):
        assert await runtime.kill("x") is False


async def test_removal_under_way(engine, runtime, world):
    """A removal that the engine has begun by itself is waited for."""
    words = "removal of container x is already in progress"
    engine.script["DELETE"] = world["Says"](409, {"message": words})
    with trio.fail_after(GUARD):
        assert await runtime.remove("x") is True


async def test_removal_that_does_not_end(engine, brief_runtime, world):
    """A removal that doesn't end within the bound may have left something."""
    words = "removal of container x is already in progress"
    engine.script["DELETE"] = world["Says"](409, {"message": words})
    engine.script["GET json"] = world["Says"](200, INSPECTED)
    with trio.fail_after(GUARD), pytest.raises(RuntimeCommandFailed, match="already in progress"):
        await brief_runtime.remove("x")


async def test_podman_kills_first(engine, make_runtime, world):
    """Podman's removal by force would wait for ten seconds, so the container is killed before."""
    engine.script["GET version"] = world["Says"](200, PODMAN)
    engine.script["POST kill"] = world["Says"](204)
    engine.script["DELETE"] = world["Says"](404, {"message": "no such container"})
    with trio.fail_after(GUARD):
        assert await make_runtime(podman=True).remove("x") is True
    assert engine.commands() == ["POST kill", "DELETE x"]


async def test_inspect(engine, runtime, world):
    """What runs is told with its labels, and another of which the name is an id is not it."""
    engine.script["GET json"] = world["Says"](200, INSPECTED)
    with trio.fail_after(GUARD):
        state = ContainerState(name="x", phase=Phase.RUNNING, labels={"a": "b"})
        assert await runtime.inspect("x") == state
        with pytest.raises(RuntimeCommandFailed, match="answered about something else"):
            await runtime.inspect("abc")


async def test_list(engine, runtime, world):
    """Labels go to the engine as they are, and all containers are asked for. Trap A26."""
    engine.script["GET json"] = world["Says"](200, [])
    with trio.fail_after(GUARD):
        assert await runtime.list({"a": 'b,"c"'}) == ()
    assert "all=1" in engine.asked[-1].query
    assert "%22a%3Db%2C%5C%22c%5C%22%22" in engine.asked[-1].query


@pytest.mark.parametrize("body", [b"", b"\n", b'{"Action":"oom"}\n'])
async def test_out_of_memory(engine, runtime, world, body):
    """An event says so, and none says that there was none."""
    engine.script["GET events"] = world["Says"](200, body)
    with trio.fail_after(GUARD):
        assert await runtime.find_out_of_memory("x", 12.5) is bool(body.strip())
    assert engine.asked[-1].query.startswith("since=12.500000&until=")


async def test_podman_does_not_tell_of_memory(make_runtime):
    """Podman's events of an end are not asked for."""
    assert await make_runtime(podman=True).find_out_of_memory("x", 1.0) is False


async def test_answer_that_is_too_large(engine, runtime, world):
    """An answer beyond any sense is cut off, and not kept."""
    engine.script["GET json"] = world["Says"](200, b"[" + b" " * (4 * 1024 * 1024) + b"]")
    with trio.fail_after(GUARD), pytest.raises(RuntimeCommandFailed, match="larger than"):
        await runtime.list({})


async def test_an_interim_answer(engine, runtime, world):
    """An answer that is only to come is waited for."""
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
    engine.script["POST kill"] = world["Raw"](data)
    with trio.fail_after(GUARD):
        assert await runtime.kill("x") is True


async def test_nothing_is_left_open(engine, runtime):
    """A runtime holds no connection, so that there is nothing to close."""
    with trio.fail_after(GUARD):
        await runtime.inspect("x")
        del runtime
        gc.collect()


@pytest.mark.parametrize(
    ("status", "document", "error", "words"),
    [
        (404, {"message": "No such image: agent:latest"}, ImageMissing, "nanoclaw_trio build"),
        (500, {"message": "agent: image not known"}, RuntimeUnavailable, "refused"),
        (200, {"Config": {"Labels": {PROTOCOL_LABEL: "2"}}}, ImageIncompatible, "protocol '2'"),
    ],
)
async def test_image(engine, runtime, world, status, document, error, words):
    """An image that isn't there, or isn't for us, is told before anything starts. Trap A15."""
    engine.script["GET json"] = world["Says"](status, document)
    with trio.fail_after(GUARD), pytest.raises(error, match=words):
        await runtime.require_image("agent:latest")


async def test_image_is_asked_for_once(engine, runtime):
    """An image that was seen isn't asked for again."""
    with trio.fail_after(GUARD):
        await runtime.require_image("localhost:5000/agent:latest")
        await runtime.require_image("localhost:5000/agent:latest")
    paths = [asked.path for asked in engine.asked]
    assert paths == ["/version", "/v1.41/images/localhost:5000/agent:latest/json"]


async def test_image_without_an_engine(make_runtime):
    """Without an engine nobody knows of an image."""
    with trio.fail_after(GUARD), pytest.raises(RuntimeUnavailable, match="isn't there"):
        await make_runtime().require_image("agent:latest")


def test_description(runtime, make_runtime, spec):
    """The run log has what the engine was told, as JSON."""
    start, _, text = runtime.describe(spec).partition(" {")
    assert start == "docker-api: POST /containers/create?name=nanoclaw-x"
    assert json.loads("{" + text)["HostConfig"]["CapDrop"] == ["ALL"]


def test_description_of_what_can_not_be_told(make_runtime, spec):
    """What can't be told to the engine has a description all the same."""
    mount = VolumeMount(host_path=Path('/a"b'), container_path="/w", readonly=True)
    assert "nanoclaw-x" in make_runtime(podman=True).describe(evolve(spec, mounts=(mount,)))


@pytest.mark.parametrize("path", ["/a,b", '/a"b', "/a\nb"])
def test_paths_that_podman_would_misread(make_runtime, spec, path):
    """Podman reads a mount as a line of fields; a path that would be several is refused."""
    mount = VolumeMount(host_path=Path(path), container_path="/w", readonly=True)
    with pytest.raises(StartFailed, match="because of a character"):
        make_runtime(podman=True).document(evolve(spec, mounts=(mount,)))


@pytest.mark.parametrize(
    ("exit_code", "stderr", "failed"),
    [
        (127, "[FATAL tini (7)] exec nosuch failed: No such file or directory\n", True),
        (1, "[FATAL tini (7)] exec nosuch failed: No such file or directory\n", False),
        (127, "sh: nosuch: not found\n", False),
        (125, "docker: Cannot connect to the Docker daemon\n", False),
    ],
)
def test_explanation(runtime, spec, exit_code, stderr, failed):
    """The init's own words are a failed start; an agent that plays the engine's isn't believed."""
    error = runtime.explain_exit(spec, exit_code, stderr)
    assert isinstance(error, StartFailed) is failed


@pytest.mark.parametrize(
    ("uid", "owner", "user"), [(0, 1000, None), (1000, None, None), (1234, None, 1234)]
)
def test_users(make_runtime, uid, owner, user):
    """Whom the workspace belongs to, and who runs, are as with docker's client."""
    runtime = make_runtime(host_user=Owner(uid=uid, gid=uid))
    assert (runtime.workspace_owner() or Owner(uid=None, gid=0)).uid == owner
    assert (runtime.process_user() or Owner(uid=None, gid=0)).uid == user


def test_rootless_podman(make_runtime, spec):
    """Rootless, the host's user is the image's own inside. Trap B6."""
    runtime = make_runtime(podman=True, host_user=Owner(uid=1234, gid=1234))
    assert runtime.process_user() is None
    host = runtime.document(spec)["HostConfig"]
    assert host["UsernsMode"] == "keep-id:uid=1000,gid=1000"
    root = make_runtime(podman=True, host_user=Owner(uid=0, gid=0))
    assert "UsernsMode" not in root.document(spec)["HostConfig"]


@pytest.mark.parametrize(("podman", "option"), [(False, "--host"), (True, "--url")])
async def test_builder(make_runtime, program, podman, option):
    """Images are built by the client program, which is told to talk to the same engine."""
    runtime = make_runtime(podman=podman)
    builder = runtime.builder()
    assert builder.name == runtime.program
    builder._client.executable = program.answer(**{f"{option}": (0, "[]", "")})
    with trio.fail_after(GUARD):
        await builder.find_image("agent:latest")
    assert program.calls() == [
        [option, f"unix://{runtime.place.socket}", "image", "inspect", "agent:latest"]
    ]


async def test_socket(engine, make_runtime):
    """It is known whether there is something to ask."""
    assert make_runtime().has_socket()
    engine.vanish()
    assert not make_runtime().has_socket()
