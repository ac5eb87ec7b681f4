"""What the README and docs/ say of the source is so."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import attrs
import pytest

from nanoclaw_trio import Bridge, Cause, DeliveryKind, Reception, Settings
from nanoclaw_trio.environment import SECRET_VARIABLES
from nanoclaw_trio.settings import _VARIABLES
from nanoclaw_trio.workspace.allowlist import DEFAULT_BLOCKED_PATTERNS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DOCUMENTS = (ROOT / "README.md", *sorted(DOCS.glob("*.md")))

PROTOCOL = (DOCS / "protocol.md").read_text()
EMBEDDING = (DOCS / "embedding.md").read_text()

DEFAULTS = {
    variable: attrs.fields_dict(Settings)[name].default
    for variable, (name, _) in _VARIABLES.items()
    if name not in {"stop", "timezone"}
}

MILLISECONDS = frozenset({"CONTAINER_TIMEOUT", "IDLE_TIMEOUT"})


def first_column(text):
    """The first cell of each line that is a table's."""
    return re.findall(r"^\| (.+?) \|", text, re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_path_exists(document):
    """Each file or folder of this project that a document names or links to is there."""
    text = document.read_text()
    named = re.findall(r"`((?:tests|src|container|docs)/[^`\s*:…]+)`", text)
    linked = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing + [link for link in linked if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("variable", sorted(_VARIABLES))
def test_every_setting_is_in_the_table(variable):
    """docs/protocol has a row for each variable, and its default."""
    settings = PROTOCOL.partition("## 9. Settings")[2]
    row = re.search(rf"^\| `{variable}` \| (.+?) \|", settings, re.MULTILINE)
    assert row is not None
    if variable in DEFAULTS:
        default = DEFAULTS[variable]
        default = int(default * 1000) if variable in MILLISECONDS else default
        assert row[1].strip("`") == ("none" if default is None else str(default))


@pytest.mark.parametrize("word", [*SECRET_VARIABLES, *DEFAULT_BLOCKED_PATTERNS])
def test_lists_are_whole(word):
    """docs/protocol names each secret and each pattern that is always blocked."""
    assert f"`{word}`" in PROTOCOL


def test_every_cause_is_in_the_table():
    """docs/design has a row for each cause of an end, and no other."""
    table = (DOCS / "design.md").read_text().partition("### Its outcome")[2].partition("##")[0]
    assert {cell.strip("`") for cell in first_column(table)[2:]} == set(Cause)


def test_every_method_of_a_bridge_is_in_the_table():
    """docs/embedding has a row for each method that a bridge may have, and no other."""
    table = EMBEDDING.partition("| method |")[2].partition("\n\n")[0]
    methods = {cell.split("`")[1] for cell in first_column(table)[1:]}
    assert methods == {name for name in vars(Bridge) if not name.startswith("_")}


def test_every_reception_is_in_the_table():
    """docs/embedding has a row for each thing that may become of a message, and no other."""
    table = EMBEDDING.partition("| `Reception` |")[2].partition("\n\n")[0]
    assert {cell.strip("`") for cell in first_column(table)[1:]} == set(Reception.__members__)


@pytest.mark.parametrize("kind", DeliveryKind.__members__)
def test_every_kind_of_delivery_is_said(kind):
    """docs/embedding says what each kind of delivery is."""
    assert f"\n- `{kind}`: " in EMBEDDING


def traps_named(*places):
    """The traps that files name: Trap A7; Traps A7, T3."""
    texts = [path.read_text("utf-8") for place in places for path in ROOT.glob(f"{place}/**/*.py")]
    lists = [
        found for text in texts for found in re.findall(r"Traps? ([ABT]\d+(?:, [ABT]\d+)*)", text)
    ]
    return {trap for found in lists for trap in found.split(", ")}


def test_every_trap_is_in_the_list_and_has_a_test():
    """docs/history has a row for each trap that the source or a test names, and a test names each."""
    cells = first_column((DOCS / "history.md").read_text())
    listed = {cell for cell in cells if re.fullmatch(r"[ABT]\d+", cell)}
    assert traps_named("src") <= listed
    assert traps_named("tests") == listed


def test_the_first_command_of_the_readme(shell, tmp_path):
    """It asks the echo agent; where an engine has no image, it names the command that builds it."""
    command = re.search(r"^python3 -m venv .*$", DOCUMENTS[0].read_text(), re.MULTILINE)[0]
    environment, install, ask = command.split(" && ")
    assert (environment, install) == ("python3 -m venv .venv", ".venv/bin/pip install .")
    python = f"{sys.executable} "
    status, seen = shell(ask.replace(".venv/bin/python ", python), tmp_path)
    answered = status == 0 and "echo: Hello\n" in seen
    build = r"`python -m nanoclaw_trio build( --runtime \w+)?`"
    assert answered or (status == 3 and re.search(build, seen)), seen


def test_the_second_command_of_the_readme():
    """It installs the extra with all that the tests take, and runs them."""
    command = re.findall(r"^python3 -m venv .*$", DOCUMENTS[0].read_text(), re.MULTILINE)[1]
    assert command.split(" && ")[1:] == [
        ".venv/bin/pip install -e '.[dev]'",
        ".venv/bin/python -m pytest",
    ]
