"""What the registry-free image holds: files of this host, and how they become an archive.

Unlike the rest of the package this module reads the disk itself and not through files.py: what it
reads is the host's Python installation, whose links are to be followed, and no agent can write
there.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sys
import sysconfig
import tarfile
from importlib import resources
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from nanoclaw_trio.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PACKAGES: Final = ("attr", "attrs", "idna", "outcome", "sniffio", "sortedcontainers", "trio")
"""Trio, and what it needs on Linux."""

TOOLS: Final = (
    *("cat", "chmod", "date", "dd", "env", "head", "id", "ls", "mkdir", "mv"),
    *("rm", "sh", "sleep", "stat", "tail", "touch", "true", "wc", "yes"),
)
"""Programs in the image's /bin: what a test's own command line may want."""

VENV_PYTHON: Final = "/opt/venv/bin/python"
"""The interpreter that the entry point names: a link to this host's, by the same path."""

AGENT_UID: Final = 1000

AGENT_DIRECTORIES: Final = (
    "/home/node",
    "/workspace/extra",
    "/workspace/global",
    "/workspace/group",
    "/workspace/ipc/input",
    "/workspace/ipc/messages",
    "/workspace/ipc/tasks",
)
"""The agent's own, and open to any other user that the host runs it as."""

SYSTEM_DIRECTORIES: Final = {
    "/dev": 0o755,
    "/proc": 0o755,
    "/run": 0o755,
    "/sys": 0o755,
    "/tmp": 0o1777,  # noqa: S108 - the image's
}
"""What an engine mounts over or a program expects, with its mode."""

_LEFT_OUT: Final = frozenset(
    {
        *("_tests", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tests", "tkinter"),
        *("turtledemo", "dist-packages", "site-packages"),
    }
)
_LEFT_OUT_PREFIXES: Final = ("_ctypes_test", "_test", "_tkinter", "config-", "xx")

# By it the loader finds libraries in directories that only this host's configuration names.
_LOADER_CACHE: Final = Path("/etc/ld.so.cache")


def interpreter() -> Path:
    """The Python that runs this, outside of any virtual environment."""
    return Path(sys.executable).resolve()


def image_files(container_dir: Path) -> dict[str, Path]:
    """The image's files except shared libraries: path in the image → path on this host.

    Python stays where it is on this host, since it and its libraries find each other by their
    paths; a virtual environment at /opt/venv refers to it.
    """
    stdlib = Path(sysconfig.get_path("stdlib")).resolve()
    files = {str(interpreter()): interpreter()} | _tree(stdlib, str(stdlib))
    for package in PACKAGES:
        files |= _tree(
            Path(str(resources.files(package))),
            f"/opt/venv/lib/{stdlib.name}/site-packages/{package}",
        )
    files |= _tree(container_dir / "agent-runner" / "src", "/app/src")
    files |= {str(path): path for path in (_LOADER_CACHE,) if path.exists()}
    return files | {f"/bin/{name}": _tool(name) for name in TOOLS}


def image_texts() -> dict[str, str]:
    """The image's files that no host has: path in the image → content."""
    return {
        "/etc/group": f"root:x:0:\nnode:x:{AGENT_UID}:\n",
        "/etc/passwd": (
            "root:x:0:0:root:/root:/bin/sh\n"
            f"node:x:{AGENT_UID}:{AGENT_UID}:node:/home/node:/bin/sh\n"
        ),
        "/opt/venv/pyvenv.cfg": f"home = {interpreter().parent}\ninclude-system-site-packages = false\n",
    }


def _tree(source: Path, target: str) -> dict[str, Path]:
    files = {}
    for directory, subdirectories, names in os.walk(source):
        subdirectories[:] = filter(_belongs, subdirectories)
        for name in filter(_belongs, names):
            path = Path(directory, name)
            files[f"{target}/{path.relative_to(source)}"] = path
    return files


def _belongs(name: str) -> bool:
    return not (
        name in _LEFT_OUT or name.startswith(_LEFT_OUT_PREFIXES) or _is_compiled_for_another(name)
    )


def _is_compiled_for_another(name: str) -> bool:
    # Compiled files of this Python come along: without them a container starts 0.4 s later.
    # A name that goes on after ".pyc" is one that some process is just writing.
    return ".pyc" in name and not name.endswith(f".{sys.implementation.cache_tag}.pyc")


def _tool(name: str) -> Path:
    path = shutil.which(name)
    if path is None:
        raise HostError(f"there is no program {name!r} on this host's PATH; install it")
    return Path(path)


def is_program(name: str) -> bool:
    """Whether this path in the image is a tool or an extension, which need shared libraries."""
    return name.startswith("/bin/") or ".so" in name


def content_hash(files: Mapping[str, Path], texts: Mapping[str, str]) -> str:
    """A hash that changes with the image: of names, sizes and times, since reading takes longer.

    Compiled files are left out: any process on this host may write one at any time.
    """
    digest = hashlib.sha256(repr(sorted(texts.items())).encode())
    for name, path in sorted(files.items()):
        if name.endswith(".pyc"):
            continue
        status = path.stat()
        digest.update(repr((name, status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()


def write_archive(archive: IO[bytes], files: Mapping[str, Path], texts: Mapping[str, str]) -> None:
    """Write the image's root directory as a tar file. Files keep their time; root owns them."""
    with tarfile.open(fileobj=archive, mode="w", dereference=True) as tar:
        for name in _directories((*files, *texts, VENV_PYTHON)):
            tar.addfile(_directory(name))
        tar.addfile(_link(VENV_PYTHON, str(interpreter())))
        for name, text in sorted(texts.items()):
            tar.addfile(_text(name, text), io.BytesIO(text.encode()))
        for name, path in sorted(files.items()):
            _add_file(tar, name, path)
    archive.flush()


def _directories(names: Iterable[str]) -> list[str]:
    """The directories of these paths, each before what lies in it."""
    leaves = {*AGENT_DIRECTORIES, *SYSTEM_DIRECTORIES}
    parents = {str(parent) for name in (*names, *leaves) for parent in Path(name).parents}
    return sorted((leaves | parents) - {"/"})


def _directory(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name.lstrip("/"))
    info.type = tarfile.DIRTYPE
    info.mode = SYSTEM_DIRECTORIES.get(name, 0o755)
    if name in AGENT_DIRECTORIES:
        info.mode, info.uid, info.gid = 0o777, AGENT_UID, AGENT_UID
    return info


def _link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name.lstrip("/"))
    info.type = tarfile.SYMTYPE
    info.linkname = target
    return info


def _text(name: str, text: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name.lstrip("/"))
    info.size = len(text.encode())
    return info


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> None:
    with path.open("rb") as file:
        info = tar.gettarinfo(arcname=name, fileobj=file)
        info.uid = info.gid = 0
        info.uname = info.gname = "root"
        info.mode = 0o755 if info.mode & 0o111 else 0o644
        # Whole seconds, as the header of a compiled file has them.
        info.mtime = int(info.mtime)
        tar.addfile(info, file)
