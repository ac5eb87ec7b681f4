"""What ends a command before its time."""

from __future__ import annotations

import os
import signal

import pytest
import trio
import trio.testing

from nanoclaw_trio.cli.progress import Progress
from nanoclaw_trio.cli.signals import LAST_WORDS_BOUND, Interruption, receive_signals

GUARD = 60


class Run:
    """As much of a run as an interruption asks for."""

    container_name = "c1"

    def __init__(self):
        self.hurried = 0

    def hurry(self):
        """Count it."""
        self.hurried += 1


@pytest.fixture
def said():
    """What the user was told."""
    return []


@pytest.fixture
async def interruption(said):
    """An interruption with a run under way."""
    interruption = Interruption(said.append, Progress())
    interruption.run = Run()
    return interruption


async def test_the_first_signal_cancels(interruption, said):
    """What is under way is stopped, and its user told so and what a second signal does."""
    interruption.receive(signal.SIGTERM)
    assert interruption.scope.cancel_called
    assert interruption.number is signal.SIGTERM
    assert said == ["SIGTERM: stopping container c1; once more: without a grace"]
    assert interruption.run.hurried == 0


async def test_a_further_signal_hurries(interruption, said):
    """Each further one shortens the graces; the first one keeps the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        interruption.receive(number)
    assert (interruption.number, interruption.run.hurried) == (signal.SIGINT, 2)
    assert said[1] == "SIGTERM again: killing container c1"


async def test_a_lost_output_is_quiet_and_hurries_nobody(interruption, said):
    """Whoever closed the output on purpose waits for no word, and a signal isn't made stronger."""
    interruption.receive(signal.SIGINT)
    interruption.output_lost()
    assert (interruption.number, interruption.run.hurried) == (signal.SIGINT, 0)
    said.clear()
    quiet = Interruption(said.append, Progress())
    quiet.run = Run()
    quiet.output_lost()
    assert (quiet.number, said) == (signal.SIGPIPE, [])


async def test_without_a_run_there_is_nothing_to_say(said):
    """Before a container is started a signal is obeyed without a word about one."""
    interruption = Interruption(said.append, Progress())
    interruption.receive(signal.SIGINT)
    interruption.receive(signal.SIGINT)
    assert interruption.scope.cancel_called
    assert said == []


async def test_last_words_take_their_time(interruption, autojump_clock):
    """Without a signal a slow reader is waited for."""
    with interruption.last_words():
        await trio.sleep(80_000)
    assert trio.current_time() >= 80_000


async def test_last_words_are_bounded_after_a_signal(interruption, autojump_clock):
    """After a signal a reader that is stuck doesn't keep the command from ending."""
    interruption.receive(signal.SIGINT)
    await trio.sleep(100)
    start = trio.current_time()
    with interruption.last_words():
        await trio.sleep_forever()
    assert trio.current_time() == start + LAST_WORDS_BOUND


async def test_a_signal_bounds_last_words_that_have_begun(interruption, autojump_clock):
    """A signal ends the waiting for a stuck reader, too."""
    async with trio.open_nursery() as nursery:

        async def interrupt():
            await trio.sleep(100)
            interruption.receive(signal.SIGINT)

        nursery.start_soon(interrupt)
        start = trio.current_time()
        with interruption.last_words():
            await trio.sleep_forever()
    assert trio.current_time() == start + 100 + LAST_WORDS_BOUND


async def test_signals_are_received(interruption):
    """Signals that were noted before, and those that come, are passed on in their order."""
    received = []
    interruption.receive = received.append
    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            signals = (signal.SIGUSR1, signal.SIGUSR2)
            await nursery.start(receive_signals, interruption, signals, [signal.SIGTERM])
            for number in signals:
                os.kill(os.getpid(), number)
                while received[-1] != number:
                    await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.cancel_scope.cancel()
    assert received == [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2]


async def test_an_engine(said):
    """With an engine all containers are stopped, and a further signal hurries them all."""
    interruption = Interruption(said.append, Progress())
    interruption.engine = Run()
    interruption.receive(signal.SIGTERM)
    assert interruption.engine.hurried == 0
    interruption.receive(signal.SIGTERM)
    assert interruption.engine.hurried == 1
    assert said == [
        "SIGTERM: stopping all containers; once more: without a grace",
        "SIGTERM again: killing all containers",
    ]
