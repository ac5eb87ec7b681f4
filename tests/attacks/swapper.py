"""An agent that exchanges entries of its directories for others, as fast as it can.

Arguments: a file in which it counts the rounds that exchanged anything; then, in pairs, an entry and
where the link that takes its place leads to. It ends with its standard input.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import select
import shutil
import sys
from contextlib import suppress
from pathlib import Path

AT_FDCWD = -100
EXCHANGE = 2
GONE = {errno.ENOENT, errno.ENOTDIR}


def exchange(libc, one, other):
    """Both at once, so that neither is ever missing; whether both were there.

    The host may have taken one away. Anything else that is refused is the end: an attack that isn't
    made must not be taken for one that was withstood.
    """
    if libc.renameat2(AT_FDCWD, bytes(one), AT_FDCWD, bytes(other), EXCHANGE) == 0:
        return True
    if ctypes.get_errno() not in GONE:
        sys.exit(f"can't exchange {one} and {other}: {os.strerror(ctypes.get_errno())}")
    return False


def repair(libc, entry, stand_in, target, content):
    """Put back what the host has taken away since: one of the two is the link."""
    if not os.path.lexists(entry):
        make(entry, content)
    if entry.is_symlink() or stand_in.is_symlink():
        return
    fresh = Path(f"{stand_in}~")
    fresh.symlink_to(target)
    if os.path.lexists(stand_in):
        exchange(libc, fresh, stand_in)
        remove(fresh)
    else:
        fresh.rename(stand_in)


def make(entry, content):
    if content is not None:
        entry.write_bytes(content)
    else:
        entry.mkdir()
        (entry / "1.json").write_text("{}")


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


def main():
    counter, *pairs = map(Path, sys.argv[1:])
    libc = ctypes.CDLL(None, use_errno=True)
    swaps = []
    for entry, target in zip(pairs[::2], pairs[1::2], strict=True):
        content = entry.read_bytes() if entry.is_file() else None
        swaps.append((entry, Path(f"{entry}~"), target, content))
    with counter.open("r+b") as file, mmap.mmap(file.fileno(), 8) as rounds:
        number = 0
        while not select.select([0], [], [], 0)[0]:
            exchanged = False
            for swap in swaps:
                with suppress(OSError):
                    repair(libc, *swap)
                exchanged |= exchange(libc, swap[0], swap[1])
            number += exchanged
            rounds[:] = number.to_bytes(8, "little")


main()
