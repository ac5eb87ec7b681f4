"""What the model is told besides the prompt: memories, skills, pictures, and who asks."""

from __future__ import annotations

import json
import struct
import zlib

from nanoclaw_trio.protocol.models import (
    AdditionalMount,
    ContainerConfig,
    ImageAttachment,
    RegisteredGroup,
)
from nanoclaw_trio.testing.messages_api import Text, ToolUse, scripted

SKILL = """---
name: gardening
description: Knows when plants want water.
---
Ask the plant.
"""


def png(width, height):
    """A grey picture."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = (b"\0" + b"\x80" * width) * height
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        )
    )


def kinds_of_blocks(message):
    """What a message consists of."""
    content = message["content"]
    return ["text"] if isinstance(content, str) else [block["type"] for block in content]


def write_memories(project):
    """Say something to all groups, to one, and in a directory that one is given."""
    project.write("groups/global/CLAUDE.md", "Everybody likes tea.")
    project.write("groups/family/CLAUDE.md", "This family likes coffee.")
    project.write("container/skills/gardening/SKILL.md", SKILL)


async def test_what_a_group_is_told(project, tmp_path):
    """A group's agent gets the global memory in its system prompt, its own memory, that of a
    directory that it was given, and the skills."""
    write_memories(project)
    garden = tmp_path / "garden"
    garden.mkdir()
    (garden / "CLAUDE.md").write_text("The garden has roses.")
    project.settings.allowlist_path.parent.mkdir(parents=True)
    project.settings.allowlist_path.write_text(
        json.dumps(
            {
                "allowedRoots": [{"path": str(garden), "allowReadWrite": False}],
                "blockedPatterns": [],
                "nonMainReadOnly": True,
            }
        )
    )
    mounts = ContainerConfig(additional_mounts=(AdditionalMount(host_path=str(garden)),))
    family = RegisteredGroup(name="Family", folder="family", container_config=mounts)
    done = await project.ask(scripted(Text("Noted.")), group=family)
    assert done.answers == ["Noted."]
    (request,) = done.requests
    assert "Everybody likes tea." in request.system
    told = json.dumps(request.body["messages"])
    assert "This family likes coffee." in told
    assert "The garden has roses." in told
    assert "Knows when plants want water." in told


async def test_the_main_group(project):
    """The main group's agent may register groups; it gets its own memory, and not the one for all
    the others."""
    write_memories(project)
    group = {"jid": "2@chat", "name": "New", "folder": "new", "trigger": "@Andy"}
    register = ToolUse("mcp__nanoclaw__register_group", {**group, "requires_trigger": False})
    done = await project.ask(scripted(register, Text("Noted.")), is_main=True)
    assert done.answers == ["Noted."]
    (path,) = (project.paths().ipc_dir / "tasks").iterdir()
    expected = {"type": "register_group", "requiresTrigger": False, **group}
    assert expected.items() <= json.loads(path.read_text()).items()
    told = json.dumps(done.requests[0].body)
    assert "This family likes coffee." in told
    assert "Everybody likes tea." not in told


async def test_a_scheduled_task_with_pictures(project):
    """A scheduled prompt says that nobody sent it, and its pictures reach the model as they are, in
    the same message; one that isn't there is named."""
    picture = png(40, 30)
    project.write("groups/family/pictures/plant.png", picture)
    names = ("pictures/plant.png", "pictures/missing.png")
    attachments = [ImageAttachment(relative_path=name, media_type="image/png") for name in names]
    done = await project.ask(
        scripted(Text("Thirsty.")),
        "Look at the plant",
        image_attachments=tuple(attachments),
        is_scheduled_task=True,
    )
    assert done.answers == ["Thirsty."]
    (request,) = done.requests
    (said,) = request.texts
    assert said.startswith("[SCHEDULED TASK")
    assert "Look at the plant" in said
    assert "pictures/missing.png can't be shown" in said
    assert request.images == (("image/png", picture),)
    (kinds,) = [
        kinds for kinds in map(kinds_of_blocks, request.body["messages"]) if "image" in kinds
    ]
    assert "text" in kinds
