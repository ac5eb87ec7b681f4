"""A workspace whose agent calls the API through the proxy, where the settings want one."""

from __future__ import annotations

from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

from attrs import evolve

from nanoclaw_trio.proxy.open_proxy import open_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from nanoclaw_trio.proxy.service import CredentialProxy
    from nanoclaw_trio.settings import Settings
    from nanoclaw_trio.workspace.prepare import Workspace


@asynccontextmanager
async def admitted(
    workspace: Workspace, settings: Settings, proxy: CredentialProxy | None
) -> AsyncGenerator[Workspace]:
    """The workspace as the container gets it, for as long as the block lasts.

    With a proxy, the one given or one of its own, the agent's secrets are a placeholder and the
    proxy's address. Raises ConfigurationError if there can't be one.
    """
    async with nullcontext(proxy) if proxy is not None else open_proxy(settings) as opened:
        if opened is None:
            yield workspace
            return
        paths = workspace.paths
        async with opened.admit(paths.project_root, paths.folder, workspace.secrets) as admission:
            yield evolve(
                workspace,
                secrets=admission.secrets,
                mounts=(*workspace.mounts, *admission.mounts),
            )
