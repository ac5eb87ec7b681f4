"""The run log: groups/FOLDER/logs/container-TIMESTAMP.log (wire-formats 11).

It lies where the agent can read and write. So it is redacted and capped, its directory is opened
without following a link, and old logs go by count, bytes and age (Trap A12). A log that can't be
written changes nothing about the run (Trap A11).
"""

from __future__ import annotations

import stat
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.clock import iso_timestamp
from nanoclaw_trio.files import Directory, open_directory
from nanoclaw_trio.protocol.convert import describe_input
from nanoclaw_trio.run.receipt import Gone

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from nanoclaw_trio.files import Identity
    from nanoclaw_trio.protocol.models import ContainerInput, VolumeMount
    from nanoclaw_trio.run.capture import Capture
    from nanoclaw_trio.run.outcome import Cause
    from nanoclaw_trio.run.receipt import Receipt
    from nanoclaw_trio.workspace.folders import GroupPaths
    from nanoclaw_trio.workspace.secrets import Secrets

VERBOSE_LEVELS: Final = frozenset({"trace", "debug"})
"""At these log levels every run's log has its streams, not only a failed one's."""

CENTURY: Final = 36525
"""Days; no run log is older."""

KNOWN: Final = 64
"""Groups of which the sizes of the logs are kept in mind."""


@frozen(kw_only=True)
class RunRecord:
    """What a run log is written from; `command` is only needed where it has all of it."""

    ended_at: datetime
    group_name: str
    container: str
    container_input: ContainerInput
    command: str
    mounts: tuple[VolumeMount, ...]
    duration: float
    exit_code: int | None
    cause: Cause | None
    error: str | None
    had_output: bool
    timed_out: bool
    receipt: Receipt
    stdout: Capture
    stderr: Capture


@frozen(kw_only=True)
class Retention:
    """How many run logs of a group are kept, how many bytes of them, and for how many days.

    The newest always is.
    """

    files: int
    bytes: int
    days: int


def has_streams(cause: Cause | None, error: str | None, *, verbose: bool) -> bool:
    """Whether a run's log has all of it: its input, its command and its streams."""
    return verbose or cause is None or error is not None


def render(record: RunRecord, *, secrets: Secrets, verbose: bool) -> str:
    """The text of a run log, redacted. `cause` None stands for a cancelled run."""
    is_full = has_streams(record.cause, record.error, verbose=verbose)
    body = _full(record, secrets) if is_full else _summary(record)
    return secrets.redact("\n".join([*_header(record), "", *body, *_end(record), ""]))


def _header(record: RunRecord) -> list[str]:
    timestamp = f"Timestamp: {iso_timestamp(record.ended_at)}"
    duration = f"Duration: {record.duration * 1000:.0f}ms"
    if record.timed_out:
        return [
            "=== Container Run Log (TIMEOUT) ===",
            timestamp,
            f"Group: {record.group_name}",
            f"Container: {record.container}",
            duration,
            f"Exit Code: {record.exit_code}",
            f"Had Streaming Output: {_yes(record.had_output)}",
        ]
    return [
        "=== Container Run Log ===",
        timestamp,
        f"Group: {record.group_name}",
        f"IsMain: {_yes(record.container_input.is_main)}",
        duration,
        f"Exit Code: {record.exit_code}",
        f"Stdout Truncated: {_yes(record.stdout.truncated)}",
        f"Stderr Truncated: {_yes(record.stderr.truncated)}",
    ]


def _full(record: RunRecord, secrets: Secrets) -> list[str]:
    mounts = [f"{m.host_path} -> {m.container_path}{_mode(m)}" for m in record.mounts]
    return [
        *("=== Input ===", describe_input(record.container_input), ""),
        *("=== Container Args ===", record.command, ""),
        *("=== Mounts ===", *mounts, ""),
        *(f"=== Stderr{_truncated(record.stderr)} ===", record.stderr.text(secrets), ""),
        *(f"=== Stdout{_truncated(record.stdout)} ===", record.stdout.text(secrets), ""),
    ]


def _summary(record: RunRecord) -> list[str]:
    mounts = [f"{m.container_path}{_mode(m)}" for m in record.mounts]
    return [
        "=== Input Summary ===",
        f"Prompt length: {len(record.container_input.prompt)} chars",
        f"Session ID: {record.container_input.session_id or 'new'}",
        "",
        *("=== Mounts ===", *mounts, ""),
    ]


def _end(record: RunRecord) -> list[str]:
    gone = record.receipt.evidence if isinstance(record.receipt, Gone) else record.receipt.why
    return [
        "=== End ===",
        f"Container: {record.container}",
        f"Cause: {record.cause or 'cancelled'}",
        *([f"Error: {record.error}"] if record.error else []),
        f"{type(record.receipt).__name__}: {gone}",
        *(f"Step: {step}" for step in record.receipt.steps),
    ]


def _yes(value: bool) -> str:  # noqa: FBT001 - it formats one
    return "true" if value else "false"


def _mode(mount: VolumeMount) -> str:
    return " (ro)" if mount.readonly else ""


def _truncated(capture: Capture) -> str:
    return " (TRUNCATED)" if capture.truncated else ""


def write_run_log(
    paths: GroupPaths, record: RunRecord, *, secrets: Secrets, verbose: bool, keep: Retention
) -> Path:
    """Write a run's log and remove the oldest beyond what is kept. Runs in a thread.

    OSError or UnsafePath if the disk, or the agent, stands in the way.
    """
    content = render(record, secrets=secrets, verbose=verbose).encode(errors="replace")
    with (
        open_directory(paths.group_dir) as group,
        group.child("logs", create=True) as logs,
    ):
        name = _free_name(logs, record.ended_at)
        logs.write(name, content, mode=0o600)
        _rotate(logs, keep, newest=name, expiry=_expiry(record.ended_at, keep))
    return paths.logs_dir / name


def log_name(moment: datetime) -> str:
    """container-TIMESTAMP.log, TIMESTAMP being the ISO time with ':' and '.' replaced by '-'."""
    return f"container-{iso_timestamp(moment).replace(':', '-').replace('.', '-')}.log"


def _expiry(moment: datetime, keep: Retention) -> str:
    # The names sort by their times. Before the year 1 there are none.
    return log_name(moment - timedelta(days=min(keep.days, CENTURY)))


def _free_name(logs: Directory, moment: datetime) -> str:
    while logs.kind(name := log_name(moment)) is not None:
        moment += timedelta(milliseconds=1)
    return name


def surplus(sizes: list[int], keep: Retention) -> int:
    """How many of the oldest files are too many, of these sizes in the order of their age."""
    total = sum(sizes)
    for index, size in enumerate(sizes[:-1]):
        if len(sizes) - index <= keep.files and total <= keep.bytes:
            return index
        total -= size
    return max(0, len(sizes) - 1)


def _rotate(logs: Directory, keep: Retention, *, newest: str, expiry: str) -> None:
    sizes = _sizes(logs, newest)
    expired = sum(name < expiry for name in sizes if name != newest)
    # Not by its name: a clock that was set back, or an agent, may have left names that are later.
    sizes[newest] = sizes.pop(newest, 0)
    for name in list(sizes)[: max(expired, surplus(list(sizes.values()), keep))]:
        # The log itself is written, whatever becomes of the others.
        with suppress(OSError):
            logs.remove_file(name)


def _sizes(logs: Directory, newest: str) -> dict[str, int]:
    """Bytes of each log, the oldest first. One that goes away meanwhile isn't there.

    A log is looked at once and not at each run: an agent that makes one larger afterwards fills a
    folder of its own, which it can anyway.
    """
    known = _known_sizes(logs.base, logs.identity())
    known.pop(newest, None)
    names = [name for name in logs.names_within() if name in known or _is_log_name(name)]
    found = {name: known[name] if name in known else _size(logs, name) for name in names}
    sizes = {name: size for name, size in found.items() if size is not None}
    known.clear()
    known |= sizes
    return sizes


@lru_cache(maxsize=KNOWN)
def _known_sizes(_place: Path, _logs: Identity) -> dict[str, int]:
    return {}


def _size(logs: Directory, name: str) -> int | None:
    status = logs.status(name)
    return status.st_size if status is not None and stat.S_ISREG(status.st_mode) else None


def _is_log_name(name: str) -> bool:
    return name.startswith("container-") and name.endswith(".log")
