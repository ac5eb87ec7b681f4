"""The house's rules, read off the source: who imports whom, and who may touch what.

A finding names a file, a line and what stands there. What a rule permits by exception is in
EXEMPTIONS, each with its reason, and no exemption outlives its need.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "nanoclaw_trio"
AGENT_RUNNER = ROOT / "container" / "agent-runner"

FLOORS = {
    **dict.fromkeys(
        ("errors", "clock", "environment", "logs", "repeats", "background", "protocol"), 0
    ),
    **dict.fromkeys(("descriptors", "files", "trees", "known_trees"), 0),
    **dict.fromkeys(("settings", "workspace"), 1),
    **dict.fromkeys(("runtimes", "mailbox", "store", "proxy"), 2),
    "run": 3,
    "engine": 4,
    "": 5,  # the package's own names: of everything below, and for those above
    **dict.fromkeys(("testing", "cli", "__main__"), 6),
}

PROCESS = "the process's environment"
OUTPUT = "printing and exiting"
DISK = "the disk"

HOST_FACTS = "looks at the host's own system, where no agent writes, and changes nothing"
ON_PATH = "looks for a program on PATH"
CONTAINERS_SIDE = "plays a program inside a container, where there is no host to be kept from"
A_PROGRAM = "is a program of its own: the stand-in for a container engine's client"
A_WORLD = "builds the small world that a test needs"

EXEMPTIONS = {
    (PROCESS, "environment.py"): "is the door",
    (PROCESS, "cli/"): "is where a program begins",
    (PROCESS, "testing/docker_program/"): A_PROGRAM,
    (PROCESS, "testing/probe/"): CONTAINERS_SIDE,
    (OUTPUT, "cli/"): "is where a program begins and ends",
    (OUTPUT, "__main__.py"): "hands the command's exit status on",
    (OUTPUT, "testing/docker_program/"): A_PROGRAM,
    (OUTPUT, "testing/messages_api/__main__.py"): "is where a program begins",
    (OUTPUT, "testing/probe/"): CONTAINERS_SIDE,
    (DISK, "files.py"): "is the door",
    (DISK, "descriptors.py"): "is the door's lower half",
    (DISK, "settings.py"): "finds the project's folder, before anything of ours is open",
    (
        DISK,
        "store/connection.py",
    ): "is the door to the one database, which SQLite opens by its path",
    (DISK, "engine/journal/file.py"): "appends; the door only writes files whole",
    (DISK, "mailbox/aside.py"): "moves an entry between two open directories; follows nothing",
    (DISK, "proxy/place.py"): "sets the modes of the directories of its sockets, which it has open",
    (DISK, "workspace/sources.py"): "finds the package itself",
    (DISK, "runtimes/bubblewrap.py"): HOST_FACTS,
    (DISK, "runtimes/bubblewrap_host.py"): HOST_FACTS,
    (DISK, "runtimes/bubblewrap_check.py"): ON_PATH,
    (DISK, "runtimes/bubblewrap_copy.py"): "keeps copies in the user's own cache, as no agent may",
    (DISK, "runtimes/client.py"): ON_PATH,
    (DISK, "testing/conformance.py"): A_WORLD,
    (DISK, "testing/docker_program/"): A_PROGRAM,
    (DISK, "testing/docker_stand_in.py"): A_WORLD,
    (DISK, "testing/fake.py"): CONTAINERS_SIDE,
    (DISK, "testing/fixtures.py"): A_WORLD,
    (DISK, "testing/image_contents.py"): A_WORLD,
    (DISK, "testing/images.py"): A_WORLD,
    (DISK, "testing/probe/"): CONTAINERS_SIDE,
}

# Words rather than lists: one name on a line would fill two screens.
OS_FUNCTIONS = """
    access chdir chmod chown chroot fchdir fchmod fchown fdopen fwalk getxattr lchmod lchown link
    listdir listxattr lstat makedirs mkdir mkfifo mknod open pathconf readlink remove removedirs
    removexattr rename renames replace rmdir scandir setxattr stat statvfs symlink truncate unlink
    utime walk
"""
OS_PATH_FUNCTIONS = """
    exists getatime getctime getmtime getsize isdir isfile islink ismount lexists realpath samefile
"""
OTHER_WAYS = """
    open io.open io.open_code io.FileIO codecs.open mmap.mmap tarfile.open zipfile.ZipFile gzip.open
    shutil tempfile glob fileinput linecache sqlite3 dbm shelve trio.Path trio.open_file
"""
PATH_METHODS = """
    chmod exists glob hardlink_to is_block_device is_char_device is_dir is_fifo is_file is_mount
    is_socket is_symlink iterdir lchmod lstat mkdir open read_bytes read_text readlink resolve rglob
    rmdir samefile stat symlink_to touch unlink walk write_bytes write_text
"""
"""Those of pathlib that touch the disk, by their name alone: a type isn't to be had here."""

ENVIRONMENT = "os.environ os.environb os.getenv os.getenvb os.putenv os.unsetenv"
ENDS = "print exit quit sys.exit os._exit os.abort sys.stdout SystemExit"

FORBIDDEN = {
    **dict.fromkeys(ENVIRONMENT.split(), PROCESS),
    **dict.fromkeys(ENDS.split(), OUTPUT),
    **dict.fromkeys(OTHER_WAYS.split(), DISK),
    **{f"os.{name}": DISK for name in OS_FUNCTIONS.split()},
    **{f"os.path.{name}": DISK for name in OS_PATH_FUNCTIONS.split()},
}
"""What a dotted name that begins so is about."""

ONE_ARGUMENT_METHODS = frozenset({"rename", "replace"})
"""Path's take one argument; Directory's `rename` and str's `replace` take two."""


@frozen
class Finding:
    """Something that stands in a source and that a rule is about."""

    rule: str
    path: str
    line: int
    what: str


def imported_modules(source: str, module: str, known: frozenset[str]) -> Iterator[tuple[int, str]]:
    """The modules of the package that a source refers to, with the lines.

    Imports for type checkers count, and so does a module's name as a string: it may be imported
    by it.
    """
    for node in ast.walk(ast.parse(source)):
        for name in referred_names(node, module):
            if name.split(".")[0] == "nanoclaw_trio":
                yield getattr(node, "lineno", 0), longest_known(name, known)


def referred_names(node: ast.AST, module: str) -> list[str]:
    """The dotted names that a node imports, or could."""
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            base = absolute_base(node, module)
            return [f"{base}.{alias.name}" for alias in node.names]
        case ast.Constant(value=str(text)) if text.startswith("nanoclaw_trio."):
            return [text] if text.replace(".", "").isidentifier() else []
        case _:
            return []


def absolute_base(node: ast.ImportFrom, module: str) -> str:
    """What `from … import` stands before, with the dots resolved."""
    if not node.level:
        return node.module or ""
    package = module.split(".")[: -node.level]
    return ".".join([*package, *([node.module] if node.module else [])])


def longest_known(name: str, known: frozenset[str]) -> str:
    """The module in a dotted name whose end may be a class or a function."""
    while name not in known and "." in name:
        name = name.rpartition(".")[0]
    return name


def room_of(module: str) -> str:
    """`nanoclaw_trio.run.stop` → `run`; the package itself → ``."""
    return [*module.split("."), ""][1]


def upward_imports(source: str, module: str, known: frozenset[str]) -> list[str]:
    """What a module imports from above its own floor, one line for each."""
    own = FLOORS[room_of(module)]
    return [
        f"{module}:{line} imports {name}"
        for line, name in imported_modules(source, module, known)
        if FLOORS[room_of(name)] > own
    ]


def findings(source: str, path: str) -> list[Finding]:
    """What in a source belongs to the process, to its output or to the disk."""
    tree = ast.parse(source)
    origins = origins_of(tree)
    null_device = openers_of_null_device(tree, origins)
    found = []
    for node in ast.walk(tree):
        if node in null_device:
            continue
        for rule, what in classify(node, origins):
            found.append(Finding(rule, path, node.lineno, what))  # type: ignore[attr-defined]
    return found


def origins_of(tree: ast.AST) -> dict[str, str]:
    """What each imported name stands for, dotted."""
    origins = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                origins[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                origins[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return origins


def openers_of_null_device(tree: ast.AST, origins: dict[str, str]) -> set[ast.AST]:
    """The names of functions that are called with the null device, which is no disk."""
    return {
        node.func
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and node.args
        and dotted(node.args[0], origins) == "os.devnull"
    }


def classify(node: ast.AST, origins: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The rules that a node is about, and what it names."""
    match node:
        case ast.Name() | ast.Attribute():
            name = dotted(node, origins)
            if rule := FORBIDDEN.get(name) or FORBIDDEN.get(name.split(".")[0]):
                yield rule, name
            elif isinstance(node, ast.Attribute) and node.attr in PATH_METHODS.split():
                yield DISK, name
        case ast.Call(func=ast.Attribute(attr=attribute), args=[_], keywords=[]):
            if attribute in ONE_ARGUMENT_METHODS:
                yield DISK, f".{attribute}"


def dotted(node: ast.AST, origins: dict[str, str]) -> str:
    """`os.path.exists` for what stands for that, `….exists` for the method of anything else."""
    match node:
        case ast.Name(id=name):
            return origins.get(name, name)
        case ast.Attribute(value=value, attr=attribute):
            return f"{dotted(value, origins)}.{attribute}"
        case _:
            return "…"


def exemption_for(finding: Finding) -> tuple[str, str] | None:
    """The key in EXEMPTIONS that covers a finding."""
    for rule, path in EXEMPTIONS:
        matches = finding.path.startswith(path) if path.endswith("/") else finding.path == path
        if rule == finding.rule and matches:
            return rule, path
    return None


def sources(directory: Path) -> dict[str, str]:
    """The Python sources below a directory by their relative paths."""
    return {
        path.relative_to(directory).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(directory.rglob("*.py"))
    }


def module_of(path: str) -> str:
    """`run/stop.py` → `nanoclaw_trio.run.stop`, `run/__init__.py` → `nanoclaw_trio.run`."""
    parts = ["nanoclaw_trio", *Path(path).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = sources(PACKAGE)
MODULES = frozenset(map(module_of, SOURCES))
FINDINGS = [finding for path, source in SOURCES.items() for finding in findings(source, path)]


def test_every_module_is_on_a_floor() -> None:
    """A module that belongs to no floor has no rules: say in FLOORS where it belongs."""
    assert sorted(module for module in MODULES if room_of(module) not in FLOORS) == []


def test_each_floor_imports_from_below_only() -> None:
    """No module imports from a floor above its own, not even for type checkers."""
    upward = []
    for path, source in SOURCES.items():
        # A package's relative imports start at itself, as if it were a module below.
        module = module_of(path) + (".__init__" if path.endswith("__init__.py") else "")
        upward += upward_imports(source, module.removesuffix(".__init__"), MODULES)
    assert upward == []


@pytest.mark.parametrize("rule", [PROCESS, OUTPUT, DISK])
def test_only_the_doors_touch(rule: str) -> None:
    """What belongs behind a door is behind it, or is exempt with a reason."""
    loose = [finding for finding in FINDINGS if finding.rule == rule]
    assert [finding for finding in loose if exemption_for(finding) is None] == []


def test_no_exemption_is_stale() -> None:
    """An exemption that nothing needs any more is removed, before something slips through it."""
    assert set(EXEMPTIONS) - {exemption_for(finding) for finding in FINDINGS} == set()


@pytest.mark.parametrize("directory", [AGENT_RUNNER, PACKAGE / "testing" / "probe"])
def test_what_runs_inside_never_imports_the_host(directory: Path) -> None:
    """The agent's container has no nanoclaw_trio: what runs there does without it."""
    inside = sources(directory)
    assert inside
    for path, source in inside.items():
        assert list(imported_modules(source, "nanoclaw_agent.module", MODULES)) == [], path


KNOWN = frozenset(
    {
        "nanoclaw_trio",
        "nanoclaw_trio.errors",
        "nanoclaw_trio.run",
        "nanoclaw_trio.run.stop",
        "nanoclaw_trio.run.log",
        "nanoclaw_trio.engine",
        "nanoclaw_trio.cli",
    }
)


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("nanoclaw_trio.errors", "import nanoclaw_trio.run.stop", "nanoclaw_trio.run.stop"),
        ("nanoclaw_trio.errors", "import nanoclaw_trio.run as r", "nanoclaw_trio.run"),
        ("nanoclaw_trio.errors", "from nanoclaw_trio.run import stop", "nanoclaw_trio.run.stop"),
        ("nanoclaw_trio.errors", "from nanoclaw_trio.run.stop import X", "nanoclaw_trio.run.stop"),
        ("nanoclaw_trio.errors", "from nanoclaw_trio import Settings", "nanoclaw_trio"),
        ("nanoclaw_trio.errors", "from .run.stop import X", "nanoclaw_trio.run.stop"),
        ("nanoclaw_trio.errors", "from . import run", "nanoclaw_trio.run"),
        ("nanoclaw_trio.run.log", "from ..engine import X", "nanoclaw_trio.engine"),
        ("nanoclaw_trio.run.log", "from .. import engine", "nanoclaw_trio.engine"),
        (
            "nanoclaw_trio.errors",
            "if TYPE_CHECKING:\n    from nanoclaw_trio.run import stop",
            "nanoclaw_trio.run.stop",
        ),
        (
            "nanoclaw_trio.errors",
            "def f():\n    from nanoclaw_trio.run import stop",
            "nanoclaw_trio.run.stop",
        ),
        (
            "nanoclaw_trio.errors",
            "import_module('nanoclaw_trio.run.stop')",
            "nanoclaw_trio.run.stop",
        ),
        ("nanoclaw_trio", "import nanoclaw_trio.cli", "nanoclaw_trio.cli"),
        ("nanoclaw_trio", "HOMES = {'x': 'nanoclaw_trio.cli'}", "nanoclaw_trio.cli"),
        ("nanoclaw_trio.engine", "import nanoclaw_trio", "nanoclaw_trio"),
    ],
)
def test_checker_sees_an_upward_import(module: str, source: str, expected: str) -> None:
    """Each way to write an import from above is found."""
    (found,) = upward_imports(source, module, KNOWN)
    assert found.startswith(f"{module}:")
    assert found.endswith(f" imports {expected}")


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("nanoclaw_trio.run.stop", "from nanoclaw_trio.errors import X"),
        ("nanoclaw_trio.run.stop", "from nanoclaw_trio.run.log import X"),
        ("nanoclaw_trio.run.stop", "from . import log"),
        ("nanoclaw_trio.cli", "import nanoclaw_trio"),
        ("nanoclaw_trio", "from nanoclaw_trio.engine import X"),
        ("nanoclaw_trio.errors", "import nanoclaw_trio_plugin, os"),
        ("nanoclaw_trio.errors", "'nanoclaw_trio.run is described elsewhere'"),
    ],
)
def test_checker_lets_a_downward_import_be(module: str, source: str) -> None:
    """What comes from below, from beside or from elsewhere isn't found."""
    assert upward_imports(source, module, KNOWN) == []


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (PROCESS, "import os\nos.environ['A']"),
        (PROCESS, "import os as system\nsystem.environ.get('A')"),
        (PROCESS, "from os import environ\nenviron['A']"),
        (PROCESS, "from os import getenv as get\nget('A')"),
        (OUTPUT, "print('a')"),
        (OUTPUT, "emit = print"),
        (OUTPUT, "import sys\nsys.exit(1)"),
        (OUTPUT, "from sys import exit as leave\nleave(1)"),
        (OUTPUT, "raise SystemExit(1)"),
        (OUTPUT, "import sys\nsys.stdout.write('a')"),
        (DISK, "open('a')"),
        (DISK, "import os\nopen(os.devnull), open('a')"),
        (DISK, "import os\nos.open('a', 0)"),
        (DISK, "import os.path\nos.path.exists('a')"),
        (DISK, "from os.path import realpath\nrealpath('a')"),
        (DISK, "from os import path\npath.isdir('a')"),
        (DISK, "import shutil\nshutil.copy('a', 'b')"),
        (DISK, "from tempfile import mkdtemp\nmkdtemp()"),
        (DISK, "import trio\nawait_ = trio.open_file('a')"),
        (DISK, "path.read_text()"),
        (DISK, "(directory / name).unlink()"),
        (DISK, "Path('a').with_suffix('.b').exists()"),
        (DISK, "in_thread(path.mkdir)"),
        (DISK, "path.rename(other)"),
        (DISK, "path.replace(other)"),
    ],
)
def test_checker_sees_what_belongs_behind_a_door(rule: str, source: str) -> None:
    """Each way to name it is found, whatever it was imported as."""
    assert rule in {finding.rule for finding in findings(source, "run/stop.py")}


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.pipe(), os.close(3), os.killpg(1, 2), os.pidfd_open(1), os.fsencode('a')",
        "import os.path\nos.path.join('a', 'b'), os.path.normpath('a')",
        "from pathlib import Path\nPath('a') / 'b', Path('a').parent.name, path.with_suffix('')",
        "text.replace('a', 'b'), moment.replace(tzinfo=None), directory.rename('a', 'b')",
        "import sys\nsys.stderr.write('a'), sys.platform",
        "import os, stat\nstat.S_ISREG(mode), os.stat_result",
        "import os\nopen(os.devnull, 'w'), os.open(os.devnull, os.O_RDWR)",
        "'os.environ and print() in a text'",
        "async def open_run(): pass",
    ],
)
def test_checker_lets_other_things_be(source: str) -> None:
    """Descriptors, processes, pure paths and texts are nobody's door."""
    assert findings(source, "run/stop.py") == []


@pytest.mark.parametrize(
    ("path", "exempt"), [("cli/__init__.py", True), ("client.py", False), ("run/cli.py", False)]
)
def test_exemption_is_for_its_place_only(path: str, exempt) -> None:
    """A folder's exemption is for what is in it, not for a name that begins the same."""
    assert (exemption_for(Finding(OUTPUT, path, 1, "print")) is not None) is exempt
