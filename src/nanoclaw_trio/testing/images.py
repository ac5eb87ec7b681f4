"""An image for the echo agent, made without a registry, a network or a build.

It holds this host's own Python with Trio, the few programs a test may want to run, the shared
libraries that these need, and the agent-runner's source. Its entry point is the Dockerfile's; its
agent is "echo" unless NANOCLAW_AGENT says otherwise. It is made for the engine on this host and
isn't meant to go anywhere else. Linux only: it runs this host's programs.

The one thing it touches on the disk itself, and not through files.py, is a temporary file, whose
name the engine is given.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from nanoclaw_trio.environment import child_environment
from nanoclaw_trio.errors import RuntimeCommandFailed, RuntimeUnavailable
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.testing.image_contents import (
    content_hash,
    image_files,
    image_texts,
    interpreter,
    is_program,
    write_archive,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

CHANGES: Final = (
    'ENTRYPOINT ["/opt/venv/bin/python", "-P", "-m", "nanoclaw_agent"]',
    "ENV PYTHONPATH=/app/src",
    "ENV PYTHONDONTWRITEBYTECODE=1",
    "LABEL nanoclaw.protocol=1",
    "LABEL nanoclaw.stdin=lease:nanoclaw_agent",
    "USER node",
    "WORKDIR /workspace/group",
)
"""What the image has in common with the Dockerfile, in its words; a test holds them together."""

ECHO_CHANGES: Final = ("ENV NANOCLAW_AGENT=echo", "ENV PATH=/bin:/opt/venv/bin")
"""What it has besides: no agent with a model is in it, and `import` starts without a PATH."""

CONTENT_LABEL: Final = "nanoclaw.content"
"""The label with the hash of what the image was made from."""

_RECIPE: Final = {
    f"recipe/{name}": Path(__file__).with_name(name) for name in ("images.py", "image_contents.py")
}

_LIBRARY: Final = re.compile(r"^\s+(?:\S+ => )?(/.+) \(0x[0-9a-f]+\)$", re.MULTILINE)


async def build_echo_image(
    *, container_dir: Path, engine: str = "docker", tag: str = "nanoclaw-echo:test"
) -> str:
    """Make the image, unless the engine has it from the same files already; its tag.

    `container_dir` is the project's container/, whose agent-runner goes in; `engine` is docker or
    podman, by name or path. The image that had the tag before is removed if nothing uses it. It
    takes some seconds the first time. Cancelled, it may leave the engine with either image.

    Raises:
        HostError: a program that belongs in the image isn't on this host.
        RuntimeUnavailable: the engine isn't installed.
        RuntimeCommandFailed: the engine refused; the message has its words.
    """
    files = await in_thread(image_files, container_dir)
    texts = image_texts()
    content = await in_thread(content_hash, files | _RECIPE, texts)
    previous = await _inspect(engine, tag)
    if previous[1:] == [content]:
        return tag
    files |= await _shared_libraries(files)
    with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
        await in_thread(write_archive, archive, files, texts)
        await _import(engine, tag, archive.name, content)
    if previous:
        await _run([engine, "image", "rm", previous[0]])
    return tag


async def _import(engine: str, tag: str, archive: str, content: str) -> None:
    changes = (*CHANGES, *ECHO_CHANGES, f"LABEL {CONTENT_LABEL}={content}")
    options = [word for change in changes for word in ("--change", change)]
    result = await _run([engine, "import", *options, archive, tag])
    if result.returncode != 0:
        raise RuntimeCommandFailed(f"{engine} import", result.stderr.decode(errors="replace"))


async def _inspect(engine: str, tag: str) -> list[str]:
    """The id of the image that has the tag, and the hash of its content; empty without one."""
    words = f'{{{{.Id}}}} {{{{index .Config.Labels "{CONTENT_LABEL}"}}}}'
    result = await _run([engine, "image", "inspect", "--format", words, tag])
    return result.stdout.decode().split() if result.returncode == 0 else []


async def _run(argv: list[str]) -> subprocess.CompletedProcess[bytes]:
    try:
        return await trio.run_process(
            argv,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=child_environment(),
        )
    except FileNotFoundError:
        raise RuntimeUnavailable(argv[0], "it isn't installed", "install it") from None


async def _shared_libraries(files: Mapping[str, Path]) -> dict[str, Path]:
    programs = [str(path) for name, path in files.items() if is_program(name)]
    result = await _run(["ldd", str(interpreter()), *programs])
    return {path: Path(path) for path in parse_ldd(result.stdout.decode())}


def parse_ldd(text: str) -> list[str]:
    """The paths of the libraries in ldd's answer; those that weren't found aren't there."""
    return sorted({os.path.normpath(path) for path in _LIBRARY.findall(text)})
