"""The exit status of the commands: pure decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.cli.ending import BAD_INPUT, BAD_USAGE_STATUS, GROUP_BUSY
from nanoclaw_trio.errors import (
    BuildFailed,
    ConfigurationError,
    EngineRunning,
    GroupBusy,
    HostError,
    ImageIncompatible,
    ImageMissing,
    InputError,
    RuntimeFailure,
    RuntimeUnavailable,
)
from nanoclaw_trio.run.outcome import Cause

if TYPE_CHECKING:
    from nanoclaw_trio.protocol.models import ContainerOutput

SUCCESS: Final = 0
AGENT_FAILED: Final = 1
NO_RUNTIME: Final = 3
"""Nothing was started, and the same command may work later: there is no runtime or no image, or
another run has the group."""

ENGINE_RUNNING: Final = 4
"""The project has an engine already."""

TIMED_OUT: Final = 124
"""As timeout(1) has it."""

_WITHOUT_SUCCESS: Final = {
    Cause.TIMED_OUT: TIMED_OUT,
    Cause.AGENT_FAILED: AGENT_FAILED,
    Cause.OUT_OF_MEMORY: AGENT_FAILED,
    Cause.KILLED_FROM_OUTSIDE: AGENT_FAILED,
    Cause.NO_OUTPUT: AGENT_FAILED,
    Cause.UNPARSABLE_OUTPUT: AGENT_FAILED,
    Cause.IMAGE_MISSING: NO_RUNTIME,
    Cause.RUNTIME_UNAVAILABLE: NO_RUNTIME,
    Cause.SPAWN_FAILED: NO_RUNTIME,
}
"""The exit status after each cause but those that may be a success."""


@frozen(kw_only=True)
class Tally:
    """What a run's outputs amounted to for whoever asked.

    Attributes:
        answers: Outputs that say "success" and have a result.
        errors: Outputs that say "error".
        last_error: The last of those in words, unless an answer came after it.
        session_id: Of the last session update, that is, of a query that went to its end.
    """

    answers: int = 0
    errors: int = 0
    last_error: str | None = None
    session_id: str | None = None

    def with_output(self, output: ContainerOutput) -> Tally:
        """The tally with one more output."""
        failed = output.status == "error"
        update = output.is_session_update
        answered = not failed and output.result is not None
        last_error = None if answered else self.last_error
        return Tally(
            answers=self.answers + answered,
            errors=self.errors + failed,
            last_error=describe_error(output) if failed else last_error,
            session_id=output.new_session_id if update else self.session_id,
        )


def describe_error(output: ContainerOutput) -> str:
    """The words of an output that says "error"."""
    return output.error or "the agent reported an error without words for it"


def status_after_run(cause: Cause, tally: Tally) -> int:
    """The exit status after a run that ended for this cause."""
    if cause in _WITHOUT_SUCCESS:
        return _WITHOUT_SUCCESS[cause]
    if tally.answers and tally.last_error is None:
        return SUCCESS
    return TIMED_OUT if cause is Cause.IDLE_CLOSED and not tally.errors else AGENT_FAILED


def status_after_error(error: Exception) -> int:
    """The exit status after an exception, for which there was no run or no result of one."""
    match error:
        case ImageMissing() | ImageIncompatible() | BuildFailed() | RuntimeFailure() | GroupBusy():
            return NO_RUNTIME
        case EngineRunning():
            return ENGINE_RUNNING
        case InputError() | ConfigurationError():
            return BAD_USAGE_STATUS
        case _:
            return AGENT_FAILED


def cause_of_error(error: Exception) -> str:
    """The cause after an exception: a run's, or one of the command's own."""
    fitting = (cause for kinds, cause in _CAUSES if isinstance(error, kinds))
    return next(fitting, "internal_error")


_CAUSES: Final = (
    ((ImageMissing, ImageIncompatible, BuildFailed), Cause.IMAGE_MISSING),
    ((RuntimeUnavailable,), Cause.RUNTIME_UNAVAILABLE),
    ((RuntimeFailure,), Cause.SPAWN_FAILED),
    ((GroupBusy,), GROUP_BUSY),
    ((InputError, ConfigurationError), BAD_INPUT),
    ((HostError, OSError), "host_failed"),
)
"""The cause after each kind of exception; the first that fits holds."""
