"""Many groups: what each costs doesn't depend on how many there are.

How long a thousand of them take, and how much memory, is measured by hand, with
tests/benchmarks/many_groups.py.
"""

from __future__ import annotations

from collections import Counter

from nanoclaw_trio.engine.runs.taking import take_messages

CAP = 5


class Costs:
    """Counts an engine's transactions by their functions, and the most that there was of some."""

    def __init__(self, world):
        self.transactions = Counter()
        self.most_containers = 0
        self._world = world
        self._database = world.engine._context.store._database
        self._transact = self._database.transact
        self._database.transact = self._count

    def _count(self, function, *args, **kwargs):
        self.transactions[function] += 1
        self.most_containers = max(self.most_containers, len(self._world.runtime.containers))
        return self._transact(function, *args, **kwargs)

    @property
    def total(self):
        return self.transactions.total()


async def cost_of(world, count):
    """One message in each of so many groups, all at once, each answered and its container ended."""
    folders = [f"group{number:04}" for number in range(count)]
    world.agent.script = {"hello": world.agent.script["!crash"]}
    await world.start(max_concurrent_containers=CAP)
    for folder in folders:
        await world.register(folder)
    costs = Costs(world)
    for folder in folders:
        await world.say(folder, "hello")
    await world.leave()
    assert {said.delivery.group_folder for said in world.platform.said} == set(folders)
    return costs


def test_what_a_group_costs_does_not_grow(in_world):
    """With more groups than there is room for containers, all are answered, each with as many
    transactions as one of a few needs; never are there more containers than the cap."""
    per_group = {}

    for count in (10, 100):

        async def scenario(world, count=count):
            costs = await cost_of(world, count)
            per_group[count] = costs.total / count
            assert costs.most_containers <= CAP
            assert costs.transactions[take_messages] == count

        in_world(scenario)
    assert per_group[100] < 1.2 * per_group[10]
