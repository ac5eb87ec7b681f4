"""The chat tools as an in-process MCP server of the Claude Agent SDK.

Importing this module imports the SDK, which takes half a second: import it late. In-process, since
a server of its own would be a child of the CLI and inherit the key (docs/security).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio
from claude_agent_sdk import SdkMcpTool, ToolAnnotations, create_sdk_mcp_server, tool

from nanoclaw_agent.chat_tools.catalogue import TOOLS
from nanoclaw_agent.chat_tools.errors import InvalidRequest
from nanoclaw_agent.chat_tools.tasks import InvalidSnapshot
from nanoclaw_agent.chat_tools.tools import ChatTools

if TYPE_CHECKING:
    from claude_agent_sdk import McpSdkServerConfig

    from nanoclaw_agent.chat_tools.catalogue import ToolEntry
    from nanoclaw_agent.chat_tools.context import ChatContext
    from nanoclaw_agent.chat_tools.tools import Handler

SERVER_NAME: Final = "nanoclaw"
"""As the original's: the model knows the tools as mcp__nanoclaw__send_message and so on."""


def make_chat_server(context: ChatContext) -> McpSdkServerConfig:
    """The server for one session, to be given to the SDK as `mcp_servers[SERVER_NAME]`.

    A call that can't be carried out is answered with an error for the model and leaves nothing in
    the mailbox. One that is cancelled is carried out whole or not at all.
    """
    handlers = ChatTools(context).handlers()
    tools = [_sdk_tool(entry, handlers[entry.name]) for entry in TOOLS]
    return create_sdk_mcp_server(SERVER_NAME, tools=tools)


def _sdk_tool(entry: ToolEntry, handler: Handler) -> SdkMcpTool[Any]:
    annotations = ToolAnnotations(readOnlyHint=entry.read_only)

    @tool(entry.name, entry.description, entry.schema, annotations)
    async def call(arguments: dict[str, Any]) -> dict[str, Any]:
        # Here a cancelled call ends; later it would leave a request that nobody knows of.
        await trio.lowlevel.checkpoint()
        return _answer(handler, arguments)

    return call


def _answer(handler: Handler, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return _content(handler(arguments))
    except InvalidRequest as error:
        return _content(f"Nothing was sent: {error}.", is_error=True)
    except InvalidSnapshot as error:
        return _content(f"{error}.", is_error=True)
    except OSError as error:
        return _content(
            f"Nothing was sent: the mailbox can't be written: {error.strerror}.", is_error=True
        )


def _content(text: str, *, is_error: bool = False) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "is_error": is_error}
