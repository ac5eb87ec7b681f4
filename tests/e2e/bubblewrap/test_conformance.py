"""The bubblewrap runtime keeps the promises of every runtime."""

from __future__ import annotations

import pytest

from nanoclaw_trio.testing.conformance import RuntimeConformance, RuntimeWorld


class TestBubblewrapRuntime(RuntimeConformance):
    @pytest.fixture
    async def world(self, runtime, tmp_path):
        """A folder for its mounts."""
        return RuntimeWorld(runtime=runtime, image="none", directory=tmp_path / "world")
