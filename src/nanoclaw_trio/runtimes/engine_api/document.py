"""What an engine is told of a container that it shall create. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from nanoclaw_trio.errors import StartFailed
from nanoclaw_trio.runtimes.arguments import WRITABLE, container_environment
from nanoclaw_trio.runtimes.docker import TMPFS_OPTIONS

if TYPE_CHECKING:
    from nanoclaw_trio.protocol.models import VolumeMount
    from nanoclaw_trio.runtimes.abc import ContainerSpec

BILLION: Final = 10**9
"""Processors are counted in these parts of one."""


def create_document(spec: ContainerSpec, *, selinux: bool) -> dict[str, Any]:
    """The body of `POST /containers/create`, with wire-formats 5, hardened (Trap A15).

    Standard input ends when its one connection does: also if the host is killed. Where SELinux
    enforces its policy, the container is without that one confinement, as with docker's client.
    """
    user = {} if spec.user is None else {"User": f"{spec.user.uid}:{spec.user.gid}"}
    return {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in container_environment(spec).items()],
        "Labels": dict(spec.labels),
        **user,
        **dict.fromkeys(("AttachStdin", "AttachStdout", "AttachStderr"), True),
        **dict.fromkeys(("OpenStdin", "StdinOnce"), True),
        "HostConfig": {
            "AutoRemove": True,
            "RestartPolicy": {"Name": "no"},
            "Init": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges", *(["label=disable"] if selinux else [])],
            # The engine keeps no log of it: we do, and docker's costs time and fills the disk.
            "LogConfig": {"Type": "none"},
            "NetworkMode": spec.network,
            "Mounts": [_mount(mount) for mount in spec.mounts],
            **_limits(spec),
            **_root(spec),
        },
    }


def _mount(mount: VolumeMount) -> dict[str, Any]:
    """A bind mount: unlike in `Binds`, a source that isn't there is an error, not made."""
    return {
        "Type": "bind",
        "Source": str(mount.host_path),
        "Target": mount.container_path,
        "ReadOnly": mount.readonly,
    }


def _limits(spec: ContainerSpec) -> dict[str, Any]:
    """What the container may use; no swap beyond its memory."""
    limits: dict[str, Any] = {"PidsLimit": spec.pids_limit}
    if spec.memory is not None:
        limits |= {"Memory": spec.memory, "MemorySwap": spec.memory}
    if spec.cpus is not None:
        limits["NanoCpus"] = round(spec.cpus * BILLION)
    return limits


def _root(spec: ContainerSpec) -> dict[str, Any]:
    """Whether the image's own files can be changed, and where an agent then writes instead."""
    if not spec.read_only:
        return {}
    return {"ReadonlyRootfs": True, "Tmpfs": dict.fromkeys(WRITABLE, TMPFS_OPTIONS)}


def encode(spec: ContainerSpec, document: dict[str, Any]) -> bytes:
    """The document as JSON.

    Raises:
        StartFailed: a path or a variable can't be written in it.
    """
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError as error:
        # A file name that isn't UTF-8 reaches Python as lone surrogates.
        why = "a path or a variable isn't UTF-8: rename the file, or mend the variable"
        raise StartFailed(spec.name, why) from error
