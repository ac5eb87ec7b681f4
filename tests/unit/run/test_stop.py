"""The stop ladder: each rung, each failure, and a receipt that is true and in time."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.errors import RuntimeCommandFailed, UnsafePath
from nanoclaw_trio.run.receipt import Gone, Unconfirmed
from nanoclaw_trio.run.stop import StopLadder
from nanoclaw_trio.runtimes.abc import ContainerSpec, Phase
from nanoclaw_trio.settings import GracePeriods
from nanoclaw_trio.testing.clock import VirtualClock
from nanoclaw_trio.testing.fake import FakeRuntime, open_fake_runtime

GRACE = GracePeriods()
SPEC = ContainerSpec(name="c1", image="agent")


async def obedient(container):
    """An agent that ends at SIGTERM."""
    await trio.sleep_forever()


async def stubborn(container):
    """An agent that doesn't heed SIGTERM."""
    with container.open_sigterm_receiver():
        await trio.sleep_forever()


async def refuse():
    """A command that fails."""
    raise RuntimeCommandFailed("fake", "refuses")


async def crash():
    """A command whose answer nobody understood."""
    raise ValueError("garbage")


class PartlyBlindRuntime(FakeRuntime):
    """A runtime that shows a container only for a while after it was started.

    `visible` are the seconds from when on, and until when, `inspect` knows of it.
    """

    visible = (0.0, float("inf"))
    phase = Phase.RUNNING

    async def inspect(self, name):
        """What is shown of a container."""
        state = await super().inspect(name)
        first, last = self.visible
        if state is None or not first <= trio.current_time() < last:
            return None
        return evolve(state, phase=self.phase)


class UnkillableRuntime(FakeRuntime):
    """A runtime that says it did as it was told, and did nothing."""

    async def stop(self, name, grace):
        """Lies."""
        await trio.lowlevel.checkpoint()
        return True

    async def _force(self, name):
        await trio.lowlevel.checkpoint()
        return True


@pytest.fixture
async def runtime():
    """A runtime of obedient agents."""
    async with open_fake_runtime(obedient) as runtime:
        yield runtime


@pytest.fixture
async def container(runtime):
    """A container that runs."""
    return await runtime.start(SPEC)


@pytest.fixture
def ladder(runtime):
    """Its ladder."""
    return StopLadder(runtime, "c1", grace=GRACE)


EVIDENCE = "fake has no container c1"


async def test_one_rung_is_enough(virtual_clock, runtime, container, ladder):
    """A container that heeds the polite stop is gone at once; nothing else is done to it."""
    assert await ladder.descend(container) == Gone(
        container="c1", evidence=EVIDENCE, steps=("stop: done",)
    )
    assert trio.current_time() == 0
    assert await container.wait() == 143


async def test_by_force_after_the_grace(virtual_clock):
    """One that doesn't heed it is killed after the grace period."""
    async with open_fake_runtime(stubborn) as runtime:
        container = await runtime.start(SPEC)
        receipt = await StopLadder(runtime, "c1", grace=GRACE).descend(container)
    assert receipt == Gone(container="c1", evidence=EVIDENCE, steps=("stop: done",))
    assert trio.current_time() == GRACE.stop
    assert await container.wait() == 137


async def test_one_that_is_not_there(virtual_clock, ladder):
    """Of what isn't there, and isn't being started, the receipt says so at once."""
    assert await ladder.descend(None) == Gone(container="c1", evidence=EVIDENCE)
    assert trio.current_time() == 0


STOP = GRACE.stop + GRACE.command

RUNGS = [
    # the faults, the steps, the seconds it took, whether it is gone
    ({}, ["stop: done"], 0, True),
    ({"stop": refuse}, ["stop: failed: `fake` refuses", "kill: done"], 0, True),
    ({"stop": crash}, ["stop: failed: garbage", "kill: done"], 0, True),
    ({"stop": trio.sleep_forever}, ["stop: given up", "kill: done"], STOP, True),
    (
        {"stop": refuse, "kill": refuse},
        ["stop: failed: `fake` refuses", "kill: failed: `fake` refuses", "remove: done"],
        0,
        True,
    ),
    (
        {"stop": trio.sleep_forever, "kill": trio.sleep_forever},
        ["stop: given up", "kill: no answer within 10 s", "remove: done"],
        STOP + 10,
        True,
    ),
    (
        {"stop": crash, "kill": crash, "remove": crash},
        ["stop: failed: garbage", "kill: failed: garbage", "remove: failed: garbage"],
        0,
        False,
    ),
    (
        {"stop": refuse, "kill": trio.sleep_forever, "remove": crash},
        ["stop: failed: `fake` refuses", "kill: no answer within 10 s", "remove: failed: garbage"],
        10,
        False,
    ),
    (
        dict.fromkeys(("stop", "kill", "remove"), trio.sleep_forever),
        ["stop: given up", "kill: no answer within 10 s", "remove: no answer within 10 s"],
        STOP + 20,
        False,
    ),
    (
        dict.fromkeys(("stop", "kill", "remove", "inspect"), trio.sleep_forever),
        ["stop: given up", "kill: no answer within 10 s", "remove: no answer within 10 s"],
        STOP + 20 + 4 * 10,
        False,
    ),
    ({"inspect": refuse}, ["stop: done", "kill: not there", "remove: not there"], 0, False),
    ({"inspect": crash}, ["stop: done", "kill: not there", "remove: not there"], 0, False),
    (
        {"inspect": trio.sleep_forever},
        ["stop: done", "kill: not there", "remove: not there"],
        4 * 10,
        False,
    ),
]


@pytest.mark.parametrize(("faults", "steps", "seconds", "gone"), RUNGS)
async def test_each_rung_may_fail(
    virtual_clock, runtime, container, ladder, faults, steps, seconds, gone
):
    """Trap A7. A rung that fails, hangs or answers garbage is noted and followed by the next."""
    runtime.before.update(faults)
    receipt = await ladder.descend(container)
    assert isinstance(receipt, Gone) is gone
    assert [step for step in receipt.steps if not step.startswith("inspect: ")] == steps
    assert trio.current_time() == seconds <= ladder.bound
    if not gone:
        assert receipt.why == receipt.steps[-1]


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (refuse, "inspect: failed: `fake` refuses"),
        (crash, "inspect: failed: garbage"),
        (trio.sleep_forever, "inspect: no answer within 10 s"),
    ],
)
async def test_no_answer_is_not_gone(virtual_clock, runtime, container, ladder, fault, why):
    """Trap A7. Where the runtime doesn't say, a container is not certain to be gone."""
    runtime.before["inspect"] = fault
    receipt = await ladder.descend(container)
    assert receipt == Unconfirmed(container="c1", why=why, steps=receipt.steps)
    assert receipt.steps.count(why) == 4


async def test_lies_are_found_out(virtual_clock, nursery):
    """Trap A7. A runtime that claims to have killed what it still shows has not: it is said."""
    runtime = UnkillableRuntime(obedient, nursery)
    container = await runtime.start(SPEC)
    receipt = await StopLadder(runtime, "c1", grace=GRACE).descend(container)
    there = "inspect: it is there, running"
    assert receipt == Unconfirmed(
        container="c1",
        why=there,
        steps=("stop: done", there, "kill: done", there, "remove: done", there),
    )
    nursery.cancel_scope.cancel()


async def test_an_answer_that_comes_late_counts(virtual_clock, runtime, container, ladder):
    """A command that answers within its bound has answered, however slow."""
    for method in ("stop", "inspect"):
        runtime.before[method] = partial(trio.sleep, 9.9)
    receipt = await ladder.descend(container)
    assert receipt.steps == ("stop: done",)
    assert trio.current_time() == pytest.approx(3 * 9.9)


class TestClose:
    """The first rung: `_close` in the mailbox."""

    @pytest.mark.parametrize(
        ("seconds", "step", "took"),
        [
            (0, "close: it ended", 0),
            (1.5, "close: it ended", 1.5),
            (3, "close: it did not end within 2 s", 2),
        ],
    )
    async def test_time_to_end(self, virtual_clock, seconds, step, took):
        """After `_close` an agent has its grace period to end by itself."""
        closed = trio.Event()

        async def agent(container):
            await closed.wait()
            await trio.sleep(seconds)

        async def close():
            await trio.lowlevel.checkpoint()
            closed.set()

        async with open_fake_runtime(agent) as runtime:
            container = await runtime.start(SPEC)
            ladder = StopLadder(runtime, "c1", grace=GRACE)
            await ladder.ask_to_close(container, close)
            assert trio.current_time() == took
            receipt = await ladder.descend(container)
        assert receipt.steps[0] == step
        assert isinstance(receipt, Gone)

    @pytest.mark.parametrize(
        ("error", "step"),
        [
            (OSError(28, "No space left on device"), "close: failed: [Errno 28] No space"),
            (UnsafePath("/ipc/input", "a link"), "close: failed: /ipc/input is a link"),
        ],
    )
    async def test_it_cannot_be_written(
        self, virtual_clock, runtime, container, ladder, error, step
    ):
        """A mailbox that can't be written to costs no time; the next rung is taken."""

        async def close():
            await trio.lowlevel.checkpoint()
            raise error

        await ladder.ask_to_close(container, close)
        receipt = await ladder.descend(container)
        assert receipt.steps[0].startswith(step)
        assert receipt.steps[1:] == ("stop: done",)
        assert trio.current_time() == 0

    async def test_the_writing_may_hang(self, virtual_clock, container, ladder):
        """The grace period is for writing and ending together."""
        await ladder.ask_to_close(container, trio.sleep_forever)
        assert trio.current_time() == 2

    async def test_it_is_cancellable(self, virtual_clock, container, ladder):
        """Cancelled while it waits, it goes on with the cancellation: the ladder comes next."""
        with trio.move_on_after(1) as scope:
            await ladder.ask_to_close(container, trio.lowlevel.checkpoint)
        assert scope.cancelled_caught
        assert isinstance(await ladder.descend(container), Gone)


class TestSettle:
    """A container whose start is under way can't be stopped before it is there."""

    @pytest.fixture
    def blind(self, nursery):
        """A runtime that doesn't show everything."""
        yield PartlyBlindRuntime(stubborn, nursery)
        nursery.cancel_scope.cancel()

    @pytest.mark.parametrize("appears", [0.05, 0.1, 1, 4.9])
    async def test_it_appears_late(self, virtual_clock, blind, appears):
        """It is waited for, and stopped as soon as it is there."""
        blind.visible = (appears, float("inf"))
        container = await blind.start(SPEC)
        receipt = await StopLadder(blind, "c1", grace=GRACE).descend(container)
        assert isinstance(receipt, Gone)
        assert receipt.steps == ("stop: done",)
        assert appears + 10 <= trio.current_time() <= appears + 10.1 + 1e-9
        assert not blind.containers

    async def test_it_never_appears(self, virtual_clock, blind):
        """What neither appears in time nor ends is not certain to be gone."""
        blind.visible = (float("inf"), float("inf"))
        container = await blind.start(SPEC)
        ladder = StopLadder(blind, "c1", grace=GRACE)
        receipt = await ladder.descend(container)
        why = "start: still under way after 5 s"
        assert receipt == Unconfirmed(container="c1", why=why, steps=(why,))
        assert trio.current_time() == pytest.approx(5, abs=0.1)

    async def test_the_client_gives_up(self, virtual_clock, blind):
        """A client that ends without a container having appeared leaves none behind."""
        blind.visible = (float("inf"), float("inf"))
        container = await blind.start(SPEC)

        async with trio.open_nursery() as nursery:

            async def give_up():
                await trio.sleep(3)
                blind.containers["c1"]._end(1)

            nursery.start_soon(give_up)
            receipt = await StopLadder(blind, "c1", grace=GRACE).descend(container)
        assert receipt == Gone(container="c1", evidence=EVIDENCE)
        assert trio.current_time() == pytest.approx(3)

    async def test_it_appears_as_its_client_ends(self, virtual_clock, blind):
        """After the client's end it is looked once more: a container may have come by then."""
        blind.visible = (3.0, float("inf"))

        class Client:
            async def wait(self):
                await trio.sleep_until(3)
                return 1

        await blind.start(SPEC)
        receipt = await StopLadder(blind, "c1", grace=GRACE).descend(Client())
        assert receipt.steps == ("stop: done",)
        assert not blind.containers

    async def test_a_slow_look_is_no_second_wait(self, virtual_clock, blind):
        """Where each look takes long the patience is over after one."""
        blind.visible = (float("inf"), float("inf"))
        blind.before["inspect"] = partial(trio.sleep, 9)
        container = await blind.start(SPEC)
        receipt = await StopLadder(blind, "c1", grace=GRACE).descend(container)
        assert isinstance(receipt, Unconfirmed)
        assert trio.current_time() == 9


class TestConfirm:
    """After its end was heard, the runtime is asked."""

    async def test_it_ended(self, virtual_clock, runtime, container, ladder):
        """A container that ended by itself is gone, and nothing was done to it."""
        await runtime.kill("c1")
        assert await ladder.confirm(container) == Gone(container="c1", evidence=EVIDENCE)
        assert not ladder.survived

    async def test_it_survived(self, virtual_clock, runtime, container, ladder):
        """Trap A7. Only the client ended: the container lives on, which is known, and is stopped."""
        receipt = await ladder.confirm(container)
        assert ladder.survived
        assert receipt == Gone(container="c1", evidence=EVIDENCE, steps=("stop: done",))
        assert not runtime.containers

    @pytest.mark.parametrize("phase", [Phase.EXITED, Phase.CREATED])
    async def test_its_remains(self, virtual_clock, nursery, phase):
        """What has ended and is still there is no survivor, and is removed."""
        runtime = PartlyBlindRuntime(obedient, nursery)
        runtime.phase = phase
        ladder = StopLadder(runtime, "c1", grace=GRACE)
        receipt = await ladder.confirm(await runtime.start(SPEC))
        assert not ladder.survived
        assert isinstance(receipt, Gone)

    @pytest.mark.parametrize("fault", [refuse, crash, trio.sleep_forever])
    async def test_no_answer(self, virtual_clock, runtime, container, ladder, fault):
        """A runtime that doesn't say is no witness of an end: the ladder is gone down."""
        runtime.before["inspect"] = fault
        receipt = await ladder.confirm(container)
        assert isinstance(receipt, Unconfirmed)
        assert not ladder.survived
        assert not runtime.containers
        assert trio.current_time() <= ladder.bound

    async def test_it_goes_away_while_asked(self, virtual_clock, nursery):
        """With --rm a container is there for a moment after its client has ended."""
        runtime = PartlyBlindRuntime(obedient, nursery)
        runtime.visible = (0.0, 0.5)
        runtime.phase = Phase.EXITED
        runtime.before["inspect"] = partial(trio.sleep, 0.4)
        container = await runtime.start(SPEC)
        runtime.containers["c1"]._end(0)
        await container.wait()
        receipt = await StopLadder(runtime, "c1", grace=GRACE).confirm(container)
        assert isinstance(receipt, Gone)
        assert "stop: done" not in receipt.steps


class TestHurry:
    """A person who asks a second time doesn't want to wait."""

    async def stop_with_hurry(self, at, **faults):
        """Stop a stubborn container, and ask to hurry at a time; the receipt."""
        async with open_fake_runtime(stubborn) as runtime, trio.open_nursery() as nursery:
            runtime.before.update(faults)
            container = await runtime.start(SPEC)
            ladder = StopLadder(runtime, "c1", grace=GRACE)

            async def impatient():
                await trio.sleep(at)
                ladder.hurry()

            nursery.start_soon(impatient)
            await ladder.ask_to_close(container, trio.lowlevel.checkpoint)
            return await ladder.descend(container)

    @pytest.mark.parametrize(
        ("at", "steps", "seconds"),
        [
            (1, ("close: given up", "kill: done"), 1),
            (
                3,
                (
                    "close: it did not end within 2 s",
                    "stop: given up",
                    "inspect: it is there, running",
                    "kill: done",
                ),
                3,
            ),
            (13, ("close: it did not end within 2 s", "stop: done"), 13),
        ],
        ids=["while closing", "while stopping", "afterwards"],
    )
    async def test_at_each_rung(self, virtual_clock, at, steps, seconds):
        """Asked at any rung, no grace is waited for from then on: it is killed."""
        receipt = await self.stop_with_hurry(at)
        assert isinstance(receipt, Gone)
        assert tuple(step for step in receipt.steps if "there" not in step or at == 3) == steps
        assert trio.current_time() == seconds

    async def test_before_it_began(self, virtual_clock):
        """Asked before, the graces are skipped altogether."""
        async with open_fake_runtime(stubborn) as runtime:
            container = await runtime.start(SPEC)
            ladder = StopLadder(runtime, "c1", grace=GRACE)
            ladder.hurry()
            await ladder.ask_to_close(container, trio.lowlevel.checkpoint)
            receipt = await ladder.descend(container)
        assert receipt.steps[0] == "close: given up"
        assert receipt.steps[-1] == "kill: done"
        assert trio.current_time() == 0

    async def test_commands_keep_their_bound(self, virtual_clock):
        """What is done by force gets the time it needs, hurry or not."""
        receipt = await self.stop_with_hurry(3, kill=partial(trio.sleep, 9))
        assert receipt.steps[-1] == "kill: done"
        assert trio.current_time() == 3 + 9

    async def test_afterwards(self, virtual_clock, container, ladder):
        """Asked after the end, nothing happens."""
        receipt = await ladder.descend(container)
        ladder.hurry()
        assert isinstance(receipt, Gone)


@pytest.mark.parametrize("first", [0, 1, 5, 25])
@pytest.mark.parametrize("again", [0, 1, 20])
async def test_cancelled_twice_in_the_middle(virtual_clock, first, again):
    """Cancelled, and cancelled again, the ladder goes down to its receipt before that goes on."""
    receipts = []
    async with open_fake_runtime(stubborn) as runtime:
        runtime.before["stop"] = trio.sleep_forever
        runtime.before["kill"] = partial(trio.sleep, 9)
        container = await runtime.start(SPEC)
        ladder = StopLadder(runtime, "c1", grace=GRACE)
        with trio.move_on_after(first + again) as outer, trio.move_on_after(first) as inner:
            receipts.append(await ladder.descend(container))
            await trio.lowlevel.checkpoint()
        assert outer.cancelled_caught or inner.cancelled_caught
        assert not runtime.containers
    (receipt,) = receipts
    assert isinstance(receipt, Gone)
    assert trio.current_time() == STOP + 9


async def test_confirmed_although_cancelled(virtual_clock, runtime, container, ladder):
    """Asking whether it is gone is not cut short by a cancellation either."""
    runtime.before["inspect"] = partial(trio.sleep, 5)
    with trio.CancelScope() as scope:
        scope.cancel()
        receipt = await ladder.confirm(container)
        assert isinstance(receipt, Gone)
    assert not runtime.containers


async def test_no_time_at_all(virtual_clock, runtime, container):
    """Without any time there is a receipt all the same, and it claims nothing."""
    nothing = GracePeriods(start=0, close=0, stop=0, command=0, settle=0, drain=0, conclude=0)
    receipt = await StopLadder(runtime, "c1", grace=nothing).descend(container)
    assert receipt == Unconfirmed(container="c1", why="cut off")


ANSWERS = {
    "at once": trio.lowlevel.checkpoint,
    "slow": partial(trio.sleep, 4.9),
    "almost too slow": partial(trio.sleep, 9.9),
    "hangs": trio.sleep_forever,
    "fails": refuse,
    "garbage": crash,
}


@given(st.data())
@settings(derandomize=True, max_examples=150, deadline=None)
def test_whatever_the_runtime_does(data):
    """Trap A7. Whatever the runtime does, the ladder ends in time, and gone is what is gone."""
    answers = data.draw(
        st.fixed_dictionaries(
            {
                method: st.lists(st.sampled_from(sorted(ANSWERS)), min_size=1, max_size=4)
                for method in ("stop", "kill", "remove", "inspect")
            }
        )
    )
    appears = data.draw(st.sampled_from([0.0, 0.05, 2.0, 4.99, 5.01, 30.0]))
    agent = data.draw(st.sampled_from([obedient, stubborn]))
    first = data.draw(st.sampled_from(["descend", "confirm"]))
    hurried_at = data.draw(st.none() | st.sampled_from([0.0, 3.0, 12.0, 40.0]))

    def cycle(names):
        calls = iter(names * 100)

        async def answer():
            await ANSWERS[next(calls)]()

        return answer

    async def main():
        async with trio.open_nursery() as nursery:
            runtime = PartlyBlindRuntime(agent, nursery)
            runtime.visible = (appears, float("inf"))
            container = await runtime.start(SPEC)
            runtime.before.update({name: cycle(calls) for name, calls in answers.items()})
            ladder = StopLadder(runtime, "c1", grace=GRACE)

            async def impatient():
                if hurried_at is not None:
                    await trio.sleep(hurried_at)
                    ladder.hurry()

            nursery.start_soon(impatient)
            receipt = await getattr(ladder, first)(container)
            assert trio.current_time() <= ladder.bound
            if isinstance(receipt, Gone) and first == "descend" and trio.current_time() >= appears:
                assert not runtime.containers
            nursery.cancel_scope.cancel()

    trio.run(main, clock=VirtualClock())
