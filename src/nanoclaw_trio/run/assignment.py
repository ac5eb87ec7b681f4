"""What a run is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from nanoclaw_trio.protocol.models import ContainerInput, RegisteredGroup
    from nanoclaw_trio.runtimes.abc import ContainerRuntime, ContainerSpec
    from nanoclaw_trio.settings import Settings
    from nanoclaw_trio.workspace.prepare import Workspace


@frozen(kw_only=True)
class Assignment:
    """Everything that is decided before a container is started, and never changes.

    `streaming` says whether each output is handed to the caller as it comes.
    """

    group: RegisteredGroup
    container_input: ContainerInput
    settings: Settings
    runtime: ContainerRuntime
    workspace: Workspace
    spec: ContainerSpec
    streaming: bool
