"""`build`, and `--build` of `run`, with a stand-in for docker."""

from __future__ import annotations

import json
import signal

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.cli.build import (
    STEP_LIMIT,
    BuildOptions,
    build_command,
    build_record,
    progress_text,
    result_text,
    step_text,
)
from nanoclaw_trio.cli.chat import chat_command
from nanoclaw_trio.cli.options import Options
from nanoclaw_trio.cli.progress import Progress
from nanoclaw_trio.cli.run import run_command
from nanoclaw_trio.runtimes.bubblewrap import BubblewrapRuntime
from nanoclaw_trio.runtimes.build import BuiltImage
from nanoclaw_trio.runtimes.build_progress import BuildProgress, BuildStep
from nanoclaw_trio.runtimes.docker import DockerRuntime
from nanoclaw_trio.runtimes.podman import PodmanRuntime
from nanoclaw_trio.settings import DEFAULT_IMAGE, Settings
from nanoclaw_trio.testing.docker_stand_in import (
    Answer,
    Said,
    Scenario,
    fail,
    read_calls,
    write_docker_stand_in,
)
from nanoclaw_trio.testing.fake import echo_agent

GUARD = 60

BUILT = BuiltImage(image="i:1", id="sha256:ab", size=123_456_789, duration=4.25, built=True)


@pytest.fixture
def options(settings):
    """The options of a plain `build` in a project with a Dockerfile."""
    container = settings.project_root / "container"
    container.mkdir()
    (container / "Dockerfile").write_text("FROM x\nRUN y\n")
    return BuildOptions(
        project=settings.project_root,
        runtime="auto",
        base_image=None,
        tag=None,
        force=False,
        no_cache=False,
        as_json=False,
    )


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """A stand-in for docker; call it to change how it behaves."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    directory = tmp_path / "docker"

    def play(**fields):
        scenario = Scenario(**{"agent": ("true",), "images": (), **fields})
        return str(write_docker_stand_in(directory, scenario))

    play()
    play.directory = directory
    return play


@pytest.fixture
def build(make_desk, choose, docker):
    """Call the command with a runtime; its exit status and its desk."""

    async def call(options, *, runtime=None, reason="", use=None, progress=None):
        desk = make_desk()
        world = evolve(desk.world, progress=progress or desk.world.progress)
        settings = Settings(project_root=options.project)
        chosen = runtime or DockerRuntime(settings, str(docker.directory / "docker"))
        if use is not None:
            use(desk)
        with trio.fail_after(GUARD):
            status = await build_command(options, world, choose=choose(chosen, reason))
        return status, desk

    return call


def builds(docker):
    """The command lines of all builds."""
    return [call.argv for call in read_calls(docker.directory) if call.argv[0] == "build"]


async def test_it_builds_and_says_what(build, options, docker):
    """The steps go to standard error as they begin, and the image to standard output."""
    status, desk = await build(options)
    assert status == 0
    assert desk.said() == ["step 1/2: FROM x", "step 2/2: RUN y"]
    (line,) = desk.written().splitlines()
    assert line.startswith(f"{DEFAULT_IMAGE} sha256:")
    assert " 123 MB, built in " in line
    assert builds(docker)[0][-1] == str(options.project / "container")


async def test_it_is_built_once(build, options, docker):
    """An image that is up to date is left as it is, unless it is asked for."""
    await build(options)
    status, desk = await build(options)
    assert (status, desk.said()) == (0, [])
    assert desk.written().endswith(" 123 MB, up to date\n")
    await build(evolve(options, force=True))
    await build(evolve(options, no_cache=True))
    assert ["--no-cache" in argv for argv in builds(docker)] == [False, False, True]


async def test_options_reach_the_engine(build, options, docker):
    """The base image and the name are those that were asked for."""
    status, _ = await build(evolve(options, base_image="b:1", tag="t:1"))
    assert status == 0
    assert {"BASE_IMAGE=b:1", "t:1"} <= set(builds(docker)[0])


async def test_as_json(build, options):
    """A program gets one object."""
    status, desk = await build(evolve(options, as_json=True))
    (record,) = desk.records()
    assert status == 0
    assert (record["type"], record["status"], record["image"]) == (
        "image",
        "success",
        DEFAULT_IMAGE,
    )
    assert (record["sizeBytes"], record["built"], record["error"]) == (123_000_000, True, None)


async def test_a_build_that_fails(build, options, docker):
    """The engine's own words come before ours, and the exit status is 1."""
    words = Said(status=7, stdout="one\ntwo\x1b[2J\n", stderr="")
    docker(answers={"build": Answer(acts=False, says=words)})
    status, desk = await build(evolve(options, as_json=True))
    assert status == 1
    assert desk.said()[:2] == ["one", "two"]
    assert desk.said()[2].startswith(f"docker can't build image '{DEFAULT_IMAGE}': the build ended")
    (record,) = desk.records()
    assert (record["status"], record["image"], record["built"]) == ("error", None, False)
    assert "status 7" in record["error"]


async def test_a_project_that_isnt_there(build, options):
    """Bad input is exit status 2."""
    status, desk = await build(evolve(options, project=options.project / "none"))
    assert (status, len(desk.said())) == (2, 1)


async def test_an_engine_that_does_not_answer(build, options, docker):
    """Without an engine it is exit status 3."""
    docker(answers={"image inspect": fail(1, "no daemon\n")})
    status, desk = await build(options)
    assert (status, len(desk.said())) == (3, 1)
    assert "no daemon" in desk.said()[0]


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("auto", 3, "auto can't be used: docker is away; mend one of them"),
        ("bubblewrap", 2, "bubblewrap needs no image; "),
    ],
)
async def test_bubblewrap_has_no_image(build, options, settings, name, status, said):
    """Asked for by name it is a misunderstanding; as the last resort, there is no engine."""
    runtime = BubblewrapRuntime(settings)
    ended, desk = await build(
        evolve(options, runtime=name), runtime=runtime, reason="docker is away"
    )
    assert ended == status
    assert desk.said()[0].startswith(said)


async def test_another_engine_than_the_first_is_named(build, options, docker):
    """Chosen since docker is away, it has the image, and docker hasn't when it is back."""
    runtime = PodmanRuntime(
        Settings(project_root=options.project), str(docker.directory / "docker")
    )
    status, desk = await build(options, runtime=runtime, reason="docker is away")
    assert (status, desk.said()[0]) == (0, "runtime podman: docker is away")
    _, desk = await build(evolve(options, runtime="podman"), runtime=runtime)
    assert desk.said() == []


@pytest.mark.parametrize("as_json", [False, True])
async def test_a_signal_ends_the_build(build, options, docker, until, as_json):
    """The client is gone before the command is, and the exit status tells the signal."""
    docker(answers={"build": Answer(delay=600)})

    async def interrupt(desk):
        await until(lambda: builds(docker))
        desk.world.interruption.receive(signal.SIGTERM)

    async with trio.open_nursery() as nursery:
        status, desk = await build(
            evolve(options, as_json=as_json), use=lambda desk: nursery.start_soon(interrupt, desk)
        )
    assert status == 143
    assert desk.said() == ["stopped by SIGTERM; nothing of the build is left running"]
    records = desk.records()
    assert [record["error"] for record in records] == ["stopped by SIGTERM"] * as_json


class Live(Progress):
    """A live line that remembers what it showed."""

    is_live = True

    def __init__(self):
        super().__init__()
        self.shown = []

    def detail(self, what):
        """Remember it."""
        super().detail(what)
        self.shown.append(what)


async def test_a_live_line_shows_each_line_and_the_rest_is_quiet(build, options, docker):
    """On a terminal the live line has the step and its last words; nothing scrolls by."""
    words = Said(stdout="Sending\nStep 1/1 : FROM x\n ---> \x1b[1mabc\x07\n")
    docker(answers={"build": Answer(says=words)})
    live = Live()
    status, desk = await build(options, progress=live)
    assert (status, desk.said()) == (0, [])
    assert live.shown == ["Sending", "step 1/1: FROM x", "step 1/1 ·  ---> abc␇"]
    assert live.text().startswith("step 1/1 ·  ---> abc")


STEP = BuildStep(number=3, total=12, instruction="RUN a \t b")


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (BuildProgress(line="waiting", is_news=True), "waiting"),
        (BuildProgress(line="Step 3/12 : RUN a", step=STEP, is_news=True), "step 3/12: RUN a b"),
        (BuildProgress(line="Collecting c", step=STEP), "step 3/12 · Collecting c"),
    ],
)
def test_progress_text(progress, text):
    """What is shown of a line: which step, and what it says."""
    assert progress_text(progress) == text


def test_a_long_step_is_cut():
    """A step that goes on for half a screen is one line."""
    step = evolve(STEP, instruction="x" * 500)
    text = step_text(BuildProgress(line="", step=step, is_news=True))
    assert (len(text), text[-1]) == (STEP_LIMIT, "…")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "i:1 sha256:ab 123 MB, built in 4.2 s"),
        ({"built": False}, "i:1 sha256:ab 123 MB, up to date"),
        ({"id": None, "size": None}, "i:1 without an id, built in 4.2 s"),
    ],
)
def test_result_text(fields, text):
    """Name, id, size and time, as far as they are known."""
    assert result_text(evolve(BUILT, **fields)) == text


def test_record_has_every_key():
    """A program finds the same keys whatever happened."""
    assert build_record(BUILT).keys() == build_record(None, "no").keys()
    assert json.dumps(build_record(BUILT))


@pytest.fixture
def run_options(settings):
    """The options of `run --build Hello`."""
    return Options(
        prompt="Hello",
        input=None,
        project=settings.project_root,
        group=None,
        main=None,
        session=None,
        runtime="auto",
        image=None,
        agent=None,
        timeout=None,
        json=False,
        build=True,
    )


@pytest.mark.parametrize("command", [run_command, chat_command])
async def test_run_builds_what_is_missing(make_desk, choose, options, run_options, docker, command):
    """With --build the image is built before the run, by the name that the run asks for."""
    docker(answers={"run": fail(125, "docker: no space left\n")})
    for again in (False, True):
        desk = make_desk()
        await desk.keyboard.aclose()
        runtime = DockerRuntime(
            Settings(project_root=options.project), str(docker.directory / "docker")
        )
        asked = evolve(run_options, image="mine:1")
        with trio.fail_after(GUARD):
            assert await command(asked, desk.world, choose=choose(runtime)) == 3
        assert "building the image" in desk.world.progress.told
        assert any(line.startswith("mine:1 sha256:") for line in desk.said()) is not again
    assert len(builds(docker)) == 1
    words = [call.argv[0] for call in read_calls(docker.directory)]
    assert words.index("build") < words.index("run")


async def test_run_whose_build_fails(make_desk, choose, options, run_options, docker):
    """An image that can't be built ends the run with exit status 3, and the engine's own words."""
    docker(answers={"build": fail(1, "no network\n")})
    runtime = DockerRuntime(
        Settings(project_root=options.project), str(docker.directory / "docker")
    )
    desk = make_desk()
    with trio.fail_after(GUARD):
        asked = evolve(run_options, json=True)
        assert await run_command(asked, desk.world, choose=choose(runtime)) == 3
    assert "no network" in desk.said()
    (end,) = desk.records()
    assert (end["cause"], end["container"], end["gone"]) == ("image_missing", None, True)


async def test_run_with_a_runtime_without_images(call, run_options):
    """Where there is no image nothing is built, which is said, and the run goes on."""
    status, desk = await call(run_command, run_options, echo_agent)
    assert (status, desk.written()) == (0, "echo: Hello\n")
    assert "fake needs no image; nothing was built" in desk.said()
