"""Building the agent's image: once, however many ask for it at the same time."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio
from attrs import evolve, frozen

from nanoclaw_trio.environment import process_environment
from nanoclaw_trio.errors import BuildFailed, ImageNotNeeded
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.runtimes.build_arguments import BuildSpec
from nanoclaw_trio.runtimes.build_client import run_build
from nanoclaw_trio.runtimes.build_context import content_hash, find_context
from nanoclaw_trio.runtimes.build_lock import hold_lock, lock_path
from nanoclaw_trio.runtimes.build_progress import BuildLog, BuildProgress
from nanoclaw_trio.runtimes.container_engine import ContainerEngine
from nanoclaw_trio.runtimes.images import CONTENT_LABEL
from nanoclaw_trio.workspace.directories import blamed_on

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from nanoclaw_trio.runtimes.abc import ContainerRuntime
    from nanoclaw_trio.runtimes.engine_cli import EngineCli
    from nanoclaw_trio.runtimes.images import ImageFacts
    from nanoclaw_trio.settings import Settings

_BUILT_ELSEWHERE: Final = (
    "it was built, and isn't among the engine's images; where another builder is in use, "
    "`docker buildx use default` brings the engine's own back"
)


@frozen(kw_only=True)
class BuiltImage:
    """An image that is there now, and is what container/ says.

    Attributes:
        image: Its name.
        id: The engine's own name for it; None where it doesn't tell.
        size: Bytes; None where the engine doesn't tell.
        duration: Seconds that it took, waiting for another build included.
        built: Whether it was built; else it was there already.
    """

    image: str
    id: str | None
    size: int | None
    duration: float
    built: bool


async def build_image(
    settings: Settings,
    *,
    runtime: ContainerRuntime,
    image: str | None = None,
    base_image: str | None = None,
    force: bool = False,
    use_cache: bool = True,
    on_progress: Callable[[BuildProgress], object] | None = None,
) -> BuiltImage:
    """Build the agent's image, unless it is there already from the same sources.

    `image` and `base_image` are the settings' own by default. `force` builds it in any case;
    without `use_cache` every step is done anew. `on_progress` is called with each line of the
    build. Of several processes of one user that build one image, one does, and the others wait for
    it and find it done.

    Cancelled, it ends the build and waits for that, within a bound; the image is as it was before.

    Raises:
        ImageNotNeeded: the runtime has no images.
        InvalidFile: there is no Dockerfile.
        WorkspaceFailed: the sources can't be read.
        RuntimeUnavailable: the engine isn't there or doesn't answer.
        BuildFailed: the engine can't build it; has the last of its words.
    """
    if not isinstance(runtime, ContainerEngine):
        raise ImageNotNeeded(runtime.name)
    engine = runtime.builder()
    began = trio.current_time()
    report = on_progress or _keep_silent
    name, base = image or settings.container_image, base_image or settings.base_image
    spec = evolve(await in_thread(make_spec, settings, name, base), use_cache=use_cache)
    lock = lock_path(engine.name, name, process_environment())
    async with _one_at_a_time(lock, report):
        found = None if force else await _find_fresh(engine, spec)
        facts = found or await _build(engine, spec, report)
    return BuiltImage(
        image=name,
        id=facts.id,
        size=facts.size,
        duration=trio.current_time() - began,
        built=found is None,
    )


def _keep_silent(_progress: BuildProgress) -> None:
    pass


def make_spec(settings: Settings, image: str, base_image: str | None) -> BuildSpec:
    """What is to be built, with the hash of its sources. See :func:`build_image` for the errors."""
    with blamed_on(settings.project_root):
        context = find_context(settings.project_root)
    arguments = {} if base_image is None else {"BASE_IMAGE": base_image}
    with blamed_on(context):
        content = content_hash(context, arguments)
    return BuildSpec(
        image=image,
        context=context,
        arguments=arguments,
        labels={CONTENT_LABEL: content},
    )


async def _find_fresh(engine: EngineCli, spec: BuildSpec) -> ImageFacts | None:
    """The image, if it is there and was built from the same sources."""
    facts = await engine.find_image(spec.image)
    return facts if facts and spec.labels.items() <= facts.labels.items() else None


@asynccontextmanager
async def _one_at_a_time(
    path: Path, report: Callable[[BuildProgress], object]
) -> AsyncGenerator[None]:
    def waiting() -> None:
        report(BuildProgress(line="another process builds this image; waiting", is_news=True))

    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(hold_lock(path, waiting=waiting))
        except OSError as error:
            # A user without a home builds twice at worst.
            why = f"{path} can't be locked ({error.strerror}); other builds aren't waited for"
            report(BuildProgress(line=why, is_news=True))
        yield


async def _build(
    engine: EngineCli, spec: BuildSpec, report: Callable[[BuildProgress], object]
) -> ImageFacts:
    log = BuildLog()

    def hear(line: str) -> None:
        progress = log.receive_line(line)
        if progress is not None:
            report(progress)

    status = await run_build(engine.start_build(spec), hear)
    if status != 0:
        why = f"the build ended with status {status}"
        raise BuildFailed(spec.image, engine.name, why, log.tail)
    facts = await engine.find_image(spec.image)
    if facts is None:
        raise BuildFailed(spec.image, engine.name, _BUILT_ELSEWHERE, log.tail)
    return facts
