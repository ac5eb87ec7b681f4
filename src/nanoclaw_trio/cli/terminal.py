"""What an agent says, made safe for a terminal: it must not steer the user's."""

from __future__ import annotations

from typing import Final

_SPACE: Final = 0x20
_DELETE: Final = 0x7F
_NO_BREAK_SPACE: Final = 0xA0

_CONTROLS: Final = (*range(_SPACE), *range(_DELETE, _NO_BREAK_SPACE))
"""The control characters of ASCII, and those of Latin-1, which terminals obey as well."""

_TURNING: Final = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Unicode's embeddings, overrides and isolates of direction: with them a command can be made to look
like another one. Right-to-left text shows right without them."""

_HARMLESS: Final = "\n\t"


def _picture(code: int) -> str:
    """What stands for a control character: Unicode's picture of it, where there is one."""
    if code < _SPACE:
        return chr(0x2400 + code)
    return "\N{SYMBOL FOR DELETE}" if code == _DELETE else "\N{REPLACEMENT CHARACTER}"


_PICTURES: Final = {
    code: _picture(code) for code in (*_CONTROLS, *_TURNING) if chr(code) not in _HARMLESS
}

_ESCAPES: Final = {code: f"\\u{code:04x}" for code in (*_CONTROLS, *_TURNING) if code >= _DELETE}


def neutralize(text: str) -> str:
    """Text with its control characters as pictures (␛), but for line ends and tabs."""
    return text.replace("\r\n", "\n").translate(_PICTURES)


def neutralize_json(text: str) -> str:
    """A JSON document, the same for a program, without a control character left in it.

    JSON itself demands escapes for the first 32 only.
    """
    return text.translate(_ESCAPES)


def one_line(text: str) -> str:
    """Text without line ends: each error is one line."""
    return " ".join(text.split())
