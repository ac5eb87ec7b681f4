"""The models: data that doesn't change, and what can be asked of it."""

from __future__ import annotations

import inspect

import attrs
import pytest

from nanoclaw_trio.protocol import models
from nanoclaw_trio.protocol.models import (
    AdditionalMount,
    ContainerConfig,
    ContainerInput,
    ContainerOutput,
    RegisteredGroup,
)

ALL = [value for value in vars(models).values() if inspect.isclass(value) and attrs.has(value)]


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_model_is_frozen_and_keyword_only(cls: type) -> None:
    """No model changes after it was made, and no two fields can be mixed up by their order."""
    assert cls.__setattr__ is not object.__setattr__
    assert all(field.kw_only for field in attrs.fields(cls))
    assert cls.__doc__


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_no_model_has_a_field_for_secrets(cls: type) -> None:
    """What no model holds, no repr and no log of a model can give away."""
    assert not any("secret" in field.name or "token" in field.name for field in attrs.fields(cls))


def test_assignment_is_refused() -> None:
    """A model is a value: changing it is an error, and making another is the way."""
    output = ContainerOutput(status="success", result="hi")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        output.result = "ho"  # type: ignore[misc]
    assert attrs.evolve(output, result="ho").result == "ho"


def test_models_are_values() -> None:
    """Two with the same content are equal and count as one in a set."""
    one, two = (
        ContainerInput(prompt="a", group_folder="b", chat_jid="c", is_main=False) for _ in "12"
    )
    assert one == two
    assert len({one, two}) == 1


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (ContainerOutput(status="success", result=None, new_session_id="s"), True),
        (ContainerOutput(status="success", result="", new_session_id="s"), False),
        (ContainerOutput(status="success", result="hi", new_session_id="s"), False),
        (ContainerOutput(status="success", result=None), False),
        (ContainerOutput(status="error", result=None, new_session_id="s"), False),
    ],
)
def test_session_update_is_told_from_an_answer(output: ContainerOutput, expected) -> None:
    """Only a success without a result and with a session id says "the query ended"."""
    assert output.is_session_update is expected


def test_additional_mount_is_read_only_unless_asked() -> None:
    """Who doesn't say read-write gets read-only (wire-formats 7)."""
    assert AdditionalMount(host_path="~/notes").readonly is True


def test_group_needs_a_name_and_a_folder_only() -> None:
    """A group without a configuration of its own has none, and one made empty asks for nothing."""
    group = RegisteredGroup(name="Family", folder="family")
    assert group.container_config is None
    assert ContainerConfig() == ContainerConfig(additional_mounts=(), timeout=None)
