"""JSON text and Python's own types."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import orjson

_ESCAPED_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")


def parse_json(data: bytes | bytearray) -> Any:
    """JSON as Python's own types. ValueError if it isn't JSON, or nested beyond reason.

    A string that holds half of a surrogate pair (JavaScript cuts emoji in two and writes that) is
    taken with U+FFFD in the half's place, rather than the whole answer being lost. A whole number
    beyond 64 bits becomes a float, as in JavaScript.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        problem = error.msg
    # Raised out here, and not in the handler: that error carries the document, and what is in it.
    if _ESCAPED_SURROGATE.search(data):
        return _parse_with_half_pairs(data)
    raise ValueError(f"not JSON: {problem}")


def _parse_with_half_pairs(data: bytes | bytearray) -> Any:
    try:
        return _without_half_pairs(
            # The numbers as the other parser takes them: this one's may be without bound.
            json.loads(
                data.decode(),
                parse_int=orjson.loads,
                parse_float=orjson.loads,
                parse_constant=_refuse_constant,
            )
        )
    except RecursionError:
        problem = "nested too deeply"
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 at byte {error.start}"
    except json.JSONDecodeError as error:
        problem = error.msg.removesuffix(" at")
    except _ConstantError as error:
        problem = str(error)
    raise ValueError(f"not JSON: {problem}")


def _refuse_constant(name: str) -> Any:
    raise _ConstantError(name)


def _without_half_pairs(value: Any) -> Any:
    if isinstance(value, str):
        return _mend(value)
    if isinstance(value, list):
        return [_without_half_pairs(item) for item in value]
    if isinstance(value, dict):
        return {_mend(k): _without_half_pairs(v) for k, v in value.items()}
    return value


def _mend(text: str) -> str:
    return text if text.isascii() else _HALF_PAIR.sub("\ufffd", text)


class _ConstantError(Exception):
    """NaN or Infinity, by its name: numbers that JSON doesn't have."""


def dump_json(document: Any, *, indent: bool = False) -> bytes:
    """JSON's types as UTF-8, on one line unless indented."""
    try:
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 if indent else None)
    except orjson.JSONEncodeError:
        pass
    # Text with half a surrogate pair, which UTF-8 can't hold and JSON's escapes can.
    return json.dumps(document, indent=2 if indent else None).encode()
