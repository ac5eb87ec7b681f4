"""What of this host a sandbox is made from: its system directories and its Python."""

from __future__ import annotations

import os
import re
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

SYSTEM_DIRECTORIES: Final = ("/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin")
"""Links into /usr on a system with a merged /usr, directories of their own on others."""

# Not all of /etc/ssl and /etc/pki: they hold private keys, and a host that is root can read them.
_ETC: Final = (
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "gai.conf",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "nsswitch.conf",
    "os-release",
    "pki/ca-trust",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "protocols",
    "resolv.conf",
    "services",
    "ssl/ca-bundle.pem",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "timezone",
)

_OWN_ETC: Final = ("group", "passwd")
"""Files of ours in place of the host's: the sandbox's users are not the host's, nor its business."""

_PROC_READ_ONLY: Final = ("acpi", "asound", "fs", "mtrr", "scsi", "sys")
_PROC_HIDDEN: Final = (
    "kcore",
    "keys",
    "latency_stats",
    "pagetypeinfo",
    "sched_debug",
    "slabinfo",
    "timer_list",
    "timer_stats",
    "vmallocinfo",
)

_MAX_LINKS: Final = 40
"""Links in a row that Linux follows (path_resolution(7))."""

_PROGRAM_DIRECTORIES: Final = ("/usr/bin", "/bin", "/usr/sbin", "/sbin")

PER_NAMESPACE_SINCE: Final = (5, 14)
"""The version of Linux from which on RLIMIT_NPROC counts what is in a user namespace, and not all that
its user has on the machine (user_namespaces(7))."""

_PACKAGE_DIRECTORIES: Final = ("dist-packages", "site-packages")


@frozen(kw_only=True)
class Bind:
    """A path of the host, and where a sandbox sees it."""

    source: str
    target: str


@frozen(kw_only=True)
class Link:
    """A symbolic link: where it is, and what it leads to."""

    path: str
    target: str


@frozen(kw_only=True)
class HostSystem:
    """The host's system directories, as they are.

    Attributes:
        links: Those of SYSTEM_DIRECTORIES that are links.
        binds: What a sandbox sees of the rest, read-only.
        proc_read_only: Paths in /proc through which root could change the host.
        proc_hidden: Files in /proc that tell of the kernel's insides.
        setsid: The program that starts another in a session of its own; None if there is none.
        prlimit: The one that starts another with a limit of its own; None if there is none, or
            if a limit on processes holds no sandbox here.
        most_processes: What that limit may be at most; None for any number.
    """

    links: tuple[Link, ...] = ()
    binds: tuple[Bind, ...] = ()
    proc_read_only: tuple[str, ...] = ()
    proc_hidden: tuple[str, ...] = ()
    setsid: str | None = None
    prlimit: str | None = None
    most_processes: int | None = None


@frozen(kw_only=True)
class HostPython:
    """The Python that runs this program, and will run the agent.

    Attributes:
        executable: As it was called, links unresolved: that is how a virtual environment is found.
        links: Those that lead from the executable to the program itself, in order.
        prefix: The environment's directory.
        base_prefix: The installation's, the same as `prefix` outside of a virtual environment.
        real_base_prefix: The same with its links resolved.
        package_directories: What else is searched for packages, such as the user's own.
        search_path: All that is searched for packages, in the order in which a sandbox does.
    """

    executable: str
    links: tuple[Link, ...] = ()
    prefix: str
    base_prefix: str
    real_base_prefix: str
    package_directories: tuple[str, ...] = ()
    search_path: tuple[str, ...] = ()

    @property
    def is_environment(self) -> bool:
        """Whether it is a virtual environment's."""
        return self.prefix != self.base_prefix


@frozen(kw_only=True)
class Host:
    """Both."""

    system: HostSystem
    python: HostPython


def collect_host() -> Host:
    """Look at this host, once. Blocks for some 50 looks at the disk."""
    return Host(system=collect_system(), python=collect_python())


def collect_system(root: Path = Path("/")) -> HostSystem:
    """The system directories below `root`."""
    directories = [Path(name) for name in SYSTEM_DIRECTORIES]
    links, real = [], []
    for directory in directories:
        on_disk = root / directory.relative_to("/")
        if on_disk.is_symlink():
            links.append(Link(path=str(directory), target=str(on_disk.readlink())))
        elif on_disk.is_dir():
            real.append(Bind(source=str(on_disk), target=str(directory)))
    _, most_processes = resource.getrlimit(resource.RLIMIT_NPROC)
    is_limited = holds_processes(os.uname().release, os.geteuid())
    return HostSystem(
        links=tuple(links),
        binds=(Bind(source=str(root / "usr"), target="/usr"), *real, *_collect_etc(root / "etc")),
        proc_read_only=_present(root / "proc", _PROC_READ_ONLY),
        proc_hidden=_present(root / "proc", _PROC_HIDDEN),
        setsid=_find_program(root, "setsid"),
        prlimit=_find_program(root, "prlimit") if is_limited else None,
        most_processes=None if most_processes == resource.RLIM_INFINITY else most_processes,
    )


def holds_processes(release: str, user: int) -> bool:
    """Whether RLIMIT_NPROC holds a sandbox of this user, on a Linux of this release. Pure.

    The kernel holds nobody to it who is root outside.
    """
    version = re.match(r"(\d+)\.(\d+)", release)
    is_known = version is not None and (int(version[1]), int(version[2])) >= PER_NAMESPACE_SINCE
    return is_known and user != 0


def _find_program(root: Path, name: str) -> str | None:
    """A program of the system's, by the path that it has in a sandbox as well."""
    for directory in _PROGRAM_DIRECTORIES:
        path = f"{directory}/{name}"
        if os.access(root / path.removeprefix("/"), os.X_OK):
            return path
    return None


def _collect_etc(etc: Path) -> tuple[Bind, ...]:
    own = Path(__file__).parent / "bubblewrap_etc"
    return (
        # The real file: /etc/resolv.conf is often a link to one in /run, which isn't shown.
        *(
            Bind(source=str((etc / name).resolve()), target=f"/etc/{name}")
            for name in _ETC
            if (etc / name).exists()
        ),
        *(Bind(source=str(own / name), target=f"/etc/{name}") for name in _OWN_ETC),
    )


def _present(directory: Path, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"/proc/{name}" for name in names if (directory / name).exists())


def collect_python() -> HostPython:
    """The running Python."""
    import trio

    # A program that embeds Python may not know of an executable.
    executable = sys.executable or f"{sys.prefix}/bin/python3"
    prefixes = (sys.prefix, sys.base_prefix)
    trio_directory = Path(trio.__file__).parents[1]
    package_directories = select_package_directories(
        (*sys.path, str(trio_directory)), prefixes, must_have=str(trio_directory)
    )
    return HostPython(
        executable=executable,
        links=follow_links(Path(executable)),
        prefix=sys.prefix,
        base_prefix=sys.base_prefix,
        real_base_prefix=str(Path(sys.base_prefix).resolve()),
        package_directories=package_directories,
        search_path=tuple(dict.fromkeys((*package_directories, *sys.path))),
    )


def follow_links(path: Path) -> tuple[Link, ...]:
    """The links in a row from `path` on; each target is an absolute path."""
    links: list[Link] = []
    while path.is_symlink() and len(links) < _MAX_LINKS:
        # Normalized: the directories that a ".." climbs out of are not there in a sandbox.
        target = os.path.normpath(path.parent.resolve() / path.readlink())
        links.append(Link(path=str(path), target=target))
        path = Path(target)
    return tuple(links)


def select_package_directories(
    search_path: Iterable[str], prefixes: tuple[str, ...], *, must_have: str
) -> tuple[str, ...]:
    """The directories of packages that lie outside of these prefixes, in their order. Pure.

    `must_have` counts as one whatever it is called.
    """
    return tuple(
        dict.fromkeys(
            entry
            for entry in search_path
            if Path(entry).name in _PACKAGE_DIRECTORIES or entry == must_have
            if not is_below(entry, prefixes)
        )
    )


def is_below(path: str, directories: Iterable[str]) -> bool:
    """Whether a path is one of these directories or lies below one, as written."""
    return any(Path(path).is_relative_to(directory) for directory in directories)
