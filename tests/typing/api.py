"""The whole public API, as a bridge's author uses it. Checked by mypy and pyright, and never run.

A change that makes a call in here an error breaks somebody's bridge. Where a type is part of the
promise, a name is annotated with it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, assert_never, assert_type

import trio

import nanoclaw_trio
from nanoclaw_trio import (
    AdditionalMount,
    AgentRun,
    AllowedRoot,
    ApiUsage,
    AvailableGroup,
    Bridge,
    BuildFailed,
    BuildProgress,
    BuildStep,
    BuiltImage,
    Cause,
    Chat,
    ChatMessage,
    ConfigurationError,
    Container,
    ContainerConfig,
    ContainerInput,
    ContainerOutput,
    ContainerRuntime,
    ContainerSpec,
    ContainerState,
    Counters,
    Delivery,
    DeliveryKind,
    Engine,
    EngineClosed,
    EngineRunning,
    EngineStatistics,
    EngineTasks,
    Gone,
    GracePeriods,
    GroupBusy,
    GroupConflict,
    GroupStatistics,
    GroupUnknown,
    HostError,
    ImageAttachment,
    ImageIncompatible,
    ImageMissing,
    ImageNotNeeded,
    InputError,
    InvalidChatAddress,
    InvalidContainerInput,
    InvalidContainerOutput,
    InvalidFile,
    InvalidGroupFolder,
    InvalidSchedule,
    InvalidSetting,
    InvalidTask,
    JournalEntry,
    Mailbox,
    MailboxUnwritable,
    MountAllowlist,
    NanoclawError,
    Notice,
    NoticeKind,
    Owner,
    Phase,
    ProjectNotFound,
    ProtocolError,
    ProxyUnusable,
    Receipt,
    Reception,
    RegisteredGroup,
    Registration,
    ResultNotReady,
    RunClosing,
    RunResult,
    RunStatistics,
    RuntimeCommandFailed,
    RuntimeFailure,
    RuntimeUnavailable,
    Settings,
    StartFailed,
    StoreFailed,
    Task,
    TaskCompleted,
    TaskExists,
    TaskRun,
    TaskRunStatus,
    TaskSnapshot,
    TaskStatus,
    Unconfirmed,
    Undeliverable,
    UnknownRuntime,
    UnknownTask,
    UnsafePath,
    Violation,
    VolumeMount,
    WaitSummary,
    WorkspaceFailed,
    build_image,
    check_journal,
    load_settings,
    new_container_name,
    open_engine,
    open_run,
    open_runtime,
    prometheus_text,
    read_journal,
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
    FollowUpFile,
    VirtualClock,
    echo_agent,
    open_fake_runtime,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
    redacted: str = run.redact("what the agent may have written")
    del redacted
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


async def ask_under_a_name_of_ones_own(
    settings: Settings, runtime: ContainerRuntime
) -> Receipt | None:
    """A run whose container's name is known before it starts."""
    name: str = new_container_name(FAMILY.folder)
    async with open_run(FAMILY, QUESTION, settings=settings, runtime=runtime, name=name) as run:
        await run.close()
    return run.receipt


class Chats(Bridge):
    """A bridge: one method is a must."""

    async def deliver(self, delivery: Delivery) -> None:
        """Say something in a chat."""
        await trio.lowlevel.checkpoint()
        facts: tuple[str, str, str, str | None, str | None, datetime] = (
            delivery.id,
            delivery.group_folder,
            delivery.text,
            delivery.sender,
            delivery.task_id,
            delivery.created_at,
        )
        answered: tuple[str, ...] = delivery.in_reply_to
        if delivery.chat_jid == "gone@chat":
            raise Undeliverable("the chat is gone")
        match delivery.kind:
            case DeliveryKind.ANSWER | DeliveryKind.MESSAGE:
                del facts, answered
            case DeliveryKind.FAILURE:
                messages: tuple[ChatMessage, ...] = delivery.messages
                del messages
            case kind:
                assert_never(kind)


class MoreChats(Chats):
    """A bridge that does all that a bridge may."""

    async def set_typing(self, chat_jid: str, *, is_typing: bool) -> None:
        """Show that the assistant is at work."""
        await trio.lowlevel.checkpoint()
        del chat_jid, is_typing

    async def notice(self, notice: Notice) -> None:
        """Tell the operator."""
        await trio.lowlevel.checkpoint()
        match notice.kind:
            case NoticeKind.RUNTIME_DOWN | NoticeKind.RUNTIME_BACK:
                text: str = notice.text
                del text
            case kind:
                assert_never(kind)

    async def list_chats(self) -> Sequence[Chat]:
        """The chats that could be registered."""
        await trio.lowlevel.checkpoint()
        return [Chat(jid="b@chat", name="B"), Chat(jid="c@chat", name="C", last_activity=NOW)]

    async def group_registered(self, registration: Registration) -> None:
        """An agent has registered a chat."""
        await trio.lowlevel.checkpoint()
        facts: tuple[str, str, bool] = (
            registration.jid,
            registration.folder,
            registration.is_main,
        )
        del facts


NOW = datetime.now(UTC)

HELLO = ChatMessage(
    chat_jid="family@chat",
    id="1",
    sender="ada@chat",
    sender_name="Ada",
    text="@Andy hello",
    timestamp=NOW,
)


async def serve(settings: Settings, runtime: ContainerRuntime) -> None:
    """Many groups."""
    async with open_engine(settings, runtime=runtime, bridge=MoreChats()) as engine:
        assert_type(engine, Engine)
        await engine.register_group(Registration(jid="family@chat", group=FAMILY))
        await hand_in(engine)
        engine.set_limit(2)
        await engine.note_chat(Chat(jid="d@chat", name="D"))
        await engine.close_group(FAMILY.folder)
        assert_type(await engine.groups(), tuple[Registration, ...])
        assert_type(await engine.unregister_group(FAMILY.folder), bool)
        await keep_tasks(engine.tasks)
        observe(await engine.refresh_statistics())
        observe(engine.statistics())
        engine.hurry()
        await engine.drain()
    async with open_engine(
        settings,
        runtime=runtime,
        bridge=Chats(),
        drain_timeout=5.0,
        sweep_interval=1.0,
        reap_interval=60.0,
    ):
        await trio.sleep_forever()


async def hand_in(engine: Engine) -> str:
    """Messages and prompts, and what becomes of them."""
    try:
        reception = await engine.send_message(HELLO)
        prompt: str = await engine.submit(FAMILY, QUESTION)
        prompt = await engine.submit(FAMILY.folder, QUESTION)
        engine.submit_nowait(FAMILY, QUESTION)
    except EngineClosed:
        return "later"
    match reception:
        case Reception.ACCEPTED | Reception.CONTEXT | Reception.DUPLICATE:
            return prompt
        case Reception.DROPPED | Reception.UNREGISTERED:
            return "not for us"
        case _:
            assert_never(reception)


async def keep_tasks(tasks: EngineTasks) -> None:
    """Scheduled tasks."""
    try:
        task: Task = await tasks.schedule(
            FAMILY.folder,
            "What's the weather?",
            schedule_type="cron",
            schedule_value="0 7 * * *",
            context_mode="group",
        )
    except InvalidSchedule as error:
        raise SystemExit(error.problem) from error
    assert_type(task.next_run, datetime | None)
    assert_type(await tasks.list(), tuple[Task, ...])
    assert_type(await tasks.list(FAMILY.folder), tuple[Task, ...])
    task = await tasks.pause(task.id)
    task = await tasks.resume(task.id)
    active: bool = task.status is TaskStatus.ACTIVE
    runs: tuple[TaskRun, ...] = await tasks.runs(task.id, limit=5)
    failed = [run.detail for run in runs if run.status is TaskRunStatus.ERROR]
    assert_type(failed, list[str | None])
    task = await tasks.cancel(task.id)
    del active


def observe(statistics: EngineStatistics) -> str:
    """Numbers, and the same for Prometheus."""
    groups: tuple[GroupStatistics, ...] = statistics.groups
    counters: Counters = statistics.counters
    waits: WaitSummary = statistics.waits
    assert_type([group.api for group in groups], list[ApiUsage | None])
    facts: tuple[float, int, int, int, bool, int] = (
        statistics.time,
        statistics.limit,
        statistics.running,
        statistics.waiting,
        statistics.accepting,
        statistics.pending_deliveries,
    )
    state: Literal["up", "down", "probing"] = statistics.runtime_state
    numbers: tuple[int, float] = (counters.answers + waits.count, waits.sum)
    states = {group.folder: (group.state, group.deadline, group.retry_at) for group in groups}
    del facts, state, numbers, states
    return prometheus_text(statistics)


def examine(journal: Path) -> list[str]:
    """Whether all that was promised was kept."""
    entries: list[JournalEntry] = list(read_journal(journal))
    names: list[str] = [entry.event for entry in entries]
    del names
    violations: tuple[Violation, ...] = check_journal(entries)
    return [f"{violation.place}: {violation.what}" for violation in violations]


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


def tell_more_of_the_engine(error: NanoclawError) -> object:
    """The same for the errors of an engine."""
    match error:
        case EngineRunning(project=project, pid=pid, host=host, since=since):
            return project, pid, host, since
        case GroupUnknown(folder=fact) | GroupConflict(folder=fact):
            return fact
        case UnknownTask(task_id=fact) | TaskExists(task_id=fact) | TaskCompleted(task_id=fact):
            return fact
        case StoreFailed(path=path, why=why):
            return path.name, why
        case InvalidChatAddress() | InvalidTask() | ProxyUnusable():
            return error.args
        case _:
            return tell_more(error)


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


async def own_agent(container: FakeContainer) -> None:
    """An agent of a test's own."""
    request = await container.read_input()
    output = ContainerOutput(status="success", result=request["prompt"], follow_ups=())
    await container.write_output(output)
    taken: FollowUpFile | None = await container.take_follow_up(poll=1.0, longest_poll=60.0)
    del taken
