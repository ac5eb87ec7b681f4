"""The page of promises names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/promises.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" |")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| ---", "| promise |"))
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_each_promise_is_held_by_a_test_that_there_is(row):
    """Each row has a sentence, and tests or a command, all of which are in the source."""
    promise, tests, command = row
    assert promise.endswith(".")
    assert tests or command
    for path, _, name in (named.partition("::") for named in re.findall(r"`(.+?)`", tests)):
        source = (ROOT / "tests" / path).read_text()
        assert not name or re.search(rf"def {name.rpartition('::')[2]}\(", source), (path, name)
    for program in re.findall(r"tests/\S+\.py", command):
        assert (ROOT / program).is_file()
