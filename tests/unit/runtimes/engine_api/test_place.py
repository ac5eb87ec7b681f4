"""Where an engine's socket is looked for."""

from __future__ import annotations

import json

import pytest

from nanoclaw_trio.files import Owner
from nanoclaw_trio.runtimes.engine_api.place import EnginePlace, docker_place, podman_place

DEFAULT = "/var/run/docker.sock"


@pytest.fixture
def home(tmp_path):
    """A user's home, with what docker's client was told."""

    def make(content=None):
        folder = tmp_path / ".docker"
        folder.mkdir(exist_ok=True)
        if content is not None:
            (folder / "config.json").write_text(content)
        return str(tmp_path)

    return make


@pytest.mark.parametrize(
    ("environ", "socket"),
    [
        ({}, DEFAULT),
        ({"DOCKER_HOST": ""}, DEFAULT),
        ({"DOCKER_HOST": "unix:///run/user/1000/docker.sock"}, "/run/user/1000/docker.sock"),
        ({"DOCKER_HOST": "unix://"}, DEFAULT),
        ({"DOCKER_HOST": "unix:///x", "DOCKER_CONTEXT": "away"}, "/x"),
        ({"DOCKER_CONTEXT": "default"}, DEFAULT),
        ({"DOCKER_CONTEXT": ""}, DEFAULT),
    ],
)
def test_docker(home, environ, socket):
    """Docker's socket is where its client would look: DOCKER_HOST comes before a context."""
    assert docker_place({"HOME": home(), **environ}) == EnginePlace(socket=socket)


@pytest.mark.parametrize("host", ["tcp://10.0.0.1:2375", "ssh://me:canary@far", "npipe://x", "far"])
def test_docker_elsewhere(home, host):
    """An engine that isn't behind a Unix socket isn't asked, and its address isn't repeated."""
    place = docker_place({"HOME": home(), "DOCKER_HOST": host})
    assert place.obstacle == "DOCKER_HOST names an engine that isn't behind unix://"


def test_context_of_the_environment(home):
    """A context that is named by the environment is docker's client's to know."""
    place = docker_place({"HOME": home(), "DOCKER_CONTEXT": "away"})
    assert place.obstacle is not None
    assert place.obstacle.startswith("DOCKER_CONTEXT names the context 'away'")


@pytest.mark.parametrize(
    ("content", "context"),
    [
        (json.dumps({"currentContext": "away"}), "away"),
        (json.dumps({"currentContext": "default"}), None),
        (json.dumps({"currentContext": ""}), None),
        (json.dumps({"auths": {}}), None),
        (json.dumps(["away"]), None),
        ("{", None),
        (None, None),
    ],
)
def test_context_of_the_user(home, content, context):
    """A current context in docker's config.json is one; a file that can't be used is none."""
    place = docker_place({"HOME": home(content)})
    assert (place.obstacle is None) is (context is None)
    if context is not None:
        assert f"names the context {context!r}" in place.obstacle
        assert "config.json" in place.obstacle


PROXY = {"httpProxy": "http://me:canary@proxy"}


@pytest.mark.parametrize(
    ("proxies", "host", "is_obstacle"),
    [
        ({"default": PROXY}, "", True),
        ({"default": PROXY}, "unix:///x", True),
        ({f"unix://{DEFAULT}": PROXY}, "", True),
        ({f"unix://{DEFAULT}": PROXY}, "unix:///x", False),
        ({f"unix://{DEFAULT}": {}, "default": PROXY}, "", False),
        ({"default": {}}, "", False),
        ({}, "", False),
        (["default"], "", False),
    ],
)
def test_proxies_of_the_user(home, proxies, host, is_obstacle):
    """Proxies that docker's client would give containers are left to it, and not repeated."""
    place = docker_place({"HOME": home(json.dumps({"proxies": proxies})), "DOCKER_HOST": host})
    assert (place.obstacle is not None) is is_obstacle
    if is_obstacle:
        assert place.obstacle.endswith(
            "config.json has proxies for containers, which only docker's client gives them"
        )


def test_config_elsewhere(home, tmp_path):
    """DOCKER_CONFIG says where the file is."""
    home(json.dumps({"currentContext": "away"}))
    environ = {"DOCKER_CONFIG": str(tmp_path / ".docker"), "HOME": "/nonexistent"}
    assert docker_place(environ).obstacle is not None
    assert docker_place({"HOME": str(tmp_path), "DOCKER_CONFIG": "/nonexistent"}).obstacle is None


@pytest.mark.parametrize(
    ("environ", "uid", "socket"),
    [
        ({}, 0, "/run/podman/podman.sock"),
        ({"XDG_RUNTIME_DIR": "/run/user/0"}, 0, "/run/podman/podman.sock"),
        ({}, 1000, "/run/user/1000/podman/podman.sock"),
        ({"XDG_RUNTIME_DIR": "/tmp/x"}, 1000, "/tmp/x/podman/podman.sock"),
        ({"CONTAINER_HOST": "unix:///tmp/p.sock"}, 0, "/tmp/p.sock"),
    ],
)
def test_podman(environ, uid, socket):
    """Podman's socket is the system's for root, and else the user's own."""
    assert podman_place(environ, Owner(uid=uid, gid=uid)) == EnginePlace(socket=socket)


def test_podman_elsewhere():
    """An engine of podman's that isn't behind a Unix socket isn't asked."""
    place = podman_place({"CONTAINER_HOST": "ssh://far"}, Owner(uid=0, gid=0))
    assert place.obstacle == "CONTAINER_HOST names an engine that isn't behind unix://"
