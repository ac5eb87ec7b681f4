"""Fault plans for hypothesis, which looks for the smallest that breaks a promise. Needs hypothesis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from nanoclaw_trio.testing.faults import ALL_CALLS, COMMANDS, Fault, FaultPlan, kinds_of

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

LONGEST: Final = 6
"""Faults in one plan, at most."""


def fault_plans() -> SearchStrategy[FaultPlan]:
    """Any plan that has a few faults."""
    return st.lists(faults(), max_size=LONGEST).map(lambda found: FaultPlan(faults=tuple(found)))


def faults() -> SearchStrategy[Fault]:
    """Any fault."""
    return st.sampled_from(COMMANDS).flatmap(_faults_of)


def _faults_of(command: str) -> SearchStrategy[Fault]:
    return st.builds(
        Fault,
        command=st.just(command),
        kind=st.sampled_from(kinds_of(command)),
        first=st.integers(1, 3),
        calls=st.sampled_from((1, 2, 4, ALL_CALLS)),
    )
