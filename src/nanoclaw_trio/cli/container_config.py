"""A group's containerConfig, as its operator writes it."""

from __future__ import annotations

from typing import Any

from nanoclaw_trio.protocol.converters import own, structure
from nanoclaw_trio.protocol.models import ContainerConfig
from nanoclaw_trio.workspace.confinement import find_misfits


def container_config(document: Any) -> ContainerConfig:
    """The configuration from its JSON document.

    Strictly: a mount that is lost by a misspelling isn't noticed, and neither is a timeout that
    ends each run before it has begun.

    Raises:
        ValueError: it doesn't fit; the text has the path into it.
    """
    config = structure(own, document, ContainerConfig)
    problems = "; ".join(find_misfits(config, "$"))
    if problems:
        raise ValueError(problems)
    return config
