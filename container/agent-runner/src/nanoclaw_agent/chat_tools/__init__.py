"""The tools through which the model speaks to the chat and to the scheduler (docs/protocol 6).

Each call is checked first and then written into the group's mailbox as one file: a request to the
host, which decides on it later. ``server`` is the only module here that needs the Claude Agent SDK,
and slow to import for that reason; the others work for any agent.
"""
