"""Real container engines, and images for them that take no registry to make."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import uuid
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
import trio
from attrs import Factory, define, frozen

import nanoclaw_trio
from nanoclaw_trio.errors import BuildFailed
from nanoclaw_trio.runtimes.abc import INSTALL_LABEL, ContainerSpec
from nanoclaw_trio.runtimes.build import build_image
from nanoclaw_trio.runtimes.docker import DockerRuntime
from nanoclaw_trio.settings import Settings

SCRATCH_PROGRAMS = ("sh", "cat", "sleep", "tail", "id", "ls")
"""What the scratch image holds, with the libraries that these need."""

SCRATCH_TAG = f"nanoclaw-trio-scratch:{uuid.uuid4().hex[:8]}"

SCRATCH_COMMAND = ["/bin/sh", "-c", 'eval "$SCRIPT"']
"""What a container of it runs: a script in a variable."""

ENGINE_GUARD = 120.0
"""Seconds after which one command of an engine is given up."""


@pytest.fixture(scope="module", autouse=True)
def _unmeasured(unmeasured_children):
    """No process that is started here is measured."""


def absent(engine, why):
    """Skip, unless this machine has promised to have the engine."""
    if os.environ.get(f"NANOCLAW_REQUIRE_{engine.upper()}") == "1":
        pytest.fail(f"NANOCLAW_REQUIRE_{engine.upper()}=1, but {why}")
    pytest.skip(why)


@frozen
class Engine:
    """A container engine that works here."""

    program: str

    def run(self, *arguments, **options):
        """One of its commands, which has to succeed; what it says."""
        done = self.attempt(*arguments, **options)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def attempt(self, *arguments, **options):
        """One of its commands."""
        command = [self.program, *arguments]
        return subprocess.run(
            command, capture_output=True, timeout=ENGINE_GUARD, check=False, **options
        )

    def import_scratch_image(self, tag, command):
        """Make the scratch image, without a registry."""
        self.run("import", "-c", f"CMD {json.dumps(command)}", "-", tag, input=scratch_archive())

    def containers(self, install):
        """The names of all containers with this label."""
        label = f"label={INSTALL_LABEL}={install}"
        return self.run("ps", "-a", "--filter", label, "--format", "{{.Names}}").split()

    def remove_all(self, install):
        """Remove what a test left."""
        for name in self.containers(install):
            self.attempt("rm", "-f", name)


def scratch_archive():
    """A file system with a few programs of this host's."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for folder in ("tmp", "workspace", "home", "home/node"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(entry)
        for source, target in scratch_files().items():
            tar.add(os.path.realpath(source), target.lstrip("/"), recursive=False)
    return archive.getvalue()


def scratch_files():
    """The programs and their libraries, where they are here and where they go."""
    programs = [shutil.which(name) for name in SCRATCH_PROGRAMS]
    files = {path: f"/bin/{Path(path).name}" for path in programs if path}
    for program in list(files):
        said = subprocess.run(
            ["/usr/bin/ldd", program], capture_output=True, text=True, check=False
        ).stdout
        files |= {library: library for library in re.findall(r"(/\S+) \(0x", said)}
    return files


@pytest.fixture(scope="session")
def docker_engine():
    """Docker, if its engine answers."""
    program = shutil.which("docker")
    if program is None:
        absent("docker", "there is no program `docker`")
    engine = Engine(program)
    done = engine.attempt("version", "--format", "{{.Server.Version}}")
    if done.returncode != 0:
        absent("docker", f"docker doesn't answer: {done.stderr.decode().strip()}")
    return engine


@pytest.fixture(scope="session")
def docker_image(docker_engine):
    """The scratch image in docker."""
    docker_engine.import_scratch_image(SCRATCH_TAG, SCRATCH_COMMAND)
    yield SCRATCH_TAG
    docker_engine.attempt("image", "rm", "-f", SCRATCH_TAG)


@pytest.fixture(scope="session")
def docker_gateway(docker_engine, docker_image):
    """This host's address for containers of the default network.

    A container is asked for it: the network itself doesn't say so before its daemon's second start.
    """
    container = docker_engine.run("run", "-d", "-e", "SCRIPT=exec sleep 60", docker_image)
    try:
        return docker_engine.run("inspect", "-f", "{{.NetworkSettings.Gateway}}", container)
    finally:
        docker_engine.run("rm", "-f", container)


BASE_TAG = "nanoclaw-base:test"
"""A small Debian with Python, kept from one time to the next."""

AGENT_TAG = "nanoclaw-agent:test"
"""The image of container/Dockerfile on that base."""

BASE_SUITE = ("--variant=minbase", "--include=ca-certificates,python3,python3-venv", "bookworm")
"""What mmdebstrap is asked for: what the Dockerfile wants of its base, and no more."""

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
"""Where Debian has the certificates it trusts; the base gets this host's, for pip to use."""

BUILD_GUARD = 600.0
"""Seconds after which the making of an image is given up."""


def base_environment():
    """How pip gets at its packages in the base: as it does on this host."""
    variables = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PIP_CERT": CERTIFICATES,
        "SSL_CERT_FILE": CERTIFICATES,
    }
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    for name in ("index-url", "trusted-host"):
        found = re.search(rf"^\S+\.{name}='(?!file:)(.+)'$", listed, re.MULTILINE)
        if found:
            variables[f"PIP_{name.replace('-', '_').upper()}"] = found[1]
    return variables


def make_base_image(engine):
    """Make the base, unless the engine has it already from the same things."""
    environment = base_environment()
    recipe = hashlib.sha256(repr((BASE_SUITE, sorted(environment.items()))).encode())
    recipe.update(Path(CERTIFICATES).read_bytes())
    label = '{{index .Config.Labels "nanoclaw.content"}}'
    there = engine.attempt("image", "inspect", "--format", label, BASE_TAG).stdout.decode().strip()
    if there == recipe.hexdigest():
        return
    upload = f"--customize-hook=upload {CERTIFICATES} {CERTIFICATES}"
    changes = [f"ENV {name}={value}" for name, value in environment.items()]
    changes.append(f"LABEL nanoclaw.content={recipe.hexdigest()}")
    options = [word for change in changes for word in ("--change", change)]
    with tempfile.NamedTemporaryFile(suffix=".tar") as root:
        command = ["mmdebstrap", "--quiet", upload, *BASE_SUITE, root.name]
        done = subprocess.run(command, capture_output=True, timeout=BUILD_GUARD, check=False)
        assert done.returncode == 0, done.stderr.decode()
        engine.run("import", *options, root.name, BASE_TAG)


@pytest.fixture(scope="session")
def turn(tmp_path_factory):
    """A turn at what several test processes would make at once: the second finds it made."""

    @contextmanager
    def take(what):
        lock = tmp_path_factory.getbasetemp().parent / f"{what}.lock"
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    return take


@pytest.fixture(scope="session")
def base_image(docker_engine, turn):
    """A base for container/Dockerfile; None where nothing but its own, from a registry, is to be had."""
    if shutil.which("mmdebstrap") is None or not Path(CERTIFICATES).exists():
        return None
    with turn("base-image"):
        make_base_image(docker_engine)
    return BASE_TAG


@pytest.fixture(scope="session")
def agent_image(docker_engine, base_image, turn):
    """The agent's image in docker, from container/; the first time it takes a minute."""
    del docker_engine
    settings = Settings(
        project_root=Path(__file__).parents[2], container_image=AGENT_TAG, base_image=base_image
    )

    async def build():
        with trio.fail_after(BUILD_GUARD):
            return await build_image(settings, runtime=DockerRuntime(settings))

    try:
        with turn("agent-image"):
            return trio.run(build).image
    except BuildFailed as error:
        absent("docker", "\n".join((str(error), *error.tail)))


DOCKER_SOCKET = Path("/var/run/docker.sock")


@define
class Relay:
    """A way to docker's engine; cancelled, it is cut.

    Attributes:
        path: The socket on which it listens.
        may_start: What the orders to start a container wait for.
        is_holding: Set once one waits.
    """

    path: str
    may_start: trio.Event = Factory(trio.Event)
    is_holding: trio.Event = Factory(trio.Event)

    async def serve(self, *, task_status=trio.TASK_STATUS_IGNORED):
        """Take connections, and carry what is said on them."""
        with trio.socket.socket(socket.AF_UNIX) as listener:
            await listener.bind(self.path)
            listener.listen()
            task_status.started()
            async with trio.open_nursery() as nursery:
                while True:
                    near = trio.SocketStream((await listener.accept())[0])
                    nursery.start_soon(self._carry, near)

    async def _carry(self, near):
        far = await trio.open_unix_socket(DOCKER_SOCKET)
        async with near, far, trio.open_nursery() as nursery:
            order = await near.receive_some()
            if b"/start HTTP/1.1" in order.partition(b"\r\n")[0]:
                self.is_holding.set()
                await self.may_start.wait()
            await far.send_all(order)
            nursery.start_soon(pass_on, near, far)
            nursery.start_soon(pass_on, far, near)


async def pass_on(source, sink):
    """What one side says, to the other, until it ends."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async for data in source:
            await sink.send_all(data)
        await sink.send_eof()


@pytest.fixture
def relay(tmp_path):
    """A way to docker's engine, on which orders to start a container are passed on like all else."""
    relay = Relay(str(tmp_path / "way.sock"))
    relay.may_start.set()
    return relay


@pytest.fixture
def holding_relay(tmp_path):
    """One on which they wait."""
    return Relay(str(tmp_path / "way.sock"))


PODMAN_CONFIGURATION = """[containers]
default_ulimits = []
init_path = "{init}"
[engine]
runtime = "{runtime}"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
"""For machines where podman's defaults don't work: within a container or a small virtual machine."""


@pytest.fixture(scope="session")
def podman_engine(tmp_path_factory):
    """Podman with the scratch image, if it can run a container, by its defaults or by ours."""
    program = shutil.which("podman")
    if program is None:
        absent("podman", "there is no program `podman`")
    engine = Engine(program)
    configuration = tmp_path_factory.mktemp("podman") / "containers.conf"
    configuration.write_text(
        PODMAN_CONFIGURATION.format(
            init=shutil.which("catatonit") or shutil.which("tini"),
            runtime=shutil.which("crun") or shutil.which("runc"),
        )
    )
    with pytest.MonkeyPatch.context() as environment:
        for attempt in (None, str(configuration)):
            if attempt is not None:
                environment.setenv("CONTAINERS_CONF", attempt)
            why = why_podman_does_not_work(engine)
            if why is None:
                yield engine
                engine.attempt("image", "rm", "-f", SCRATCH_TAG)
                return
    absent("podman", f"podman can't run a container: {why}")


def why_podman_does_not_work(engine):
    """What podman says when it can't run a hardened container; None if it can."""
    try:
        engine.import_scratch_image(SCRATCH_TAG, SCRATCH_COMMAND)
    except AssertionError as error:
        return str(error)
    options = ("--rm", "--init", "--cap-drop", "ALL", "--network", "none", "--pull=never")
    done = engine.attempt("run", *options, "-e", "SCRIPT=exit 0", SCRATCH_TAG)
    if done.returncode == 0:
        return None
    engine.attempt("image", "rm", "-f", SCRATCH_TAG)
    return done.stderr.decode().strip()


@pytest.fixture
def podman_image(podman_engine):
    """The scratch image in podman."""
    del podman_engine
    return SCRATCH_TAG


@pytest.fixture
def install(request):
    """A label's value by which the containers of one test are told from all others."""
    return f"{request.node.originalname}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def scripted_spec(install):
    """Make a spec whose container runs a script."""

    def make(image, script, **fields):
        return ContainerSpec(
            **{
                "name": f"nanoclaw-test-{uuid.uuid4().hex[:12]}",
                "image": image,
                "environment": {"SCRIPT": script},
                "labels": {INSTALL_LABEL: install},
                **fields,
            }
        )

    return make


@pytest.fixture
def started():
    """A container that has said that it is ready; it is gone after the block."""

    @asynccontextmanager
    async def start(runtime, spec):
        container = await runtime.start(spec)
        try:
            assert await container.stdout.receive_some() == b"ready\n"
            yield container
        finally:
            await container.aclose()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + ENGINE_GUARD):
                await runtime.remove(spec.name)

    return start


@pytest.fixture
def ended():
    """A container's output, its exit status, and how the runtime explains that."""

    async def run(runtime, spec):
        container = await runtime.start(spec)
        await container.stdin.aclose()
        stdout = b"".join([chunk async for chunk in container.stdout]).decode()
        stderr = b"".join([chunk async for chunk in container.stderr]).decode()
        exit_code = await container.wait()
        await container.aclose()
        return stdout, exit_code, runtime.explain_exit(spec, exit_code, stderr)

    return run


ENGINE_GROUPS = [DOCKER_SOCKET.stat().st_gid] if DOCKER_SOCKET.exists() else []
PACKAGES = (Path(nanoclaw_trio.__file__).parents[1], Path(trio.__file__).parents[1])


@pytest.fixture(scope="session")
def run_as():
    """How to run a program as another user, in its home directory."""
    return _run_as


def _run_as(uid, argv, home):
    # With nothing of our environment; docker's group lets it talk to the engine.
    environment = {
        "HOME": str(home),
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(str(path) for path in PACKAGES),
    }
    return subprocess.run(
        argv,
        user=uid,
        group=uid,
        extra_groups=ENGINE_GROUPS,
        cwd=home,
        env=environment,
        capture_output=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(params=[1000, 1234])
def other_user(request):
    """Another user's uid and home directory; only root can become one."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        home = Path(directory, "home")
        home.mkdir(mode=0o700)
        os.chown(home, request.param, request.param)
        yield request.param, home


@pytest.fixture
def python(other_user):
    """A Python that the other user can run: this one, or the system's in an environment."""
    uid, home = other_user
    probe = ["-c", "import nanoclaw_trio, trio, orjson"]

    def works(candidate):
        try:
            return _run_as(uid, [str(candidate), *probe], home).returncode == 0
        except PermissionError:
            return False

    if works(sys.executable):
        return sys.executable
    environment = home.parent / "environment"
    system = shutil.which("python3", path="/usr/bin")
    if system is not None:
        subprocess.run([system, "-m", "venv", "--without-pip", environment], check=False)
    if not works(environment / "bin/python"):
        pytest.skip(
            f"uid {uid} can run neither {sys.executable} nor the system's python3 with Trio"
        )
    return str(environment / "bin/python")
