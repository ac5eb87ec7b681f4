"""What ends the agent, and whose fault it is."""

from __future__ import annotations


class AgentError(Exception):
    """Reported to the host as an error output with this text; the exit status is 1.

    Secrets are taken out of the text then.
    """


class InvalidInput(AgentError):
    """The host's fault: standard input doesn't hold a container input.

    The text has the path into the input and no value of it: any of them may be a secret.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(f"container input doesn't fit: {problem}")


class AgentMissing(AgentError):
    """The operator's fault: the agent that NANOCLAW_AGENT names isn't part of this agent-runner."""

    def __init__(self, name: str) -> None:
        super().__init__(f"this agent-runner has no {name!r} agent; it has claude and echo")


class PackageMissing(AgentError):
    """The operator's fault: this Python lacks a package that the agent needs."""

    def __init__(self, agent: str, package: str | None) -> None:
        super().__init__(
            f"the {agent} agent needs the package {package}, which isn't installed here; "
            "run `pip install 'nanoclaw-trio[agent]'`, or build the image anew"
        )


class QueryFailed(AgentError):
    """The model's API refused, the CLI reported an error, or the CLI itself failed.

    The text has their own words.
    """


class HostGone(Exception):
    """The host has ended. There is nobody left to serve."""


class OutputClosed(Exception):
    """The host no longer reads standard output. There is nobody left to tell."""
