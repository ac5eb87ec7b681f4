"""The whole public API, as a bridge's author uses it. Checked by mypy and pyright, and never run.

A change that makes a call in here an error breaks somebody's bridge. Where a type is part of the
promise, a name is annotated with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, assert_never, assert_type

import trio

import nanoclaw_trio
from nanoclaw_trio import (
    AdditionalMount,
    AgentRun,
    AllowedRoot,
    AvailableGroup,
    BuildFailed,
    BuildProgress,
    BuildStep,
    BuiltImage,
    Cause,
    ConfigurationError,
    Container,
    ContainerConfig,
    ContainerInput,
    ContainerOutput,
    ContainerRuntime,
    ContainerSpec,
    ContainerState,
    Gone,
    GracePeriods,
    GroupBusy,
    HostError,
    ImageAttachment,
    ImageIncompatible,
    ImageMissing,
    ImageNotNeeded,
    InputError,
    InvalidContainerInput,
    InvalidContainerOutput,
    InvalidFile,
    InvalidGroupFolder,
    InvalidSetting,
    Mailbox,
    MailboxUnwritable,
    MountAllowlist,
    NanoclawError,
    Owner,
    Phase,
    ProjectNotFound,
    ProtocolError,
    Receipt,
    RegisteredGroup,
    ResultNotReady,
    RunClosing,
    RunResult,
    RunStatistics,
    RuntimeCommandFailed,
    RuntimeFailure,
    RuntimeUnavailable,
    Settings,
    StartFailed,
    TaskSnapshot,
    Unconfirmed,
    UnknownRuntime,
    UnsafePath,
    VolumeMount,
    WorkspaceFailed,
    build_image,
    load_settings,
    open_run,
    open_runtime,
    reap_orphans,
    reap_periodically,
    run_container_agent,
    write_groups_snapshot,
    write_tasks_snapshot,
)
from nanoclaw_trio.testing import (
    AgentScript,
    FakeContainer,
    FakeRuntime,
    VirtualClock,
    echo_agent,
    open_fake_runtime,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VERSION: str = nanoclaw_trio.__version__

FAMILY = RegisteredGroup(
    name="Family",
    folder="family",
    trigger="@Andy",
    added_at="2026-01-01T00:00:00.000Z",
    requires_trigger=True,
    container_config=ContainerConfig(
        additional_mounts=(
            AdditionalMount(host_path="~/photos"),
            AdditionalMount(host_path="~/notes", container_path="notes", readonly=False),
        ),
        timeout=600_000,
    ),
)

QUESTION = ContainerInput(
    prompt="Hello",
    group_folder=FAMILY.folder,
    chat_jid="family@chat",
    is_main=False,
    session_id=None,
    is_scheduled_task=False,
    assistant_name="Andy",
    image_attachments=(ImageAttachment(relative_path="cat.jpg", media_type="image/jpeg"),),
)

ALLOWLIST = MountAllowlist(
    allowed_roots=(AllowedRoot(path="~/photos", allow_read_write=False, description="pictures"),),
    blocked_patterns=("private",),
    non_main_read_only=True,
)


async def prepare(project: Path | str) -> tuple[Settings, ContainerRuntime]:
    """Settings from a project, changed in places, and a runtime."""
    settings: Settings = await load_settings(project)
    settings = Settings.load(project)
    settings = Settings.load(project, {"TZ": "Europe/Berlin"})
    settings = settings.with_values(grace=GracePeriods(stop=2.0), idle_timeout=None, agent="echo")
    seconds: float = settings.timeout_for(None)
    memory: int | None = settings.memory
    del seconds, memory
    try:
        runtime: ContainerRuntime = await open_runtime("auto", settings)
    except UnknownRuntime as error:
        raise SystemExit(error.name) from error
    owner: Owner | None = runtime.workspace_owner()
    del owner
    said: str = await runtime.check()
    await runtime.require_image(settings.container_image)
    del said
    return settings, runtime


async def provide_an_image(settings: Settings, runtime: ContainerRuntime) -> str | None:
    """The agent's image, built where it isn't there, with each line of the build."""

    def report(progress: BuildProgress) -> None:
        step: BuildStep | None = progress.step
        if step is not None and progress.is_news:
            facts: tuple[int, int, str] = (step.number, step.total, step.instruction)
            del facts
        line: str = progress.line
        del line

    try:
        built = await build_image(settings, runtime=runtime)
        built = await build_image(
            settings,
            runtime=runtime,
            image="agent:1",
            base_image="debian:12",
            force=True,
            use_cache=False,
            on_progress=report,
        )
        await runtime.require_image(built.image)
    except ImageNotNeeded as error:
        return error.runtime
    except ImageIncompatible as error:
        return f"{error.version} is not {error.ours}"
    except BuildFailed as error:
        tail: tuple[str, ...] = error.tail
        return "\n".join((error.image, error.why, *tail))
    assert_type(built, BuiltImage)
    facts: tuple[str, int | None, float, bool] = (
        built.image,
        built.size,
        built.duration,
        built.built,
    )
    del facts
    return built.id


async def ask_with_a_stream(settings: Settings, runtime: ContainerRuntime) -> RunResult:
    """A run as a stream of outputs."""
    async with open_run(
        FAMILY, QUESTION, settings=settings, runtime=runtime, on_process=note, streaming=True
    ) as run:
        assert_type(run, AgentRun)
        async for output in run:
            assert_type(output, ContainerOutput)
            show(output)
            if output.is_session_update:
                await follow_up(run)
        picture(run.statistics())
        container: Container | None = run.container
        receipt: Receipt | None = run.receipt
        del container, receipt
    return run.result


async def follow_up(run: AgentRun) -> None:
    """What may be done with a run under way."""
    try:
        name: str = await run.send_message("And tomorrow?")
        del name
    except RunClosing as error:
        container: str = error.container
        del container
    except MailboxUnwritable as unwritable:
        why: str = unwritable.why
        del why
    await run.close()
    run.hurry()


async def ask_with_a_callback(settings: Settings, runtime: ContainerRuntime) -> RunResult:
    """A run with callbacks, and one without."""

    async def on_output(output: ContainerOutput) -> None:
        await trio.lowlevel.checkpoint()
        show(output)

    whole = await run_container_agent(FAMILY, QUESTION, settings=settings, runtime=runtime)
    answer: str | None = whole.result
    del answer
    return await run_container_agent(
        FAMILY,
        QUESTION,
        settings=settings,
        runtime=runtime,
        on_process=note,
        on_output=on_output,
    )


def note(container: Container, name: str) -> None:
    """Called with the started container and its name."""
    assert_type(container.stdin, trio.abc.SendStream)
    assert_type(container.stdout, trio.abc.ReceiveStream)
    assert_type(container.stderr, trio.abc.ReceiveStream)
    assert_type(container.name, str)
    assert_type(container.pid, int | None)
    del name


def show(output: ContainerOutput) -> None:
    """What an output says."""
    status: Literal["success", "error"] = output.status
    result: str | None = output.result
    session: str | None = output.new_session_id
    error: str | None = output.error
    del status, result, session, error


def picture(statistics: RunStatistics) -> tuple[int, int, float, bool, bool]:
    """What a run looks like at a moment."""
    return (
        statistics.outputs,
        statistics.rejected_frames,
        statistics.deadline,
        statistics.closing,
        statistics.finished,
    )


def judge(result: RunResult) -> str:
    """One outcome: its cause, its evidence, its receipt."""
    duration: float = result.duration
    exit_code: int | None = result.exit_code
    log_path: Path | None = result.log_path
    undelivered: tuple[str, ...] = result.undelivered
    rejected: int = result.rejected_frames
    session: str | None = result.new_session_id
    gone: bool = result.gone
    del duration, exit_code, log_path, undelivered, rejected, session, gone
    match result.cause:
        case Cause.COMPLETED | Cause.IDLE_CLOSED | Cause.NO_OUTPUT:
            return "at rest"
        case Cause.TIMED_OUT | Cause.OUT_OF_MEMORY | Cause.KILLED_FROM_OUTSIDE:
            return "cut off"
        case Cause.AGENT_FAILED | Cause.UNPARSABLE_OUTPUT:
            return "the agent"
        case Cause.IMAGE_MISSING | Cause.RUNTIME_UNAVAILABLE | Cause.SPAWN_FAILED:
            return "the runtime"
        case cause:
            assert_never(cause)


def read(receipt: Receipt) -> str:
    """What is known of a container after its end."""
    match receipt:
        case Gone(container=container, evidence=evidence, steps=steps):
            return f"{container}: {evidence} {steps}"
        case Unconfirmed(container=container, why=why, steps=steps):
            return f"{container}: {why} {steps}"
        case _:
            assert_never(receipt)


async def write_mailbox(settings: Settings, ipc_dir: Path) -> None:
    """What the host writes for a group's agent."""
    mailbox = Mailbox(ipc_dir)
    assert_type(await mailbox.send_message("Hello"), str)
    await mailbox.close()
    await mailbox.sweep_close()
    assert_type(await mailbox.sweep(), tuple[str, ...])
    assert_type(await mailbox.pending(), int)
    task = TaskSnapshot(
        id="1",
        group_folder=FAMILY.folder,
        prompt="Weather",
        schedule_type="cron",
        schedule_value="0 7 * * *",
        status="active",
        next_run=None,
    )
    chat = AvailableGroup(jid="a@chat", name="A", last_activity="", is_registered=False)
    await write_tasks_snapshot(FAMILY.folder, is_main=True, tasks=[task], settings=settings)
    await write_groups_snapshot(FAMILY.folder, is_main=True, groups=[chat], settings=settings)


async def reap(runtime: ContainerRuntime, settings: Settings) -> None:
    """What a crashed host left behind."""
    receipts: tuple[Receipt, ...] = await reap_orphans(runtime, settings=settings)
    del receipts
    await reap_periodically(runtime, settings=settings, interval=60.0)


class OwnRuntime(ContainerRuntime):
    """A runtime of the bridge's own."""

    name = "own"

    async def check(self) -> str:
        """Whether it works here."""
        await trio.lowlevel.checkpoint()
        raise RuntimeUnavailable(self.name, "it is only typed", "use another")

    async def require_image(self, image: str) -> None:
        """Whether an image is there."""
        await trio.lowlevel.checkpoint()
        raise ImageMissing(image, self.name, "build it")

    async def start(self, spec: ContainerSpec) -> Container:
        """Start a container."""
        await trio.lowlevel.checkpoint()
        mounts: tuple[VolumeMount, ...] = spec.mounts
        labels: Mapping[str, str] = spec.labels
        raise StartFailed(spec.name, f"{mounts} {labels} {spec.memory} {spec.cpus}")

    async def stop(self, name: str, grace: float) -> bool:
        """Politely."""
        await trio.sleep(grace)
        return bool(name)

    async def kill(self, name: str) -> bool:
        """By force."""
        await trio.lowlevel.checkpoint()
        raise RuntimeCommandFailed(f"kill {name}", "is only typed")

    async def remove(self, name: str) -> bool:
        """What is left of it."""
        await trio.lowlevel.checkpoint()
        return bool(name)

    async def inspect(self, name: str) -> ContainerState | None:
        """What became of it."""
        await trio.lowlevel.checkpoint()
        return ContainerState(name=name, phase=Phase.RUNNING)

    async def list(self, labels: Mapping[str, str]) -> tuple[ContainerState, ...]:
        """Those with these labels."""
        await trio.lowlevel.checkpoint()
        return (ContainerState(name="a", phase=Phase.EXITED, labels=labels),)


def blame(error: NanoclawError) -> str:
    """Every error belongs to one of five families."""
    match error:
        case InputError():
            return "the caller"
        case ConfigurationError():
            return "the operator"
        case RuntimeFailure():
            return "the engine"
        case ProtocolError():
            return "the agent"
        case HostError():
            return "the host"
        case _:
            raise error


def whose_run(busy: GroupBusy) -> str:
    """Who has the group, as far as it is known."""
    facts: tuple[int | None, str | None, str | None] = (busy.pid, busy.container, busy.since)
    return f"{busy.folder}: {facts}"


def tell_more(error: NanoclawError) -> object:
    """The facts that an error has besides its text."""
    match error:
        case InvalidGroupFolder(folder=fact) | InvalidContainerInput(problem=fact):
            return fact
        case ResultNotReady(container=fact) | StartFailed(container=fact):
            return fact
        case ProjectNotFound(path=path) | InvalidFile(path=path):
            return path.name
        case InvalidSetting(variable=variable, source=source):
            return variable, source
        case InvalidContainerOutput() | WorkspaceFailed() | UnsafePath():
            return error.args
        case _:
            return None


async def try_a_bridge(clock: VirtualClock) -> None:
    """What tests of a bridge use."""
    script: AgentScript = echo_agent
    async with open_fake_runtime(script) as runtime:
        assert_type(runtime, FakeRuntime)
        runtime.before["stop"] = trio.sleep_forever
        clock.jump(60)
        living: dict[str, FakeContainer] = runtime.containers
        asked: list[ContainerSpec] = runtime.started
        del living, asked
