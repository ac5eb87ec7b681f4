"""The skills that every group gets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nanoclaw_agent.chat_tools.catalogue import TOOLS
from nanoclaw_agent.chat_tools.requests import CONTEXT_MODES
from nanoclaw_agent.chat_tools.schedule import SCHEDULE_TYPES

SKILLS = sorted((Path(__file__).parents[3] / "container" / "skills").iterdir())

ARGUMENTS = {name for tool in TOOLS for name in tool.properties}
KNOWN = {tool.name for tool in TOOLS} | ARGUMENTS | {*CONTEXT_MODES, *SCHEDULE_TYPES}


@pytest.mark.parametrize("skill", SKILLS, ids=lambda path: path.name)
def test_a_skill_says_when_to_use_it(skill):
    """It begins with its name, which is its directory's, and a description on one line."""
    text = (skill / "SKILL.md").read_text()
    head = re.match(r"---\nname: (\S+)\ndescription: (.+)\n---\n\n# ", text)
    assert head[1] == skill.name
    assert 40 < len(head[2]) <= 1024
    assert ": " not in head[2]


@pytest.mark.parametrize("skill", SKILLS, ids=lambda path: path.name)
def test_a_skill_names_what_there_is(skill):
    """Each tool, argument and choice that it names is one of the chat tools'."""
    text = (skill / "SKILL.md").read_text()
    named = set(re.findall(r"`(?:mcp__nanoclaw__)?([a-z]+(?:_[a-z]+)+)`", text))
    assert named
    assert named <= KNOWN
