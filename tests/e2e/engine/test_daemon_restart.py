"""A docker daemon of our own that is killed in the middle of runs, and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from attrs import define, field

ECHO_IMAGE = "nanoclaw-echo:test"

GUARD = 180
"""Seconds; it guards against a hang and measures nothing."""

POLL = 0.05

APART = ("unshare", "--net")
"""What starts a daemon in a network of its own: one without a bridge removes `docker0` wherever it
is, and this machine's own daemon needs that."""

WITHOUT_NETWORK = ("--bridge=none", "--iptables=false", "--ip6tables=false")
"""Of a daemon whose containers have no network."""


@define
class Daemon:
    """A dockerd with a containerd, which nobody else uses.

    Attributes:
        root: Where all that it keeps is; short, since a socket's path may not be long.
        options: Of dockerd, besides.
    """

    root: Path
    options: tuple[str, ...] = ()
    _containerd: subprocess.Popen | None = field(default=None, init=False)
    _dockerd: subprocess.Popen | None = field(default=None, init=False)

    @property
    def address(self):
        """What DOCKER_HOST is for it."""
        return f"unix://{self.root}/docker.sock"

    @property
    def environment(self):
        """The variables of its clients."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith("DOCKER_")}
        return kept | {"DOCKER_HOST": self.address}

    def _start(self, name, *arguments):
        # A session of its own: what ends this test doesn't end it halfway.
        with (self.root / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [*APART, name, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start(self):
        """Start it, for the first time or again. It answers a little later."""
        if self._containerd is None:
            self._containerd = self._start(
                "containerd",
                *("--root", f"{self.root}/containerd"),
                *("--state", f"{self.root}/state"),
                *("--address", f"{self.root}/containerd.sock"),
            )
        self._dockerd = self._start(
            "dockerd",
            *("--containerd", f"{self.root}/containerd.sock"),
            *("--data-root", f"{self.root}/data"),
            *("--exec-root", f"{self.root}/exec"),
            *("--pidfile", f"{self.root}/docker.pid"),
            *("--host", self.address),
            *WITHOUT_NETWORK,
            *self.options,
        )

    def kill(self):
        """End the daemon with SIGKILL; its containers' processes don't end with that."""
        self._dockerd.kill()
        self._dockerd.wait()
        # Its process id may be another's soon.
        (self.root / "docker.pid").unlink(missing_ok=True)

    def call(self, *arguments, **options):
        """A command of its client's; what it says, or None if it failed."""
        done = subprocess.run(
            ["docker", *arguments],
            env=self.environment,
            capture_output=True,
            timeout=GUARD,
            check=False,
            **options,
        )
        return done.stdout.decode() if done.returncode == 0 else None

    async def until_it_answers(self):
        """Wait for it; what it says if it ends instead."""
        call = partial(self.call, "version", "--format", "{{.Server.Version}}")
        while await trio.to_thread.run_sync(call) is None:
            if self._dockerd.poll() is not None:
                raise ChildProcessError((self.root / "dockerd.log").read_text()[-2000:])
            await trio.sleep(POLL)

    def containers(self):
        """The names of its containers, in any phase."""
        return self.call("ps", "-a", "--format", "{{.Names}}").split()

    def shims(self):
        """The processes that hold its containers: each has one above it."""
        return [pid for pid, command in self._processes() if b"shim" in command]

    def _processes(self):
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                command = path.read_bytes()
                if f"{self.root}/".encode() in command:
                    yield int(path.parent.name), command

    def end(self):
        """End all of it: containers, daemons, mounts, files."""
        with suppress(subprocess.TimeoutExpired):
            for name in (self.call("ps", "-aq") or "").split():
                self.call("rm", "-f", name)
        for process in (self._dockerd, self._containerd):
            if process is not None:
                _end(process)
        for pid, _ in self._processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for mount in self._mounts():
            subprocess.run(["umount", "--lazy", mount], check=False)
        shutil.rmtree(self.root, ignore_errors=True)

    def _mounts(self):
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        places = [line.split()[4] for line in lines]
        return [place for place in reversed(places) if place.startswith(f"{self.root}/")]


def _end(process):
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def image_archive(docker, tmp_path_factory):
    """The echo agent's image, as the shared engine has it."""
    path = tmp_path_factory.mktemp("image") / "echo.tar"
    subprocess.run([docker, "save", "--output", path, ECHO_IMAGE], check=True, timeout=GUARD)
    return path


@pytest.fixture
def own_daemon(image_archive):
    """Make a daemon that has the image; in the end nothing of it is left."""
    for program in ("dockerd", "containerd", APART[0]):
        if os.geteuid() != 0 or shutil.which(program) is None:
            pytest.skip(f"a daemon of one's own takes root, and {program}")
    with ExitStack() as stack:

        async def make(*options):
            daemon = Daemon(root=Path(tempfile.mkdtemp(prefix="nct-")), options=options)
            stack.callback(daemon.end)
            daemon.start()
            await daemon.until_it_answers()
            load = partial(daemon.call, "load", "--input", str(image_archive))
            assert await trio.to_thread.run_sync(load) is not None
            return daemon

        yield make


@pytest.fixture(params=["docker", "docker-api"])
def site_of(request, make_site):
    """A project that is served with a daemon of its own, by its client and by its socket in turn,
    and a worker for an agent."""

    def make(daemon):
        site = make_site(request.param)
        site.environment |= {"DOCKER_HOST": daemon.address, "CONTAINER_NETWORK": "none"}
        site.use_worker()
        return site

    return make


async def outlive(daemon, site, platform):
    """Serve two groups while the daemon is killed and started again, and a third that asks
    meanwhile."""
    for folder in ("a", "b", "c"):
        await site.add_group(f"{folder}@chat", folder)
    async with site.serving() as host, platform.connected(site.socket):
        await platform.say("a@chat")
        await platform.say("b@chat")
        await site.wait_for_work("a", "b")
        await trio.to_thread.run_sync(daemon.kill)
        await site.wait_for_journal("runtime_down")
        await platform.say("a@chat", "Are you there?")
        await platform.say("c@chat")
        site.let_go_on("a", "b", "c")
        daemon.start()
        await platform.until(lambda: platform.is_answered)
        await site.wait_until_told(platform)
        host.send(signal.SIGTERM)
        assert await host.end() == 128 + signal.SIGTERM


async def check(daemon, site, platform, wait_for):
    """The outage was told once, both runs ended by it, all was answered once, and nothing is left."""
    platform.check()
    assert [len(site.journal(event)) for event in ("runtime_down", "runtime_back")] == [1, 1]
    causes = {end.fields["container"]: end.fields["cause"] for end in site.journal("run_ended")}
    lost = [start.fields["container"] for start in site.journal("run_started")[:2]]
    assert [causes[container] for container in lost] == ["runtime_unavailable"] * 2
    assert await trio.to_thread.run_sync(daemon.containers) == []
    await wait_for(lambda: not daemon.shims())
    assert [finding for finding in await site.journal_findings() if "rule" in finding] == []


async def test_a_daemon_that_is_killed_in_the_middle_of_runs(
    site_of, own_daemon, platform, wait_for
):
    """Trap B3. A daemon is killed in the middle of runs and started again, with live-restore and
    without: the outage is told once, and its end; messages of before and meanwhile are answered once
    each, and no container and no process of one is left."""

    async def play(platform, *options):
        daemon = await own_daemon(*options)
        site = site_of(daemon)
        await outlive(daemon, site, platform)
        await check(daemon, site, platform, wait_for)

    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, platform)
            nursery.start_soon(play, type(platform)(), "--live-restore")
