"""What a group is registered as, where it may be registered already."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from attrs import frozen

from nanoclaw_trio.clock import iso_timestamp
from nanoclaw_trio.protocol.models import RegisteredGroup
from nanoclaw_trio.store.models import Registration

if TYPE_CHECKING:
    from datetime import datetime

    from nanoclaw_trio.protocol.models import ContainerConfig

T = TypeVar("T")


@frozen(kw_only=True)
class GroupWish:
    """What is said of a group that is to answer in a chat; None for what isn't said.

    The fields are those of :class:`~nanoclaw_trio.Registration` and
    :class:`~nanoclaw_trio.RegisteredGroup`.
    """

    jid: str
    folder: str
    name: str | None = None
    trigger: str | None = None
    requires_trigger: bool | None = None
    is_main: bool | None = None
    container_config: ContainerConfig | None = None


def make_registration(
    wish: GroupWish, known: Registration | None, *, trigger: str, now: datetime
) -> Registration:
    """What is to be registered. What isn't said of a known group stays as it is.

    So no group loses its mounts, or ceases to be the main one, by being registered once more with
    fewer words. Pure.

    Args:
        wish: What is said.
        known: What is registered for the chat; it counts only if it has the same folder.
        trigger: The word of a new group that comes without one.
        now: When a new group is added.
    """
    if known is None or known.folder != wish.folder:
        known = _new(wish, trigger, now)
    before = known.group
    group = RegisteredGroup(
        name=_first(wish.name, before.name),
        folder=wish.folder,
        trigger=_first(wish.trigger, before.trigger),
        added_at=before.added_at or iso_timestamp(now),
        requires_trigger=_first(wish.requires_trigger, before.requires_trigger),
        container_config=_first(wish.container_config, before.container_config),
    )
    return Registration(jid=wish.jid, group=group, is_main=_first(wish.is_main, known.is_main))


def _new(wish: GroupWish, trigger: str, now: datetime) -> Registration:
    group = RegisteredGroup(
        name=wish.folder, folder=wish.folder, trigger=trigger, added_at=iso_timestamp(now)
    )
    return Registration(jid=wish.jid, group=group)


def _first(said: T | None, before: T) -> T:
    return before if said is None else said
