"""From a group and its workspace to the container that is asked for. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nanoclaw_trio.runtimes.abc import (
    AGENT_VARIABLE,
    DEFAULT_AGENT,
    GROUP_LABEL,
    INSTALL_LABEL,
    OWNER_LABEL,
    ContainerSpec,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from nanoclaw_trio.runtimes.abc import ContainerRuntime
    from nanoclaw_trio.settings import Settings
    from nanoclaw_trio.workspace.prepare import Workspace


def container_name(folder: str, moment: datetime, unique: str) -> str:
    """`nanoclaw-SAFE-MILLISECONDS-UNIQUE`: unique even in one millisecond (Trap A14)."""
    safe = re.sub(r"[^a-zA-Z0-9-]", "-", folder)
    return f"nanoclaw-{safe}-{int(moment.timestamp() * 1000)}-{unique}"


def make_spec(
    name: str,
    workspace: Workspace,
    *,
    settings: Settings,
    runtime: ContainerRuntime,
    owner_label: str,
) -> ContainerSpec:
    """What the runtime is asked to start."""
    return ContainerSpec(
        name=name,
        image=settings.container_image,
        environment=_environment(settings),
        mounts=workspace.mounts,
        labels={
            INSTALL_LABEL: workspace.install_id,
            GROUP_LABEL: workspace.paths.folder,
            OWNER_LABEL: owner_label,
        },
        user=runtime.process_user(),
        network=settings.network,
        memory=settings.memory,
        cpus=settings.cpus,
        pids_limit=settings.pids_limit,
        takes_lease=workspace.takes_lease,
        read_only=settings.read_only,
    )


def _environment(settings: Settings) -> Mapping[str, str]:
    environment = {"TZ": settings.timezone}
    if settings.agent != DEFAULT_AGENT:
        environment[AGENT_VARIABLE] = settings.agent
    return environment
