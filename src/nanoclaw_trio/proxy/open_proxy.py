"""Opening the proxy, where the settings want one. What it needs is imported only then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from nanoclaw_trio.proxy.service import CredentialProxy
    from nanoclaw_trio.settings import Settings

OFF: Final = "off"


def open_proxy(settings: Settings) -> AbstractAsyncContextManager[CredentialProxy] | None:
    """The proxy that CREDENTIAL_PROXY asks for, to be entered; None if it is off.

    Leaving the block ends the requests that are under way. Entering it raises ProxyUnusable if it
    can't be opened, and says why and what to do.
    """
    if settings.credential_proxy == OFF:
        return None
    # Late: who doesn't ask for it doesn't pay for the import.
    from nanoclaw_trio.proxy.service import open_service

    return open_service(settings.credential_proxy)
