"""One agent run, from a prompt to a receipt that its container is gone."""
