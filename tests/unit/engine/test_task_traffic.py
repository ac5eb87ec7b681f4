"""Tasks that come faster than they are done, and people who wait beside them."""

from __future__ import annotations

import trio

HOUR = 3600.0


async def test_tasks_that_are_always_due_do_not_starve_messages(virtual_clock, home):
    """While two tasks of a group are due again before they are done, what people say is answered
    after the task that runs, and the tasks take turns and go on."""
    first = await home.schedule("home", "!slow=40 one", "interval", "60000")
    await trio.sleep(30)
    second = await home.schedule("home", "!slow=40 two", "interval", "60000")
    await trio.sleep(90)
    for number in range(5):
        id_ = await home.say("home", f"message {number}")
        await trio.sleep(150)
        assert home.fate()["home@chat", id_] == 1
    await trio.sleep(HOUR)
    assert set(home.fate().values()) == {1}
    turns = [said.delivery.task_id for said in home.answers() if said.at > HOUR]
    assert abs(turns.count(first.id) - turns.count(second.id)) <= 1
    assert len(turns) > 10


async def test_messages_that_always_wait_do_not_starve_tasks(virtual_clock, home):
    """While somebody talks on and on, a task that is due is run after the message that is at its
    turn, and so is the next."""
    await home.schedule("home", "!slow=40 task", "interval", "60000")
    for _ in range(60):
        await home.say("home", "!slow=30 and then?")
        await trio.sleep(20)
    await trio.sleep(200)
    assert len([said for said in home.answers() if said.delivery.task_id]) >= 5
    assert set(home.fate().values()) == {1}
