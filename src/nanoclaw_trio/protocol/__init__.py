"""What crosses the line between host and container."""
