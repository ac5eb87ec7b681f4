"""Scripts for the fake runtime, and what is left of a run."""

from __future__ import annotations

import pytest
import trio

from nanoclaw_trio.protocol.models import ContainerOutput
from nanoclaw_trio.run.open_run import run_container_agent
from nanoclaw_trio.testing.fake import open_fake_runtime


def answer(text, session="s1"):
    return ContainerOutput(status="success", result=text, new_session_id=session)


def update(session="s1"):
    return ContainerOutput(status="success", result=None, new_session_id=session)


@pytest.fixture
def timeline():
    """A script that does things at times: a list of (seconds after the start, output or None)."""

    def make(*events, then=0):
        async def script(container):
            await container.read_input()
            start = trio.current_time()
            for seconds, output in events:
                await trio.sleep_until(start + seconds)
                if output is not None:
                    await container.write_output(output)
            if then is None:
                await trio.sleep_forever()
            return then

        return script

    return make


@pytest.fixture
def run_script(group, container_input, settings):
    """Run a script as the group's agent; the result and what was handed out, with its times."""

    async def run(script, *, streaming=True, settings=settings, before=(), **changes):
        heard = []

        async def on_output(output):
            heard.append((trio.current_time(), output))

        async with open_fake_runtime(script) as runtime:
            runtime.before.update(before)
            result = await run_container_agent(
                group,
                container_input,
                settings=settings,
                runtime=runtime,
                on_output=on_output if streaming else None,
                **changes,
            )
            assert not runtime.containers
        return result, heard

    return run


@pytest.fixture
def say():
    """Outputs: say.answer(text), say.update()."""

    class Say:
        answer = staticmethod(answer)
        update = staticmethod(update)

    return Say
