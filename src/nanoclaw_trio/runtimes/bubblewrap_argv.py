"""The command line of a sandbox. Pure.

bwrap makes an empty world and carries out its arguments in order: what comes later lies on top of
what came before. Nothing in here is a secret: a command line can be read by everyone on the host,
and bwrap's also by the agent, in the memory of its process 1.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final, TypeAlias

from nanoclaw_trio.errors import StartFailed
from nanoclaw_trio.files import Owner
from nanoclaw_trio.runtimes.bubblewrap_host import SYSTEM_DIRECTORIES, Bind, is_below

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nanoclaw_trio.protocol.models import VolumeMount
    from nanoclaw_trio.runtimes.abc import ContainerSpec
    from nanoclaw_trio.runtimes.bubblewrap_host import Host, HostPython, HostSystem

    Marks: TypeAlias = tuple[str, Mapping[str, str]]

NAME_VARIABLE: Final = "NANOCLAW_CONTAINER"
LABELS_VARIABLE: Final = "NANOCLAW_LABELS"

AGENT_USER: Final = Owner(uid=1000, gid=1000)
"""What the agent's user is called inside, as in the image; outside it is the calling user."""

AGENT_MODULE: Final = "nanoclaw_agent"
ENVIRONMENT_TARGET: Final = "/opt/venv"
PACKAGES_TARGET: Final = "/opt/packages"
AGENT_SOURCE: Final = "/app/src"
WORKING_DIRECTORY: Final = "/workspace/group"

SHARED_NETWORKS: Final = ("default", "host")
NO_NETWORK: Final = "none"

_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_MARKS: Final = ["--clearenv", "--setenv", NAME_VARIABLE, "--setenv", LABELS_VARIABLE]
_MARKS_END: Final = 8

MARKS_TARGET: Final = "/.nanoclaw"
"""Below it something is mounted by whose path a sandbox is known: a process can write over its own
command line, and an agent can't change a mount. Nothing else lies here, since any other directory
may be a link on the host, and then is one inside."""

MARKS_LIMIT: Final = 3000
"""Bytes of name and labels in that path, of which the kernel takes 4096."""

_MARKS_PIECE: Final = 200
"""Bytes of each name in it, of which a file system takes 255."""

_SYSTEM_DIRECTORIES: Final = ("/usr", *SYSTEM_DIRECTORIES)
_NOTHING: Final = Path("/dev/null")

_ISOLATION: Final = (
    *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"),
    # As Docker's default seccomp profile does. It also takes away the way around a covered /proc.
    "--disable-userns",
    *("--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "nanoclaw"),
)

# Who writes its memory has it outlive the host. A filter keeps what needs no file for that.
_NO_INIT: Final = ("--perms", "0555", "--tmpfs", "/proc/1", "--remount-ro", "/proc/1")

_WRITABLE: Final = (
    *("--perms", "1777", "--tmpfs", "/tmp"),  # noqa: S108 - the sandbox's own
    *("--tmpfs", "/run", "--tmpfs", "/var", "--perms", "1777", "--dir", "/var/tmp"),  # noqa: S108
    *("--tmpfs", "/home", "--dir", "/home/node"),
    *("--tmpfs", "/workspace", "--dir", WORKING_DIRECTORY, "--dir", AGENT_SOURCE),
)


def sandbox_argv(
    executable: str,
    spec: ContainerSpec,
    host: Host,
    *,
    timezone: str,
    program: Sequence[str] = ("-P", "-m", AGENT_MODULE),
    covers: Sequence[Bind] = (),
    seccomp: int | None = None,
) -> list[str]:
    """The arguments that start a sandbox in which the host's Python runs `program`.

    `covers` lie on top of everything else, read-only. `seccomp` is the descriptor from which bwrap
    reads a filter of system calls, if there is one.

    Raises:
        StartFailed: the spec asks for a network that bubblewrap doesn't have, or for a name and
            labels that are too long.
    """
    return [
        executable,
        *_marks(spec),
        *_ISOLATION,
        *(() if seccomp is None else ("--seccomp", str(seccomp))),
        *_network(spec),
        *_user(spec.user or AGENT_USER),
        *_read_only((Bind(source=str(_NOTHING), target=_marks_target(spec)),)),
        *_system(host.system),
        *_WRITABLE,
        *_python(host.python),
        *(argument for mount in spec.mounts for argument in _mount(mount)),
        *_read_only(covers),
        *("--remount-ro", "/"),
        *_environment({**default_environment(host.python, timezone), **spec.environment}),
        *("--chdir", WORKING_DIRECTORY),
        *("--", *_launch(host.system, spec.pids_limit), python_command(host.python), *program),
    ]


def parse_marks(command: Sequence[str]) -> Marks | None:
    """The name and the labels of the sandbox that a command line belongs to; None if to none.

    They stand in fixed places right after the program, so that nothing that a mount or a variable
    is called can be taken for them.
    """
    if len(command) < _MARKS_END or [*command[1:4], *command[5:7]] != _MARKS:
        return None
    try:
        labels = json.loads(command[7])
    except (ValueError, RecursionError):
        return None
    return (command[4], labels) if isinstance(labels, dict) else None


def parse_mounted_marks(mount_points: Iterable[str]) -> Marks | None:
    """The same from where a process sees something mounted."""
    for point in mount_points:
        if point.startswith(f"{MARKS_TARGET}/"):
            return _decode_marks(point.removeprefix(MARKS_TARGET).replace("/", ""))
    return None


def _marks(spec: ContainerSpec) -> list[str]:
    labels = json.dumps(dict(spec.labels), sort_keys=True)
    return [*_MARKS[:3], spec.name, *_MARKS[3:], labels]


def _marks_target(spec: ContainerSpec) -> str:
    code = urlsafe_b64encode(json.dumps([spec.name, dict(spec.labels)]).encode()).decode()
    if len(code) > MARKS_LIMIT:
        raise StartFailed(
            spec.name, f"its name and labels take {len(code)} bytes, and may take {MARKS_LIMIT}"
        )
    pieces = (code[at : at + _MARKS_PIECE] for at in range(0, len(code), _MARKS_PIECE))
    return "/".join((MARKS_TARGET, *pieces))


def _decode_marks(code: str) -> Marks | None:
    try:
        name, labels = json.loads(urlsafe_b64decode(code))
    except (ValueError, TypeError, RecursionError):
        return None
    return (name, labels) if isinstance(name, str) and isinstance(labels, dict) else None


def _network(spec: ContainerSpec) -> tuple[str, ...]:
    if spec.network in SHARED_NETWORKS:
        return ()
    if spec.network == NO_NETWORK:
        return ("--unshare-net",)
    raise StartFailed(
        spec.name,
        f"bubblewrap has no network {spec.network!r}; set CONTAINER_NETWORK to default, host or "
        "none, or use a container engine",
    )


def _user(user: Owner) -> tuple[str, ...]:
    return ("--uid", str(user.uid), "--gid", str(user.gid))


def _system(system: HostSystem) -> list[str]:
    arguments: list[str] = []
    for link in system.links:
        arguments += ["--symlink", link.target, link.path]
    arguments += _read_only(system.binds)
    arguments += ["--proc", "/proc", *_NO_INIT, "--dev", "/dev"]
    # A host that is root is root to /proc/sys, without any capability too: the agent could name a
    # program there that the kernel runs outside when something crashes (core_pattern(5)).
    arguments += _read_only(Bind(source=path, target=path) for path in system.proc_read_only)
    arguments += _read_only(Bind(source="/dev/null", target=path) for path in system.proc_hidden)
    return arguments


def _launch(system: HostSystem, pids_limit: int) -> tuple[str, ...]:
    """What starts the agent apart from bwrap's session, and with so many processes at most."""
    session = () if system.setsid is None else (system.setsid,)
    if system.prlimit is None:
        return session
    most = min(pids_limit, system.most_processes or pids_limit)
    return (*session, system.prlimit, f"--nproc={most}:{most}", "--")


def _read_only(binds: Iterable[Bind]) -> list[str]:
    return [argument for bind in binds for argument in ("--ro-bind", bind.source, bind.target)]


def _python(python: HostPython) -> list[str]:
    trees = installation_trees(python)
    shown = (*trees, *_SYSTEM_DIRECTORIES)
    links = python.links[1:] if python.is_environment else python.links
    arguments = _read_only(Bind(source=tree, target=tree) for tree in trees)
    for link in links:
        if not is_below(link.path, shown):
            arguments += ["--symlink", link.target, link.path]
    return arguments + _read_only(_moved(python))


def installation_trees(python: HostPython) -> tuple[str, ...]:
    """The directories of the Python installation that a sandbox must see where they are.

    A virtual environment's interpreter is a link into one of them, by a path that may hold links
    itself: so it is shown under that path and under its real one.
    """
    prefixes = dict.fromkeys((python.base_prefix, python.real_base_prefix))
    return tuple(prefix for prefix in prefixes if not is_below(prefix, _SYSTEM_DIRECTORIES))


def shown_directories(python: HostPython) -> tuple[str, ...]:
    """All directories of the host that a sandbox sees for its Python's sake."""
    environment = (python.prefix,) if python.is_environment else ()
    return (*environment, *installation_trees(python), *python.package_directories)


def _moved(python: HostPython) -> tuple[Bind, ...]:
    environment = Bind(source=python.prefix, target=ENVIRONMENT_TARGET)
    return (*((environment,) if python.is_environment else ()), *_packages(python))


def _packages(python: HostPython) -> tuple[Bind, ...]:
    return tuple(
        Bind(source=directory, target=f"{PACKAGES_TARGET}/{index}")
        for index, directory in enumerate(python.package_directories)
    )


def seen_at(path: str, python: HostPython) -> str | None:
    """Where a sandbox's Python finds a file that the host's Python has; None if nowhere. Pure."""
    for bind in _moved(python):
        if is_below(path, (bind.source,)):
            return str(PurePath(bind.target, PurePath(path).relative_to(bind.source)))
    shown = is_below(path, (*installation_trees(python), *_SYSTEM_DIRECTORIES))
    return path if shown else None


def python_command(python: HostPython) -> str:
    """The path by which a sandbox runs the Python."""
    if not python.is_environment:
        return python.executable
    return f"{ENVIRONMENT_TARGET}/bin/{PurePath(python.executable).name}"


def _mount(mount: VolumeMount) -> tuple[str, ...]:
    if mount.host_path == _NOTHING:
        # Bound without --dev- it couldn't be opened: an error where an empty file should be.
        return ("--dev-bind", str(_NOTHING), mount.container_path)
    option = "--ro-bind" if mount.readonly else "--bind"
    return (option, str(mount.host_path), mount.container_path)


def default_environment(python: HostPython, timezone: str) -> dict[str, str]:
    """The variables that every sandbox has, unless its spec says otherwise."""
    own = PurePath(python_command(python)).parent
    return {
        "HOME": "/home/node",
        "PATH": f"{own}:{_SYSTEM_PATH}",
        "LANG": "C.UTF-8",
        "TZ": timezone,
        "CLAUDE_CONFIG_DIR": "/home/node/.claude",
        "PYTHONPATH": ":".join((AGENT_SOURCE, *(bind.target for bind in _packages(python)))),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _environment(environment: Mapping[str, str]) -> list[str]:
    return [
        argument for name, value in environment.items() for argument in ("--setenv", name, value)
    ]
