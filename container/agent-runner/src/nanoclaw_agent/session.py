"""A session: query after query, until the host asks to close it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoclaw_agent.container_output import ContainerOutput

if TYPE_CHECKING:
    from nanoclaw_agent.agents import Agent, Respond
    from nanoclaw_agent.mailbox import Mailbox


async def run_session(prompt: str, *, agent: Agent, mailbox: Mailbox, respond: Respond) -> None:
    """Answer the prompt, then follow-ups as they come, until the mailbox is closed.

    Follow-ups that are there already belong to the first prompt. After each query the host is told
    the session. A request to close that came before or during a query is honoured after it.
    """
    query = "\n".join([prompt, *mailbox.take_follow_ups()])
    while True:
        session_id = await agent.answer(query, respond=respond)
        await respond(ContainerOutput(status="success", new_session_id=session_id))
        follow_up = await mailbox.next_follow_up()
        if follow_up is None:
            return
        query = follow_up
