"""Starting a container: all of it, refused, cut off and cancelled, at each step."""

from __future__ import annotations

import json

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.errors import ImageMissing, RuntimeUnavailable, StartFailed
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.runtimes.abc import STDIN_VARIABLE
from nanoclaw_trio.runtimes.images import STDIN_LABEL

GUARD = 60.0

STEPS = ["POST create", "attach stdout", "attach stderr", "POST wait", "POST start"]


async def test_the_order_of_steps(engine, runtime, spec):
    """Streams and end are listened to before the container runs, so that nothing is missed."""
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        await container.aclose()
    assert engine.commands() == [
        *("POST create", "POST attach", "POST attach", "POST wait", "POST start")
    ]
    create, output, error, wait, _ = engine.asked[-5:]
    assert create.query == "name=nanoclaw-x"
    assert json.loads(create.body)["Image"] == "agent:latest"
    assert (output.query, error.query) == ("stream=1&stdin=1&stdout=1", "stream=1&stderr=1")
    assert wait.query == "condition=removed"
    assert {asked.path.split("/")[1] for asked in engine.asked[1:]} == {"v1.41"}


async def test_podmans_end(engine, make_runtime, spec, world):
    """Podman tells the exit status of the next exit only, and is asked for that."""
    version = {"Version": "4.3.1", "ApiVersion": "1.41", "Components": "Podman Engine"}
    engine.script["GET version"] = world["Says"](200, version)
    with trio.fail_after(GUARD):
        container = await make_runtime(podman=True).start(spec)
        await container.aclose()
    assert engine.asked[-2].query == "condition=next-exit&interval=100ms"


@pytest.mark.parametrize("step", STEPS)
async def test_refused(engine, runtime, spec, world, step):
    """A step that the engine refuses fails the start with its words, and nothing is left."""
    engine.script[step] = world["Says"](500, {"message": "not today"})
    with trio.fail_after(GUARD), pytest.raises(StartFailed, match="not today"):
        await runtime.start(spec)
    assert engine.has_removed(spec.name) is (step != "POST create")


async def test_name_in_use(engine, runtime, spec, world):
    """A container that somebody else has started under the name is let be."""
    engine.script["POST create"] = world["Says"](409, {"message": "the name is already in use"})
    with trio.fail_after(GUARD), pytest.raises(StartFailed, match="already in use"):
        await runtime.start(spec)
    assert not engine.has_removed(spec.name)


async def test_image_that_was_removed(engine, runtime, spec, world):
    """An image that was removed since it was seen is missed, and looked for again."""
    engine.script["POST create"] = world["Says"](404, {"message": "No such image: agent:latest"})
    with trio.fail_after(GUARD):
        await runtime.require_image(spec.image)
        with pytest.raises(ImageMissing, match="nanoclaw_trio build"):
            await runtime.start(spec)
        engine.asked.clear()
        await runtime.require_image(spec.image)
    assert [asked.what for asked in engine.asked] == ["GET json"]


@pytest.mark.parametrize("step", STEPS)
async def test_engine_that_is_lost(engine, brief_runtime, spec, world, step):
    """An engine that is lost in the middle leaves a container of which nobody knows, and says so."""
    engine.script[step] = world["Raw"]()
    engine.script["DELETE"] = world["Raw"]()
    with trio.fail_after(GUARD):
        container = await brief_runtime.start(spec)
        assert await container.stdout.receive_some() == b""
        assert await container.stderr.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError):
            await container.stdin.send_all(b"x")
        await container.stdin.aclose()
        assert await container.wait() == 125
        error = brief_runtime.explain_exit(spec, 125, "")
        await container.stdout.aclose()
        await container.aclose()
    assert isinstance(error, RuntimeUnavailable)
    assert "lost while the container was started" in str(error)


async def test_engine_that_goes_away_before_it_is_attached_to(engine, runtime, spec, world):
    """A container that was created and can't be removed any more isn't said to have never been."""

    class GoesAway(world["Says"]):
        async def play(self, line, asked):
            engine.vanish()
            await super().play(line, asked)

    engine.script["POST create"] = GoesAway(201, {"Id": "0"})
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        assert await container.wait() == 125
        error = runtime.explain_exit(spec, 125, "")
        await container.aclose()
    assert isinstance(error, RuntimeUnavailable)
    assert "isn't there" in str(error)


@pytest.mark.parametrize("step", STEPS[1:])
async def test_refused_and_not_taken_back(engine, runtime, spec, world, step):
    """Of a container that the engine neither starts nor removes, nobody says that it is gone."""
    engine.script[step] = world["Says"](500, {"message": "not today"})
    engine.script["DELETE"] = world["Says"](500, {"message": "nor this"})
    with trio.fail_after(GUARD):
        container = await runtime.start(spec)
        assert await container.wait() == 125
        await container.aclose()
    assert "not today" in str(runtime.explain_exit(spec, 125, ""))


@pytest.mark.parametrize("step", ["attach stdout", "attach stderr"])
async def test_stream_without_an_upgrade(engine, runtime, spec, world, step):
    """Who answers with a stream of its own instead of an upgrade is refused, not heard for ever."""

    class Streams:
        async def play(self, line, asked):
            await line.stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
            await world["Hangs"]().play(line, asked)

    engine.script[step] = Streams()
    with trio.fail_after(GUARD), pytest.raises(StartFailed, match="status 200"):
        await runtime.start(spec)
    assert engine.has_removed(spec.name)


@pytest.mark.parametrize("step", STEPS)
async def test_cancelled(engine, runtime, spec, world, step):
    """Trap A10. Cancelled at any step, it waits for the order that is under way and takes it back."""
    usual = {
        "POST create": world["Says"](201, {"Id": "0"}),
        "attach stdout": engine.output,
        "attach stderr": engine.error,
        "POST wait": engine.end,
        "POST start": world["Says"](204),
    }
    later = engine.script[step] = world["Later"](usual[step])
    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.start, spec)
            await later.waiting.wait()
            nursery.cancel_scope.cancel()
            later.release.set()
    assert engine.commands()[-1] == f"DELETE {spec.name}"


@pytest.mark.parametrize("step", STEPS)
async def test_cancelled_before_an_engine_that_hangs(engine, brief_runtime, spec, world, step):
    """Taking a start back ends within its bound, though the engine doesn't answer any more."""
    later = engine.script[step] = world["Later"](world["Hangs"]())
    engine.script["DELETE"] = world["Hangs"]()
    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(brief_runtime.start, spec)
            await later.waiting.wait()
            nursery.cancel_scope.cancel()
        later.release.set()


async def test_engine_that_is_not_there(make_runtime, spec):
    """Without an engine nothing is started, and the error says where it was looked for."""
    runtime = make_runtime()
    with (
        trio.fail_after(GUARD),
        pytest.raises(RuntimeUnavailable, match=r"engine\.sock.* isn't there"),
    ):
        await runtime.start(spec)


async def test_engine_that_went_away(engine, runtime, spec, world):
    """An engine that is gone when the container is to be created has created nothing."""
    with trio.fail_after(GUARD):
        await runtime.require_image(spec.image)
        engine.vanish()
        with pytest.raises(RuntimeUnavailable, match="isn't there"):
            await runtime.start(spec)
    assert engine.commands() == []


async def test_engine_that_does_not_take_it(engine, runtime, spec):
    """An engine that closes the connection before it has the whole order has created nothing."""
    large = evolve(spec, environment={"A": "x" * 4_000_000})
    with trio.fail_after(GUARD):
        await runtime.require_image(spec.image)
        engine.deaf_after = len(engine.asked)
        with pytest.raises(RuntimeUnavailable, match="was not taken"):
            await runtime.start(large)


async def test_cancelled_in_the_middle_of_an_order(engine, runtime, spec, world):
    """An order that was cut off before it was whole is one that no engine has acted upon."""
    large = evolve(spec, environment={"A": "x" * 4_000_000})
    with trio.fail_after(GUARD):
        await runtime.require_image(spec.image)
        engine.deaf_after = len(engine.asked)
        engine.deafness = world["Later"](None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.start, large)
            await engine.deafness.waiting.wait()
            nursery.cancel_scope.cancel()
        engine.deafness.release.set()
    assert engine.commands() == []


async def test_missing_source(engine, runtime, spec, tmp_path):
    """Trap A16. A mount whose source isn't there fails the start before the engine is asked."""
    mount = VolumeMount(host_path=tmp_path / "no", container_path="/w", readonly=True)
    with trio.fail_after(GUARD), pytest.raises(StartFailed, match="isn't there"):
        await runtime.start(evolve(spec, mounts=(mount,)))
    assert engine.commands() == []


@pytest.mark.parametrize(("labelled", "takes"), [(True, True), (True, False), (False, True)])
async def test_lease(engine, runtime, spec, world, labelled, takes):
    """Standard input is a lease where the image and the agent's source know what that is."""
    labels = {STDIN_LABEL: "lease:agent"} if labelled else {}
    config = {"Labels": labels, "Entrypoint": ["python", "agent"]}
    engine.script["GET json"] = world["Says"](200, {"Id": "0", "Config": config})
    with trio.fail_after(GUARD):
        container = await runtime.start(evolve(spec, takes_lease=takes))
        await container.aclose()
    create = next(asked for asked in engine.asked if asked.what == "POST create")
    expected = labelled and takes
    assert container.holds_stdin is expected
    assert (f"{STDIN_VARIABLE}=lease" in json.loads(create.body)["Env"]) is expected
