"""The conformance suite's program; it takes the agent-runner's place in a container."""
