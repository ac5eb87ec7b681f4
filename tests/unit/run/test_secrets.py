"""A key in .env reaches the agent's standard input, and nothing else: on success and on failure."""

from __future__ import annotations

import traceback

import pytest
import trio
from attrs import evolve

from nanoclaw_trio.errors import RuntimeCommandFailed
from nanoclaw_trio.logs import configure_logging
from nanoclaw_trio.run.open_run import open_run
from nanoclaw_trio.testing.fake import open_fake_runtime

CANARY = "sk-canary-5f1c0de-that-is-a-key"


async def well_behaved(container, say):
    """Answers, and keeps the key to itself."""
    request = await container.read_input()
    assert request["secrets"]["ANTHROPIC_API_KEY"] == CANARY
    await container.write_output(say.answer("fine"))


async def talks_on_standard_error(container, say):
    """Writes its whole input to standard error and fails."""
    request = await container.read_input()
    for end in ("\n", " ", ""):
        await container.stderr.send_all(f"{request}{end}".encode())
    return 1


async def talks_in_noise(container, say):
    """Writes the key where nobody listens, and fails."""
    await container.stdout.send_all(f"noise {CANARY} noise\n".encode() * 100)
    return 1


async def answers_in_a_wrong_shape(container, say):
    """Puts the key where the parser will complain."""
    for payload in (f'{{"status":"{CANARY}"}}', f"{CANARY}", f'{{"{CANARY}":1,"status":2}}'):
        await container.stdout.send_all(
            f"---NANOCLAW_OUTPUT_START---\n{payload}\n---NANOCLAW_OUTPUT_END---\n".encode()
        )


async def begins_a_frame_and_dies(container, say):
    """Dies in the middle of a frame with the key in it."""
    await container.stdout.send_all(f"---NANOCLAW_OUTPUT_START---\n{CANARY}".encode())
    return 7


async def raises(container, say):
    """Fails with a traceback that has the key in it."""
    raise ValueError(CANARY)


async def hangs(container, say):
    """Says the key on standard error, and nothing more until it is stopped."""
    await container.stderr.send_all(f"working with {CANARY}\n".encode())
    await trio.sleep_forever()


async def runs_out_of_memory(container, say):
    """Ends for want of memory."""
    await container.stderr.send_all(CANARY.encode())
    container.run_out_of_memory()


SCRIPTS = [
    well_behaved,
    talks_on_standard_error,
    talks_in_noise,
    answers_in_a_wrong_shape,
    begins_a_frame_and_dies,
    raises,
    hangs,
    runs_out_of_memory,
]


@pytest.fixture
def debug_logging():
    """Everything is logged, to standard error."""
    configure_logging("debug")


@pytest.fixture
def secretive(settings):
    """A project whose .env has the canary; all that is written there is looked through."""
    (settings.project_root / ".env").write_text(f"ANTHROPIC_API_KEY={CANARY}\n")
    return evolve(settings, log_level="debug")


def assert_hidden(project, capsys, *objects):
    """Nothing in the project's files, in what was logged, or in these objects has the canary."""
    for path in project.rglob("*"):
        if path.is_file() and path.name != ".env":
            assert CANARY not in path.read_text(errors="replace"), path
    captured = capsys.readouterr()
    assert CANARY not in captured.err
    assert CANARY not in captured.out
    for each in objects:
        assert CANARY not in f"{each!r} {each!s}"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
@pytest.mark.parametrize("end", ["by itself", "cancelled", "block raises", "nothing stops it"])
async def test_a_key_is_nowhere(
    virtual_clock, group, container_input, secretive, debug_logging, capsys, say, script, end
):
    """Trap A17. However a run ends: no file, log, repr, result or exception has the key."""

    async def agent(container):
        return await script(container, say)

    async def refuse():
        raise RuntimeCommandFailed("fake", "refuses")

    seen = []
    async with open_fake_runtime(agent) as runtime:
        if end == "nothing stops it":
            runtime.before.update(stop=refuse, kill=refuse, remove=refuse, inspect=refuse)
        try:
            with trio.move_on_after(0.5 if end == "cancelled" else 10_000):
                async with open_run(
                    group, container_input, settings=secretive, runtime=runtime
                ) as run:
                    seen += [run, run.statistics(), runtime.started]
                    async for _ in run:
                        if end == "block raises":
                            raise KeyError("mine")  # noqa: TRY301 - it goes through the block
                    seen += [run.result, run.result.error]
        except KeyError as error:
            seen.append("".join(traceback.format_exception(error)))
        seen += [run.receipt, run.container]
    assert_hidden(secretive.project_root, capsys, *seen)
    assert list(secretive.project_root.rglob("container-*.log"))
