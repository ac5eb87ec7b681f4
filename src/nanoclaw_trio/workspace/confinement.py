"""How far a group's container is confined, and who may say so. Pure.

The project's settings hold for all groups, and a group's containerConfig may say otherwise. The
operator may say there whatever a setting may. An agent, even the main group's, may only narrow:
what its registrations ask for is somebody's words in a chat.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import attrs
from attrs import evolve

from nanoclaw_trio.settings import LEAST_CPUS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nanoclaw_trio.protocol.models import ContainerConfig
    from nanoclaw_trio.settings import Settings

NO_NETWORK: Final = "none"

CONFINEMENT: Final = ("network", "memory", "cpus", "read_only")
"""The attributes of a ContainerConfig that stand in a setting's place; named as that one is."""

_HELD: Final = (*CONFINEMENT, "timeout")
"""Those that an agent may only narrow. A timeout of its own is a group's anyway (wire-formats 2)."""

_NETWORK: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*")


def confined(settings: Settings, config: ContainerConfig | None) -> Settings:
    """The settings for one group's container: what it has of its own, and else the project's."""
    said = _said(config, CONFINEMENT)
    return evolve(settings, **said) if said else settings


def find_misfits(config: ContainerConfig, place: str) -> Iterator[str]:
    """A sentence for each value that nobody could mean; `place` is where the document stands."""
    if config.timeout is not None and config.timeout < 1:
        yield f"less than 1 @ {place}.timeout"
    if config.network is not None and not _NETWORK.fullmatch(config.network):
        yield f"not a network's name @ {place}.network"
    if config.memory is not None and config.memory < 1:
        yield f"less than 1 @ {place}.memory"
    if config.cpus is not None and config.cpus < LEAST_CPUS:
        yield f"less than {LEAST_CPUS} @ {place}.cpus"


def find_widening(asked: ContainerConfig | None, held: ContainerConfig | None) -> str | None:
    """What an agent may not ask for, as a sentence without its words; None if it only narrows.

    `held` is what the operator, or an earlier request, has said of that group.
    """
    before = _said(held, _HELD)
    for name, value in _said(asked, _HELD).items():
        if not _narrows(name, value, before.get(name)):
            return f"only the operator may widen a group's {name.replace('_', '-')}"
    return None


def _narrows(name: str, value: object, before: object) -> bool:
    if value == before:
        return True
    if isinstance(value, int | float) and isinstance(before, int | float):
        # More than False is True: a root that is read-only is the narrower one.
        return value > before if name == "read_only" else value < before
    if name == "timeout":
        return True
    # Without a word of the operator's the settings hold, and they may be this narrow already.
    return (name, value) in {("network", NO_NETWORK), ("read_only", True)}


def with_confinement(
    asked: ContainerConfig | None, held: ContainerConfig | None
) -> ContainerConfig | None:
    """What an agent asked for, with the confinement that it didn't mention."""
    if asked is None or held is None:
        return asked
    return evolve(asked, **{**_said(held, _HELD), **_said(asked, _HELD)})


def _said(config: ContainerConfig | None, names: Iterable[str]) -> dict[str, Any]:
    if config is None:
        return {}
    values = attrs.asdict(config, recurse=False)
    return {name: values[name] for name in names if values[name] is not None}
