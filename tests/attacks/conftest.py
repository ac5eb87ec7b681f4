"""What an agent does that wants out: a process of its own against the host's code."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import frozen

SWAPPER = Path(__file__).with_name("swapper.py")

SECRET = "canary-7d40c1 of the host's"


@frozen
class Bait:
    """A directory of the host's, in which nothing may change, and a text that nobody may read."""

    directory: Path
    secret: str = SECRET

    def fill(self, *names):
        """Put entries there by the names that the host's code will look for."""
        for name in names:
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'{{"type": "message", "chatJid": "c", "text": "{self.secret}"}}')

    def picture(self):
        """All that is to be seen of it, but for when it was read."""
        return {path: status_of(path) for path in [self.directory, *self.directory.rglob("*")]}


def status_of(path):
    """All that the disk says of an entry, but for when it was read."""
    status = path.lstat()
    fields = ("mode", "ino", "nlink", "uid", "gid", "size", "mtime_ns", "ctime_ns")
    return [getattr(status, f"st_{field}") for field in fields]


class Rounds:
    """How far a swapper has come."""

    def __init__(self, process, counter):
        self._process = process
        self._counter = counter

    def __int__(self):
        assert self._process.poll() is None, "the attack has ended"
        return self._count()

    def _count(self):
        return int.from_bytes(self._counter.read_bytes(), "little")

    def end(self):
        """Its exit status and how far it came, once it has ended by itself."""
        return self._process.wait(timeout=60), self._count()


@pytest.fixture
def bait(tmp_path):
    """What the attack is after."""
    directory = tmp_path / "host"
    directory.mkdir()
    return Bait(directory)


@pytest.fixture
def swapping(tmp_path):
    """Exchange entries for links while a block runs; what it gives is {entry: target}."""

    @contextmanager
    def swap(targets):
        counter = tmp_path / "rounds"
        counter.write_bytes(bytes(8))
        pairs = [str(word) for pair in targets.items() for word in pair]
        argv = [sys.executable, "-S", str(SWAPPER), str(counter), *pairs]
        with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
            rounds = Rounds(process, counter)
            try:
                yield rounds
            finally:
                process.stdin.close()

    return swap
