"""The query loop: prompts into the CLI, answers out of it, one CLI for as long as it lasts."""

from __future__ import annotations

import logging
import os
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from claude_agent_sdk import ClaudeAgentOptions

from nanoclaw_agent.agents.claude.archive import Archive
from nanoclaw_agent.agents.claude.cli import SessionUnknown, failure, open_cli
from nanoclaw_agent.agents.claude.ending import Ending
from nanoclaw_agent.agents.claude.events import (
    QueryEnded,
    QueryRefused,
    Said,
    SessionNamed,
    understand,
)
from nanoclaw_agent.agents.claude.feed import Feed
from nanoclaw_agent.agents.claude.hooks import Hooks
from nanoclaw_agent.agents.claude.messages import (
    LOST_SESSION,
    first_text,
    read_images,
    user_message,
)
from nanoclaw_agent.agents.claude.options import make_options
from nanoclaw_agent.chat_tools.context import ChatContext
from nanoclaw_agent.chat_tools.server import SERVER_NAME, make_chat_server
from nanoclaw_agent.container_output import answer, session_update
from nanoclaw_agent.errors import QueryFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nanoclaw_agent.agents import Respond
    from nanoclaw_agent.agents.claude.events import Event
    from nanoclaw_agent.agents.claude.surroundings import Surroundings
    from nanoclaw_agent.container_input import ContainerInput
    from nanoclaw_agent.secrets import Secrets

log: Final = logging.getLogger(__name__)


class ClaudeAgent:
    """Answers with Claude, in the session given or in a new one."""

    def __init__(
        self, container_input: ContainerInput, secrets: Secrets, surroundings: Surroundings
    ) -> None:
        self._input = container_input
        self._secrets = secrets
        self._surroundings = surroundings
        # One for all CLIs: it knows what was asked of the host in this session.
        self._chat_server = self._make_chat_server()
        self._session_id = container_input.session_id
        self._last_words: str | None = None

    async def converse(self, prompts: AsyncIterator[str], respond: Respond) -> None:
        """Feed prompts to the CLI while it works, and pass its answers on.

        A follow-up joins the query that is running, or begins the next. A CLI that has ended by
        itself is started again when there is another prompt, and goes on after the last thing that
        it said. A session that isn't there is replaced by a new one, which is told so.

        Raises:
            QueryFailed: the CLI or the API reports an error, or the CLI ends without an answer.
        """
        feed = Feed(prompts, self._first_message)
        while await feed.wait():
            try:
                has_answered = await self._query(feed, respond)
            except SessionUnknown:
                log.warning("session %s can't be found; a new one begins", self._session_id)
                self._session_id = self._last_words = None
                feed.preface(LOST_SESSION)
                has_answered = await self._query(feed, respond)
            if not has_answered:
                raise QueryFailed("the CLI ended without an answer")

    async def _query(self, feed: Feed, respond: Respond) -> bool:
        """Feed one CLI until it ends; whether it has answered anything."""
        has_answered = False
        ending = Ending(feed)
        with ending.scope:
            async with open_cli(self._options(), feed.messages()) as messages:
                async for message in messages:
                    event = understand(message)
                    if event is not None:
                        await self._hear(event, feed, respond)
                        ending.heard(event)
                    has_answered |= isinstance(event, QueryEnded)
        return has_answered

    async def _hear(self, event: Event, feed: Feed, respond: Respond) -> None:
        match event:
            case SessionNamed(session_id):
                self._enter(session_id)
            case Said(uuid):
                self._last_words = uuid
            case QueryRefused(error):
                raise failure(error)
            case QueryEnded():
                feed.answered(event.prompts, are_all=event.are_all)
                await self._end_query(event, feed, respond)
            case _:
                # That it rests is the affair of whoever waits for its end.
                pass

    async def _end_query(self, ended: QueryEnded, feed: Feed, respond: Respond) -> None:
        self._enter(ended.session_id)
        if ended.answer is not None:
            await respond(answer(ended.answer, ended.session_id, feed.pending))
        # Others may have been handed out while the answer was read.
        await respond(session_update(ended.session_id, feed.pending))

    def _enter(self, session_id: str) -> None:
        if session_id != self._session_id:
            # After /clear it is another, in which the last one's words can't be found.
            self._last_words = None
        self._session_id = session_id

    def _options(self) -> ClaudeAgentOptions:
        hooks = Hooks(
            secret_names=self._secrets.names,
            archive=Archive(
                directory=self._surroundings.conversations,
                assistant_name=self._input.assistant_name or "Assistant",
                now=lambda: datetime.now().astimezone(),
            ),
        )
        return ClaudeAgentOptions(
            **make_options(
                self._surroundings,
                self._secrets,
                resume=self._session_id,
                resume_at=self._last_words,
            ),
            hooks=hooks.matchers(),
            mcp_servers={SERVER_NAME: self._chat_server},
            stderr=_log_words,
        )

    def _make_chat_server(self) -> Any:
        context = ChatContext(
            ipc=self._surroundings.ipc,
            chat_jid=self._input.chat_jid,
            group_folder=self._input.group_folder,
            is_main=self._input.is_main,
            timezone=os.environ.get("TZ", ""),
        )
        # Never behind ToolSearch: a chat is what this agent is for.
        return {**make_chat_server(context), "alwaysLoad": True}

    def _first_message(self, prompt: str) -> dict[str, Any]:
        images = read_images(self._input.image_attachments, self._surroundings.group)
        return user_message(first_text(self._input, prompt), images)


def _log_words(line: str) -> None:
    log.warning("claude: %s", line)
