"""Every example in the README and in docs/ runs, and says what it is said to say."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

WITHOUT_SANDBOXES = {
    "design",
    "embedding",
    "history",
    "index",
    "reference",
    "security",
    "testing",
    "why",
}
"""Documents whose examples, if there are any, start nothing."""


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_every_example_runs(path, run_document, request):
    """What a document tells its reader to type works, in its order, from an empty folder on."""
    if path.stem not in WITHOUT_SANDBOXES:
        request.getfixturevalue("bubblewrap")
    run_document(path)
