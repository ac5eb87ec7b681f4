"""The two ways to run an agent: as a stream, and with a callback."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

from nanoclaw_trio.background import open_background_nursery
from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.errors import InvalidContainerInput
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.logs import log
from nanoclaw_trio.mailbox.writer import Mailbox
from nanoclaw_trio.run.admitted import admitted
from nanoclaw_trio.run.agent_run import AgentRun
from nanoclaw_trio.run.assignment import Assignment
from nanoclaw_trio.run.host import this_process
from nanoclaw_trio.run.spec import container_name, make_spec
from nanoclaw_trio.run.turns import open_turn
from nanoclaw_trio.workspace.claim import GroupClaim
from nanoclaw_trio.workspace.confinement import confined
from nanoclaw_trio.workspace.directories import blamed_on
from nanoclaw_trio.workspace.prepare import prepare_workspace

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from nanoclaw_trio.protocol.models import ContainerInput, ContainerOutput, RegisteredGroup
    from nanoclaw_trio.proxy.service import CredentialProxy
    from nanoclaw_trio.run.outcome import RunResult
    from nanoclaw_trio.runtimes.abc import Container, ContainerRuntime
    from nanoclaw_trio.settings import Settings
    from nanoclaw_trio.workspace.prepare import Workspace

    OnProcess: TypeAlias = Callable[[Container, str], object]
    OnOutput: TypeAlias = Callable[[ContainerOutput], Awaitable[object]]


@asynccontextmanager
async def open_run(
    group: RegisteredGroup,
    container_input: ContainerInput,
    *,
    settings: Settings,
    runtime: ContainerRuntime,
    on_process: OnProcess | None = None,
    streaming: bool = True,
    name: str | None = None,
    proxy: CredentialProxy | None = None,
) -> AsyncGenerator[AgentRun]:
    """Start an agent for a group and read its outputs as they come.

        async with open_run(group, container_input, settings=settings, runtime=runtime) as run:
            async for output in run:
                ...
        run.result

    Leaving the block before the outputs have ended stops the container; whatever the way out, it
    is gone when the block is left, or `run.receipt` says why that is not certain. An exception of
    the block's own goes on as it is.

    The block begins when the container was started, or could not be, which the result then says.
    The clock of the agent's silence runs from its start; the time that is yours doesn't count from
    the first output on.

    A group has one run at a time, whichever process it is in. Nobody is waited for.

    Args:
        group: Whose folder, mounts and limits these are.
        container_input: What the agent is asked.
        settings: The project's.
        runtime: What to start the container with.
        on_process: Called once with the started container and its name, before any output.
        streaming: False: no outputs are handed out, and the result has the last answer.
        name: The container's, from :func:`new_container_name`, for who writes it down before the
            container is there; None: one is made up.
        proxy: The engine's credential proxy; None: the run opens its own, if the settings want one.

    Raises:
        GroupBusy: another run has the group; nothing was started.
        InputError: the group's folder or the input isn't allowed; nothing was started.
        ConfigurationError: .env or a file of the installation can't be used; nothing was started.
        HostError: the workspace can't be made; nothing was started.
    """
    if container_input.group_folder != group.folder:
        raise InvalidContainerInput(f"not the group's folder {group.folder!r} @ $.groupFolder")
    claim = _make_claim(group, settings, name)
    try:
        workspace = await _make_workspace(group, container_input, settings, runtime, claim)
        async with (
            admitted(workspace, settings, proxy, runtime=runtime) as workspace,
            open_background_nursery() as nursery,
        ):
            run = _make_run(
                group,
                container_input,
                settings,
                runtime,
                workspace=workspace,
                claim=claim,
                streaming=streaming,
            )
            container = await nursery.start(run.conduct)
            if on_process is not None and container is not None:
                on_process(container, run.container_name)
            yield run
    finally:
        # The run has done it, unless there was none, or its end was cut off.
        claim.release()


async def run_container_agent(
    group: RegisteredGroup,
    container_input: ContainerInput,
    *,
    settings: Settings,
    runtime: ContainerRuntime,
    on_process: OnProcess | None = None,
    on_output: OnOutput | None = None,
) -> RunResult:
    """Run an agent for a group to its end.

    With `on_output`, each output is handed to it as it comes, one at a time, in this task; the
    result's `result` is then None. Without, the result has the last answer.

    An exception of `on_output` ends the run and goes on as it is. Cancelled, it goes on once the
    container is gone, within the bound of the stop ladder. Raises as :func:`open_run`; all else
    that can go wrong is in the result, by its cause.
    """
    async with open_run(
        group,
        container_input,
        settings=settings,
        runtime=runtime,
        on_process=on_process,
        streaming=on_output is not None,
    ) as run:
        async for output in run:
            if on_output is not None:  # pragma: no branch - without it nothing is handed out
                await on_output(output)
    return run.result


def new_container_name(folder: str) -> str:
    """A name for a group's next container, which no other has."""
    return container_name(folder, utc_now(), secrets.token_hex(4))


def _make_claim(group: RegisteredGroup, settings: Settings, name: str | None) -> GroupClaim:
    return GroupClaim(
        settings.project_root,
        group.folder,
        container=new_container_name(group.folder) if name is None else name,
        moment=utc_now(),
    )


def _make_run(
    group: RegisteredGroup,
    container_input: ContainerInput,
    settings: Settings,
    runtime: ContainerRuntime,
    *,
    workspace: Workspace,
    claim: GroupClaim,
    streaming: bool,
) -> AgentRun:
    spec = make_spec(
        claim.container,
        workspace,
        settings=confined(settings, group.container_config),
        runtime=runtime,
        owner_label=this_process(),
    )
    assignment = Assignment(
        group=group,
        container_input=container_input,
        settings=settings,
        runtime=runtime,
        workspace=workspace,
        spec=spec,
        streaming=streaming,
    )
    owner = runtime.workspace_owner()
    mailbox = Mailbox(workspace.paths.ipc_dir, owner, using=claim.working)
    return AgentRun(assignment, mailbox, claim)


async def _make_workspace(
    group: RegisteredGroup,
    container_input: ContainerInput,
    settings: Settings,
    runtime: ContainerRuntime,
    claim: GroupClaim,
) -> Workspace:
    owner = runtime.workspace_owner()

    def claim_and_prepare() -> Workspace:
        claim.take()
        workspace = prepare_workspace(
            group,
            is_main=container_input.is_main,
            settings=settings,
            owner=owner,
            mounts_files=runtime.mounts_files,
        )
        # A `_close` that an earlier run left would end this one (Trap A22).
        with blamed_on(workspace.paths.ipc_dir):
            Mailbox(workspace.paths.ipc_dir, owner).sweep_close_sync()
        return workspace

    async with open_turn():
        workspace = await in_thread(claim_and_prepare)
    for warning in workspace.warnings:
        log.warning(warning, group=group.folder)
    return workspace
