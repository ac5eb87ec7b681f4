"""The public names: said in four places, which agree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nanoclaw_trio
import nanoclaw_trio.testing

ROOT = Path(__file__).parents[2]
SOURCE = Path(nanoclaw_trio.__file__)
API = Path(__file__).with_name("api.py")
REFERENCE = ROOT / "docs" / "reference.md"

NAMES = frozenset(nanoclaw_trio.__all__)


def imported_names(source, *, from_package="nanoclaw_trio"):
    """The names that a source imports from a package, each with the module that it names."""
    return {
        alias.name: node.module
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(from_package)
        for alias in node.names
    }


def test_a_type_checker_sees_the_modules_that_are_imported():
    """The imports for type checkers and the table of late imports name the same modules."""
    assert imported_names(SOURCE.read_text()) == nanoclaw_trio._HOMES


def test_every_late_import_is_public():
    """`__all__` and the table have the same names, and none twice."""
    assert sorted(nanoclaw_trio.__all__) == sorted(nanoclaw_trio._HOMES)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_is_there(name):
    """Each public name can be imported and says what it is for."""
    assert getattr(nanoclaw_trio, name).__doc__


def test_dir_has_them_all():
    """What a person's editor offers holds every public name."""
    assert set(dir(nanoclaw_trio)) >= NAMES


def test_another_name_is_an_attribute_error():
    """A name that isn't there fails as it does in any module."""
    with pytest.raises(AttributeError, match="no attribute 'open_rum'"):
        nanoclaw_trio.open_rum  # noqa: B018 - the attribute is the test


def test_importing_the_package_imports_nothing_else():
    """`import nanoclaw_trio` takes neither Trio nor attrs to import, which costs a command time."""
    program = "import sys, nanoclaw_trio; print({'trio', 'attrs', 'structlog'} & set(sys.modules))"
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout == "set()\n"


def test_the_typed_example_uses_every_name():
    """tests/typing/api.py, which type checkers check, uses every public name."""
    source = API.read_text()
    imported = imported_names(source)
    assert {name for name, home in imported.items() if home == "nanoclaw_trio"} == NAMES
    used = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    assert used >= NAMES


@pytest.mark.parametrize("module", [nanoclaw_trio, nanoclaw_trio.testing])
def test_the_reference_has_every_name(module):
    """docs/reference.md has an entry for each public name, and for nothing that isn't public."""
    entry = rf"^\.\. auto\w+:: {module.__name__}\.(\w+)(?:\(\))?$"
    entries = re.findall(entry, REFERENCE.read_text(), re.MULTILINE)
    assert sorted(entries) == sorted(module.__all__)
