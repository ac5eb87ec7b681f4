"""How a container is started, stopped and found."""
