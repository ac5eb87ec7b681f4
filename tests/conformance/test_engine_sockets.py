"""The runtimes that go by an engine's socket, held to what every runtime promises."""

from __future__ import annotations

import pytest
from attrs import evolve

from nanoclaw_trio.errors import StartFailed
from nanoclaw_trio.runtimes.engine_api.docker import DockerApiRuntime
from nanoclaw_trio.runtimes.engine_api.podman import PodmanApiRuntime
from nanoclaw_trio.testing.conformance import RuntimeConformance, RuntimeWorld


class TestDockerSocket(RuntimeConformance):
    @pytest.fixture
    def world(self, docker, real_settings, tmp_path):
        runtime = DockerApiRuntime(real_settings)
        image = real_settings.container_image
        return RuntimeWorld(runtime=runtime, image=image, directory=tmp_path / "world")


class TestPodmanSocket(RuntimeConformance):
    @pytest.fixture
    def world(self, podman_socket, real_settings, tmp_path):
        runtime = PodmanApiRuntime(real_settings, podman_socket)
        image = f"localhost/{real_settings.container_image}"
        return RuntimeWorld(runtime=runtime, image=image, directory=tmp_path / "world")

    async def test_a_path_may_hold_anything(self, world):
        """Trap A16. A colon and a space are part of a path; what podman would misread is refused."""
        plain = world.mount("a:b c'd", "/workspace/odd", readonly=True)
        (plain.host_path / "file").write_text("found")
        mounts = (*world.spec("").mounts, plain)
        assert await world.output("read /workspace/odd/file", mounts=mounts) == "found"
        odd = world.mount('a,"b"', "/workspace/odd", readonly=True)
        with pytest.raises(StartFailed, match="because of a character"):
            await world.runtime.start(evolve(world.spec("sleep"), mounts=(odd,)))
