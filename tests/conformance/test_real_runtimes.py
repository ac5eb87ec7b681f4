"""The real runtimes, held to what every runtime promises."""

from __future__ import annotations

import pytest

from nanoclaw_trio.testing.conformance import RuntimeConformance, RuntimeWorld


class TestRealRuntime(RuntimeConformance):
    @pytest.fixture
    def world(self, real_runtime, real_settings, tmp_path):
        return RuntimeWorld(
            runtime=real_runtime, image=real_settings.container_image, directory=tmp_path / "world"
        )
