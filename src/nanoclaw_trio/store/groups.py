"""Which chat a group answers in."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from nanoclaw_trio.errors import InputError
from nanoclaw_trio.store.rows import to_json, to_registration

if TYPE_CHECKING:
    from nanoclaw_trio.store.connection import Row, Transaction
    from nanoclaw_trio.store.models import Registration

ADDRESS_LIMIT: Final = 1024
"""Bytes of the longest address of a chat, in UTF-8."""

_UNWRITABLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories of control characters, halves of pairs, and the separators of lines."""

_SHOWN: Final = 64
"""Characters of an address that an error repeats."""


class GroupConflict(InputError):
    """A registration stands against another one: its chat, its folder, or its being the main group."""

    def __init__(self, folder: str, why: str) -> None:
        super().__init__(
            f"group {folder!r} can't be registered: {why}; remove that registration first, or "
            "choose another chat or folder"
        )
        self.folder = folder
        self.why = why


class InvalidChatAddress(InputError):
    """A chat's address can't be one; the message says why not."""

    def __init__(self, jid: str, why: str) -> None:
        super().__init__(
            f"{jid[:_SHOWN]!r} can't be a chat's address: {why}; take it as the platform has it"
        )
        self.why = why


def check_chat_address(jid: str) -> None:
    """Refuse what no platform calls a chat, such as a variable that wasn't set.

    Raises:
        InvalidChatAddress: it is blank, longer than ADDRESS_LIMIT, or more than one line.
    """
    if not jid.strip():
        raise InvalidChatAddress(jid, "it is empty")
    if any(unicodedata.category(character) in _UNWRITABLE for character in jid):
        raise InvalidChatAddress(jid, "it has line breaks or control characters")
    if len(jid.encode()) > ADDRESS_LIMIT:
        raise InvalidChatAddress(jid, f"it has more than {ADDRESS_LIMIT} bytes")


def register(tx: Transaction, registration: Registration) -> None:
    """Register a group for a chat; one that is registered for that chat already is replaced.

    Raises:
        InvalidChatAddress: the chat's address can't be one.
        GroupConflict: the chat or the folder is another's, or there is another main group.
    """
    check_chat_address(registration.jid)
    if why := _conflict(tx, registration):
        raise GroupConflict(registration.folder, why)
    tx.change(
        "INSERT INTO groups (folder, jid, is_main, registered_group) VALUES (?1, ?2, ?3, ?4) "
        "ON CONFLICT (folder) DO UPDATE SET is_main = ?3, registered_group = ?4",
        registration.folder,
        registration.jid,
        registration.is_main,
        to_json(registration.group),
    )


def _conflict(tx: Transaction, new: Registration) -> str | None:
    known = by_jid(tx, new.jid)
    if known is not None and known.folder != new.folder:
        return f"chat {new.jid!r} is group {known.folder!r}'s"
    known = by_folder(tx, new.folder)
    if known is not None and known.jid != new.jid:
        return f"the folder is chat {known.jid!r}'s"
    # On a disk that doesn't tell them apart they are one directory, and one mailbox.
    twin = tx.row(
        "SELECT folder FROM groups WHERE folder != ?1 AND folder = ?1 COLLATE NOCASE", new.folder
    )
    if twin is not None:
        return f"the folder differs from {twin['folder']!r} in case only"
    main = tx.row("SELECT folder FROM groups WHERE is_main = 1 AND folder != ?", new.folder)
    if new.is_main and main is not None:
        return f"{main['folder']!r} is the main group"
    return None


def unregister(tx: Transaction, folder: str) -> bool:
    """Forget a registration; whether there was one. The group's messages and tasks stay."""
    return tx.change("DELETE FROM groups WHERE folder = ?", folder) > 0


def by_jid(tx: Transaction, jid: str) -> Registration | None:
    """The registration of a chat."""
    return _one(tx.row("SELECT * FROM groups WHERE jid = ?", jid))


def has_chat(tx: Transaction, jid: str) -> bool:
    """Whether a group is registered for a chat."""
    return tx.row("SELECT 1 FROM groups WHERE jid = ?", jid) is not None


def by_folder(tx: Transaction, folder: str) -> Registration | None:
    """The registration of a group."""
    return _one(tx.row("SELECT * FROM groups WHERE folder = ?", folder))


def _one(row: Row | None) -> Registration | None:
    return None if row is None else to_registration(row)


def count(tx: Transaction) -> int:
    """How many there are."""
    return tx.number("SELECT count(*) FROM groups")


def registrations(tx: Transaction) -> tuple[Registration, ...]:
    """All of them, by folder."""
    return tuple(map(to_registration, tx.rows("SELECT * FROM groups ORDER BY folder")))
