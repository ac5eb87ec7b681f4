"""`python -m nanoclaw_trio.testing.messages_api`: the imitation as a program.

The first line of its output is the URL.
"""

from __future__ import annotations

import argparse
import signal
from functools import partial
from typing import TYPE_CHECKING

import trio

from nanoclaw_trio.testing.messages_api import Text, echo, open_messages_api

if TYPE_CHECKING:
    from nanoclaw_trio.testing.messages_api import Model


def main() -> None:
    """Serve a model that says one thing, or what it is told, until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m nanoclaw_trio.testing.messages_api")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", default=0, type=int, help="the port; 0 for any that is free")
    parser.add_argument("--reply", metavar="TEXT", help="what the model says; else what it is told")
    options = parser.parse_args()
    model = echo if options.reply is None else lambda _request: Text(options.reply)
    trio.run(partial(serve, model, host=options.host, port=options.port))


async def serve(model: Model, *, host: str, port: int) -> None:
    """Serve a model until a signal comes."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_messages_api(model, host=host, port=port) as api:
            print(api.url, flush=True)
            print("That goes into ANTHROPIC_BASE_URL, and anything into ANTHROPIC_API_KEY.")
            await anext(signals)


if __name__ == "__main__":  # pragma: no branch - nobody imports it
    main()
