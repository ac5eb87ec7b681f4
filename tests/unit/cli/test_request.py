"""From options to a container's input."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from nanoclaw_trio.cli.request import (
    ConflictingOption,
    UnusableInputFile,
    UnusablePrompt,
    check_prompt,
    decode_prompt,
    follow_up_input,
    make_input,
    read_input,
    read_prompt,
    refuse_conflicts,
)
from nanoclaw_trio.errors import InvalidContainerInput, InvalidGroupFolder
from nanoclaw_trio.protocol.models import ContainerInput, ImageAttachment

reproducible = hypothesis_settings(derandomize=True, deadline=None)

DOCUMENT = {
    "prompt": "Hi",
    "groupFolder": "family",
    "chatJid": "chat@test",
    "isMain": False,
    "sessionId": "s1",
}


async def type_in(desk, content):
    """Put something on standard input, and end it."""
    await desk.keyboard.send_all(content)
    await desk.keyboard.aclose()
    return desk.world.streams


async def test_the_prompt_from_the_command_line(make_desk, options):
    """A prompt that was given is taken as it is; standard input stays unread."""
    assert await read_prompt(options, make_desk().world.streams) == "Hello"


@pytest.mark.parametrize("prompt", ["-", None])
async def test_the_prompt_from_standard_input(make_desk, options, prompt):
    """A dash reads standard input, and so does no prompt where it isn't a terminal."""
    streams = await type_in(make_desk(), "Grüße\n".encode())
    assert await read_prompt(evolve(options, prompt=prompt), streams) == "Grüße"


async def test_a_dash_reads_a_terminal_too(make_desk, options):
    """Who asks for standard input gets it, terminal or not."""
    streams = await type_in(make_desk(stdin_is_terminal=True), b"typed\n")
    assert await read_prompt(evolve(options, prompt="-"), streams) == "typed"


async def test_no_prompt_at_a_terminal_is_bad_usage(make_desk, options):
    """Nobody is left waiting for a prompt that they don't know they have to type."""
    desk = make_desk(stdin_is_terminal=True)
    with pytest.raises(UnusablePrompt, match="no prompt"):
        await read_prompt(evolve(options, prompt=None), desk.world.streams)


@pytest.mark.parametrize("text", ["", "  ", "\n", "a\udcff"])
def test_an_unusable_prompt(text):
    """An empty prompt asks nothing, and bytes that aren't UTF-8 aren't guessed at."""
    with pytest.raises(UnusablePrompt):
        check_prompt(text)


@pytest.mark.parametrize(
    ("content", "problem"), [(b"ab\xff", "isn't UTF-8 at byte 2"), (b"\n", "is empty")]
)
def test_unusable_bytes(content, problem):
    """The error says where it is wrong."""
    with pytest.raises(UnusablePrompt, match=problem):
        decode_prompt(content)


@reproducible
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1))
def test_a_prompt_survives_a_pipe(text):
    """What `echo` pipes in is what was meant, whatever the line end."""
    assert {decode_prompt(f"{text}{end}".encode()) for end in ("", "\n", "\r\n")} == {text}


@pytest.mark.parametrize(
    ("fields", "folder", "is_main"),
    [
        ({}, "main", True),
        ({"main": False}, "main", False),
        ({"group": "family"}, "family", False),
        ({"group": "family", "main": True}, "family", True),
    ],
)
def test_the_group_and_whether_it_is_main(options, settings, fields, folder, is_main):
    """The group is `main` unless named, and is the main one if that is its name, unless said."""
    container_input = make_input(evolve(options, **fields), "Hi", settings)
    assert container_input.group_folder == folder
    assert container_input.chat_jid == f"cli:{folder}"
    assert container_input.is_main is is_main


def test_the_rest_of_an_input(options, settings):
    """The session is the option's, the name the settings'."""
    container_input = make_input(evolve(options, session="s1"), "Hi", settings)
    assert (container_input.prompt, container_input.session_id) == ("Hi", "s1")
    assert container_input.assistant_name == settings.assistant_name


@pytest.mark.parametrize("folder", ["../x", "", "global", "a b"])
def test_a_group_name_that_isnt_allowed(options, settings, folder):
    """A bad name is refused before anything is looked for or made."""
    with pytest.raises(InvalidGroupFolder):
        make_input(evolve(options, group=folder), "Hi", settings)


async def test_input_from_a_file_and_from_standard_input(make_desk, options, tmp_path):
    """Both ways give the same."""
    options = evolve(options, prompt=None)
    path = tmp_path / "input.json"
    path.write_text(json.dumps(DOCUMENT))
    streams = await type_in(make_desk(), path.read_bytes())
    from_file = await read_input(options, str(path), streams)
    assert from_file == await read_input(options, "-", streams)
    assert from_file == ContainerInput(
        prompt="Hi", group_folder="family", chat_jid="chat@test", is_main=False, session_id="s1"
    )


@pytest.mark.parametrize(
    ("name", "problem"),
    [("missing", "no such file"), (".", "Is a directory"), ("large", "larger than")],
)
async def test_a_file_that_cant_be_read(make_desk, options, tmp_path, name, problem):
    """The error names the file and what is wrong with it."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(64 * 1024 * 1024 + 1)
    with pytest.raises(UnusableInputFile, match=problem):
        await read_input(options, str(tmp_path / name), make_desk().world.streams)


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ("{", InvalidContainerInput),
        (json.dumps({**DOCUMENT, "isMain": "yes"}), InvalidContainerInput),
        (json.dumps({**DOCUMENT, "groupFolder": "../x"}), InvalidGroupFolder),
    ],
)
async def test_an_input_that_doesnt_fit(make_desk, options, document, error):
    """What isn't a container input, or is one for no group, is the caller's fault."""
    streams = await type_in(make_desk(), document.encode())
    with pytest.raises(error):
        await read_input(options, "-", streams)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"group": "other"}, "--group says something else than groupFolder"),
        ({"main": True}, "--main/--no-main says something else than isMain"),
        ({"session": "s2"}, "--session says something else than sessionId"),
    ],
)
def test_a_conflict_is_named(options, container_input, fields, named):
    """An option that says something else than the input is refused, and both are named."""
    with pytest.raises(ConflictingOption, match=named):
        refuse_conflicts(evolve(options, **fields), container_input)


def test_the_same_said_twice_is_no_conflict(options, container_input):
    """An option may repeat what the input says."""
    container_input = evolve(container_input, session_id="s1")
    refuse_conflicts(evolve(options, group="family", main=False, session="s1"), container_input)


def test_a_follow_up_has_its_own_prompt(container_input):
    """Pictures went with the first prompt and don't go with the next."""
    first = evolve(
        container_input,
        image_attachments=(ImageAttachment(relative_path="a.png", media_type="image/png"),),
    )
    later = follow_up_input(first, "And?", "s2")
    assert (later.prompt, later.session_id, later.image_attachments) == ("And?", "s2", None)
    assert later.group_folder == first.group_folder
