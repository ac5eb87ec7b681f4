"""What holds for each container engine alike, with the real thing."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest
import trio

from nanoclaw_trio.errors import ImageMissing, StartFailed
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.runtimes.abc import INSTALL_LABEL, ContainerState, Phase
from nanoclaw_trio.runtimes.docker import DockerRuntime
from nanoclaw_trio.runtimes.podman import PodmanRuntime

GUARD = 120.0

RUNTIMES = {"docker": DockerRuntime, "podman": PodmanRuntime}

READY = "echo ready; "
ENDLESS = "while :; do sleep 600; done"


@pytest.fixture(params=RUNTIMES)
def kind(request):
    """Each engine's name in turn."""
    return request.param


@pytest.fixture
def engine(request, kind):
    """The engine itself, by its program."""
    return request.getfixturevalue(f"{kind}_engine")


@pytest.fixture
def image(request, kind, engine):
    """The scratch image in it."""
    del engine
    return request.getfixturevalue(f"{kind}_image")


@pytest.fixture
def runtime(settings, kind, engine, install):
    """A runtime, and no container after the test."""
    yield RUNTIMES[kind](settings)
    engine.remove_all(install)


@pytest.fixture
def spec(image, scripted_spec):
    """Make a spec whose container runs a script, without a network of its own to set up."""

    def make(script, **fields):
        return scripted_spec(image, script, **{"network": "none", **fields})

    return make


class TestEngine:
    """All of these hold for each engine."""

    async def test_check(self, runtime, kind):
        """The engine that is here answers, with its version."""
        assert (await runtime.check()).startswith(f"{kind} ")

    async def test_a_run(self, runtime, spec, install):
        """A container is heard on all three streams, listed by its label, and gone after its end."""
        with trio.fail_after(GUARD):
            asked = spec(f"{READY}cat; echo complaint >&2; exit 3")
            container = await runtime.start(asked)
            assert await container.stdout.receive_some() == b"ready\n"
            labels = {INSTALL_LABEL: install}
            state = ContainerState(name=asked.name, phase=Phase.RUNNING, labels=labels)
            assert await runtime.inspect(asked.name) == state
            assert await runtime.list(labels) == (state,)
            await container.stdin.send_all(b"question")
            await container.stdin.aclose()
            assert b"".join([chunk async for chunk in container.stdout]) == b"question"
            # Podman adds words of its own where it runs within a container.
            assert b"complaint\n" in b"".join([chunk async for chunk in container.stderr])
            assert await container.wait() == 3
            assert await runtime.inspect(asked.name) is None
            assert await runtime.list(labels) == ()
            await container.aclose()

    async def test_container_that_was_only_created(self, runtime, engine, image, install):
        """A container that was never started is known, and can be removed."""
        name = f"nanoclaw-test-{uuid.uuid4().hex[:12]}"
        engine.run("create", "--name", name, "--label", f"{INSTALL_LABEL}={install}", image)
        assert (await runtime.inspect(name)).phase is Phase.CREATED
        assert await runtime.kill(name) is False
        assert await runtime.remove(name) is True
        assert await runtime.inspect(name) is None

    async def test_what_is_not_there(self, runtime):
        """The engine's words for a container that isn't there are understood in every command."""
        name = f"nanoclaw-test-{uuid.uuid4().hex[:12]}"
        assert await runtime.stop(name, 0.0) is False
        assert await runtime.kill(name) is False
        assert await runtime.remove(name) is False
        assert await runtime.inspect(name) is None

    @pytest.mark.parametrize("rung", ["stop", "kill", "remove"])
    async def test_rungs_of_the_stop_ladder(self, runtime, started, spec, rung):
        """Each rung ends a container that ignores SIGTERM, and finds nothing after that. Trap A7."""
        with trio.fail_after(GUARD):
            asked = spec(f"trap '' TERM; {READY}{ENDLESS}")
            async with started(runtime, asked) as container:
                arguments = (asked.name, 0.5) if rung == "stop" else (asked.name,)
                assert await getattr(runtime, rung)(*arguments) is True
                assert await container.wait() == 137
                assert await getattr(runtime, rung)(*arguments) is False
                assert await runtime.inspect(asked.name) is None

    async def test_container_outlives_its_client(self, runtime, started, spec):
        """Letting go of a container ends its client only; by its name it can be stopped. Trap A7."""
        with trio.fail_after(GUARD):
            asked = spec(f"{READY}{ENDLESS}")
            async with started(runtime, asked) as container:
                await container.aclose()
                assert (await runtime.inspect(asked.name)).phase is Phase.RUNNING
                assert await runtime.stop(asked.name, 0.0) is True
                await runtime.remove(asked.name)
                assert await runtime.inspect(asked.name) is None

    async def test_no_capabilities(self, runtime, ended, spec):
        """A container has no capability, and gains none. Trap A15."""
        with trio.fail_after(GUARD):
            script = (
                "while read name value; do case $name in CapBnd:|NoNewPrivs:) echo $value;; esac; "
                "done < /proc/self/status"
            )
            stdout, _, _ = await ended(runtime, spec(script))
        assert stdout.split() == ["0000000000000000", "1"]

    async def test_read_only_root(self, runtime, ended, spec, tmp_path):
        """Where the root is read-only, /tmp, the home and what is mounted can be written, also in the
        home; nothing else can."""
        with trio.fail_after(GUARD):
            places = ("/bin", "/workspace", "/tmp", "/home/node", "/home/node/.claude")
            (tmp_path / "sessions").mkdir()
            (tmp_path / "sessions").chmod(0o777)
            mount = VolumeMount(
                host_path=tmp_path / "sessions", container_path=places[-1], readonly=False
            )
            script = "; ".join(f"(echo x > {place}/new) 2>&- && echo {place}" for place in places)
            stdout, _, _ = await ended(runtime, spec(script, read_only=True, mounts=(mount,)))
            assert stdout.split() == list(places[-3:])
            stdout, _, _ = await ended(runtime, spec(script, mounts=(mount,)))
            assert stdout.split() == list(places)

    async def test_mounts(self, runtime, ended, spec, tmp_path):
        """Any path can be mounted, read-only where asked, and a file over one in it. Trap A16.

        What the agent writes there, as whom the runtime says, it can write.
        """
        with trio.fail_after(GUARD):
            folder = tmp_path / 'a:b,c "d=e'
            folder.mkdir()
            (folder / ".env").write_text("SECRET=canary")
            owner = runtime.workspace_owner()
            if owner is not None:
                os.chown(folder, owner.uid, owner.gid)
            project = "/workspace/project"
            mounts = (
                VolumeMount(host_path=folder, container_path=project, readonly=True),
                VolumeMount(
                    host_path=Path("/dev/null"), container_path=f"{project}/.env", readonly=True
                ),
                VolumeMount(host_path=folder, container_path="/workspace/a,b", readonly=False),
            )
            script = (
                f"cd {project}; cat .env; (echo x > new) 2>/dev/null || echo refused; "
                "ls -A; echo y > /workspace/a,b/new"
            )
            asked = spec(script, mounts=mounts, user=owner or runtime.process_user())
            stdout, exit_code, _ = await ended(runtime, asked)
        assert (stdout.split(), exit_code) == (["refused", ".env"], 0)
        assert (folder / "new").read_text() == "y\n"

    async def test_missing_image(self, runtime, kind, scripted_spec):
        """An image that isn't there is missed before anything starts, and nothing is pulled."""
        with pytest.raises(ImageMissing, match="nanoclaw_trio build") as caught:
            await runtime.start(scripted_spec("nanoclaw-trio-nosuch:1", ""))
        assert caught.value.runtime == kind

    async def test_image_that_was_removed(self, runtime, ended, engine, image, scripted_spec):
        """An image that was removed since the last run is told by the client's words, and missed."""
        tag = f"localhost/nanoclaw-trio-removed:{uuid.uuid4().hex[:8]}"
        engine.run("tag", image, tag)
        await runtime.require_image(tag)
        engine.run("rmi", tag)
        _, exit_code, error = await ended(runtime, scripted_spec(tag, ""))
        assert exit_code == 125
        assert isinstance(error, ImageMissing)
        with pytest.raises(ImageMissing):
            await runtime.require_image(tag)

    async def test_name_conflict(self, runtime, started, ended, spec):
        """A second container of the same name isn't started, and the first isn't harmed."""
        with trio.fail_after(GUARD):
            asked = spec(f"{READY}{ENDLESS}")
            async with started(runtime, asked):
                _, exit_code, error = await ended(runtime, asked)
                assert exit_code == 125
                assert isinstance(error, StartFailed)
                assert "already in use" in str(error)
                assert (await runtime.inspect(asked.name)).phase is Phase.RUNNING

    async def test_what_the_engine_refuses(self, runtime, ended, spec):
        """What the engine refuses to start is a failed start, with its words."""
        _, exit_code, error = await ended(runtime, spec("", network="nanoclaw-nosuch"))
        assert exit_code == 125
        assert isinstance(error, StartFailed)
        assert "nanoclaw-nosuch" in str(error)

    @pytest.mark.parametrize("exit_code", [125, 126, 127])
    async def test_an_exit_of_the_agents_own(self, runtime, ended, spec, exit_code):
        """An agent may end with the client's statuses, and says itself why."""
        script = f"echo 'the agent gave up' >&2; exit {exit_code}"
        assert (await ended(runtime, spec(script)))[1:] == (exit_code, None)
