"""Building the image, with a stand-in for docker."""

from __future__ import annotations

import json
import os

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.errors import (
    BuildFailed,
    ImageIncompatible,
    ImageNotNeeded,
    RuntimeUnavailable,
    WorkspaceFailed,
)
from nanoclaw_trio.runtimes.bubblewrap import BubblewrapRuntime
from nanoclaw_trio.runtimes.build import build_image, make_spec
from nanoclaw_trio.runtimes.build_lock import hold_lock, lock_path
from nanoclaw_trio.runtimes.build_progress import BuildProgress, BuildStep
from nanoclaw_trio.runtimes.docker import DockerRuntime
from nanoclaw_trio.settings import DEFAULT_IMAGE
from nanoclaw_trio.testing.docker_stand_in import Answer, Said, fail, read_calls

GUARD = 60


@pytest.fixture
def context(settings, monkeypatch, tmp_path):
    """The project's container/ with a Dockerfile; and a cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    container = settings.project_root / "container"
    container.mkdir()
    (container / "Dockerfile").write_text("FROM x\nRUN y\n")
    return container


@pytest.fixture
def build(docker_world, settings, context):
    """Build the project's image with the stand-in, where there is none at first."""
    docker_world.play(images=())

    async def call(**options):
        with trio.fail_after(GUARD):
            return await build_image(settings, runtime=docker_world.runtime(), **options)

    return call


async def test_an_image_is_built_from_container(build, docker_world, context):
    """What was built is told by its name, id and size, and each step is heard of."""
    heard = []
    built = await build(on_progress=heard.append)
    assert (built.image, built.size, built.built) == (DEFAULT_IMAGE, 123_000_000, True)
    assert built.id.startswith("sha256:")
    assert built.duration >= 0
    (command,) = [
        call.argv for call in read_calls(docker_world.directory) if call.argv[0] == "build"
    ]
    assert command[:4] == ("build", "--force-rm", "--tag", DEFAULT_IMAGE)
    assert command[-1] == str(context)
    assert heard[:2] == [
        BuildProgress(line=f"Step {step.number}/2 : {step.instruction}", step=step, is_news=True)
        for step in (
            BuildStep(number=1, total=2, instruction="FROM x"),
            BuildStep(number=2, total=2, instruction="RUN y"),
        )
    ]
    assert not any(progress.is_news for progress in heard[2:])


async def test_no_secret_reaches_the_build(build, docker_world, monkeypatch):
    """The client that builds has none of the secrets in its environment."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-canary")
    await build()
    for call in read_calls(docker_world.directory):
        assert "ANTHROPIC_API_KEY" not in call.environment


async def test_an_image_from_the_same_sources_is_left_as_it_is(build, docker_world, context):
    """Nothing is built until a source, the base or the name changes, or it is asked for."""
    assert (await build()).built
    again = await build()
    assert (again.built, again.size) == (False, 123_000_000)
    assert (await build(force=True)).built
    assert (await build(force=True, use_cache=False)).built
    assert (await build(base_image="b")).built
    assert (await build(image="other:1")).built
    assert not (await build(image="other:1")).built
    (context / "Dockerfile").write_text("FROM z\n")
    assert (await build()).built
    assert docker_world.commands().count("build") == 6


async def test_the_base_image_is_the_settings_unless_another_is_named(settings, context):
    """The base reaches the Dockerfile as an argument, if there is one."""
    assert make_spec(settings, "i", None).arguments == {}
    spec = make_spec(settings, "i", "b:1")
    assert spec.arguments == {"BASE_IMAGE": "b:1"}
    assert spec.labels != make_spec(settings, "i", None).labels


async def test_settings_base_image(docker_world, settings, context):
    """CONTAINER_BASE_IMAGE holds for every build of the project."""
    docker_world.play(images=())
    settings = evolve(settings, base_image="b:1", container_image="i:1")
    assert (await build_image(settings, runtime=docker_world.runtime())).image == "i:1"
    built = next(c.argv for c in read_calls(docker_world.directory) if c.argv[0] == "build")
    assert "BASE_IMAGE=b:1" in built


async def test_concurrent_builds_build_once(build, docker_world):
    """Of many at the same time one builds, and the others wait and find it done."""
    docker_world.play(images=(), answers={"build": Answer(delay=0.3)})
    results, news = [], []

    async def ask():
        heard = []
        results.append(await build(on_progress=heard.append))
        news.extend(progress.line for progress in heard if progress.step is None)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    assert sorted(result.built for result in results) == [False, False, True]
    assert news == ["another process builds this image; waiting"] * 2
    assert docker_world.commands().count("build") == 1


async def test_without_a_place_for_the_lock_it_builds_all_the_same(build, monkeypatch, tmp_path):
    """A user without a home can build; that others aren't waited for is said."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    heard = []
    assert (await build(on_progress=heard.append)).built
    assert "can't be locked" in heard[0].line
    assert heard[0].is_news


async def test_a_build_that_fails(build, docker_world):
    """The error has the end of the engine's words, and the lock is free again."""
    words = "".join(f"line {number}\n\n" for number in range(30))
    says = Answer(acts=False, says=Said(status=9, stdout=words, stderr=""))
    docker_world.play(images=(), answers={"build": says})
    with pytest.raises(BuildFailed, match=r"status 9; its last words: line 29; mend") as raised:
        await build()
    assert raised.value.tail == tuple(f"line {number}" for number in range(10, 30))
    docker_world.play(images=())
    assert (await build()).built


async def test_a_build_that_fails_in_silence(build, docker_world):
    """Without words there is the exit status."""
    docker_world.play(images=(), answers={"build": fail(1, "")})
    with pytest.raises(BuildFailed, match="the build ended with status 1; mend"):
        await build()


async def test_an_image_that_was_built_elsewhere(build, docker_world):
    """A builder that keeps the image to itself is told from a success."""
    docker_world.play(images=(), answers={"build": Answer(acts=False)})
    with pytest.raises(BuildFailed, match="docker buildx use default"):
        await build()


async def test_a_runtime_without_images(settings):
    """There is nothing to build for a sandbox."""
    with pytest.raises(ImageNotNeeded, match="bubblewrap needs no image"):
        await build_image(settings, runtime=BubblewrapRuntime(settings))


async def test_without_the_program(settings, context, tmp_path):
    """An engine that isn't installed can't build."""
    runtime = DockerRuntime(settings, str(tmp_path / "none"))
    with pytest.raises(RuntimeUnavailable, match="no program"):
        await build_image(settings, runtime=runtime)


async def test_a_program_that_cant_be_started(settings, context, tmp_path):
    """What hinders the client's start is said."""
    program = tmp_path / "docker"
    program.write_text("#!/nowhere/sh\n")
    program.chmod(0o755)
    runtime = DockerRuntime(settings, str(program))
    with pytest.raises(RuntimeUnavailable, match="`build` can't be started: No such file"):
        runtime.start_build(make_spec(settings, "i", None))


async def test_sources_that_cant_be_read(settings, context):
    """A .dockerignore that is a directory is named."""
    (context / ".dockerignore").mkdir()
    with pytest.raises(WorkspaceFailed, match="container can't be prepared: Is a directory"):
        make_spec(settings, "i", None)


async def test_a_context_that_cant_be_looked_at(settings):
    """A container/ that is a link to itself is the disk's fault, and named."""
    place = settings.project_root / "container"
    place.symlink_to(place)
    with pytest.raises(WorkspaceFailed, match=r"symbolic links \(.*container/Dockerfile\)"):
        make_spec(settings, "i", None)


async def test_a_cancelled_build_leaves_nothing(build, settings, docker_world):
    """Cancelled, the client is gone and the lock is free; the next build goes on from there."""
    docker_world.play(images=(), answers={"build": Answer(delay=600)})
    runtime = docker_world.runtime()
    begun = trio.Event()

    async def watch():
        while "build" not in docker_world.commands():  # noqa: ASYNC110 - a file sets no event
            await trio.sleep(0.01)
        begun.set()

    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            nursery.start_soon(lambda: build_image(settings, runtime=runtime))
            await begun.wait()
            nursery.cancel_scope.cancel()
        lock = lock_path("docker", DEFAULT_IMAGE, os.environ)
        async with hold_lock(lock, waiting=pytest.fail):
            pass
    docker_world.play(images=())
    assert (await build()).built


async def test_an_image_of_another_protocol(docker_world):
    """It isn't started; what it speaks, what we speak and what to do is said, each time."""
    labels = {"nanoclaw.protocol": "2"}
    document = json.dumps([{"Config": {"Labels": labels}}])
    docker_world.play(answers={"image inspect": Answer(says=Said(stdout=document))})
    runtime = docker_world.runtime()
    remedy = r"speaks protocol '2' and this host '1'; run `python -m nanoclaw_trio build --tag i:1 "
    for _ in range(2):
        with pytest.raises(ImageIncompatible, match=remedy) as raised:
            await runtime.require_image("i:1")
    assert (raised.value.version, raised.value.ours) == ("2", "1")
    docker_world.play()
    await runtime.require_image("i:1")


async def test_an_image_of_ours(docker_world):
    """One command tells that the image is there and what it speaks."""
    document = json.dumps([{"Config": {"Labels": {"nanoclaw.protocol": "1"}}}])
    docker_world.play(answers={"image inspect": Answer(says=Said(stdout=document))})
    await docker_world.runtime().require_image("i:1")
    assert docker_world.commands() == ["image"]


@pytest.mark.parametrize("gone", [False, True])
async def test_the_remedy_names_another_folder_only(
    docker_world, settings, monkeypatch, gone, tmp_path
):
    """In the project's own folder its name isn't needed; in one that was removed it is."""
    docker_world.play(images=())
    here = tmp_path / "here" if gone else settings.project_root
    here.mkdir(exist_ok=True)
    monkeypatch.chdir(here)
    if gone:
        here.rmdir()
    with pytest.raises(Exception, match="has no image") as raised:
        await docker_world.runtime().require_image(DEFAULT_IMAGE)
    project = f" --project {settings.project_root}" if gone else ""
    assert f"run `python -m nanoclaw_trio build{project}`, or" in str(raised.value)


def test_without_a_dockerfile(settings):
    """A project without a container/ builds the one that was shipped."""
    assert (make_spec(settings, "i", None).context / "agent-runner").is_dir()
