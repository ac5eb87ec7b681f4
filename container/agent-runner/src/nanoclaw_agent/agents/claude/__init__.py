"""The agent that is Claude: the Claude Agent SDK, and the CLI that it drives."""
