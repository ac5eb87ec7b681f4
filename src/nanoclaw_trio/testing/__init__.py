"""What embedders test with: a runtime of scripts, a clock that jumps, a conformance suite.

:mod:`~nanoclaw_trio.testing.conformance` needs pytest and is imported by its own name.
"""

from __future__ import annotations

from nanoclaw_trio.testing.clock import VirtualClock
from nanoclaw_trio.testing.fake import (
    AgentScript,
    FakeContainer,
    FakeRuntime,
    FollowUpFile,
    echo_agent,
    open_fake_runtime,
)

__all__ = [
    "AgentScript",
    "FakeContainer",
    "FakeRuntime",
    "FollowUpFile",
    "VirtualClock",
    "echo_agent",
    "open_fake_runtime",
]
