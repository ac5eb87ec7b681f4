"""What is known of a container after its run: the receipt."""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen


@frozen(kw_only=True)
class Gone:
    """The runtime itself says that there is no such container any more.

    Attributes:
        container: Its name.
        evidence: What the runtime said.
        steps: What was done to get there, in order; empty if it had ended by itself.
    """

    container: str
    evidence: str
    steps: tuple[str, ...] = ()


@frozen(kw_only=True)
class Unconfirmed:
    """Nobody said that the container is gone: it may live on.

    Attributes:
        container: Its name; the reaper finds it by its install's label.
        why: What stood in the way.
        steps: What was tried, in order, each with its outcome.
    """

    container: str
    why: str
    steps: tuple[str, ...] = ()


Receipt: TypeAlias = Gone | Unconfirmed
