"""Models from JSON's types and back: one converter for each boundary.

The wire is tolerant of unknown keys, since the other side may be older or newer; files of ours and
of the operator are strict, since an unknown key there is a misspelling. Types are never coerced:
a number where a string belongs is an error that names the path.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_args, get_origin

import attrs
from cattrs import (
    ClassValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationError,
)
from cattrs.cols import list_structure_factory
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_PRIMITIVES: Final = {str: "not a string", bool: "not true or false", int: "not a whole number"}

_SNAKE_CASE_KEYS: Final = frozenset({"schedule_type", "schedule_value", "context_mode", "next_run"})
"""The original wrote these keys of tasks in snake_case, in the middle of camelCase ones."""

MOST_ENTRIES: Final = 10_000
"""Of an array: whoever writes more than anybody has use for gets an error, and not our memory."""

MOST_PROBLEMS: Final = 10
"""That an error names: what is wrong in each of many entries would fill the log."""


def camel_case(name: str) -> str:
    """`new_session_id` → `newSessionId`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


class _MisfitError(Exception):
    """A value isn't of the kind that belongs in its place; the text says so without the value."""


def _make_converter(*, strict: bool) -> Converter:
    converter = Converter(forbid_extra_keys=strict)
    for kind, problem in _PRIMITIVES.items():
        converter.register_structure_hook(kind, _exactly(kind, problem))
        # The converter's own way to an optional value looks the hook up anew for each value.
        converter.register_structure_hook(kind | None, _exactly_or_none(kind, problem))
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook_factory(_is_literal, _literal_hook)
    converter.register_structure_hook_factory(_is_tuple, _tuple_factory(converter))
    converter.register_structure_hook_factory(attrs.has, _structure_factory(converter))
    converter.register_unstructure_hook_factory(attrs.has, _unstructure_factory(converter))
    return converter


def _exactly(kind: type[T], problem: str) -> Callable[[Any, Any], T]:
    def structure_exactly(value: Any, _: Any) -> T:
        # `type is`, not isinstance: True is an int.
        if type(value) is not kind:
            raise _MisfitError(problem)
        result: T = value
        return result

    return structure_exactly


def _exactly_or_none(kind: type[T], problem: str) -> Callable[[Any, Any], T | None]:
    def structure_exactly_or_none(value: Any, _: Any) -> T | None:
        if value is not None and type(value) is not kind:
            raise _MisfitError(problem)
        result: T | None = value
        return result

    return structure_exactly_or_none


def _number(value: Any, _: Any) -> float:
    if type(value) not in {int, float}:
        raise _MisfitError("not a number")
    return float(value)


def _is_literal(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _literal_hook(kind: Any) -> Callable[[Any, Any], str]:
    words: tuple[str, ...] = get_args(kind)
    problem = f"not one of {', '.join(words)}"

    def structure_word(value: Any, _: Any) -> str:
        for word in words:
            if value == word:
                return word
        raise _MisfitError(problem)

    return structure_word


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _tuple_factory(converter: Converter) -> Callable[[Any], Any]:
    def make_hook(kind: Any) -> Callable[[Any, Any], tuple[Any, ...]]:
        structure_list = list_structure_factory(kind, converter)

        def structure_array(value: Any, _: Any) -> tuple[Any, ...]:
            # A string and an object can be walked through as well, and mean something else.
            if type(value) is not list:
                raise _MisfitError("not an array")
            if len(value) > MOST_ENTRIES:
                raise _MisfitError(f"more than {MOST_ENTRIES} entries")
            return tuple(structure_list(value, kind))

        return structure_array

    return make_hook


def document_key(name: str) -> str:
    """An attribute's key in a document."""
    return name if name in _SNAKE_CASE_KEYS else camel_case(name)


def _overrides(cls: type) -> dict[str, Any]:
    # Where None is the default the key is left out for it; where a field has no default, as an
    # output's result, None is a value and written as null.
    return {
        a.name: override(rename=document_key(a.name), omit_if_default=a.default is None)
        for a in attrs.fields(cls)
    }


def _structure_factory(converter: Converter) -> Callable[[type], Any]:
    def make_hook(cls: type) -> Callable[[Any, Any], Any]:
        structure_fields: Callable[[Any, Any], Any] = make_dict_structure_fn(
            cls,
            converter,
            _cattrs_forbid_extra_keys=converter.forbid_extra_keys,
            **_overrides(attrs.resolve_types(cls)),
        )

        def structure_object(value: Any, _: Any) -> Any:
            # Where every field may be absent, an array or a string would lack nothing.
            if type(value) is not dict:
                raise _MisfitError("not an object")
            return structure_fields(value, cls)

        return structure_object

    return make_hook


def _unstructure_factory(converter: Converter) -> Callable[[type], Any]:
    return lambda cls: make_dict_unstructure_fn(
        cls, converter, **_overrides(attrs.resolve_types(cls))
    )


wire: Final = _make_converter(strict=False)
"""For what crosses the line between host and container."""

own: Final = _make_converter(strict=True)
"""For the files of the host and of the operator."""


def structure(converter: Converter, value: Any, cls: type[T]) -> T:
    """A model from JSON's types. ValueError that has the paths into it and no value of it.

    It names the first MOST_PROBLEMS that it finds.
    """
    try:
        return converter.structure(value, cls)
    except Exception as error:  # noqa: BLE001 - whatever it is, the document doesn't fit
        problem = "; ".join(islice(_problems(error, "$"), MOST_PROBLEMS))
    raise ValueError(problem)


def _problems(error: Exception, path: str) -> Iterator[str]:
    # Why not cattrs.transform_error: its paths have our attributes' names, not the document's keys.
    parts: list[tuple[Exception, str]]
    match error:
        case ClassValidationError():
            noted, plain = error.group_exceptions()
            parts = [(part, f"{path}.{document_key(note.name)}") for part, note in noted]
        case IterableValidationError():
            listed, plain = error.group_exceptions()
            parts = [(part, f"{path}[{note.index!r}]") for part, note in listed]
        case _:
            yield f"{_describe(error)} @ {path}"
            return
    for part, below in (*parts, *((part, path) for part in plain)):
        yield from _problems(part, below)


def _describe(error: Exception) -> str:
    match error:
        case _MisfitError():
            return str(error)
        case KeyError():
            return "required field missing"
        case ForbiddenExtraKeysError():
            return f"unknown key {', '.join(sorted(map(repr, error.extra_fields)))}"
        case _:
            return "not what belongs here"
