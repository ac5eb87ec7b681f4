"""Runs the examples of a document, from its first line to its last, as its reader would.

A fenced block of the language

- `python` is executed, in one namespace for the whole document; as a doctest where it has prompts.
  If its first line is a comment with a file's name, it is saved under that name instead.
- `console` is what a person types behind each `$ `, and what is then to be seen on the terminal.
  `...` stands for anything in the rest of a line, and on a line of its own for any lines.
- `json` is parsed.
- `{literalinclude}` is a file of this checkout; with a caption it is copied to that name.

Any other language is only read. All of it happens in one empty folder for each document.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from sybil import Document, Region
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser
from sybil.parsers.myst.lexers import DirectiveLexer

from nanoclaw_trio.environment import SECRET_VARIABLES

GUARD = 300
"""Seconds after which a command is given up; none needs more than some."""

_SETTINGS = re.compile(r"CONTAINER_|NANOCLAW_|IDLE_TIMEOUT|MAX_CONCURRENT|ASSISTANT_NAME|LOG_LEVEL")


@pytest.fixture(scope="module", autouse=True)
def _unmeasured(unmeasured_children):
    """No process that is started here is measured."""


def readers_environment(home):
    """A reader's environment: this Python first on the PATH, and no settings or keys of ours."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in {*SECRET_VARIABLES, "PYTEST_ADDOPTS"} and not _SETTINGS.match(name)
    }
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return {**inherited, "PATH": path, "HOME": str(home), "TERM": "dumb", "PYTHONUTF8": "1"}


def run_shell(command, directory):
    """Run a command as a person in that folder would; its exit status and what is to be seen."""
    home = directory.parent / "home"
    home.mkdir(exist_ok=True)
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=directory,
        env=readers_environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=GUARD,
        check=False,
    )
    return done.returncode, done.stdout


def split_console(text):
    """The commands of a console block, each with what shall be seen after it."""
    starts = [found.start() for found in re.finditer(r"^\$ ", text, re.MULTILINE)]
    for start, end in pairwise([*starts, len(text)]):
        command, _, expected = text[start + 2 : end].partition("\n")
        yield command, expected


def to_pattern(expected):
    """What shall be seen, as an expression."""
    lines = [
        r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n"
        for line in expected.splitlines()
    ]
    return re.compile("".join(lines))


def run_console(example):
    """Evaluate a console block."""
    for command, expected in split_console(example.parsed):
        status, seen = run_shell(command, example.namespace["DIRECTORY"])
        as_said = to_pattern(expected).fullmatch(seen) and status == 0
        assert as_said, f"$ {command}\n{seen}\n--- status {status}, and expected was\n{expected}"


def parse_python(document):
    """Find the Python blocks: those with a file's name are saved, the others executed."""
    for region in PythonCodeBlockParser()(document):
        named = re.match(r"# (\S+\.py)\n", region.parsed if isinstance(region.parsed, str) else "")
        if named:
            region.evaluator = save_file
        yield region


def save_file(example):
    """Save a block under the name in its first line."""
    path = example.namespace["DIRECTORY"] / example.parsed.partition("\n")[0].removeprefix("# ")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(example.parsed)


def parse_included(document):
    """Find the files that a document shows without repeating them."""
    for region in DirectiveLexer("literalinclude")(document):
        yield Region(region.start, region.end, region.lexemes, copy_file)


def copy_file(example):
    """Copy a file that is shown to the name in its caption, if it has one."""
    source = Path(example.path).parent / example.parsed["arguments"]
    content = source.read_text()
    caption = example.parsed["options"].get("caption")
    if caption is not None:
        target = example.namespace["DIRECTORY"] / caption.strip('"`')
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)


def check_json(example):
    """Parse a JSON block."""
    json.loads(example.parsed)


@pytest.fixture
def shell():
    """Runs a command as a reader would."""
    return run_shell


@pytest.fixture
def run_document(tmp_path, monkeypatch):
    """Runs all examples of a document."""

    def run(path):
        document = Document.parse(
            str(path),
            parse_python,
            parse_included,
            CodeBlockParser("console", run_console),
            CodeBlockParser("json", check_json),
        )
        directory = document.namespace["DIRECTORY"] = tmp_path / "project"
        directory.mkdir()
        monkeypatch.chdir(directory)
        for example in document.examples():
            example.evaluate()

    return run
