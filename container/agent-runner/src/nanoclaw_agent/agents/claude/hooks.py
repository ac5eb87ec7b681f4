"""What happens before the CLI runs a command, and before it forgets."""

from __future__ import annotations

import logging
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from claude_agent_sdk import HookMatcher, get_session_info

from nanoclaw_agent.agents.claude.archive import Archive, archive_transcript

if TYPE_CHECKING:
    from collections.abc import Iterable

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """The hooks of one session.

    `secret_names` are the variables that no command may have; `archive` is where conversations go.
    """

    secret_names: tuple[str, ...]
    archive: Archive

    def matchers(self) -> dict[Any, list[HookMatcher]]:
        """The hooks, as the SDK takes them."""
        return {
            "PreToolUse": [HookMatcher(matcher="Bash", hooks=[self.before_command])],
            "PreCompact": [HookMatcher(hooks=[self.before_compaction])],
        }

    async def before_command(self, event: Any, _tool_use_id: str | None, _context: Any) -> Any:
        """Take the secrets out of a command's environment, whichever shell runs it."""
        tool_input = event["tool_input"]
        command = without_variables(str(tool_input.get("command", "")), self.secret_names)
        return {
            "hookSpecificOutput": {
                "hookEventName": "PreToolUse",
                "updatedInput": {**tool_input, "command": command},
            }
        }

    async def before_compaction(self, event: Any, _tool_use_id: str | None, _context: Any) -> Any:
        """Keep the conversation as a file of the group's. Without it, compaction goes on."""
        try:
            archive_transcript(event["transcript_path"], _summary(event), self.archive)
        except Exception:
            log.exception("the conversation wasn't archived")
        return {}


def without_variables(command: str, names: Iterable[str]) -> str:
    """The command, with these variables taken away first."""
    unset = " ".join(map(shlex.quote, names))
    return f"unset {unset}\n{command}" if unset else command


def _summary(event: Any) -> str | None:
    try:
        session = get_session_info(event["session_id"], event.get("cwd"))
    except Exception:
        log.exception("the conversation has no summary")
        return None
    return None if session is None else session.summary
