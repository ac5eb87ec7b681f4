"""The lease: standard input that is held open for as long as the host lives (docs/protocol 1). Pure.

The kernel closes it with the host, however that ends, and the agent ends upon it: SIGKILL of the
host leaves nothing running, and nobody has to come and look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from nanoclaw_trio.runtimes.abc import STDIN_LEASE, STDIN_VARIABLE

if TYPE_CHECKING:
    from nanoclaw_trio.runtimes.abc import ContainerSpec


def with_lease(spec: ContainerSpec) -> ContainerSpec:
    """The same container, told that its standard input is a lease."""
    return evolve(spec, environment={**spec.environment, STDIN_VARIABLE: STDIN_LEASE})
