"""A search for a secret, run by an agent's own tools: all that a process of its user can read.

    python3 secret_search.py OUTPUT DIGEST…

It knows secrets by nothing but their SHA-256, so that they can be found neither in its arguments
nor in its memory. It plants decoys of its own, in each kind of place, which it has to find. OUTPUT
gets what it found: {"secrets": {DIGEST: [PLACE, …], …}, "decoys": [KIND, …]}.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

TOKEN = re.compile(rb"sk-canary-[0-9a-f]{32}")
"""What secrets look like in tests."""

TREES = ("/workspace", "/home", "/tmp", "/app", "/run", "/var", "/dev/shm", "/opt/nanoclaw", "/etc")

CHUNK = 1 << 20
OVERLAP = 64
MOST = 1 << 26
"""Bytes that are read of one place: memory maps of some gigabytes are reserved, and empty."""

HOLD = "import sys; token = sys.stdin.readline(); print(flush=True); sys.stdin.read()"
"""A child that keeps a line in its memory."""


def digest(token):
    """What a token is known by."""
    return hashlib.sha256(token).hexdigest()


def tokens_in(stream, most=MOST):
    """The digests of all tokens in a stream."""
    found, rest = set(), b""
    while most > 0 and (data := stream.read(min(CHUNK, most))):
        most -= len(data)
        found |= {digest(token) for token in TOKEN.findall(rest + data)}
        rest = data[-OVERLAP:]
    return found


def read_file(path):
    """The tokens in a file, or in a pipe as far as something lies in it."""
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(opened, "rb", buffering=0) as file:
        return tokens_in(file)


def read_memory(process):
    """The tokens in a process's memory, where it can be written to."""
    found = set()
    with (process / "mem").open("rb", buffering=0) as memory:
        for line in (process / "maps").read_text().splitlines():
            addresses, permissions = line.split()[:2]
            start, end = (int(address, 16) for address in addresses.split("-"))
            if permissions.startswith("rw"):
                try:
                    memory.seek(start)
                    found |= tokens_in(memory, min(end - start, MOST))
                except (OSError, OverflowError):
                    continue
    return found


def read_descriptors(process):
    """The tokens behind a process's descriptors."""
    found = set()
    for link in (process / "fd").iterdir():
        try:
            kind = link.stat().st_mode
            if stat.S_ISREG(kind) or stat.S_ISFIFO(kind):
                found |= read_file(link)
        except OSError:
            continue
    return found


def search_processes():
    """Kind of place, place, and the tokens in it, for each process."""
    readers = {
        "environ": lambda process: read_file(process / "environ"),
        "cmdline": lambda process: read_file(process / "cmdline"),
        "mem": read_memory,
        "fd": read_descriptors,
    }
    for process in Path("/proc").glob("[0-9]*"):
        for kind, read in readers.items():
            try:
                yield kind, f"{process}/{kind}", read(process)
            except OSError:
                continue


def search_files():
    """Kind of place, place, and the tokens in it, for each file."""
    for tree in TREES:
        for directory, _, names in os.walk(tree):
            for name in names:
                path = Path(directory, name)
                try:
                    if stat.S_ISREG(path.lstat().st_mode):
                        yield "file", str(path), read_file(path)
                except OSError:
                    continue


@contextmanager
def child(argv, token=b"", **options):
    """A process that lives in the block, and was told a token."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, **pipes, **options) as process:
        process.stdin.write(token + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        yield
        process.stdin.close()


def new_token():
    """A token, as bytes."""
    return f"sk-canary-{secrets.token_hex(16)}".encode()


@contextmanager
def decoys():
    """Tokens by their digests' kind of place, each in a place of that kind and in no other."""
    planted = {kind: new_token() for kind in ("environ", "cmdline", "mem", "fd", "file")}
    hold = [sys.executable, "-S", "-c", HOLD]
    with ExitStack() as stack:
        environment = {"DECOY": planted["environ"].decode()}
        stack.enter_context(child(hold, env=environment))
        stack.enter_context(child([*hold, planted["cmdline"].decode()]))
        stack.enter_context(child(hold, planted["mem"]))
        unlinked = stack.enter_context(tempfile.TemporaryFile(buffering=0))
        unlinked.write(planted["fd"])
        named = stack.enter_context(tempfile.NamedTemporaryFile(buffering=0))
        named.write(planted["file"])
        yield {digest(token): kind for kind, token in planted.items()}


def search(wanted):
    """The places of the tokens with these digests, and the kinds of decoys that were found."""
    places, kinds = {token: [] for token in wanted}, set()
    with decoys() as planted:
        for kind, place, found in (*search_processes(), *search_files()):
            kinds |= {kind} & {planted.get(token) for token in found}
            for token in found & places.keys():
                places[token].append(place)
    return {"secrets": places, "decoys": sorted(kinds)}


def main(output, *wanted):
    """Search, and put what was found into a file, whole."""
    temporary = Path(f"{output}.tmp")
    temporary.write_text(json.dumps(search(wanted)))
    temporary.rename(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
