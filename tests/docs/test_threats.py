"""Each test that a document names as a promise's proof is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

NAMED = re.compile(r"`(tests/[\w./-]+\.py)::((?:\w+::)*\w+)`")


@cache
def defined_in(path):
    """The names of a module's tests, those in a class with that before them."""
    tree = ast.parse((ROOT / path).read_text())
    return {"::".join(names) for names in functions_in(tree, ())}


def functions_in(node, above):
    """All functions below a node, with the classes that they are in."""
    for below in ast.iter_child_nodes(node):
        if isinstance(below, ast.ClassDef):
            yield from functions_in(below, (*above, below.name))
        elif isinstance(below, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (*above, below.name)


def rows_of_the_threat_table():
    """The lines of docs/security's table of threats, as cells."""
    text = (ROOT / "docs" / "security.md").read_text().partition("| threat |")[2]
    lines = text.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_test_that_is_named_exists(document):
    """A document names no test that isn't there, by its module and its name."""
    named = set(NAMED.findall(document.read_text()))
    missing = [path for path, _ in named if not (ROOT / path).is_file()]
    assert missing == []
    assert [f"{path}::{name}" for path, name in named if name not in defined_in(path)] == []


def test_every_threat_has_an_answer_and_a_test():
    """docs/security's table of threats has no empty cell, and no line without a test."""
    rows = rows_of_the_threat_table()
    assert len(rows) > 20
    for row in rows:
        assert len(row) == 3, row
        assert row[0], row
        assert row[1], row
        assert NAMED.search(row[2]), row
