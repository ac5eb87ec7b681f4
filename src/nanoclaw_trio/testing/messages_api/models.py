"""What a scripted model is asked, and what it may answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, TypeAlias

from attrs import Factory, field, frozen
from attrs.validators import in_

from nanoclaw_trio.testing.messages_api import reading

ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
"""The `type` of an error by its status, as the API's reference has them."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class MessagesRequest:
    """One call of the Messages API.

    A person's text is told from what Claude's CLI puts beside it: `<system-reminder>` blocks,
    entries of the role "system", the records of slash commands, and where an image came from.

    Attributes:
        body: The JSON document, as it came.
        headers: By lower-case name; `x-api-key` and `authorization` are among them.
    """

    body: Mapping[str, Any]
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        # Neither the headers, for the key, nor the body: 40 KB, most of it the CLI's own.
        result = "" if self.last_tool_result is None else f" after {self.last_tool_result!r}"
        return f"<{type(self).__name__} {self.prompt!r}{result}>"

    @property
    def stream(self) -> bool:
        """Whether the answer is wanted as server-sent events."""
        return self.body.get("stream") is True

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of the tools that the model is told of.

        The CLI keeps some back behind its ToolSearch tool, those of MCP servers first of all. The
        model may use them all the same.
        """
        return reading.tools(self.body)

    @cached_property
    def system(self) -> str:
        """The text of the system prompt."""
        return reading.system(self.body)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """What the person said, one text for each message that has any, in order."""
        return reading.texts(self.body)

    @property
    def prompt(self) -> str:
        """What the person said last; "" for nothing at all.

        What was said before and never answered is in the same message, a line before it.
        """
        return self.texts[-1] if self.texts else ""

    @cached_property
    def system_messages(self) -> tuple[str, ...]:
        """The texts of the role "system" among the messages."""
        return reading.system_messages(self.body)

    @cached_property
    def mid_turn_texts(self) -> tuple[str, ...]:
        """What the person said while a turn was under way, such as during a tool call.

        The CLI passes it on with words of its own around it, among the system messages or beside a
        tool's result.
        """
        return reading.mid_turn_texts(self.body)

    @cached_property
    def tool_results(self) -> Mapping[str, str]:
        """The text of each tool's result by the id of its use, in order."""
        return reading.tool_results(self.body)

    @property
    def last_tool_result(self) -> str | None:
        """The text of the last one; None if there is none yet."""
        return [*self.tool_results.values()][-1] if self.tool_results else None

    @cached_property
    def images(self) -> tuple[tuple[str, bytes], ...]:
        """The media type and content of each image in the last message that has any."""
        return reading.images(self.body)

    @cached_property
    def is_compaction(self) -> bool:
        """Whether the CLI asks for a summary of the conversation, to go on from that."""
        return reading.is_compaction(self.body)

    @cached_property
    def is_side_request(self) -> bool:
        """Whether the CLI asks for its own purposes rather than for the conversation's next turn.

        For a title, a summary when it compacts, a look into a web page. The server answers those
        itself, and the model never sees them.
        """
        return reading.is_side_request(self.body, self.headers)


@frozen
class Text:
    """The model says something. Its turn ends there, unless a tool use is in the same reply.

    Attributes:
        text: What it says.
        input_tokens: How large the request is said to have been; None for an estimate. A number
            near the model's limit makes the CLI compact the conversation before its next turn.
    """

    text: str
    input_tokens: int | None = field(default=None, kw_only=True)


@frozen
class ToolUse:
    """The model asks for a tool, and goes on when it has the result.

    Attributes:
        name: The tool: `Bash`, `mcp__nanoclaw__send_message`.
        input: What it gets, as JSON's own types.
        text: What the model says first, if anything.
        id: The id under which the result comes back; None for a new one.
    """

    name: str
    input: Mapping[str, Any]
    text: str | None = None
    id: str | None = None


@frozen
class ApiError:
    """The API refuses, or fails.

    Clients ask again after some of these, as they would with the real one. Claude's CLI does so
    after 429, 5xx and 401, as often as CLAUDE_CODE_MAX_RETRIES says; and after a 400 or 422 five
    times at once, each time without another one of the API's newer features.

    Attributes:
        status: The HTTP status, 400 to 599.
        type: The kind of error; by default the one that belongs to the status.
        message: What it says to people.
        retry_after: The seconds in the header of that name.
        headers: More headers of the answer.
    """

    status: int = field(validator=in_(range(400, 600)))
    type: str = Factory(lambda self: ERROR_TYPES.get(self.status, "api_error"), takes_self=True)
    message: str = "an error that the test asked for"
    retry_after: int | None = field(default=None, kw_only=True)
    headers: Mapping[str, str] = field(factory=dict, kw_only=True)


@frozen
class Hang:
    """Never an answer: the call ends when the client hangs up or the server closes."""


@frozen
class DropConnection:
    """The connection ends without an answer."""


Content: TypeAlias = Text | ToolUse

Reply: TypeAlias = Content | Sequence[Content] | ApiError | Hang | DropConnection
"""Several contents are the blocks of one message."""

Model: TypeAlias = Callable[[MessagesRequest], Reply | Awaitable[Reply]]
"""What answers the calls of a conversation: a function, plain or async."""
