"""Opening the proxy, where the settings want one. What it needs is imported only then."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from nanoclaw_trio.proxy.service import CredentialProxy
    from nanoclaw_trio.settings import Settings

OFF: Final = "off"


@asynccontextmanager
async def open_proxy(settings: Settings) -> AsyncGenerator[CredentialProxy | None]:
    """The proxy that CREDENTIAL_PROXY asks for; None if it is off.

    Leaving the block ends the requests that are under way.

    Raises:
        ProxyUnusable: it can't be opened; says why and what to do.
    """
    if settings.credential_proxy == OFF:
        yield None
        return
    # Late: who doesn't ask for it doesn't pay for the import.
    from nanoclaw_trio.proxy.service import open_service

    async with open_service(settings.credential_proxy) as proxy:
        yield proxy
