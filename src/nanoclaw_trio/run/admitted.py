"""A workspace whose agent calls the API through the proxy, where the settings want one."""

from __future__ import annotations

from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

from attrs import evolve

from nanoclaw_trio.proxy.errors import ProxyUnusable
from nanoclaw_trio.proxy.open_proxy import open_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager

    from nanoclaw_trio.proxy.service import CredentialProxy
    from nanoclaw_trio.runtimes.abc import ContainerRuntime
    from nanoclaw_trio.settings import Settings
    from nanoclaw_trio.workspace.prepare import Workspace


def admitted(
    workspace: Workspace,
    settings: Settings,
    proxy: CredentialProxy | None,
    *,
    runtime: ContainerRuntime,
) -> AbstractAsyncContextManager[Workspace]:
    """The workspace as the container gets it, for as long as the block lasts.

    With a proxy, the one given or one of its own, the agent's secrets are a placeholder and the
    proxy's address. Raises ConfigurationError if there can't be one, or the runtime's containers
    couldn't reach it.
    """
    if proxy is not None:
        return _admitted_by(nullcontext(proxy), workspace, runtime)
    own = open_proxy(settings)
    # Without one, without a generator that would be kept as long as the run.
    return nullcontext(workspace) if own is None else _admitted_by(own, workspace, runtime)


@asynccontextmanager
async def _admitted_by(
    opening: AbstractAsyncContextManager[CredentialProxy],
    workspace: Workspace,
    runtime: ContainerRuntime,
) -> AsyncGenerator[Workspace]:
    paths = workspace.paths
    async with (
        opening as proxy,
        proxy.admit(paths.project_root, paths.folder, workspace.secrets) as admission,
    ):
        if admission.mounts and not runtime.mounts_sockets:
            raise ProxyUnusable(
                f"a container of {runtime.name} can't connect to a socket of this machine's; set "
                "CREDENTIAL_PROXY to tcp:ADDRESS, with an address that containers reach"
            )
        yield evolve(
            workspace,
            secrets=admission.secrets,
            mounts=(*workspace.mounts, *admission.mounts),
        )
