"""Errors: each in the family of who is at fault, each saying what to do."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from nanoclaw_trio import errors

FAMILIES = (
    errors.InputError,
    errors.ConfigurationError,
    errors.RuntimeFailure,
    errors.ProtocolError,
    errors.HostError,
)

TABLE = [
    (
        errors.InvalidGroupFolder("../x"),
        errors.InputError,
        ("'../x'", "isn't allowed", "rename"),
        {"folder": "../x"},
    ),
    (
        errors.InvalidContainerInput("required field missing @ $.prompt"),
        errors.InputError,
        ("container input", "required field missing @ $.prompt", "mend it"),
        {"problem": "required field missing @ $.prompt"},
    ),
    (
        errors.ProjectNotFound(Path("/no/such")),
        errors.InputError,
        ("'/no/such'", "isn't there", "create it"),
        {"path": Path("/no/such")},
    ),
    (
        errors.GroupBusy("a", pid=7, container="nanoclaw-a-1", since="2026-01-01T00:00:00.000Z"),
        errors.InputError,
        ("'a'", "has a run already", "nanoclaw-a-1 of process 7, since 2026-01-01", "wait"),
        {
            "folder": "a",
            "pid": 7,
            "container": "nanoclaw-a-1",
            "since": "2026-01-01T00:00:00.000Z",
        },
    ),
    (
        errors.GroupBusy("a"),
        errors.InputError,
        ("'a'", "has a run already", "nobody says whose", "wait"),
        {"folder": "a", "pid": None, "container": None, "since": None},
    ),
    (
        errors.EngineRunning(Path("/home/p"), pid=7, host="here", since="2026-01-01T00:00:00.000Z"),
        errors.InputError,
        ("'/home/p'", "has an engine already", "process 7 on here, since 2026-01-01", "end that"),
        {
            "project": Path("/home/p"),
            "pid": 7,
            "host": "here",
            "since": "2026-01-01T00:00:00.000Z",
        },
    ),
    (
        errors.EngineRunning(Path("/home/p")),
        errors.InputError,
        ("'/home/p'", "nobody says whose"),
        {"pid": None, "host": None, "since": None},
    ),
    (errors.EngineClosed(), errors.InputError, ("is ending", "the next one"), {}),
    (
        errors.GroupUnknown("a"),
        errors.InputError,
        ("'a'", "is registered", "groups add"),
        {"folder": "a"},
    ),
    (
        errors.RunClosing("nanoclaw-a-1"),
        errors.InputError,
        ("nanoclaw-a-1", "is closing", "next run"),
        {"container": "nanoclaw-a-1"},
    ),
    (
        errors.ResultNotReady("nanoclaw-a-1"),
        errors.InputError,
        ("nanoclaw-a-1", "no result", "read its outputs"),
        {"container": "nanoclaw-a-1"},
    ),
    (
        errors.InvalidSetting("TZ", ".env", "isn't an IANA time zone"),
        errors.ConfigurationError,
        ("TZ", ".env", "isn't an IANA time zone"),
        {"variable": "TZ", "source": ".env"},
    ),
    (
        errors.InvalidFile(Path("/etc/allowlist"), "not JSON", "mend it"),
        errors.ConfigurationError,
        ("/etc/allowlist", "not JSON", "mend it"),
        {"path": Path("/etc/allowlist")},
    ),
    (
        errors.ImageMissing("agent:1", "docker", "build it with ./build"),
        errors.ConfigurationError,
        ("docker", "'agent:1'", "build it with ./build"),
        {"image": "agent:1", "runtime": "docker"},
    ),
    (
        errors.ImageIncompatible("agent:1", "docker", "2", "1", "build it with ./build"),
        errors.ConfigurationError,
        ("docker", "'agent:1'", "'2'", "'1'", "build it with ./build"),
        {"image": "agent:1", "runtime": "docker", "version": "2", "ours": "1"},
    ),
    (
        errors.BuildFailed("agent:1", "docker", "it ended with status 1", ("a", "no network")),
        errors.ConfigurationError,
        ("docker", "'agent:1'", "status 1", "no network", "mend what it says"),
        {"image": "agent:1", "runtime": "docker", "tail": ("a", "no network")},
    ),
    (
        errors.ImageNotNeeded("bubblewrap"),
        errors.InputError,
        ("bubblewrap", "needs no image", "leave the build out"),
        {"runtime": "bubblewrap"},
    ),
    (
        errors.RuntimeUnavailable("podman", "it doesn't answer", "start it"),
        errors.RuntimeFailure,
        ("podman", "it doesn't answer", "start it"),
        {"runtime": "podman", "why": "it doesn't answer"},
    ),
    (
        errors.AgentNotInstalled("claude", "/venv has no mcp"),
        errors.RuntimeUnavailable,
        ("bubblewrap", "'claude'", "/venv has no mcp", "pip install 'nanoclaw-trio[agent]'"),
        {"runtime": "bubblewrap", "agent": "claude"},
    ),
    (
        errors.KeyUnprotected("nanoclaw-a-1", "the disk is full", "free it"),
        errors.StartFailed,
        ("nanoclaw-a-1", "the API key can't be kept from its tools", "the disk is full", "free it"),
        {"container": "nanoclaw-a-1"},
    ),
    (
        errors.StartFailed("nanoclaw-a-1", "no space left"),
        errors.RuntimeFailure,
        ("nanoclaw-a-1", "could not be started", "no space left"),
        {"container": "nanoclaw-a-1"},
    ),
    (
        errors.RuntimeCommandFailed("docker stop", "did not answer within 15 s"),
        errors.RuntimeFailure,
        ("`docker stop`", "did not answer within 15 s"),
        {"command": "docker stop", "why": "did not answer within 15 s"},
    ),
    (
        errors.InvalidContainerOutput("not a string @ $.result"),
        errors.ProtocolError,
        ("not a string @ $.result",),
        {},
    ),
    (
        errors.UnsafePath("/data/ipc/a/input", "a link"),
        errors.HostError,
        ("/data/ipc/a/input", "a link", "remove it"),
        {"path": "/data/ipc/a/input"},
    ),
    (
        errors.MailboxUnwritable("nanoclaw-a-1", "its input is a link"),
        errors.HostError,
        ("nanoclaw-a-1", "its input is a link", "next one"),
        {"container": "nanoclaw-a-1", "why": "its input is a link"},
    ),
    (
        errors.WorkspaceFailed(Path("/data/ipc/a"), "Permission denied"),
        errors.HostError,
        ("/data/ipc/a", "Permission denied", "mend its permissions"),
        {"path": Path("/data/ipc/a")},
    ),
]

ALL = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, BaseException)
]


@pytest.mark.parametrize(
    ("error", "family", "words", "attributes"), TABLE, ids=[type(row[0]).__name__ for row in TABLE]
)
def test_message_and_family(
    error: Exception, family: type, words: tuple[str, ...], attributes: dict[str, object]
) -> None:
    """An error belongs to whose fault it is, and names the thing, what is wrong and what to do."""
    assert isinstance(error, family)
    for word in words:
        assert word in str(error)
    for name, value in attributes.items():
        assert getattr(error, name) == value


def test_table_is_complete() -> None:
    """Every error of the package is in the table above, or is a family."""
    tabled = {type(row[0]) for row in TABLE}
    assert set(ALL) == tabled | set(FAMILIES) | {errors.NanoclawError}


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_each_is_documented_and_has_one_family(cls: type) -> None:
    """An error has a docstring of its own and exactly one family, so that `except` is a decision."""
    assert cls.__doc__
    assert issubclass(cls, errors.NanoclawError)
    assert not issubclass(cls, RuntimeError | ValueError | OSError)
    if cls is not errors.NanoclawError:
        assert sum(issubclass(cls, family) for family in FAMILIES) == 1
