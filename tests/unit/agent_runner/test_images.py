"""The registry-free image: what goes into it, and what is asked of the engine."""

from __future__ import annotations

import os
import sys
import tarfile
from pathlib import Path

import pytest

from nanoclaw_trio.errors import HostError, RuntimeCommandFailed, RuntimeUnavailable
from nanoclaw_trio.testing.image_contents import (
    PACKAGES,
    TOOLS,
    image_files,
    image_texts,
    write_archive,
)
from nanoclaw_trio.testing.images import build_echo_image, parse_ldd

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it runs Linux programs")

LDD = """/usr/bin/python3:
\tlinux-vdso.so.1 (0x00007ffd3d5f6000)
\tlibpython3.11.so.1.0 => /opt/a b/bin/../lib/libpython3.11.so.1.0 (0x00007f14b8c00000)
\tlibmissing.so.6 => not found
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f14b8a1e000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f14b91fa000)
/bin/busybox:
\tnot a dynamic executable
/bin/sh:
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f14b8a1e000)
"""


def test_ldd_is_understood():
    """Libraries are named once each, by their plain paths; what has no file is left out."""
    assert parse_ldd(LDD) == [
        "/lib/x86_64-linux-gnu/libc.so.6",
        "/lib64/ld-linux-x86-64.so.2",
        "/opt/a b/lib/libpython3.11.so.1.0",
    ]


@pytest.fixture(scope="module")
def files() -> dict[str, Path]:
    """The image's files."""
    return image_files(Path(__file__).parents[3] / "container")


def test_image_holds_python_trio_the_agent_and_tools(files):
    """Everything that the entry point and a test's command line name is there."""
    assert "/app/src/nanoclaw_agent/__main__.py" in files
    assert {f"/bin/{name}" for name in TOOLS} <= set(files)
    packages = {Path(x).parts[6] for x in files if x.startswith("/opt/venv/lib/")}
    assert packages == set(PACKAGES)
    assert all(path.is_file() for path in files.values())


def test_image_holds_no_tests_and_nothing_compiled_for_another_python(files):
    """Test suites, and compiled files that this Python doesn't read, stay outside."""
    parts = {part for name in files for part in Path(name).parts}
    assert not parts & {"test", "tests", "_tests", "idlelib", "tkinter"}
    tag = f".{sys.implementation.cache_tag}.pyc"
    assert all(name.endswith(tag) for name in files if name.endswith(".pyc"))


def test_missing_program_is_named(monkeypatch, tmp_path, container_directory):
    """A host without one of the programs is told which."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match=f"no program '{TOOLS[0]}'"):
        image_files(container_directory)


def test_archive_is_a_root_directory_for_the_agent(tmp_path):
    """Home and workspace are the agent's; root has all else, readable whatever the umask was."""
    secretive = tmp_path / "program"
    secretive.write_text("x")
    secretive.chmod(0o700)
    with (tmp_path / "a.tar").open("wb") as archive:
        write_archive(archive, {"/root/.hidden/bin/program": secretive}, image_texts())
    with tarfile.open(tmp_path / "a.tar") as tar:
        entries = {entry.name: entry for entry in tar.getmembers()}
    modes = {name: (entry.mode, entry.uid) for name, entry in entries.items()}
    assert modes["root"] == modes["root/.hidden"] == modes["root/.hidden/bin"] == (0o755, 0)
    assert modes["root/.hidden/bin/program"] == (0o755, 0)
    assert modes["home/node"] == modes["workspace/group"] == (0o777, 1000)
    assert modes["tmp"] == (0o1777, 0)
    assert modes["etc/passwd"] == (0o644, 0)
    assert entries["opt/venv/bin/python"].linkname == str(Path(sys.executable).resolve())
    names = list(entries)
    for name in names:
        parent = str(Path(name).parent)
        assert parent == "." or names.index(parent) < names.index(name)


def test_same_files_make_the_same_archive(tmp_path):
    """Nothing in the archive depends on when, or in which order, it was made."""
    for name in ("b", "a"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (1_700_000_000, 1_700_000_000.5))
    files = {"/b": tmp_path / "b", "/a": tmp_path / "a"}
    for name, contents in (("1", files), ("2", dict(reversed(files.items())))):
        with (tmp_path / name).open("wb") as archive:
            write_archive(archive, contents, image_texts())
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


ENGINE = """#!/bin/sh
cd "$(dirname "$0")" || exit 9
echo "$1 $2" >> calls
case "$1 $2" in
"image inspect") exec cat image ;;
"import "*)
    test -e broken && { echo "no space left" >&2; exit 1; }
    for word; do
        case "$word" in
        "LABEL nanoclaw.content="*) echo "sha256:$$ ${word#*=}" > image ;;
        *.tar) cp "$word" rootfs ;;
        esac
    done ;;
esac
"""


@pytest.fixture
def engine(tmp_path) -> Path:
    """A stand-in for the docker program, which keeps one image and writes down its calls."""
    program = tmp_path / "engine"
    program.write_text(ENGINE)
    program.chmod(0o755)
    return program


async def test_image_is_made_once(engine, container_directory):
    """The second time nothing is imported; a changed image replaces the one before, which goes."""
    calls = engine.parent / "calls"
    options = {"container_dir": container_directory, "engine": str(engine), "tag": "test:image"}
    assert await build_echo_image(**options) == "test:image"
    assert calls.read_text().splitlines() == ["image inspect", "import --change"]
    assert await build_echo_image(**options) == "test:image"
    assert calls.read_text().splitlines()[2:] == ["image inspect"]
    (engine.parent / "image").write_text("sha256:old other")
    await build_echo_image(**options)
    assert calls.read_text().splitlines()[3:] == ["image inspect", "import --change", "image rm"]
    with tarfile.open(engine.parent / "rootfs") as tar:
        names = tar.getnames()
    assert len(set(names)) == len(names)
    assert any("ld-" in name or "ld64" in name for name in names)


async def test_refused_import_is_an_error(engine, container_directory):
    """The engine's own words come with the error."""
    (engine.parent / "broken").touch()
    with pytest.raises(RuntimeCommandFailed, match="no space left"):
        await build_echo_image(container_dir=container_directory, engine=str(engine))


async def test_missing_engine_is_an_error(tmp_path, container_directory):
    """An engine that isn't installed is named."""
    engine = str(tmp_path / "nowhere")
    with pytest.raises(RuntimeUnavailable, match="nowhere"):
        await build_echo_image(container_dir=container_directory, engine=engine)
