"""Which version of the Engine API is spoken with an engine. Pure."""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen

OLDEST: Final = (1, 40)
"""The oldest version that is spoken: of Docker 19.03. 1.41 was seen."""

NEWEST: Final = (1, 51)
"""The newest version that is asked for: of Docker 28.3. Newer engines speak it, too."""


@frozen(kw_only=True)
class EngineVersion:
    """What an engine says of itself.

    Attributes:
        number: Its own version.
        api: The newest version of the API that it speaks.
        oldest_api: The oldest; None if it doesn't tell.
        is_podman: Whether it is podman's imitation.
    """

    number: str
    api: str
    oldest_api: str | None
    is_podman: bool


def read_version(document: Any) -> EngineVersion:
    """The answer to `GET /version`. ValueError if it isn't one."""
    match document:
        case {"Version": str(number), "ApiVersion": str(api)}:
            oldest = document.get("MinAPIVersion")
            components = str(document.get("Components"))
            return EngineVersion(
                number=number,
                api=api,
                oldest_api=oldest if isinstance(oldest, str) else None,
                is_podman="Podman Engine" in components,
            )
    raise ValueError("no engine's version")


def choose_version(engine: EngineVersion) -> str:
    """The newest version that both sides know.

    Raises:
        ValueError: there is none; says what to do.
    """
    newest = min(_numbers(engine.api), NEWEST)
    if newest < OLDEST:
        raise ValueError(
            f"speaks the API up to {engine.api} and {_text(OLDEST)} is needed: update the engine"
        )
    if engine.oldest_api is not None and newest < _numbers(engine.oldest_api):
        raise ValueError(
            f"speaks the API from {engine.oldest_api} on and we know it up to {_text(NEWEST)}: "
            "use the engine's client program, `--runtime docker`"
        )
    return _text(newest)


def _numbers(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return int(major), int(minor)


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
