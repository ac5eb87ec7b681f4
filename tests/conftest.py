"""Fixtures for every test: a group, its settings, and a way to run its agent."""

from __future__ import annotations

import pytest
from attrs import evolve

from nanoclaw_trio.protocol.models import ContainerInput, RegisteredGroup

pytest_plugins = ["nanoclaw_trio.testing.fixtures"]


@pytest.fixture
def group():
    """A group without a configuration of its own."""
    return RegisteredGroup(name="Family", folder="family")


@pytest.fixture
def container_input():
    """A person's prompt to that group."""
    return ContainerInput(
        prompt="Hello", group_folder="family", chat_jid="chat@test", is_main=False
    )


@pytest.fixture
def settings(nanoclaw_settings):
    """Settings with the half hour that the original has, and a time zone of their own."""
    return evolve(nanoclaw_settings, timezone="UTC")
