"""How the command ended, as the last line of its output says it."""

from __future__ import annotations

from typing import Any, Final, Literal

from attrs import frozen

BAD_INPUT: Final = "bad_input"
"""The cause after a command line, a setting or an input that can't be used."""

GROUP_BUSY: Final = "group_busy"
"""The cause where another run has the group, of this user's or of another's."""

CANCELLED: Final = "cancelled"
"""The cause after a signal."""

CLOSED_OUTPUT_STATUS: Final = 141
"""What a shell reports for a program that SIGPIPE ended: nobody read its output to the end."""

BAD_USAGE_STATUS: Final = 2


@frozen(kw_only=True)
class Ending:
    """How a run ended, or why there was none.

    Attributes:
        status: `success` if the exit status is 0.
        cause: A run's cause, or one of the command's own: bad_input, group_busy, host_failed,
            cancelled, internal_error.
        exit_status: Of the command.
        new_session_id: The session to resume next time.
        error: What went wrong, for people.
        duration: Seconds.
        exit_code: The container's; None where it isn't known.
        log_path: The run log.
        container: The container's name; None if there was none.
        gone: Whether no container is left for certain.
        doubt: Where it isn't certain: why, and what to do.
    """

    status: Literal["success", "error"] = "error"
    cause: str
    exit_status: int
    new_session_id: str | None = None
    error: str | None = None
    duration: float = 0.0
    exit_code: int | None = None
    log_path: str | None = None
    container: str | None = None
    gone: bool = True
    doubt: str | None = None


def bad_usage(problem: str) -> Ending:
    """The ending after a command line that can't be understood."""
    return Ending(cause=BAD_INPUT, exit_status=BAD_USAGE_STATUS, error=problem)


def end_record(ending: Ending) -> dict[str, Any]:
    """The JSON object that ends the output; all keys are always there."""
    return {
        "type": "end",
        "status": ending.status,
        "cause": ending.cause,
        "newSessionId": ending.new_session_id,
        "error": ending.error,
        "durationSeconds": round(ending.duration, 3),
        "exitCode": ending.exit_code,
        "logPath": ending.log_path,
        "container": ending.container,
        "gone": ending.gone,
    }


def words(ending: Ending) -> tuple[str, ...]:
    """What is said of an ending on standard error, a line each; nothing after a success.

    Nor where nobody reads the output any more, as after `| head`, unless a container may be left.
    """
    doubt = () if ending.doubt is None else (ending.doubt,)
    if ending.error is None or ending.exit_status == CLOSED_OUTPUT_STATUS:
        return doubt
    if ending.cause != CANCELLED or doubt:
        return (ending.error, *doubt)
    left = "no container is left" if ending.container is None else f"{ending.container} is gone"
    return (f"{ending.error}; {left}",)
