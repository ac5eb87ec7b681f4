"""The sender allowlist: the operator's word on who may ask the assistant, chat by chat.

    {"default": {"allow": "*", "mode": "trigger"},
     "chats": {"family@chat": {"allow": ["ada@chat", "bob@chat"], "mode": "drop"}}}

It lies beside the mount allowlist, where no agent sees it, and counts as soon as it changes
(Trap A27). Without the file everybody may ask. The format is the original's.

With a file that can't be used nobody may ask; the original would then let everybody. Whoever wrote
one wanted to restrict somebody, and a typing error in it must not be what opens the assistant. Yet
messages are kept, as context: they cost nothing, and the error's end brings them back. Only those
whom the last usable file dropped stay dropped.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from attrs import evolve, field, frozen

from nanoclaw_trio.errors import InvalidFile
from nanoclaw_trio.files import read_if_present
from nanoclaw_trio.logs import log
from nanoclaw_trio.protocol.converters import own, structure
from nanoclaw_trio.protocol.json_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE_NAME: Final = "sender-allowlist.json"

EVERYBODY: Final = "*"

Senders: TypeAlias = Literal["*"] | frozenset[str]
"""Everybody, or those with these addresses."""


class SenderVerdict(StrEnum):
    """What a sender may do in a chat."""

    ALLOWED = "allowed"
    """Ask for an answer."""
    CONTEXT_ONLY = "context_only"
    """Be read, together with the next message that asks for an answer."""
    DROPPED = "dropped"
    """Nothing: what he says isn't kept."""


@frozen(kw_only=True)
class SenderRule:
    """Who may ask in a chat.

    Attributes:
        allow: Who may. Addresses are compared exactly, as the bridge has them.
        mode: What becomes of the others' messages: `trigger`, they are context; `drop`, they are
            not kept.
    """

    allow: Senders
    mode: Literal["trigger", "drop"]

    def verdict(self, sender: str) -> SenderVerdict:
        """What this rule says of a sender."""
        if self.allow == EVERYBODY or sender in self.allow:
            return SenderVerdict.ALLOWED
        return SenderVerdict.DROPPED if self.mode == "drop" else SenderVerdict.CONTEXT_ONLY


@frozen(kw_only=True)
class SenderAllowlist:
    """The file's content.

    Attributes:
        default: For chats without a rule of their own.
        chats: Rules by the chats' addresses; such a rule stands in the place of the default.
        log_denied: Whether the log says whom the list kept from asking.
    """

    default: SenderRule
    chats: dict[str, SenderRule] = field(factory=dict)
    log_denied: bool = True


ALLOW_EVERYBODY: Final = SenderAllowlist(default=SenderRule(allow=EVERYBODY, mode="trigger"))
"""What counts where there is no file."""


@frozen(kw_only=True)
class SenderPolicy:
    """What a sender is judged by.

    Attributes:
        allowlist: The last one that could be used.
        is_closed: Whether the file can't be used now; then nobody may ask.
    """

    allowlist: SenderAllowlist = ALLOW_EVERYBODY
    is_closed: bool = False

    def verdict(self, chat_jid: str, sender: str) -> SenderVerdict:
        """What a sender, by his own address, may do in a chat."""
        rule = self.allowlist.chats.get(chat_jid, self.allowlist.default)
        verdict = rule.verdict(sender)
        if self.is_closed and verdict is SenderVerdict.ALLOWED:
            return SenderVerdict.CONTEXT_ONLY
        return verdict


def sender_allowlist_path(mount_allowlist: Path) -> Path:
    """Where the sender allowlist is: beside the mount allowlist, whose path the settings have."""
    return mount_allowlist.with_name(FILE_NAME)


class SenderFile:
    """The sender allowlist of a process, as it is at each moment."""

    def __init__(self, path: Path) -> None:
        """Nothing is read before :meth:`read`."""
        self._path = path
        self._policy = SenderPolicy()
        self._problem: str | None = None

    def read(self) -> SenderPolicy:
        """What counts now. Never raises: a file that can't be used closes the policy.

        What is wrong with it is logged once, and not again until something else is wrong. It
        touches the disk: call it in a worker thread, by one task.
        """
        try:
            self._policy = SenderPolicy(allowlist=load_senders(self._path))
            self._problem = None
        except InvalidFile as error:
            self._policy = evolve(self._policy, is_closed=True)
            self._note(str(error))
        return self._policy

    def _note(self, problem: str) -> None:
        if problem != self._problem:
            log.error("sender allowlist can't be used", why=problem)
        self._problem = problem


def load_senders(path: Path) -> SenderAllowlist:
    """Read the sender allowlist; without a file, everybody is on it.

    Raises:
        InvalidFile: it can't be read or doesn't fit the format; the text has the path into it.
    """
    try:
        content = read_if_present(path)
        return ALLOW_EVERYBODY if content is None else _parse(content)
    except OSError as error:
        problem = error.strerror or "an error of the system"
    except ValueError as error:
        problem = str(error)
    raise InvalidFile(path, problem, "mend it: until then nobody's messages are answered")


def _parse(content: bytes) -> SenderAllowlist:
    allowlist = structure(own, parse_json(content), SenderAllowlist)
    problems = "; ".join(_problems(allowlist))
    if problems:
        raise ValueError(problems)
    return allowlist


def _problems(allowlist: SenderAllowlist) -> Iterator[str]:
    rules = {f"$.chats[{jid!r}]": rule for jid, rule in allowlist.chats.items()}
    for where, rule in {"$.default": allowlist.default, **rules}.items():
        # Taken as it is, it would be nobody's address, and its author would think of everybody.
        if isinstance(rule.allow, frozenset) and EVERYBODY in rule.allow:
            yield f'"*" in an array, where it means nobody: leave the brackets out @ {where}.allow'


def _structure_senders(value: Any, _: Any) -> Senders:
    if isinstance(value, str):
        everybody: Literal["*"] = own.structure(value, Literal["*"])  # type: ignore[arg-type]
        return everybody
    return frozenset(own.structure(value, tuple[str, ...]))


own.register_structure_hook(Senders, _structure_senders)
