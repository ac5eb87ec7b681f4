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


class GroupBusy(InputError):
    """A run was asked for while another one has the group, in this process or in another.

    Nothing was started, and nothing waits: the same call works once that run is over.

    Attributes:
        folder: The group's.
        pid: Of the process that has it; None if that isn't known, as with the next two.
        container: The container's name.
        since: When it took the group, as ISO time.
    """

    def __init__(
        self,
        folder: str,
        *,
        pid: int | None = None,
        container: str | None = None,
        since: str | None = None,
    ) -> None:
        whose = (
            f"container {container} of process {pid}, since {since}" if pid else "nobody says whose"
        )
        super().__init__(
            f"group {folder!r} has a run already ({whose}); wait for its end, or end that process"
        )
        self.folder = folder
        self.pid = pid
        self.container = container
        self.since = since


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


class ImageNotNeeded(InputError):
    """An image was to be built for a runtime that has none."""

    def __init__(self, runtime: str) -> None:
        super().__init__(
            f"{runtime} needs no image; leave the build out, or name a container engine's runtime"
        )
        self.runtime = runtime


class EngineRunning(InputError):
    """The project has an engine already, in this process or in another. Nothing was started.

    Attributes:
        pid: Of the process that has it; None if that isn't known, as with the next two.
        host: The machine's name.
        since: Since when, as ISO time.
    """

    def __init__(
        self,
        project: Path,
        *,
        pid: int | None = None,
        host: str | None = None,
        since: str | None = None,
    ) -> None:
        whose = f"process {pid} on {host}, since {since}" if pid else "nobody says whose"
        super().__init__(
            f"project {str(project)!r} has an engine already ({whose}); two would answer twice: end "
            "that process, or leave the work to it"
        )
        self.project = project
        self.pid = pid
        self.host = host
        self.since = since


class EngineClosed(InputError):
    """Something was asked of an engine that is ending, and takes nothing any more."""

    def __init__(self) -> None:
        super().__init__("the engine is ending and takes nothing more; give it to the next one")


class GroupUnknown(InputError):
    """No group of this folder is registered."""

    def __init__(self, folder: str) -> None:
        super().__init__(
            f"no group {folder!r} is registered; register it with `nanoclaw-trio groups add` or "
            "Engine.register_group"
        )
        self.folder = folder


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


class ImageIncompatible(ConfigurationError):
    """The agent in the image speaks another version of the protocol than this host."""

    def __init__(self, image: str, runtime: str, version: str, ours: str, remedy: str) -> None:
        super().__init__(
            f"{runtime}'s image {image!r} speaks protocol {version!r} and this host {ours!r}; "
            f"{remedy}"
        )
        self.image = image
        self.runtime = runtime
        self.version = version
        self.ours = ours


class BuildFailed(ConfigurationError):
    """The engine can't build the image; `tail` has the last lines of what it said.

    The fault may be the Dockerfile's, its base image's, or the network's.
    """

    def __init__(self, image: str, runtime: str, why: str, tail: tuple[str, ...] = ()) -> None:
        said = f"; its last words: {tail[-1]}" if tail else ""
        super().__init__(
            f"{runtime} can't build image {image!r}: {why}{said}; mend what it says and try again"
        )
        self.image = image
        self.runtime = runtime
        self.why = why
        self.tail = tail


class RuntimeFailure(NanoclawError):
    """The container engine's fault, or that of the way to it."""


class RuntimeUnavailable(RuntimeFailure):
    """The runtime isn't installed, doesn't answer within its bound, or can't work here."""

    def __init__(self, runtime: str, why: str, remedy: str) -> None:
        super().__init__(f"{runtime} can't be used: {why}; {remedy}")
        self.runtime = runtime
        self.why = why


class AgentNotInstalled(RuntimeUnavailable):
    """A runtime that takes its agents from this installation doesn't find the one asked for."""

    def __init__(self, agent: str, what_is_missing: str, runtime: str = "bubblewrap") -> None:
        super().__init__(
            runtime,
            f"the agent {agent!r} isn't installed: {what_is_missing}",
            "install it with `pip install 'nanoclaw-trio[agent]'`, or use a container engine "
            "(Docker, Podman)",
        )
        self.agent = agent


class StartFailed(RuntimeFailure):
    """A container could not be started, for another reason than a missing image or engine."""

    def __init__(self, container: str, why: str) -> None:
        super().__init__(f"container {container} could not be started: {why}")
        self.container = container


class KeyUnprotected(StartFailed):
    """A container wasn't started, since the agent's tools could have read the API key in there."""

    def __init__(self, container: str, why: str, remedy: str) -> None:
        super().__init__(container, f"the API key can't be kept from its tools: {why}; {remedy}")


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


class MailboxUnwritable(HostError):
    """A follow-up can't be written: the agent tampered with its mailbox, or the disk refuses.

    The text was not written, and the run goes on. Close it, and give the text to the group's next
    run, which has a mailbox in order.
    """

    def __init__(self, container: str, why: str) -> None:
        super().__init__(
            f"the mailbox of run {container} can't be written: {why}; close the run and send the "
            "follow-up to the next one"
        )
        self.container = container
        self.why = why


class WorkspaceFailed(HostError):
    """A group's workspace can't be made on the disk."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} can't be prepared: {why}; mend its permissions or free the disk")
        self.path = path
