"""A group's IPC directory, from the host's side."""
