"""From a run's result, an exception or a signal to the ending that is reported. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from nanoclaw_trio.cli.ending import CANCELLED, Ending
from nanoclaw_trio.cli.exit_status import (
    SUCCESS,
    TIMED_OUT,
    Tally,
    cause_of_error,
    status_after_error,
    status_after_run,
)
from nanoclaw_trio.errors import NanoclawError
from nanoclaw_trio.run.receipt import Gone, Receipt

if TYPE_CHECKING:
    import signal

    from nanoclaw_trio.run.outcome import RunResult

_REMOVERS: Final = {
    "docker-api": "docker rm -f",
    "docker": "docker rm -f",
    "podman-api": "podman rm -f",
    "podman": "podman rm -f",
    "container": "container delete --force",
}
"""The commands by which a person removes a container, by the runtime's name."""


def after_run(result: RunResult, tally: Tally, *, runtime: str) -> Ending:
    """The ending of a run that has a result."""
    exit_status = status_after_run(result.cause, tally)
    ending = Ending(
        status="success" if exit_status == SUCCESS else "error",
        cause=result.cause,
        exit_status=exit_status,
        new_session_id=result.new_session_id,
        error=None if exit_status == SUCCESS else _explain(result, tally, exit_status),
        duration=result.duration,
        exit_code=result.exit_code,
        log_path=str(result.log_path) if result.log_path else None,
    )
    return with_receipt(ending, result.container, result.receipt, runtime=runtime)


def _explain(result: RunResult, tally: Tally, exit_status: int) -> str:
    if result.error is not None:
        return result.error
    if tally.last_error is not None:
        return tally.last_error
    if exit_status == TIMED_OUT:
        return "the agent was silent until its limit and gave no answer"
    return "the agent ended without an answer"


def after_error(error: Exception, *, duration: float) -> Ending:
    """The ending after an exception, as long as no container was started."""
    return Ending(
        cause=cause_of_error(error),
        exit_status=status_after_error(error),
        error=describe(error),
        duration=duration,
    )


def describe(error: Exception) -> str:
    """An exception in words that can be shown.

    Ours hold no secrets. Of another one only what it is: its text may hold anything.
    """
    if isinstance(error, NanoclawError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"internal error: {type(error).__name__}; LOG_LEVEL=debug shows where"


def after_signal(number: signal.Signals, *, duration: float) -> Ending:
    """The ending after a signal, as long as no container was started."""
    return Ending(
        cause=CANCELLED,
        exit_status=128 + number,
        error=f"stopped by {number.name}",
        duration=duration,
    )


def with_receipt(
    ending: Ending, container: str, receipt: Receipt | None, *, runtime: str
) -> Ending:
    """The ending with a container's name and what is known of it; no receipt: nothing is."""
    if isinstance(receipt, Gone):
        return evolve(ending, container=container, gone=True)
    why = "its run was cut off" if receipt is None else receipt.why
    return in_doubt(ending, container, why, runtime=runtime)


def in_doubt(ending: Ending, container: str | None, why: str, *, runtime: str) -> Ending:
    """The ending where a container may be left; its name, if it is known."""
    program = runtime.removesuffix("-api")
    lister = f"`{program} ps -a`" if runtime in _REMOVERS else "`ps`"
    doubt = f"a container may still run: {why}; look for it with {lister}"
    if container is not None:
        doubt = f"container {container} may still run: {why}; {_remedy(container, runtime)}"
    return evolve(ending, container=container, gone=False, doubt=doubt)


def _remedy(container: str, runtime: str) -> str:
    remover = _REMOVERS.get(runtime)
    return f"remove it with `{remover} {container}`" if remover else "end its processes"
