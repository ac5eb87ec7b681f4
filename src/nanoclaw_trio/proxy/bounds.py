"""How much an agent may ask of the proxy."""

from __future__ import annotations

import math
import resource
from typing import Final

from attrs import define, frozen

SHARE: Final = 4
"""Of the descriptors that this process may open, connections take one for each so many: with those to
the API that is half of them. The rest is for the agents' streams, the store and the disk."""


@frozen(kw_only=True)
class Bounds:
    """Limits of the proxy. Times in seconds, sizes in bytes.

    Attributes:
        head: Of a request's line and headers, from which on it isn't waited for the rest of them.
        lines: Of a request's line and headers. Many short ones take far longer to read than few long
            ones; the agent's CLI sends thirty.
        requests: A group's requests at a time; more are told to come later.
        connections: Connections at a time on one socket or address; more are closed at once. A
            :class:`Crowd` bounds those of all.
        lookups: Of the API's name at a time, of all groups; more wait. Each has a thread for as long
            as the system takes.
        connect: For the API's host to be found and to take a connection.
        silence: In the middle of a request, from either side. The API may think for ten minutes.
        pause: Between two requests on a connection.
    """

    head: int = 64 * 1024
    lines: int = 128
    requests: int = 32
    connections: int = 64
    lookups: int = 8
    connect: float = 30.0
    silence: float = 900.0
    pause: float = 300.0


@define
class Crowd:
    """The connections of all agents, at whichever socket or address.

    Attributes:
        limit: How many there may be; infinite where descriptors aren't limited.
        present: How many there are.
    """

    limit: float
    present: int = 0


def new_crowd() -> Crowd:
    """One that leaves this process the half of its descriptors.

    The limit is read now: `serve` has raised it by then.
    """
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Crowd(limit=math.inf if soft == resource.RLIM_INFINITY else soft // SHARE)
