"""Errors of the disk, and whom they are blamed on."""

from __future__ import annotations

import errno

import pytest

from nanoclaw_trio.errors import WorkspaceFailed
from nanoclaw_trio.workspace.directories import blamed_on


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "settings.json"),
            "No space left on device (settings.json)",
        ),
        (OSError(errno.EIO, "Input/output error", 7), "Input/output error;"),
        (OSError("odd"), "an error of the system;"),
    ],
)
def test_blame(tmp_path, error, words):
    """An error of the disk names the place, the entry in it, and what the system said."""
    with pytest.raises(WorkspaceFailed) as caught, blamed_on(tmp_path):
        raise error
    assert words in str(caught.value)
    assert caught.value.path == tmp_path
    assert caught.value.__cause__ is error
