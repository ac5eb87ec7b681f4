"""JSON in and out: one converter for each boundary.

The wire is tolerant of unknown keys, since the other side may be older or newer; files of ours and
of the operator are strict, since an unknown key there is a misspelling. Types are never coerced:
a number where a string belongs is an error that names the path.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import orjson
from cattrs import Converter, transform_error
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from nanoclaw_trio.errors import InvalidContainerInput, InvalidContainerOutput
from nanoclaw_trio.protocol.models import (
    AvailableGroup,
    ContainerInput,
    ContainerOutput,
    TaskSnapshot,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

_PRIMITIVES: Final = {str: "a string", bool: "true or false", int: "a whole number"}

_SNAKE_CASE_KEYS: Final = {TaskSnapshot: ("schedule_type", "schedule_value", "next_run")}
"""The original wrote these keys in snake_case, in the middle of camelCase ones."""

_ALWAYS_WRITTEN: Final = {ContainerOutput: ("result",), TaskSnapshot: ("next_run",)}
"""Fields whose None is written as null; everywhere else an absent value's key is left out."""


def camel_case(name: str) -> str:
    """`new_session_id` → `newSessionId`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _make_converter(*, strict: bool) -> Converter:
    converter = Converter(forbid_extra_keys=strict)
    for kind, words in _PRIMITIVES.items():
        converter.register_structure_hook(kind, _exactly(kind, words))
    converter.register_structure_hook_factory(attrs.has, _structure_factory(converter))
    converter.register_unstructure_hook_factory(attrs.has, _unstructure_factory(converter))
    return converter


def _exactly(kind: type[T], words: str) -> Callable[[Any, Any], T]:
    def structure(value: Any, _: Any) -> T:
        # `type is`, not isinstance: True is an int.
        if type(value) is not kind:
            raise TypeError(f"not {words}")
        result: T = value
        return result

    return structure


def _overrides(cls: type) -> dict[str, Any]:
    snake = _SNAKE_CASE_KEYS.get(cls, ())
    always = _ALWAYS_WRITTEN.get(cls, ())
    return {
        a.name: override(
            rename=a.name if a.name in snake else camel_case(a.name),
            omit_if_default=a.default is None and a.name not in always,
        )
        for a in attrs.fields(cls)
    }


def _structure_factory(converter: Converter) -> Callable[[type], Any]:
    return lambda cls: make_dict_structure_fn(
        cls,
        converter,
        _cattrs_forbid_extra_keys=converter.forbid_extra_keys,
        **_overrides(attrs.resolve_types(cls)),
    )


def _unstructure_factory(converter: Converter) -> Callable[[type], Any]:
    return lambda cls: make_dict_unstructure_fn(
        cls, converter, **_overrides(attrs.resolve_types(cls))
    )


wire: Final = _make_converter(strict=False)
"""For what crosses the line between host and container."""

own: Final = _make_converter(strict=True)
"""For the files of the host and of the operator."""


def parse_json(data: bytes) -> Any:
    """JSON as Python's own types. ValueError if it isn't JSON, or nested beyond reason.

    A string that holds half of a surrogate pair (JavaScript cuts emoji in two and writes that) is
    taken with U+FFFD in the half's place, rather than the whole answer being lost.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if b"\\u" not in data:
            # `from None` here and below: the error carries the document, and so whatever is in it.
            raise ValueError(f"not JSON: {error.msg}") from None
    try:
        return _without_half_pairs(json.loads(data.decode(), parse_constant=_refuse_constant))
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not JSON: not UTF-8 at byte {error.start}") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"not JSON: {name}")


def _without_half_pairs(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_without_half_pairs(item) for item in value]
    if isinstance(value, dict):
        return {_without_half_pairs(k): _without_half_pairs(v) for k, v in value.items()}
    return value


def structure(converter: Converter, value: Any, cls: type[T]) -> T:
    """A model from JSON's types. ValueError that has the paths into it and no value of it."""
    try:
        return converter.structure(value, cls)
    except Exception as error:
        problem = "; ".join(transform_error(error, format_exception=_describe))
        raise ValueError(problem) from None


def _describe(error: BaseException, _type: type[Any] | None) -> str:
    match error:
        case KeyError():
            return "required field missing"
        case TypeError() if error.args and str(error.args[0]).startswith("not "):
            return str(error.args[0])
        case _ if hasattr(error, "extra_fields"):
            return f"unknown key {', '.join(sorted(map(repr, error.extra_fields)))}"
        case _:
            return "not what belongs here"


def encode_input(container_input: ContainerInput, secrets: Mapping[str, str]) -> bytes:
    """The bytes for an agent's standard input: the one place where the secrets meet the input."""
    document = wire.unstructure(container_input)
    if secrets:
        document["secrets"] = dict(secrets)
    return _dump(document)


def describe_input(container_input: ContainerInput) -> str:
    """The input for the run log: indented JSON, and no secrets, as the model has none."""
    return json.dumps(wire.unstructure(container_input), indent=2, ensure_ascii=False)


def decode_input(data: bytes) -> ContainerInput:
    """A container input from JSON. InvalidContainerInput, the caller's fault, if it doesn't fit.

    A `secrets` key is not taken over: secrets come from the project's .env or the environment.
    """
    try:
        return structure(wire, parse_json(data), ContainerInput)
    except ValueError as error:
        raise InvalidContainerInput(str(error)) from None


def decode_output(payload: bytes) -> ContainerOutput:
    """An agent's output from the bytes between its markers.

    Raises:
        InvalidContainerOutput: the agent's fault; the text has the path into the output, such as
            `required field missing @ $.status`, and nothing of its content.
    """
    try:
        return structure(wire, parse_json(payload), ContainerOutput)
    except ValueError as error:
        raise InvalidContainerOutput(str(error)) from None


def encode_output(output: ContainerOutput) -> bytes:
    """An output as one line of JSON, as an agent writes it between two markers."""
    return _dump(wire.unstructure(output))


def encode_tasks(tasks: tuple[TaskSnapshot, ...]) -> bytes:
    """The content of current_tasks.json (wire-formats 6)."""
    return orjson.dumps(wire.unstructure(tasks), option=orjson.OPT_INDENT_2)


def encode_groups(groups: tuple[AvailableGroup, ...], last_sync: str) -> bytes:
    """The content of available_groups.json (wire-formats 6)."""
    document = {"groups": wire.unstructure(groups), "lastSync": last_sync}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)


def _dump(document: Any) -> bytes:
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        # Text with half a surrogate pair, which UTF-8 can't hold and JSON's escapes can.
        return json.dumps(document).encode()
