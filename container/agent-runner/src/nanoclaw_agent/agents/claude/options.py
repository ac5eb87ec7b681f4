"""What the SDK and its CLI are told. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nanoclaw_agent.agents.claude.surroundings import Surroundings
    from nanoclaw_agent.secrets import Secrets

ALLOWED_TOOLS: Final = (
    *("Bash", "Read", "Write", "Edit", "Glob", "Grep", "NotebookEdit"),
    *("WebSearch", "WebFetch", "TodoWrite", "ToolSearch", "Skill"),
    *("Agent", "Task", "TaskOutput", "TaskStop", "TeamCreate", "TeamDelete", "SendMessage"),
    "mcp__nanoclaw__*",
)
"""Used without asking: nobody sits in front of a container who could answer."""

DISALLOWED_TOOLS: Final = (
    *("AskUserQuestion", "EnterPlanMode", "ExitPlanMode", "EnterWorktree", "ExitWorktree"),
    *("CronCreate", "CronDelete", "CronList", "ScheduleWakeup", "PushNotification"),
    *("RemoteTrigger", "Artifact"),
)
"""What needs a person at a terminal, or would be forgotten when the container ends: schedules are
kept by the host."""

LARGEST_MESSAGE: Final = 64 * 1024 * 1024
"""Bytes of one message of the CLI. The SDK's own limit, 1 MiB, is less than one picture."""


def make_options(
    surroundings: Surroundings,
    secrets: Secrets,
    *,
    resume: str | None = None,
    resume_at: str | None = None,
) -> dict[str, Any]:
    """Fields of ClaudeAgentOptions by name, all but those that hold functions."""
    return {
        "cwd": str(surroundings.group),
        "add_dirs": [str(path) for path in surroundings.extra],
        "system_prompt": {"type": "preset", "preset": "claude_code"},
        # By its path: an argument may have no more than 128 KiB.
        "extra_args": _only_set({"append-system-prompt-file": surroundings.memory}),
        "allowed_tools": list(ALLOWED_TOOLS),
        "disallowed_tools": list(DISALLOWED_TOOLS),
        "cli_path": surroundings.cli,
        "permission_mode": "bypassPermissions",
        "setting_sources": ["project", "user"],
        "max_buffer_size": LARGEST_MESSAGE,
        "env": _environment(surroundings, secrets),
        "resume": resume,
        "resume_session_at": resume_at if resume is not None else None,
    }


def _only_set(values: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}


def _environment(surroundings: Surroundings, secrets: Secrets) -> dict[str, str]:
    """Variables for the CLI, which gets this process's own besides."""
    environment = {
        # What says where the API is and who calls it comes from here alone: nothing in the group's
        # own settings replaces it, and hooks, MCP servers and commands don't inherit it.
        "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",
        "CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD": "1",
    }
    if surroundings.shell is not None:
        environment["CLAUDE_CODE_SHELL"] = str(surroundings.shell)
    if surroundings.is_root:
        # Without it the CLI refuses to work as root without asking for each permission.
        environment["IS_SANDBOX"] = "1"
    return environment | secrets.environment()
