"""Fixtures for every test: a group, its settings, and the real runtimes where they are to be had.

A test that needs a runtime is skipped where there is none, with the reason. Where a variable says
that it must be there (NANOCLAW_REQUIRE_DOCKER, NANOCLAW_REQUIRE_PODMAN,
NANOCLAW_REQUIRE_BUBBLEWRAP), it fails instead; so it does for the Claude Agent SDK in this Python
(NANOCLAW_REQUIRE_AGENT).
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import structlog
import trio
from attrs import evolve

from nanoclaw_trio.errors import NanoclawError, RuntimeUnavailable
from nanoclaw_trio.protocol.models import ContainerInput, RegisteredGroup
from nanoclaw_trio.runtimes.choose import open_runtime
from nanoclaw_trio.settings import Settings

pytest_plugins = ["nanoclaw_trio.testing.fixtures"]

REPOSITORY = Path(__file__).parent.parent
ECHO_IMAGE = "nanoclaw-echo:test"
MEASURING = "COVERAGE_PROCESS_CONFIG"
"""By which coverage makes the processes measure themselves that are started."""

CLEAR_REFS = Path("/proc/self/clear_refs")

FORGET_PEAK = "5"
"""Written there it lets the peak of what is resident be what it is now; proc(5)."""


def pytest_configure(config):
    """Let the processes that tests start find compiled modules: with none, a start of ours takes
    half as long again. They lie in pytest's cache, apart from the sources."""
    cache = getattr(config, "cache", None)
    if cache is not None:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(cache.mkdir("bytecode"))


def pytest_collection_finish(session):
    """Let the garbage collector leave alone what was imported: it stays, and looking through it at
    each collection takes longer than some tests do."""
    del session
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _structlog_as_imported():
    """Whatever a test makes of the log, structlog.testing.capture_logs too, the next finds it as
    nobody has configured it."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def unmeasured_children():
    """For whole hosts and agents in processes of their own: what they run is measured by the tests
    of its parts, and measuring it again takes a third of all their time."""
    measuring = os.environ.get(MEASURING)
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv(MEASURING, raising=False)
        yield measuring


@pytest.fixture
def measured_children(unmeasured_children, monkeypatch):
    """Among those: for what only a process of its own can show."""
    if unmeasured_children is not None:
        monkeypatch.setenv(MEASURING, unmeasured_children)


@pytest.fixture
def count_garbage():
    """Do something several times; the kinds of objects that only the collector could free."""

    async def count(action):
        # Twice before: what is made once, at the first or the second time, is no garbage of each.
        await action()
        await action()
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                await action()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            return Counter(type(thing).__qualname__ for thing in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()

    return count


@pytest.fixture
def limited_files():
    """Let no file grow beyond so many bytes within a block, as on a full disk; for root, too.

    For a moment only: what pytest writes to may be a file. And without compiled modules, which Python
    doesn't notice to be cut off: a module that is imported first in here would be broken ever after.
    """

    @contextmanager
    def limited(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        unwritten, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            sys.dont_write_bytecode = unwritten

    return limited


@pytest.fixture
def wait_for_threads():
    """Wait for all worker threads, also those that were left alone: Trio, and with it the virtual
    clock, doesn't count these."""

    async def wait():
        limiter = trio.to_thread.current_default_thread_limiter()
        while limiter.borrowed_tokens:
            await trio.lowlevel.checkpoint()

    return wait


@pytest.fixture
def python_handles_sigint():
    """SIGINT is Python's own, whoever started the tests: a shell's background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def no_free_descriptor():
    """No descriptor can be opened any more, until the given function is called."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def free():
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def exhaust(leaving=0):
        spare = [os.dup(0) for _ in range(leaving + 1)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare[-1], hard))
        for descriptor in spare:
            os.close(descriptor)
        return free

    yield exhaust
    free()


@pytest.fixture
def watch_memory():
    """Begin to watch this process's memory; what that gives says by how many bytes it has grown at
    most since then, whatever it had before.

    Not ru_maxrss: that is the most there has ever been, in whichever test.
    """
    if not CLEAR_REFS.exists():
        pytest.skip(f"there is no {CLEAR_REFS} to forget a peak with")

    def watch():
        gc.collect()
        give_back_memory()
        CLEAR_REFS.write_text(FORGET_PEAK)
        before = resident("VmRSS")
        return lambda: resident("VmHWM") - before

    return watch


def give_back_memory():
    """Have nothing that was freed before be taken again unseen; only glibc is asked for it."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def resident(kind):
    """Bytes of this process that are resident (VmRSS), or were at most (VmHWM)."""
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if kind in x]
    return int(line.split()[1]) * 1024


@pytest.fixture
def group():
    """A group without a configuration of its own."""
    return RegisteredGroup(name="Family", folder="family")


@pytest.fixture
def container_input():
    """A person's prompt to that group."""
    return ContainerInput(
        prompt="Hello", group_folder="family", chat_jid="chat@test", is_main=False
    )


@pytest.fixture
def settings(nanoclaw_settings):
    """Settings with the half hour that the original has, and a time zone of their own."""
    return evolve(nanoclaw_settings, timezone="UTC")


def require(runtime):
    """Make sure that a runtime answers, and that it has the echo agent's image; else skip."""
    settings = Settings(project_root=REPOSITORY, timezone="UTC")
    try:
        trio.run(open_runtime, runtime, settings)
        if runtime != "bubblewrap":
            from nanoclaw_trio.testing.images import build_echo_image

            build = partial(
                build_echo_image,
                container_dir=REPOSITORY / "container",
                engine=runtime,
                tag=ECHO_IMAGE,
            )
            trio.run(build)
            try_out(runtime)
    except NanoclawError as error:
        if os.environ.get(f"NANOCLAW_REQUIRE_{runtime.upper()}") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))
    return runtime


def try_out(engine):
    """Start a container that does nothing: an engine that answers may still not be able to."""
    command = [engine, "run", "--rm", "--init", "--entrypoint", "/bin/sh", ECHO_IMAGE, "-c", ":"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise RuntimeUnavailable(engine, done.stderr.strip(), "mend it, or do without")


@pytest.fixture(scope="session")
def docker():
    """The name `docker`, where an engine answers; it has the echo agent's image then."""
    return require("docker")


@pytest.fixture(scope="session")
def podman():
    """The name `podman`, where it works; it has the echo agent's image then."""
    return require("podman")


@pytest.fixture(scope="session")
def bubblewrap():
    """The name `bubblewrap`, where sandboxes can be made."""
    return require("bubblewrap")


@pytest.fixture(params=["docker", "podman", "bubblewrap"])
def real_runtime_name(request):
    """Each of the real runtimes in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def real_settings(settings):
    """Settings for the echo agent in a real runtime."""
    return evolve(settings, agent="echo", container_image=ECHO_IMAGE)


@pytest.fixture
async def real_runtime(real_runtime_name, real_settings):
    """A real runtime, of which no container of this test's project is left in the end."""
    return await open_runtime(real_runtime_name, real_settings)
