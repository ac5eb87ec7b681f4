"""Pieces of the command lines that container engines have in common. Pure."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

from nanoclaw_trio.errors import StartFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nanoclaw_trio.protocol.models import VolumeMount
    from nanoclaw_trio.runtimes.abc import ContainerSpec

HOME_OF_OTHER_USER: Final = "/home/node"
"""The home of the image's own user, given to any other: an unknown uid has none (wire-formats 5)."""


WRITABLE: Final = ("/tmp", HOME_OF_OTHER_USER)  # noqa: S108 - the container's own
"""Where an agent writes besides its mounts, if the image's files can't be changed."""


def identity_arguments(spec: ContainerSpec) -> list[str]:
    """The container's name, its variables, its user, and the labels it is found by."""
    arguments = ["--name", spec.name]
    if spec.user is not None:
        arguments += ["--user", f"{spec.user.uid}:{spec.user.gid}"]
    variables = assignments("-e", container_environment(spec))
    return [*arguments, *variables, *assignments("--label", spec.labels)]


def container_environment(spec: ContainerSpec) -> dict[str, str]:
    """The container's variables, with a home for a user that isn't the image's own."""
    environment = dict(spec.environment)
    if spec.user is not None:
        environment.setdefault("HOME", HOME_OF_OTHER_USER)
    return environment


def assignments(option: str, values: Mapping[str, str]) -> list[str]:
    """One `option NAME=VALUE` for each."""
    return [word for name, value in values.items() for word in (option, f"{name}={value}")]


def network_arguments(spec: ContainerSpec) -> list[str]:
    """The network by its name; nothing for the engine's own default."""
    return [] if spec.network == "default" else ["--network", spec.network]


def tmpfs_arguments(options: str = "") -> list[str]:
    """One `--tmpfs` for each place that an agent writes to besides its mounts."""
    return [word for path in WRITABLE for word in ("--tmpfs", f"{path}{options}")]


def mount_arguments(spec: ContainerSpec, *, forbidden: str, quoted: bool) -> list[str]:
    """One `--mount` for each: a ':' in a path means nothing there, unlike with `-v` (Trap A16).

    `forbidden` holds the characters that the engine can't take in a path; `quoted` says whether it
    reads the value as a line of CSV, in which a comma or a quotation mark may be quoted.

    Raises:
        StartFailed: a path can't be written in an argument.
    """
    arguments = []
    for mount in spec.mounts:
        refuse_characters(spec.name, mount, forbidden)
        fields = _mount_fields(mount)
        arguments += ["--mount", _csv_line(fields) if quoted else ",".join(fields)]
    return arguments


def _mount_fields(mount: VolumeMount) -> list[str]:
    fields = ["type=bind", f"source={mount.host_path}", f"target={mount.container_path}"]
    return [*fields, "readonly"] if mount.readonly else fields


def refuse_characters(container: str, mount: VolumeMount, forbidden: str) -> None:
    """StartFailed if one of a mount's paths has one of these, or isn't UTF-8."""
    for path in (str(mount.host_path), mount.container_path):
        # A file name that isn't UTF-8 reaches Python as lone surrogates.
        if any(character in forbidden or "\ud800" <= character <= "\udfff" for character in path):
            raise StartFailed(
                container,
                f"this runtime can't mount {path!r} because of a character in its name: rename it",
            )


def _csv_line(fields: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()
