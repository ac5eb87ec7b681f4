"""Scheduled tasks: when they are due, and whose they are while they run."""
