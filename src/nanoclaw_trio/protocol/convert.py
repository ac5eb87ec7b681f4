"""What crosses the line, as bytes: the one place where models become JSON and JSON models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoclaw_trio.errors import InvalidContainerInput, InvalidContainerOutput
from nanoclaw_trio.protocol.converters import camel_case, own, structure, wire
from nanoclaw_trio.protocol.json_text import dump_json, parse_json
from nanoclaw_trio.protocol.large_json import parse_at_once, parse_in_steps, run_out
from nanoclaw_trio.protocol.models import ContainerInput, ContainerOutput

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from nanoclaw_trio.protocol.models import AvailableGroup, TaskSnapshot

__all__ = [
    "camel_case",
    "decode_input",
    "decode_output",
    "decode_output_in_steps",
    "describe_input",
    "dump_json",
    "encode_groups",
    "encode_input",
    "encode_output",
    "encode_tasks",
    "own",
    "parse_at_once",
    "parse_json",
    "structure",
    "wire",
]


def encode_input(container_input: ContainerInput, secrets: Mapping[str, str]) -> bytes:
    """The bytes for an agent's standard input: the one place where the secrets meet the input."""
    document = wire.unstructure(container_input)
    if secrets:
        document["secrets"] = dict(secrets)
    return dump_json(document)


def describe_input(container_input: ContainerInput) -> str:
    """The input for the run log: indented JSON, and no secrets, as the model has none."""
    return dump_json(wire.unstructure(container_input), indent=True).decode()


def decode_input(data: bytes) -> ContainerInput:
    """A container input from JSON. InvalidContainerInput, the caller's fault, if it doesn't fit.

    A `secrets` key is not taken over: secrets come from the project's .env or the environment.
    """
    try:
        return structure(wire, parse_json(data), ContainerInput)
    except ValueError as error:
        raise InvalidContainerInput(str(error)) from None


def decode_output(payload: bytes | bytearray) -> ContainerOutput:
    """An agent's output from the bytes between its markers.

    Raises:
        InvalidContainerOutput: the agent's fault; the text has the path into the output, such as
            `required field missing @ $.status`, and nothing of its content.
    """
    return run_out(decode_output_in_steps(payload))


def decode_output_in_steps(
    payload: bytes | bytearray,
) -> Generator[None, None, ContainerOutput]:
    """As :func:`decode_output`, with a pause for others at each `yield` where it is large."""
    try:
        return structure(wire, (yield from parse_in_steps(payload)), ContainerOutput)
    except ValueError as error:
        raise InvalidContainerOutput(str(error)) from None


def encode_output(output: ContainerOutput) -> bytes:
    """An output as one line of JSON, as an agent writes it between two markers."""
    return dump_json(wire.unstructure(output))


def encode_tasks(tasks: tuple[TaskSnapshot, ...]) -> bytes:
    """The content of current_tasks.json (wire-formats 6)."""
    return dump_json(wire.unstructure(tasks), indent=True)


def encode_groups(groups: tuple[AvailableGroup, ...], last_sync: str) -> bytes:
    """The content of available_groups.json (wire-formats 6)."""
    document = {"groups": wire.unstructure(groups), "lastSync": last_sync}
    return dump_json(document, indent=True)
