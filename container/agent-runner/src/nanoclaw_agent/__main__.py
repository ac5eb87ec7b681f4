"""``python -m nanoclaw_agent``: the container's entry point."""

from __future__ import annotations

import os
import sys

from nanoclaw_agent.signals import exit_on_signals


def main() -> int:
    """Run the agent that the environment names; the exit status.

    NANOCLAW_AGENT chooses the agent ("claude" unless set), NANOCLAW_WORKSPACE the directory that
    holds the mailbox (/workspace unless set), NANOCLAW_STDIN what standard input is.
    """
    # Before Trio is imported: that takes long enough for a signal to arrive in the middle of it.
    exit_on_signals()
    from nanoclaw_agent.program import run

    return run(
        agent_name=os.environ.get("NANOCLAW_AGENT", "claude"),
        workspace=os.environ.get("NANOCLAW_WORKSPACE", "/workspace"),
        # It is true of this process alone: not of those that the agent's tools start.
        stdin=os.environ.pop("NANOCLAW_STDIN", None),
    )


sys.exit(main())
