"""What a run gets that goes through the proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from nanoclaw_trio.protocol.models import VolumeMount
    from nanoclaw_trio.workspace.secrets import Secrets


@frozen(kw_only=True)
class Admission:
    """In the place of the host's secrets.

    Attributes:
        secrets: For standard input: the placeholder, and where the proxy is. The host's own are
            redacted by it as well.
        mounts: For the container, on top of its others.
    """

    secrets: Secrets = field(repr=False)
    mounts: tuple[VolumeMount, ...] = ()
