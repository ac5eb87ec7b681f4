"""Containers by the Engine API: no client process stands between the host and the engine."""
