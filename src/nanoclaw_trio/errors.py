"""Every error this package raises, sorted by whose fault it is.

Catch the base of a family to act on the fault, the class itself to act on the thing:

- :class:`InputError`: the caller's. The same call will fail again; mend the call.
- :class:`ConfigurationError`: the operator's. Mend a setting, a file, an installation.
- :class:`RuntimeFailure`: the container engine's. Later, the same call may work.
- :class:`ProtocolError`: the agent's. What it wrote isn't what the protocol allows.
- :class:`HostError`: the host's disk or system.

A message names the thing, what is wrong with it, and what to do. No message holds a secret:
text that came from a container is redacted before it gets here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class NanoclawError(Exception):
    """The base of all errors of this package."""


class InputError(NanoclawError):
    """The caller's fault: what was asked for can't be done as it was asked."""


class InvalidGroupFolder(InputError):
    """A group's folder name is outside of what the format allows (wire-formats 8)."""

    def __init__(self, folder: str) -> None:
        super().__init__(
            f"group folder {folder!r} isn't allowed: a name starts with a letter or a digit, goes "
            "on with letters, digits, '_' and '-', has at most 64 characters and is neither 'global' "
            "nor 'errors'; rename the folder"
        )
        self.folder = folder


class InvalidContainerInput(InputError):
    """A container input lacks a field or holds a wrong type; the message has the path into it."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"container input doesn't fit: {problem}; see the table in docs/protocol and mend it"
        )
        self.problem = problem


class ProjectNotFound(InputError):
    """The project folder isn't there, or isn't a folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"project folder {str(path)!r} isn't there or isn't a folder; create it or name another"
        )
        self.path = path


class RunClosing(InputError):
    """A follow-up was sent to a run that takes none any more: it is closing, or over.

    The text was not written. Give it to the group's next run.
    """

    def __init__(self, container: str) -> None:
        super().__init__(
            f"run {container} is closing and takes no more follow-ups; send it to the next run"
        )
        self.container = container


class ResultNotReady(InputError):
    """The result of a run was asked for before its outputs were read to their end.

    Also raised after the caller left the block early: a run that its caller stopped has no result.
    """

    def __init__(self, container: str) -> None:
        super().__init__(
            f"run {container} has no result: read its outputs to the end before asking for it"
        )
        self.container = container


class ConfigurationError(NanoclawError):
    """The operator's fault: a setting, a file or an installation needs to be mended."""


class InvalidSetting(ConfigurationError):
    """A setting's value can't be used. The value itself isn't repeated: it may be a key."""

    def __init__(self, variable: str, source: str, problem: str) -> None:
        super().__init__(f"setting {variable} (from {source}) {problem}")
        self.variable = variable
        self.source = source


class InvalidFile(ConfigurationError):
    """A file of ours or of the operator's can't be used; the message has the path into it."""

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}; {remedy}")
        self.path = path


class ImageMissing(ConfigurationError):
    """The runtime answers and doesn't have the image."""

    def __init__(self, image: str, runtime: str, remedy: str) -> None:
        super().__init__(f"{runtime} has no image {image!r}; {remedy}")
        self.image = image
        self.runtime = runtime


class RuntimeFailure(NanoclawError):
    """The container engine's fault, or that of the way to it."""


class RuntimeUnavailable(RuntimeFailure):
    """The runtime isn't installed, doesn't answer within its bound, or can't work here."""

    def __init__(self, runtime: str, why: str, remedy: str) -> None:
        super().__init__(f"{runtime} can't be used: {why}; {remedy}")
        self.runtime = runtime
        self.why = why


class StartFailed(RuntimeFailure):
    """A container could not be started, for another reason than a missing image or engine."""

    def __init__(self, container: str, why: str) -> None:
        super().__init__(f"container {container} could not be started: {why}")
        self.container = container


class RuntimeCommandFailed(RuntimeFailure):
    """A command of the runtime failed, hung past its bound, or answered garbage."""

    def __init__(self, command: str, why: str) -> None:
        super().__init__(f"`{command}` {why}")
        self.command = command
        self.why = why


class ProtocolError(NanoclawError):
    """The agent's fault: it wrote something that isn't in the protocol."""


class InvalidContainerOutput(ProtocolError):
    """The text between two markers isn't a container output; the message has the path into it."""


class HostError(NanoclawError):
    """The host's disk or system is at fault."""


class UnsafePath(HostError):
    """A path inside an agent's reach is not what the host put there (Trap A28).

    Somebody replaced a directory or a file by a link, a socket or a device.
    """

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path} is {what}; it was not followed: remove it")
        self.path = path


class WorkspaceFailed(HostError):
    """A group's workspace can't be made on the disk."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} can't be prepared: {why}; mend its permissions or free the disk")
        self.path = path
