"""The bridges of `nanoclaw-trio serve`: the terminal, and whoever connects to a Unix socket."""
