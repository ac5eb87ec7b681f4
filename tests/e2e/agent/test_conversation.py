"""Conversations with the real agent: answers, follow-ups, sessions, and what is kept of them."""

from __future__ import annotations

import uuid

from nanoclaw_trio.run.outcome import Cause
from nanoclaw_trio.testing.messages_api import Text, ToolUse, scripted

PAUSE = ToolUse("Bash", {"command": "sleep 0.1"})


def said_by_the_model(request):
    """The texts of the model's earlier answers, as a request repeats them."""
    contents = [m["content"] for m in request.body["messages"] if m["role"] == "assistant"]
    return [block["text"] for content in contents for block in content if block["type"] == "text"]


async def test_an_answer_and_a_close(project):
    """The answer comes before a session update of the same session; `_close` then ends the idle
    agent with exit status 0, and the runtime has no container any more."""
    done = await project.ask(scripted(Text("Hi there.")))
    answer, update = done.heard
    assert (answer.status, answer.result) == ("success", "Hi there.")
    assert update.is_session_update
    assert answer.new_session_id == update.new_session_id == done.result.new_session_id
    assert (done.result.cause, done.result.exit_code) == (Cause.COMPLETED, 0)
    assert (done.result.gone, done.result.receipt.steps) == (True, ())
    assert [(request.prompt, request.stream) for request in done.requests] == [("Hello", True)]


async def test_follow_ups(project):
    """A follow-up during a tool call joins the turn; one after it begins the next, in the same
    session. What a turn took in is named by its outputs."""

    def model(request):
        if request.prompt == "And now?":
            return Text("Now this.")
        # It uses tools until it hears of the follow-up, however long that takes.
        return Text("Shortly, then.") if "Be brief" in request.mid_turn_texts else PAUSE

    heard = []
    async with project.serve(model) as api, project.run("Tell me") as run:
        await api.wait_for_requests(2)
        first = await run.send_message("Be brief")
        async for output in run:
            heard.append(output)
            if output.result == "Shortly, then.":
                second = await run.send_message("And now?")
            elif len(heard) == 4:
                await run.close()
    assert [output.result for output in heard] == ["Shortly, then.", None, "Now this.", None]
    assert [output.follow_ups for output in heard] == [(first,), (first,), (second,), (second,)]
    assert len({output.new_session_id for output in heard}) == 1
    assert api.requests[-1].texts == ("Tell me", "And now?")
    assert (run.result.cause, run.result.undelivered) == (Cause.COMPLETED, ())


async def test_a_session_goes_on(project):
    """A second run of the session knows what was said in the first; a session that isn't there is
    replaced by a new one, once, and the model is told."""
    first = await project.ask(scripted(Text("Blue.")), "Which colour?")
    session = first.result.new_session_id
    second = await project.ask(scripted(Text("Still blue.")), "And today?", session_id=session)
    assert second.answers == ["Still blue."]
    assert second.result.new_session_id == session
    assert second.requests[0].texts == ("Which colour?", "And today?")
    assert said_by_the_model(second.requests[0]) == ["Blue."]

    unknown = str(uuid.uuid4())
    third = await project.ask(scripted(Text("Hi.")), "Which colour?", session_id=unknown)
    assert third.answers == ["Hi."]
    assert third.result.new_session_id not in {None, unknown, session}
    (request,) = third.requests
    assert request.prompt.endswith("\nWhich colour?")
    assert "can't be found" in request.prompt
    assert third.result.cause is Cause.COMPLETED


async def test_the_conversation_is_archived_before_compaction(project):
    """Before the CLI compacts a conversation, both sides of it are in a dated file of the group's;
    the agent goes on with a summary in its place."""
    model = scripted(Text("Grüße zurück."), Text("I remember."))
    heard = []
    async with project.serve(model) as api, project.run("Grüße", assistant_name="Andy") as run:
        async for output in run:
            heard.append(output)
            if output.is_session_update:
                updates = sum(output.is_session_update for output in heard)
                following = {1: "/compact", 2: "Do you remember?"}.get(updates)
                await (run.send_message(following) if following else run.close())
    assert [output.status for output in heard if output.error] == []
    assert "I remember." in [output.result for output in heard]
    assert run.result.cause is Cause.COMPLETED
    (archive,) = project.paths().group_dir.glob("conversations/*.md")
    assert archive.name[:11].replace("-", "").isdigit()
    text = archive.read_text()
    assert "**User**: Grüße\n" in text
    assert "**Andy**: Grüße zurück.\n" in text
    summary = api.side_requests[-1]
    assert summary.is_compaction
    assert "Grüße zurück." not in said_by_the_model(api.requests[-1])


async def test_a_command_in_the_background_does_not_keep_it(project):
    """A command that would run on for ever, such as a server, ends with its closed session."""
    forever = {"command": "sleep infinity", "run_in_background": True}
    done = await project.ask(scripted(ToolUse("Bash", forever), Text("It runs.")))
    assert done.answers == ["It runs."]
    assert (done.result.cause, done.result.exit_code) == (Cause.COMPLETED, 0)
    assert done.result.gone
