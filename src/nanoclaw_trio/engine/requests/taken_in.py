"""What came of the requests that were taken in from a group's mailbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from nanoclaw_trio.store.models import Registration


@frozen(kw_only=True)
class TakenIn:
    """What came of a visit to a group's mailbox. It is true if anything did.

    Attributes:
        folder: The group's.
        done: How many requests were carried out.
        refused: How many the group may not ask for; they are consumed.
        broken: How many files nobody could have success with; they are set aside.
        chats: Where something is to be said now, and was recorded. What it is isn't kept here: that
            may be a megabyte for each file.
        tasks_changed: Whether tasks were made, changed or deleted.
        registered: The groups that were registered, or registered anew.
        list_chats: Whether the bridge shall be asked which chats there are.
        full_chats: Chats in which too much waits to be said: requests to say more wait for room.
        has_more: Whether files were left for the next visit, apart from those.
    """

    folder: str
    done: int = 0
    refused: int = 0
    broken: int = 0
    chats: frozenset[str] = frozenset()
    tasks_changed: bool = False
    registered: tuple[Registration, ...] = ()
    list_chats: bool = False
    full_chats: frozenset[str] = frozenset()
    has_more: bool = False

    @property
    def groups_changed(self) -> bool:
        """Whether the groups are others than before."""
        return bool(self.registered)

    def __bool__(self) -> bool:
        return self != TakenIn(folder=self.folder)

    def followed_by(self, later: TakenIn) -> TakenIn:
        """This and what came after it, of the same group, as one."""
        return TakenIn(
            folder=self.folder,
            done=self.done + later.done,
            refused=self.refused + later.refused,
            broken=self.broken + later.broken,
            chats=self.chats | later.chats,
            tasks_changed=self.tasks_changed or later.tasks_changed,
            registered=self.registered + later.registered,
            list_chats=self.list_chats or later.list_chats,
            full_chats=self.full_chats | later.full_chats,
            has_more=later.has_more,
        )
