"""The program inside a group's container: prompts in, answers out, follow-ups from a mailbox.

It is a program of its own. It shares no code with the host, only the formats of docs/protocol, and
each group has its own copy of this source, mounted at /app/src, to change as it likes.
"""
