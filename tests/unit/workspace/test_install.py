"""The installation's id: one for each place, whoever asks at once."""

from __future__ import annotations

import json
import os
import shutil
import threading

import pytest

from nanoclaw_trio.errors import InvalidFile
from nanoclaw_trio.workspace.install import install_id


def record_of(root):
    """What is written down."""
    return json.loads((root / "data" / "install-id").read_text())


def test_made_once(tmp_path):
    """The id is written down and stays."""
    first = install_id(tmp_path)
    assert len(bytes.fromhex(first)) == 16
    assert install_id(tmp_path) == first
    assert record_of(tmp_path) == {"id": first, "root": str(tmp_path.resolve())}


def test_two_projects_differ(tmp_path):
    """Trap A26. Two installations on one host never have one id."""
    assert install_id(tmp_path / "a") != install_id(tmp_path / "b")


def test_a_link_to_the_project_is_the_project(tmp_path):
    """One project has one id, however it was named."""
    first = install_id(tmp_path / "a")
    (tmp_path / "link").symlink_to("a")
    assert install_id(tmp_path / "link") == first


def test_a_copied_project_gets_its_own(tmp_path):
    """Trap A26. A copy doesn't take the original's containers for its own, and stays itself."""
    first = install_id(tmp_path / "a")
    for name in ("b", "c"):
        shutil.copytree(tmp_path / "a", tmp_path / name)
    ids = [install_id(tmp_path / name) for name in ("a", "b", "c")]
    assert len(set(ids)) == 3
    assert ids[0] == first
    assert [install_id(tmp_path / name) for name in ("a", "b", "c")] == ids
    assert record_of(tmp_path / "b")["root"] == str((tmp_path / "b").resolve())


@pytest.mark.parametrize("copied", [False, True])
def test_all_who_ask_at_once_agree(tmp_path, copied):
    """Many at once, in a new or a copied project, get one id."""
    if copied:
        install_id(tmp_path / "original")
        shutil.copytree(tmp_path / "original", tmp_path / "project")
    barrier, ids = threading.Barrier(8), []

    def ask():
        barrier.wait()
        ids.append(install_id(tmp_path / "project"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len(set(ids)) == 1
    assert [path.name for path in (tmp_path / "project" / "data").iterdir()] == ["install-id"]


def test_a_path_that_is_no_text(tmp_path):
    """A project whose path has bytes that aren't UTF-8 has an id that stays."""
    root = tmp_path / os.fsdecode(b"caf\xe9")
    assert install_id(root) == install_id(root)


GOOD = {"id": "0" * 32, "root": "/x"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("0" * 32, "not"),
        (json.dumps({"id": "0" * 32}), "required field missing @ $.root"),
        (json.dumps({**GOOD, "more": 1}), "unknown key 'more' @ $"),
        (json.dumps({**GOOD, "id": 7}), "not a string @ $.id"),
        (json.dumps({**GOOD, "id": "0" * 31}), "not 32 hexadecimal digits @ $.id"),
        (json.dumps({**GOOD, "id": "A" * 32}), "not 32 hexadecimal digits @ $.id"),
        (json.dumps({**GOOD, "id": "0" * 32 + "\n"}), "not 32 hexadecimal digits @ $.id"),
    ],
)
def test_a_broken_record(tmp_path, text, words):
    """It is an error and stays: containers with the old id would be lost from sight."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "install-id").write_text(text)
    with pytest.raises(InvalidFile, match="stop the containers") as caught:
        install_id(tmp_path)
    assert words in str(caught.value)
    assert caught.value.path == tmp_path / "data" / "install-id"
    assert (tmp_path / "data" / "install-id").read_text() == text
