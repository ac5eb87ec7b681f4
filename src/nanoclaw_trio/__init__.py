"""Runs AI agents in containers for chat bridges, on Trio.

Settings and what a run is about, the runtimes, the run itself, the engine for many groups, and the
errors by whose fault they are. What tests need is in :mod:`nanoclaw_trio.testing`.

The names are imported at their first use: `nanoclaw-trio --help` needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from nanoclaw_trio.engine.chat.bridge import Bridge, Notice, NoticeKind, Undeliverable
    from nanoclaw_trio.engine.chat.reception import Reception
    from nanoclaw_trio.engine.engine import Engine
    from nanoclaw_trio.engine.journal.events import JournalEntry
    from nanoclaw_trio.engine.journal.invariant_findings import Violation
    from nanoclaw_trio.engine.journal.invariants import check_journal
    from nanoclaw_trio.engine.journal.journal import read_journal
    from nanoclaw_trio.engine.metrics import prometheus_text
    from nanoclaw_trio.engine.open_engine import open_engine
    from nanoclaw_trio.engine.reaper import reap_orphans, reap_periodically
    from nanoclaw_trio.engine.statistics import (
        Counters,
        EngineStatistics,
        GroupStatistics,
        WaitSummary,
    )
    from nanoclaw_trio.engine.tasks.changes import (
        InvalidTask,
        TaskCompleted,
        TaskExists,
        UnknownTask,
    )
    from nanoclaw_trio.engine.tasks.engine_tasks import EngineTasks
    from nanoclaw_trio.engine.tasks.schedule import InvalidSchedule
    from nanoclaw_trio.errors import (
        BuildFailed,
        ConfigurationError,
        EngineClosed,
        EngineRunning,
        GroupBusy,
        GroupUnknown,
        HostError,
        ImageIncompatible,
        ImageMissing,
        ImageNotNeeded,
        InputError,
        InvalidContainerInput,
        InvalidContainerOutput,
        InvalidFile,
        InvalidGroupFolder,
        InvalidSetting,
        MailboxUnwritable,
        NanoclawError,
        ProjectNotFound,
        ProtocolError,
        ResultNotReady,
        RunClosing,
        RuntimeCommandFailed,
        RuntimeFailure,
        RuntimeUnavailable,
        StartFailed,
        UnsafePath,
        WorkspaceFailed,
    )
    from nanoclaw_trio.files import Owner
    from nanoclaw_trio.mailbox.snapshots import write_groups_snapshot, write_tasks_snapshot
    from nanoclaw_trio.mailbox.writer import Mailbox
    from nanoclaw_trio.protocol.models import (
        AdditionalMount,
        AllowedRoot,
        AvailableGroup,
        ContainerConfig,
        ContainerInput,
        ContainerOutput,
        ImageAttachment,
        MountAllowlist,
        RegisteredGroup,
        TaskSnapshot,
        VolumeMount,
    )
    from nanoclaw_trio.proxy.errors import ProxyUnusable
    from nanoclaw_trio.proxy.usage import ApiUsage
    from nanoclaw_trio.run.agent_run import AgentRun, RunStatistics
    from nanoclaw_trio.run.open_run import new_container_name, open_run, run_container_agent
    from nanoclaw_trio.run.outcome import Cause, RunResult
    from nanoclaw_trio.run.receipt import Gone, Receipt, Unconfirmed
    from nanoclaw_trio.runtimes.abc import (
        Container,
        ContainerRuntime,
        ContainerSpec,
        ContainerState,
        Phase,
    )
    from nanoclaw_trio.runtimes.build import BuiltImage, build_image
    from nanoclaw_trio.runtimes.build_progress import BuildProgress, BuildStep
    from nanoclaw_trio.runtimes.choose import UnknownRuntime, open_runtime
    from nanoclaw_trio.settings import GracePeriods, Settings, load_settings
    from nanoclaw_trio.store.database import StoreFailed
    from nanoclaw_trio.store.groups import GroupConflict, InvalidChatAddress
    from nanoclaw_trio.store.models import (
        Chat,
        ChatMessage,
        Delivery,
        DeliveryKind,
        Registration,
        Task,
        TaskRun,
        TaskRunStatus,
        TaskStatus,
    )

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022 - grouped by what a reader looks for
    # Settings and what a run is about
    "Settings",
    "GracePeriods",
    "load_settings",
    "RegisteredGroup",
    "ContainerConfig",
    "AdditionalMount",
    "MountAllowlist",
    "AllowedRoot",
    "VolumeMount",
    "ContainerInput",
    "ImageAttachment",
    "ContainerOutput",
    # A run
    "open_run",
    "run_container_agent",
    "new_container_name",
    "AgentRun",
    "RunResult",
    "RunStatistics",
    "Cause",
    "Receipt",
    "Gone",
    "Unconfirmed",
    # Many groups
    "open_engine",
    "Engine",
    "EngineTasks",
    "Bridge",
    "Undeliverable",
    "Notice",
    "NoticeKind",
    "Registration",
    "Chat",
    "ChatMessage",
    "Reception",
    "Delivery",
    "DeliveryKind",
    "Task",
    "TaskStatus",
    "TaskRun",
    "TaskRunStatus",
    "EngineStatistics",
    "GroupStatistics",
    "ApiUsage",
    "Counters",
    "WaitSummary",
    "prometheus_text",
    "read_journal",
    "check_journal",
    "JournalEntry",
    "Violation",
    # The mailbox
    "Mailbox",
    "write_tasks_snapshot",
    "write_groups_snapshot",
    "TaskSnapshot",
    "AvailableGroup",
    # Runtimes
    "open_runtime",
    "ContainerRuntime",
    "Container",
    "ContainerSpec",
    "Owner",
    "ContainerState",
    "Phase",
    "reap_orphans",
    "reap_periodically",
    # The agent's image
    "build_image",
    "BuiltImage",
    "BuildProgress",
    "BuildStep",
    # Errors, by whose fault they are
    "NanoclawError",
    "InputError",
    "InvalidGroupFolder",
    "InvalidContainerInput",
    "ProjectNotFound",
    "UnknownRuntime",
    "ImageNotNeeded",
    "GroupBusy",
    "RunClosing",
    "ResultNotReady",
    "EngineRunning",
    "EngineClosed",
    "GroupUnknown",
    "GroupConflict",
    "InvalidChatAddress",
    "InvalidSchedule",
    "InvalidTask",
    "UnknownTask",
    "TaskExists",
    "TaskCompleted",
    "ConfigurationError",
    "InvalidSetting",
    "InvalidFile",
    "ProxyUnusable",
    "ImageMissing",
    "ImageIncompatible",
    "BuildFailed",
    "RuntimeFailure",
    "RuntimeUnavailable",
    "StartFailed",
    "RuntimeCommandFailed",
    "ProtocolError",
    "InvalidContainerOutput",
    "HostError",
    "StoreFailed",
    "UnsafePath",
    "MailboxUnwritable",
    "WorkspaceFailed",
]

_HOMES: Final = {
    "Bridge": "nanoclaw_trio.engine.chat.bridge",
    "Notice": "nanoclaw_trio.engine.chat.bridge",
    "NoticeKind": "nanoclaw_trio.engine.chat.bridge",
    "Undeliverable": "nanoclaw_trio.engine.chat.bridge",
    "Reception": "nanoclaw_trio.engine.chat.reception",
    "Engine": "nanoclaw_trio.engine.engine",
    "JournalEntry": "nanoclaw_trio.engine.journal.events",
    "Violation": "nanoclaw_trio.engine.journal.invariant_findings",
    "check_journal": "nanoclaw_trio.engine.journal.invariants",
    "read_journal": "nanoclaw_trio.engine.journal.journal",
    "prometheus_text": "nanoclaw_trio.engine.metrics",
    "open_engine": "nanoclaw_trio.engine.open_engine",
    "reap_orphans": "nanoclaw_trio.engine.reaper",
    "reap_periodically": "nanoclaw_trio.engine.reaper",
    "Counters": "nanoclaw_trio.engine.statistics",
    "EngineStatistics": "nanoclaw_trio.engine.statistics",
    "GroupStatistics": "nanoclaw_trio.engine.statistics",
    "WaitSummary": "nanoclaw_trio.engine.statistics",
    "InvalidTask": "nanoclaw_trio.engine.tasks.changes",
    "TaskCompleted": "nanoclaw_trio.engine.tasks.changes",
    "TaskExists": "nanoclaw_trio.engine.tasks.changes",
    "UnknownTask": "nanoclaw_trio.engine.tasks.changes",
    "EngineTasks": "nanoclaw_trio.engine.tasks.engine_tasks",
    "InvalidSchedule": "nanoclaw_trio.engine.tasks.schedule",
    "BuildFailed": "nanoclaw_trio.errors",
    "ConfigurationError": "nanoclaw_trio.errors",
    "EngineClosed": "nanoclaw_trio.errors",
    "EngineRunning": "nanoclaw_trio.errors",
    "GroupBusy": "nanoclaw_trio.errors",
    "GroupUnknown": "nanoclaw_trio.errors",
    "HostError": "nanoclaw_trio.errors",
    "ImageIncompatible": "nanoclaw_trio.errors",
    "ImageMissing": "nanoclaw_trio.errors",
    "ImageNotNeeded": "nanoclaw_trio.errors",
    "InputError": "nanoclaw_trio.errors",
    "InvalidContainerInput": "nanoclaw_trio.errors",
    "InvalidContainerOutput": "nanoclaw_trio.errors",
    "InvalidFile": "nanoclaw_trio.errors",
    "InvalidGroupFolder": "nanoclaw_trio.errors",
    "InvalidSetting": "nanoclaw_trio.errors",
    "MailboxUnwritable": "nanoclaw_trio.errors",
    "NanoclawError": "nanoclaw_trio.errors",
    "ProjectNotFound": "nanoclaw_trio.errors",
    "ProtocolError": "nanoclaw_trio.errors",
    "ResultNotReady": "nanoclaw_trio.errors",
    "RunClosing": "nanoclaw_trio.errors",
    "RuntimeCommandFailed": "nanoclaw_trio.errors",
    "RuntimeFailure": "nanoclaw_trio.errors",
    "RuntimeUnavailable": "nanoclaw_trio.errors",
    "StartFailed": "nanoclaw_trio.errors",
    "UnsafePath": "nanoclaw_trio.errors",
    "WorkspaceFailed": "nanoclaw_trio.errors",
    "Owner": "nanoclaw_trio.files",
    "write_groups_snapshot": "nanoclaw_trio.mailbox.snapshots",
    "write_tasks_snapshot": "nanoclaw_trio.mailbox.snapshots",
    "Mailbox": "nanoclaw_trio.mailbox.writer",
    "AdditionalMount": "nanoclaw_trio.protocol.models",
    "AllowedRoot": "nanoclaw_trio.protocol.models",
    "AvailableGroup": "nanoclaw_trio.protocol.models",
    "ContainerConfig": "nanoclaw_trio.protocol.models",
    "ContainerInput": "nanoclaw_trio.protocol.models",
    "ContainerOutput": "nanoclaw_trio.protocol.models",
    "ImageAttachment": "nanoclaw_trio.protocol.models",
    "MountAllowlist": "nanoclaw_trio.protocol.models",
    "RegisteredGroup": "nanoclaw_trio.protocol.models",
    "TaskSnapshot": "nanoclaw_trio.protocol.models",
    "VolumeMount": "nanoclaw_trio.protocol.models",
    "ProxyUnusable": "nanoclaw_trio.proxy.errors",
    "ApiUsage": "nanoclaw_trio.proxy.usage",
    "AgentRun": "nanoclaw_trio.run.agent_run",
    "RunStatistics": "nanoclaw_trio.run.agent_run",
    "new_container_name": "nanoclaw_trio.run.open_run",
    "open_run": "nanoclaw_trio.run.open_run",
    "run_container_agent": "nanoclaw_trio.run.open_run",
    "Cause": "nanoclaw_trio.run.outcome",
    "RunResult": "nanoclaw_trio.run.outcome",
    "Gone": "nanoclaw_trio.run.receipt",
    "Receipt": "nanoclaw_trio.run.receipt",
    "Unconfirmed": "nanoclaw_trio.run.receipt",
    "Container": "nanoclaw_trio.runtimes.abc",
    "ContainerRuntime": "nanoclaw_trio.runtimes.abc",
    "ContainerSpec": "nanoclaw_trio.runtimes.abc",
    "ContainerState": "nanoclaw_trio.runtimes.abc",
    "Phase": "nanoclaw_trio.runtimes.abc",
    "BuiltImage": "nanoclaw_trio.runtimes.build",
    "build_image": "nanoclaw_trio.runtimes.build",
    "BuildProgress": "nanoclaw_trio.runtimes.build_progress",
    "BuildStep": "nanoclaw_trio.runtimes.build_progress",
    "UnknownRuntime": "nanoclaw_trio.runtimes.choose",
    "open_runtime": "nanoclaw_trio.runtimes.choose",
    "GracePeriods": "nanoclaw_trio.settings",
    "Settings": "nanoclaw_trio.settings",
    "load_settings": "nanoclaw_trio.settings",
    "StoreFailed": "nanoclaw_trio.store.database",
    "GroupConflict": "nanoclaw_trio.store.groups",
    "InvalidChatAddress": "nanoclaw_trio.store.groups",
    "Chat": "nanoclaw_trio.store.models",
    "ChatMessage": "nanoclaw_trio.store.models",
    "Delivery": "nanoclaw_trio.store.models",
    "DeliveryKind": "nanoclaw_trio.store.models",
    "Registration": "nanoclaw_trio.store.models",
    "Task": "nanoclaw_trio.store.models",
    "TaskRun": "nanoclaw_trio.store.models",
    "TaskRunStatus": "nanoclaw_trio.store.models",
    "TaskStatus": "nanoclaw_trio.store.models",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
