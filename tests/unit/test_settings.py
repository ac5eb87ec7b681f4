"""Settings: each from where it is said to come from, and no bad value passed on."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from zoneinfo import ZoneInfoNotFoundError

import pytest
from attrs import fields

from nanoclaw_trio.errors import InvalidSetting, ProjectNotFound
from nanoclaw_trio.settings import (
    DOTENV_LIMIT,
    GracePeriods,
    Settings,
    default_allowlist_path,
    load_settings,
    read_dotenv,
    system_timezone,
)

ROOT = Path("/srv/project")
CANARY = "sk-ant-canary-4711"


def from_environment(**variables):
    """The settings that these variables of the environment make."""
    return Settings.from_sources(ROOT, variables, {})


GOOD = [
    (
        "CONTAINER_IMAGE",
        "registry.test:5000/agent:1",
        "container_image",
        "registry.test:5000/agent:1",
    ),
    ("NANOCLAW_AGENT", "echo", "agent", "echo"),
    ("CONTAINER_TIMEOUT", "1500", "container_timeout", 1.5),
    ("CONTAINER_TIMEOUT", " 60000\t", "container_timeout", 60.0),
    ("IDLE_TIMEOUT", "1", "idle_timeout", 0.001),
    ("CONTAINER_STARTUP_TIMEOUT", "90000", "startup_timeout", 90.0),
    ("CONTAINER_MAX_LIFETIME", "86400000", "max_lifetime", 86400.0),
    ("CONTAINER_MAX_OUTPUT_SIZE", "1024", "max_output_bytes", 1024),
    ("CONTAINER_MAX_FRAME_SIZE", "33554432", "max_frame_bytes", 33554432),
    ("MAX_CONCURRENT_CONTAINERS", "1", "max_concurrent_containers", 1),
    ("ASSISTANT_NAME", "Ada von Trio", "assistant_name", "Ada von Trio"),
    ("TZ", "Europe/Berlin", "timezone", "Europe/Berlin"),
    ("TZ", ":America/New_York", "timezone", "America/New_York"),
    ("LOG_LEVEL", "DEBUG", "log_level", "debug"),
    ("CONTAINER_MEMORY", "1048576", "memory", 1048576),
    ("CONTAINER_MEMORY", "512k", "memory", 512 * 1024),
    ("CONTAINER_MEMORY", "512MB", "memory", 512 * 1024**2),
    ("CONTAINER_MEMORY", "2g", "memory", 2 * 1024**3),
    ("CONTAINER_CPUS", "1.5", "cpus", 1.5),
    ("CONTAINER_PIDS_LIMIT", "64", "pids_limit", 64),
    ("CONTAINER_NETWORK", "none", "network", "none"),
    ("CONTAINER_READ_ONLY", "true", "read_only", True),
    ("CONTAINER_READ_ONLY", "Yes", "read_only", True),
    ("CONTAINER_READ_ONLY", "1", "read_only", True),
    ("CONTAINER_READ_ONLY", "off", "read_only", False),
    ("CONTAINER_READ_ONLY", "0", "read_only", False),
    *(
        ("CREDENTIAL_PROXY", way, "credential_proxy", way)
        for way in ["off", "socket", "tcp:172.17.0.1", "tcp:host-7.test:8080", "tcp:[fd00::1]:1"]
    ),
    ("CONTAINER_LOG_KEEP", "3", "log_keep_files", 3),
    ("CONTAINER_LOG_KEEP_BYTES", "4096", "log_keep_bytes", 4096),
    ("CONTAINER_LOG_KEEP_DAYS", "90", "log_keep_days", 90),
    ("CONTAINER_STOP_GRACE", "2500", "grace", GracePeriods(stop=2.5)),
]

MILLISECONDS = "isn't a whole number of milliseconds, at least 1"
BYTES = "isn't a whole number of bytes, at least 1"
DAYS = "isn't a whole number of days, at least 1"
COUNT = "isn't a whole number of units, at least 1"
NAME = "isn't a name: no spaces, and no '-' at its start"
SIZE = "isn't a size: write bytes, or a number with K, M or G"

BAD = [
    *(
        (variable, value, problem)
        for variable, problem in [
            ("CONTAINER_TIMEOUT", MILLISECONDS),
            ("IDLE_TIMEOUT", MILLISECONDS),
            ("CONTAINER_STARTUP_TIMEOUT", MILLISECONDS),
            ("CONTAINER_MAX_LIFETIME", MILLISECONDS),
            ("CONTAINER_STOP_GRACE", MILLISECONDS),
            ("CONTAINER_MAX_OUTPUT_SIZE", BYTES),
            ("CONTAINER_MAX_FRAME_SIZE", BYTES),
            ("CONTAINER_LOG_KEEP_BYTES", BYTES),
            ("CONTAINER_LOG_KEEP_DAYS", DAYS),
            ("MAX_CONCURRENT_CONTAINERS", COUNT),
            ("CONTAINER_PIDS_LIMIT", COUNT),
            ("CONTAINER_LOG_KEEP", COUNT),
        ]
        for value in ["0", "-1", "1.5", "1e3", "30 s", "ten", "NaN", "٣", "1_000", "9" * 19]
    ),
    *(
        (variable, value, NAME)
        for variable in ["CONTAINER_IMAGE", "NANOCLAW_AGENT", "CONTAINER_NETWORK"]
        for value in ["two words", "-v", "--privileged", "a\tb", "  "]
    ),
    ("ASSISTANT_NAME", " \t ", "is blank"),
    *(
        ("TZ", value, "isn't an IANA time zone such as Europe/Berlin")
        for value in [
            "Mars/Olympus",
            "../etc/passwd",
            "Europe",
            "CET-1CEST",
            "a\0b",
        ]
    ),
    ("LOG_LEVEL", "loud", "isn't one of trace, debug, info, warn, warning, error, fatal"),
    *(("CONTAINER_MEMORY", value, SIZE) for value in ["0", "0g", "1.5G", "-1", "1T", "G", "1 GB"]),
    *(
        ("CONTAINER_READ_ONLY", value, "isn't a yes or a no: write true or false")
        for value in ["2", "y", "maybe", "read-only"]
    ),
    *(
        (
            "CREDENTIAL_PROXY",
            value,
            "isn't off, socket or tcp:ADDRESS[:PORT] with an address to be reached at",
        )
        for value in [
            "on",
            "tcp:",
            "tcp::80",
            "tcp:0.0.0.0",
            "tcp:[::]:80",
            "tcp:a:65536",
            "tcp:a:-1",
            "tcp:fd00::1",
            "http://a",
        ]
    ),
    *(
        ("CONTAINER_CPUS", value, "isn't a number of processors from 0.01 on")
        for value in ["0", "-1", "0.000001", "nan", "inf", "two", "1,5"]
    ),
]


@pytest.mark.parametrize(("variable", "text", "name", "value"), GOOD)
@pytest.mark.parametrize("source", ["environment", ".env"])
def test_a_good_value(variable, text, name, value, source):
    """Each variable sets its setting, from either source, in seconds and bytes."""
    environ, dotenv = ({variable: text}, {}) if source == "environment" else ({}, {variable: text})
    assert getattr(Settings.from_sources(ROOT, environ, dotenv), name) == value


@pytest.mark.parametrize(("variable", "text", "problem"), BAD)
def test_a_bad_value(variable, text, problem):
    """A value that can't be used is an error with the variable, its source and what is right."""
    with pytest.raises(InvalidSetting) as caught:
        from_environment(**{variable: text})
    assert str(caught.value) == f"setting {variable} (from the environment) {problem}"
    assert caught.value.variable == variable
    assert caught.value.source == "the environment"


def test_a_bad_value_in_dotenv():
    """The error says that it was the .env."""
    with pytest.raises(InvalidSetting, match=r"IDLE_TIMEOUT \(from \.env\)"):
        Settings.from_sources(ROOT, {}, {"IDLE_TIMEOUT": "soon"})


@pytest.mark.parametrize(
    "variable", sorted({row[0] for row in BAD} - {"ASSISTANT_NAME", "CONTAINER_IMAGE"})
)
def test_a_key_in_the_wrong_line_is_not_repeated(variable):
    """A key that was pasted into another variable's line is in no message and no traceback."""
    with pytest.raises(InvalidSetting) as caught:
        Settings.from_sources(ROOT, {}, {variable: f"{CANARY} {CANARY}"})
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert CANARY not in repr(caught.value)


def test_defaults():
    """Without any variable the settings are the documented ones."""
    settings = from_environment(TZ="UTC")
    assert settings == Settings(project_root=ROOT, timezone="UTC")
    assert settings.container_image == "nanoclaw-agent:latest"
    assert settings.container_timeout == settings.idle_timeout == 1800.0
    assert settings.max_output_bytes == 10485760
    assert settings.max_concurrent_containers == 5
    assert settings.assistant_name == "Andy"
    assert settings.log_level == "info"
    assert settings.allowlist_path.parts[-3:] == (".config", "nanoclaw", "mount-allowlist.json")


@pytest.mark.parametrize(
    ("environ", "dotenv", "name"),
    [
        ({"ASSISTANT_NAME": "E"}, {"ASSISTANT_NAME": "D"}, "E"),
        ({}, {"ASSISTANT_NAME": "D"}, "D"),
        ({"ASSISTANT_NAME": ""}, {"ASSISTANT_NAME": "D"}, "D"),
        ({"ASSISTANT_NAME": ""}, {"ASSISTANT_NAME": ""}, "Andy"),
        ({}, {}, "Andy"),
    ],
)
def test_precedence(environ, dotenv, name):
    """The environment comes first, then .env, then the default; an empty value is none."""
    settings = Settings.from_sources(ROOT, {"TZ": "UTC", **environ}, dotenv)
    assert settings.assistant_name == name


def test_no_field_holds_a_secret():
    """Secrets that are in the environment or .env are no part of the settings or their repr."""
    keys = {"ANTHROPIC_API_KEY": CANARY, "CLAUDE_CODE_OAUTH_TOKEN": CANARY}
    assert CANARY not in repr(Settings.from_sources(ROOT, keys, keys))


@pytest.mark.parametrize(
    ("group_timeout_ms", "seconds"),
    [(None, 100.0), (1, 50.0), (49_999, 50.0), (60_000, 60.0), (200_000, 200.0)],
)
def test_timeout_for(group_timeout_ms, seconds):
    """A group's own timeout counts, and never less than the idle timeout and its margin."""
    settings = from_environment(CONTAINER_TIMEOUT="100000", IDLE_TIMEOUT="20000", TZ="UTC")
    assert settings.timeout_for(group_timeout_ms) == seconds


def test_with_values():
    """A changed copy leaves the original as it is."""
    settings = from_environment(TZ="UTC")
    assert settings.with_values(agent="echo").agent == "echo"
    assert settings.agent == "claude"


class TestLoad:
    def test_reads_environment_and_dotenv(self, tmp_path, monkeypatch):
        """The process's environment and the project's .env are what a program starts from."""
        monkeypatch.setenv("ASSISTANT_NAME", "Environment")
        monkeypatch.setenv("CONTAINER_IMAGE", "")
        (tmp_path / ".env").write_text("ASSISTANT_NAME=File\nCONTAINER_IMAGE=file:1\n")
        settings = Settings.load(str(tmp_path))
        assert settings.assistant_name == "Environment"
        assert settings.container_image == "file:1"

    def test_a_given_environment_replaces_the_process_s(self, tmp_path, monkeypatch):
        """Tests and embedders can hand in an environment of their own."""
        monkeypatch.setenv("ASSISTANT_NAME", "Process")
        assert Settings.load(tmp_path, {}).assistant_name == "Andy"

    def test_links_in_the_project_path_are_resolved(self, tmp_path):
        """One project is one path, however it was named."""
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        assert Settings.load(tmp_path / "link", {}).project_root == (tmp_path / "real").resolve()

    @pytest.mark.parametrize("name", ["missing", "file"])
    def test_no_project(self, tmp_path, name):
        """A project folder that isn't there, or is a file, is the caller's error."""
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(ProjectNotFound, match=name):
            Settings.load(tmp_path / name, {})

    async def test_from_within_trio(self, tmp_path):
        """load_settings is the same in a worker thread."""
        (tmp_path / ".env").write_text("ASSISTANT_NAME=File\nTZ=UTC\n")
        loaded = await load_settings(tmp_path)
        assert loaded.project_root == tmp_path.resolve()


class TestDotenv:
    @pytest.mark.parametrize(
        ("text", "variables"),
        [
            ("", {}),
            ("A=1\n# comment\n\nB='two words'\n", {"A": "1", "B": "two words"}),
            ("export A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
            ("KEY=a$b${HOME}c\n", {"KEY": "a$b${HOME}c"}),
            ('KEY="line one\nline two"\n', {"KEY": "line one\nline two"}),
            ("EMPTY=\nNAME\n", {"EMPTY": ""}),
        ],
    )
    def test_variables(self, tmp_path, text, variables):
        """What people write in a .env is read; a `$` stays a dollar sign."""
        (tmp_path / ".env").write_bytes(text.encode())
        assert read_dotenv(tmp_path) == variables

    def test_missing(self, tmp_path):
        """A project without a .env has no variables."""
        assert read_dotenv(tmp_path) == {}

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b"ANTHROPIC_API_KEY=" + CANARY.encode() + b"\xff", "not UTF-8"),
            (b"ANTHROPIC_API_KEY=" + CANARY.encode().ljust(DOTENV_LIMIT), "larger than"),
        ],
    )
    def test_unusable(self, tmp_path, content, problem):
        """A .env that can't be read is the operator's error, without what is in it."""
        (tmp_path / ".env").write_bytes(content)
        with pytest.raises(InvalidSetting, match=problem) as caught:
            read_dotenv(tmp_path)
        assert CANARY not in "".join(traceback.format_exception(caught.value))
        assert str(tmp_path / ".env") in str(caught.value)

    def test_a_directory_in_its_place(self, tmp_path):
        """Whatever the system says goes into the message."""
        (tmp_path / ".env").mkdir()
        with pytest.raises(InvalidSetting, match="can't be read: Is a directory"):
            read_dotenv(tmp_path)


def test_system_timezone(monkeypatch):
    """The system's zone by its IANA name."""
    # tzlocal remembers what it found first.
    monkeypatch.setattr("tzlocal.unix._cache_tz_name", None)
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert system_timezone() == "Europe/Berlin"


@pytest.mark.parametrize(
    "answer", [None, ZoneInfoNotFoundError("two answers"), ValueError, OSError]
)
def test_system_timezone_that_cannot_be_told(monkeypatch, answer):
    """A system that contradicts itself, or has no zone, is in UTC."""

    def get_localzone_name():
        if answer is not None:
            raise answer

    monkeypatch.setattr("tzlocal.get_localzone_name", get_localzone_name)
    assert system_timezone() == "UTC"


def test_every_setting_has_its_variable_in_its_docstring():
    """A setting that can be set says by which variable, in the class's docstring."""
    words = Settings.__doc__ or ""
    assert all(f"{field.name}:" in words for field in fields(Settings))
    assert all(variable in words for variable, *_ in GOOD if variable != "CONTAINER_STOP_GRACE")


def test_reading_settings_leaves_the_environment_alone(tmp_path):
    """Nothing of .env gets into the environment that children inherit."""
    (tmp_path / ".env").write_text(f"ANTHROPIC_API_KEY={CANARY}\n")
    Settings.load(tmp_path)
    assert CANARY not in os.environ.values()


@pytest.mark.parametrize("path", ["~nobody-of-this-name/x", "with\0nul"])
def test_a_project_that_can_not_be(path):
    """A path that no folder can have is a project that isn't there, and no crash."""
    with pytest.raises(ProjectNotFound):
        Settings.load(path, {})


def test_a_time_zone_that_is_a_path_is_the_systems(tmp_path):
    """TZ=:/etc/localtime stands on many servers, and means the system's zone."""
    assert Settings.load(tmp_path, {"TZ": ":/etc/localtime"}).timezone == system_timezone()


def test_an_env_file_that_is_not_utf8_leaves_no_trace_of_itself(tmp_path):
    """Not even the exception's context has the bytes of a .env that can't be decoded."""
    (tmp_path / ".env").write_bytes(b"ANTHROPIC_API_KEY=canary\xff\n")
    with pytest.raises(InvalidSetting, match="UTF-8") as caught:
        Settings.load(tmp_path, {})
    assert caught.value.__context__ is None


def test_a_user_without_a_home(monkeypatch):
    """A user whom the system doesn't know, without HOME, has no allowlist, and that is no crash."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987_654)
    assert default_allowlist_path() == Path("/.config/nanoclaw/mount-allowlist.json")


def test_no_idle_timeout_raises_no_limit(tmp_path):
    """Where nobody closes idle runs, a run's timeout is what was asked for."""
    settings = Settings(project_root=tmp_path, container_timeout=5.0, idle_timeout=None)
    assert settings.timeout_for(None) == 5.0
    assert settings.timeout_for(2000) == 2.0
