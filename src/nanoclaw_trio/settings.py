"""The settings: from the environment, then the project's .env, then the default."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import evolve, field, frozen

from nanoclaw_trio.environment import process_environment
from nanoclaw_trio.errors import InvalidSetting, ProjectNotFound
from nanoclaw_trio.files import in_thread, read_if_present
from nanoclaw_trio.logs import LEVELS
from nanoclaw_trio.protocol.frames import DEFAULT_MAX_FRAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

IDLE_MARGIN: Final = 30.0
"""Seconds by which a run's timeout exceeds the idle timeout at least: the graceful close gets its
chance first (wire-formats 9)."""

DEFAULT_IMAGE: Final = "nanoclaw-agent:latest"
"""The agent's image, as the original has it."""

LEAST_CPUS: Final = 0.01
"""Processors, as Docker has it. Of much less an engine makes 0, and that is no limit."""

DOTENV_LIMIT: Final = 1024 * 1024
"""Bytes of the largest .env that is read."""


@frozen(kw_only=True)
class GracePeriods:
    """How long each rung of the stop ladder may take, in seconds.

    Attributes:
        start: For the runtime to start a container.
        close: For the agent to end by itself after `_close` was written to its mailbox.
        stop: Between the polite signal and the kill.
        command: For the runtime's own command to answer, on top of what it was told to wait.
        settle: For a container whose start was under way to appear, so that it can be removed.
        drain: For the pipes to end after the container did, as a grandchild may hold them open; and
            for the container, where its engine's pipes have.
        log: For what no agent took to be taken back and the run log to be written; a disk may hang.
        conclude: For letting go of the client, the mailbox and the run log after all that.
    """

    start: float = 60.0
    close: float = 2.0
    stop: float = 10.0
    command: float = 10.0
    settle: float = 5.0
    drain: float = 5.0
    log: float = 5.0
    conclude: float = 20.0


def default_allowlist_path() -> Path:
    """Below the user's home; of a user without one, at a place where none will be."""
    try:
        home = Path.home()
    except RuntimeError:
        home = Path("/")
    return home / ".config" / "nanoclaw" / "mount-allowlist.json"


@frozen(kw_only=True)
class Settings:
    """Everything that can be set. Durations in seconds, sizes in bytes; no secret is in here.

    Attributes:
        project_root: Where groups/, data/, container/ and .env are.
        container_image: CONTAINER_IMAGE. The image of the agent.
        base_image: CONTAINER_BASE_IMAGE. What that image is built on; None for the Dockerfile's own.
        agent: NANOCLAW_AGENT. Which agent the agent-runner is: claude, or echo to try things out.
        container_timeout: CONTAINER_TIMEOUT (ms). Silence before a run is stopped.
        idle_timeout: IDLE_TIMEOUT (ms). Silence after the last answer before `_close` is written;
            None: it never is, and no timeout is raised for its sake.
        startup_timeout: CONTAINER_STARTUP_TIMEOUT (ms). Before the first marker; None for no limit
            of its own.
        max_lifetime: CONTAINER_MAX_LIFETIME (ms). Of a container, whatever it does; None for none.
        max_output_bytes: CONTAINER_MAX_OUTPUT_SIZE. Of each stream, kept for the run log.
        max_frame_bytes: CONTAINER_MAX_FRAME_SIZE. Of one output between its markers.
        max_concurrent_containers: MAX_CONCURRENT_CONTAINERS, at least 1.
        assistant_name: ASSISTANT_NAME.
        timezone: TZ, an IANA name; the system's by default.
        log_level: LOG_LEVEL: trace, debug, info, warn, error or fatal.
        memory: CONTAINER_MEMORY. Bytes, or a number with K, M or G; None for no limit.
        cpus: CONTAINER_CPUS. A number of processors; None for no limit.
        pids_limit: CONTAINER_PIDS_LIMIT. Processes and threads in a container.
        network: CONTAINER_NETWORK. `default` for the runtime's own, `none`, `host`, or a network's
            name.
        read_only: CONTAINER_READ_ONLY. Whether a container can write its mounts, /tmp and its home
            alone.
        credential_proxy: CREDENTIAL_PROXY. `off`, `socket`, or `tcp:ADDRESS[:PORT]`: whether agents
            call the API through the host, which adds the key, and how they reach it.
        log_keep_files: CONTAINER_LOG_KEEP. Run logs kept for each group.
        log_keep_bytes: CONTAINER_LOG_KEEP_BYTES. Of all run logs of one group together.
        log_keep_days: CONTAINER_LOG_KEEP_DAYS. Until a group's next run removes a run log.
        allowlist_path: Where the mount allowlist is (wire-formats 7).
        grace: The periods of the stop ladder; CONTAINER_STOP_GRACE (ms) sets its `stop`.
    """

    project_root: Path
    container_image: str = DEFAULT_IMAGE
    base_image: str | None = None
    agent: str = "claude"
    container_timeout: float = 1800.0
    idle_timeout: float | None = 1800.0
    startup_timeout: float | None = None
    max_lifetime: float | None = None
    max_output_bytes: int = 10 * 1024 * 1024
    max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES
    max_concurrent_containers: int = 5
    assistant_name: str = "Andy"
    timezone: str = "UTC"
    log_level: str = "info"
    memory: int | None = None
    cpus: float | None = None
    pids_limit: int = 512
    network: str = "default"
    read_only: bool = False
    credential_proxy: str = "off"
    log_keep_files: int = 50
    log_keep_bytes: int = 50 * 1024 * 1024
    log_keep_days: int = 30
    allowlist_path: Path = field(factory=default_allowlist_path)
    grace: GracePeriods = GracePeriods()

    @classmethod
    def load(cls, project_root: Path | str, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings of a project, once, at start.

        Synchronous: a program calls it before it enters Trio or once at its start.
        `environ` replaces the process's environment.

        Raises:
            ProjectNotFound: the folder isn't there.
            InvalidSetting: a value can't be used; names the variable and where it came from.
        """
        root = _existing_directory(Path(project_root))
        return cls.from_sources(
            root, process_environment() if environ is None else environ, read_dotenv(root)
        )

    @classmethod
    def from_sources(
        cls, project_root: Path, environ: Mapping[str, str], dotenv: Mapping[str, str]
    ) -> Settings:
        """The settings that these variables make. Pure, but for the system's time zone."""
        values: dict[str, Any] = {}
        for variable, (name, parse) in _VARIABLES.items():
            found = _look_up(variable, environ, dotenv)
            if found is not None:
                values[name] = _parse(variable, parse, *found)
        stop = values.pop("stop", None)
        if stop is not None:
            values["grace"] = GracePeriods(stop=stop)
        if "timezone" not in values:
            values["timezone"] = system_timezone()
        return cls(project_root=project_root, **values)

    def with_values(self, **values: Any) -> Settings:
        """A copy with some settings changed."""
        return evolve(self, **values)

    def timeout_for(self, group_timeout_ms: int | None) -> float:
        """Seconds of silence that end a run of a group with this timeout of its own (or None)."""
        asked = self.container_timeout if group_timeout_ms is None else group_timeout_ms / 1000
        return asked if self.idle_timeout is None else max(asked, self.idle_timeout + IDLE_MARGIN)


def read_dotenv(project_root: Path) -> dict[str, str]:
    """The variables of the project's .env; empty if there is none. Holds secrets.

    Raises:
        InvalidSetting: the file can't be read or isn't UTF-8.
    """
    path = project_root / ".env"
    try:
        content = read_if_present(path, limit=DOTENV_LIMIT) or b""
    except OSError as error:
        raise InvalidSetting(".env", str(path), f"can't be read: {error.strerror}") from error
    text = _decode(content)
    if text is None:
        raise InvalidSetting(".env", str(path), "can't be read: not UTF-8")
    if not text:
        return {}
    from io import StringIO

    from dotenv import dotenv_values

    # No interpolation: a `$` in a key or a name is a dollar sign.
    values = dotenv_values(stream=StringIO(text), interpolate=False)
    return {name: value for name, value in values.items() if value is not None}


def _decode(content: bytes) -> str | None:
    # The decoding error carries the file's bytes, and the keys with them: it doesn't leave here.
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _existing_directory(path: Path) -> Path:
    try:
        root = path.expanduser().resolve()
        if root.is_dir():
            return root
    except (RuntimeError, ValueError, OSError):
        # A home of nobody's, a loop of links, a NUL, a folder that we may not look into.
        raise ProjectNotFound(path) from None
    raise ProjectNotFound(root)


async def load_settings(project_root: Path | str) -> Settings:
    """As :meth:`Settings.load`, from within Trio."""
    # Only reading: a .env that is a pipe may keep the thread for ever, and must not keep us.
    return await in_thread(Settings.load, project_root, abandon_on_cancel=True)


def system_timezone() -> str:
    """The IANA name of the system's time zone; UTC if it can't be told."""
    import tzlocal

    try:
        return tzlocal.get_localzone_name() or "UTC"
    except (LookupError, ValueError, OSError):
        return "UTC"


def _look_up(
    variable: str, environ: Mapping[str, str], dotenv: Mapping[str, str]
) -> tuple[str, str] | None:
    for source, variables in (("the environment", environ), (".env", dotenv)):
        # An empty value means "not set", as in the original (`process.env.X || default`).
        if variables.get(variable):
            return variables[variable], source
    return None


def _parse(variable: str, parse: Callable[[str], T], text: str, source: str) -> T:
    try:
        return parse(text.strip())
    except ValueError as error:
        problem = str(error)
    # Not in the handler: what the error came from may have the value, a key in the wrong line.
    raise InvalidSetting(variable, source, problem)


def _whole(text: str, at_least: int, unit: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) < at_least:
        raise ValueError(f"isn't a whole number of {unit}, at least {at_least}")
    return int(text)


def _milliseconds(text: str) -> float:
    return _whole(text, 1, "milliseconds") / 1000


def _bytes(text: str) -> int:
    return _whole(text, 1, "bytes")


def _days(text: str) -> int:
    return _whole(text, 1, "days")


def _count(text: str) -> int:
    return _whole(text, 1, "units")


def _size(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,15})([KkMmGg]?)[Bb]?", text)
    if match is None or int(match[1]) == 0:
        raise ValueError("isn't a size: write bytes, or a number with K, M or G")
    factors = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
    return int(match[1]) * factors[match[2].upper()]


def _cpus(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not LEAST_CPUS <= number < math.inf:
        raise ValueError(f"isn't a number of processors from {LEAST_CPUS} on")
    return number


def _timezone(text: str) -> str:
    from zoneinfo import ZoneInfo

    name = text.removeprefix(":")
    # `TZ=:/etc/localtime` is a usual way to say "the system's".
    if name.startswith("/"):
        return system_timezone()
    try:
        return ZoneInfo(name).key
    except (LookupError, ValueError, OSError):
        raise ValueError("isn't an IANA time zone such as Europe/Berlin") from None


def _level(text: str) -> str:
    if text.lower() not in LEVELS:
        raise ValueError(f"isn't one of {', '.join(LEVELS)}")
    return text.lower()


def _word(text: str) -> str:
    # A leading dash would be read as an option by the runtime's command.
    if not text or text.startswith("-") or any(character.isspace() for character in text):
        raise ValueError("isn't a name: no spaces, and no '-' at its start")
    return text


def _flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise ValueError("isn't a yes or a no: write true or false")
    return _FLAGS[text.lower()]


def _text(text: str) -> str:
    if not text:
        raise ValueError("is blank")
    return text


def split_proxy_address(text: str) -> tuple[str, int]:
    """The address and the port in `tcp:ADDRESS[:PORT]`; the port is 0 where none is given. Pure.

    ValueError if it isn't one.
    """
    found = re.fullmatch(r"tcp:(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?", text)
    host = (found[1] or found[2]) if found else ""
    port = int(found[3] or 0) if found else 0
    if not host or host in {"0.0.0.0", "::"} or port > _LAST_PORT:  # noqa: S104 - refused
        raise ValueError("isn't off, socket or tcp:ADDRESS[:PORT] with an address to be reached at")
    return host, port


def proxy_way(text: str) -> str:
    """A value of CREDENTIAL_PROXY as it is. ValueError if it isn't one. Pure."""
    if text not in {"off", "socket"}:
        split_proxy_address(text)
    return text


_LAST_PORT: Final = 65535

_FLAGS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}

_VARIABLES: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "CONTAINER_IMAGE": ("container_image", _word),
    "CONTAINER_BASE_IMAGE": ("base_image", _word),
    "NANOCLAW_AGENT": ("agent", _word),
    "CONTAINER_TIMEOUT": ("container_timeout", _milliseconds),
    "IDLE_TIMEOUT": ("idle_timeout", _milliseconds),
    "CONTAINER_STARTUP_TIMEOUT": ("startup_timeout", _milliseconds),
    "CONTAINER_MAX_LIFETIME": ("max_lifetime", _milliseconds),
    "CONTAINER_MAX_OUTPUT_SIZE": ("max_output_bytes", _bytes),
    "CONTAINER_MAX_FRAME_SIZE": ("max_frame_bytes", _bytes),
    "MAX_CONCURRENT_CONTAINERS": ("max_concurrent_containers", _count),
    "ASSISTANT_NAME": ("assistant_name", _text),
    "TZ": ("timezone", _timezone),
    "LOG_LEVEL": ("log_level", _level),
    "CONTAINER_MEMORY": ("memory", _size),
    "CONTAINER_CPUS": ("cpus", _cpus),
    "CONTAINER_PIDS_LIMIT": ("pids_limit", _count),
    "CONTAINER_NETWORK": ("network", _word),
    "CONTAINER_READ_ONLY": ("read_only", _flag),
    "CREDENTIAL_PROXY": ("credential_proxy", proxy_way),
    "CONTAINER_LOG_KEEP": ("log_keep_files", _count),
    "CONTAINER_LOG_KEEP_BYTES": ("log_keep_bytes", _bytes),
    "CONTAINER_LOG_KEEP_DAYS": ("log_keep_days", _days),
    "CONTAINER_STOP_GRACE": ("stop", _milliseconds),
}
