"""From what was asked for on the command line to the input of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from nanoclaw_trio.errors import InputError
from nanoclaw_trio.files import in_thread, read_if_present
from nanoclaw_trio.protocol.convert import decode_input
from nanoclaw_trio.protocol.models import ContainerInput
from nanoclaw_trio.workspace.folders import validate_group_folder

if TYPE_CHECKING:
    from pathlib import Path

    import trio

    from nanoclaw_trio.cli.options import Options
    from nanoclaw_trio.cli.streams import Streams
    from nanoclaw_trio.settings import Settings

STANDARD_INPUT: Final = "-"

MAIN_GROUP: Final = "main"
"""The group by default, and the one that is the main group by default."""

INPUT_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of the largest file that --input takes."""


class UnusablePrompt(InputError):
    """There is no prompt, or it isn't text."""


class UnusableInputFile(InputError):
    """The file that --input names can't be read."""


class ConflictingOption(InputError):
    """An option says something else than the container input does."""

    def __init__(self, option: str, key: str) -> None:
        super().__init__(
            f"{option} says something else than {key} of --input; leave one of them out"
        )
        self.option = option


async def read_prompt(options: Options, streams: Streams) -> str:
    """The prompt, from the command line or from standard input.

    Raises:
        UnusablePrompt: there is none, and standard input is a terminal; or it isn't UTF-8.
    """
    if options.prompt is None and streams.stdin_is_terminal:
        raise UnusablePrompt("no prompt: give one, or - to read it from standard input")
    if options.prompt is None or options.prompt == STANDARD_INPUT:
        return decode_prompt(await read_all(streams.stdin))
    return check_prompt(options.prompt)


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """A stream to its end."""
    return b"".join([bytes(chunk) async for chunk in stream])


def decode_prompt(content: bytes) -> str:
    """A prompt as it came through a pipe: without the line end that `echo` puts behind it."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UnusablePrompt(f"the prompt isn't UTF-8 at byte {error.start}") from None
    return check_prompt(text.rstrip("\r\n"))


def check_prompt(text: str) -> str:
    """The prompt itself. UnusablePrompt if it is empty, or isn't UTF-8 on the command line."""
    if not text.strip():
        raise UnusablePrompt("the prompt is empty; say what the agent is asked")
    # Bytes of an argument that aren't UTF-8 became half surrogate pairs.
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UnusablePrompt("the prompt isn't UTF-8")
    return text


async def read_input(options: Options, source: str, streams: Streams) -> ContainerInput:
    """The container input of --input, checked against the options beside it.

    Raises:
        UnusableInputFile: the file isn't there or can't be read.
        InvalidContainerInput: it doesn't fit.
        ConflictingOption: an option says something else.
        InvalidGroupFolder: the group's name isn't allowed.
    """
    content = await _read_source(source, streams)
    container_input = decode_input(content)
    refuse_conflicts(options, container_input)
    validate_group_folder(container_input.group_folder)
    return container_input


async def _read_source(source: str, streams: Streams) -> bytes:
    from pathlib import Path

    if source == STANDARD_INPUT:
        return await read_all(streams.stdin)
    try:
        content = await in_thread(_read_file, Path(source), abandon_on_cancel=True)
    except OSError as error:
        raise UnusableInputFile(f"{source}: {error.strerror}; name another file") from None
    if content is None:
        raise UnusableInputFile(f"{source}: no such file; name another")
    return content


def _read_file(path: Path) -> bytes | None:
    return read_if_present(path, limit=INPUT_LIMIT)


def refuse_conflicts(options: Options, container_input: ContainerInput) -> None:
    """ConflictingOption if an option that was given differs from the input."""
    for option, key, asked, given in (
        ("--group", "groupFolder", options.group, container_input.group_folder),
        ("--main/--no-main", "isMain", options.main, container_input.is_main),
        ("--session", "sessionId", options.session, container_input.session_id),
    ):
        if asked is not None and asked != given:
            raise ConflictingOption(option, key)


def make_input(options: Options, prompt: str, settings: Settings) -> ContainerInput:
    """The container input for a prompt. InvalidGroupFolder if the group's name isn't allowed."""
    folder = validate_group_folder(MAIN_GROUP if options.group is None else options.group)
    return ContainerInput(
        prompt=prompt,
        group_folder=folder,
        chat_jid=f"cli:{folder}",
        is_main=folder == MAIN_GROUP if options.main is None else options.main,
        session_id=options.session,
        assistant_name=settings.assistant_name,
    )


def follow_up_input(first: ContainerInput, prompt: str, session_id: str | None) -> ContainerInput:
    """The input for a later run of a conversation."""
    return evolve(
        first,
        prompt=prompt,
        session_id=session_id,
        image_attachments=None,
    )
