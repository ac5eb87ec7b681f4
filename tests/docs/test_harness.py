"""A document that says what isn't so is found out."""

from __future__ import annotations

import pytest
from sybil.example import SybilFailure


@pytest.mark.parametrize(
    "block",
    [
        "```console\n$ echo hello\nhello\n```",
        "```console\n$ printf 'a\\nb\\nc\\n'\na\n...\nc\n$ echo one two\none ...\n```",
        "```console\n$ true\n```",
        "```console\n$ echo oh no >&2\noh no\n```",
        "```python\nimport os\n```\n\n```python\nassert os.getcwd().endswith('project')\n```",
        "```python\n>>> 1 + 1\n2\n\n```",
        "```python\n# a/program.py\nprint('hi')\n```\n\n```console\n$ python a/program.py\nhi\n```",
        '```json\n{"a": 1}\n```',
        "```sh\nexit 1\n```",
    ],
)
def test_what_is_so_passes(block, tmp_path, run_document):
    """Each kind of block does what the conftest says of it."""
    document = tmp_path / "document.md"
    document.write_text(f"# Title\n\n{block}\n")
    run_document(document)


@pytest.mark.parametrize(
    "block",
    [
        "```console\n$ echo hello\ngoodbye\n```",
        "```console\n$ echo hello\n```",
        "```console\n$ echo hello\nhello\nand more\n```",
        "```console\n$ echo hello; false\nhello\n```",
        "```console\n$ true\n...\nsomething\n```",
        "```python\nassert 1 + 1 == 3\n```",
        "```python\n>>> 1 + 1\n3\n\n```",
        "```python\n# program.py\nraise SystemExit(1)\n```\n\n```console\n$ python program.py\n```",
        '```json\n{"a": }\n```',
    ],
)
def test_what_is_not_so_fails(block, tmp_path, run_document):
    """A wrong example fails its document."""
    document = tmp_path / "document.md"
    document.write_text(f"# Title\n\n{block}\n")
    with pytest.raises((AssertionError, ValueError, SybilFailure)):
        run_document(document)


def test_a_file_that_is_shown_is_saved(tmp_path, run_document):
    """An included file is saved under its caption, relative to the reader's folder."""
    (tmp_path / "shown.py").write_text("print('hi')\n")
    document = tmp_path / "document.md"
    document.write_text(
        '# Title\n\n```{literalinclude} shown.py\n:language: python\n:caption: "`a/b.py`"\n```\n\n'
        "```{literalinclude} shown.py\n:language: python\n```\n\n"
        "```console\n$ python a/b.py\nhi\n$ ls\na\n```\n"
    )
    run_document(document)


def test_a_file_that_is_not_there_fails(tmp_path, run_document):
    """A document that shows a file which isn't there fails."""
    document = tmp_path / "document.md"
    document.write_text("# Title\n\n```{literalinclude} missing.py\n```\n")
    with pytest.raises(FileNotFoundError):
        run_document(document)
