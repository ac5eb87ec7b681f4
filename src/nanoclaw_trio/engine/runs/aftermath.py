"""After a run: whether it was a failure, whose, and what comes next. Pure."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from attrs import frozen

from nanoclaw_trio.errors import ConfigurationError, GroupBusy, HostError, NanoclawError
from nanoclaw_trio.run.outcome import Cause
from nanoclaw_trio.run.receipt import Unconfirmed

if TYPE_CHECKING:
    from nanoclaw_trio.run.outcome import RunResult
    from nanoclaw_trio.run.receipt import Receipt

INFRASTRUCTURE: Final = frozenset({Cause.IMAGE_MISSING, Cause.RUNTIME_UNAVAILABLE})
"""Causes that lie outside of the run: another message would have met with the same."""

_NOT_ITS_OWN: Final = (GroupBusy, ConfigurationError, HostError)
"""A .env that can't be read or a full disk fails each run until it is mended: no message may be
given up for it."""

_STALE_SESSION: Final = re.compile(
    r"(session|conversation)\b.{0,80}\b(not found|can't be found|does not exist|doesn't exist)"
    r"|\bno (session|conversation) found",
    re.IGNORECASE | re.DOTALL,
)


class Fault(StrEnum):
    """Whose the failure of a run is."""

    NONE = "none"
    """It did what it was asked."""
    WORK = "work"
    """The run's own: counted, and tried again after a while."""
    START = "start"
    """The same, and no container was started."""
    INFRASTRUCTURE = "infrastructure"
    """The runtime's or the image's: not counted; everything waits until it is mended."""
    DEFERRED = "deferred"
    """The host's or the operator's, or another process has the group: not counted, and tried again."""


@frozen(kw_only=True)
class Aftermath:
    """What a run leaves to do.

    Attributes:
        fault: Whose failure it was, if it was one.
        why: What went wrong, for people; None after a success.
        session_is_stale: Whether the agent said that its session isn't there.
        unconfirmed: The container that may live on; None if it is gone.
    """

    fault: Fault
    why: str | None = None
    session_is_stale: bool = False
    unconfirmed: str | None = None

    @property
    def is_counted(self) -> bool:
        """Whether what the run didn't answer has one attempt less."""
        return self.fault in {Fault.WORK, Fault.START}


def after_result(result: RunResult, *, has_progressed: bool) -> Aftermath:
    """What comes after a run that has a result.

    `has_progressed`: whether a query of it ended well, so that something was answered, or nothing
    had to be. A failure after that isn't one of what was answered (it must not be asked again), and
    what wasn't is asked again at once.
    """
    why = result.error or f"the run ended without an answer ({result.cause})"
    fault = _fault_of(result.cause, has_progressed=has_progressed)
    return Aftermath(
        fault=fault,
        why=None if fault is Fault.NONE else why,
        session_is_stale=fault is Fault.WORK and names_stale_session(why),
        unconfirmed=unconfirmed_container(result.receipt),
    )


def _fault_of(cause: Cause, *, has_progressed: bool) -> Fault:
    if has_progressed:
        return Fault.NONE
    if cause in INFRASTRUCTURE:
        return Fault.INFRASTRUCTURE
    return Fault.START if cause is Cause.SPAWN_FAILED else Fault.WORK


def after_exception(error: Exception, receipt: Receipt | None) -> Aftermath:
    """What comes after a run that was not to be had, or broke off."""
    return Aftermath(
        fault=Fault.DEFERRED if isinstance(error, _NOT_ITS_OWN) else Fault.WORK,
        why=str(error) if isinstance(error, NanoclawError) else type(error).__name__,
        unconfirmed=unconfirmed_container(receipt),
    )


def after_cut_off(receipt: Receipt | None, why: str, *, has_progressed: bool) -> Aftermath:
    """What comes after a run that was stopped while its agent went on: why, for people."""
    return Aftermath(
        fault=Fault.NONE if has_progressed else Fault.WORK,
        why=None if has_progressed else why,
        unconfirmed=unconfirmed_container(receipt),
    )


def names_stale_session(why: str) -> bool:
    """Whether an agent's words are about a session that isn't there."""
    return _STALE_SESSION.search(why) is not None


def unconfirmed_container(receipt: Receipt | None) -> str | None:
    """The container that a receipt can't vouch for."""
    return receipt.container if isinstance(receipt, Unconfirmed) else None
