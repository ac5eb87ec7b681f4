"""A run's way to the API: whose it is, and what opens it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import field, frozen

if TYPE_CHECKING:
    from nanoclaw_trio.proxy.keys import Keys
    from nanoclaw_trio.proxy.upstream import Upstream


@frozen(kw_only=True, eq=False)
class Entry:
    """One run's.

    Attributes:
        folder: The group's.
        keys: What its requests get.
        upstream: Where they go.
        placeholder: What they show.
        slots: One for each request that may be under way.
        over: Set when the run is over.
    """

    folder: str
    keys: Keys = field(repr=False)
    upstream: Upstream = field(repr=False)
    placeholder: bytes = field(repr=False)
    slots: trio.CapacityLimiter
    over: trio.Event = field(factory=trio.Event)
