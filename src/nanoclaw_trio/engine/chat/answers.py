"""What of an agent's answer is said in the chat."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENING: Final = "<internal>"
CLOSING: Final = "</internal>"

_UNQUOTED_OPENING: Final = re.compile(rf"(?<![`'\"]){OPENING}|{OPENING}(?![`'\"])")


def visible_text(result: str) -> str:
    """An answer without its `<internal>` parts, stripped; empty if there is nothing to say.

    A part goes from an opening tag to the next closing one, over lines too; parts don't nest. That
    is the original's. A part that isn't closed goes to the end: an agent that forgot the tag, or
    was cut off, still meant nobody to read it. But an agent that is asked about the tag writes it
    in quotation marks or backticks, and never closes it: so quoted and unclosed, it hides nothing,
    and the answer isn't lost.

    The time it takes is linear in the length of the answer, whatever is in it.
    """
    return "".join(_visible_parts(result)).strip()


def _visible_parts(result: str) -> Iterator[str]:
    # Why no pattern with `.*?`: each opening tag without a closing one would be searched for it up
    # to the end of the answer.
    start = 0
    while (opening := result.find(OPENING, start)) != -1:
        closing = result.find(CLOSING, opening)
        if closing == -1:
            break
        yield result[start:opening]
        start = closing + len(CLOSING)
    unclosed = _UNQUOTED_OPENING.search(result, start)
    yield result[start : unclosed.start() if unclosed else None]
