"""An agent of the soak as a function, for the fake runtime."""

from __future__ import annotations

import script
import trio

from nanoclaw_trio.files import in_thread


class FakeAgent:
    """All agents of a fake runtime. While `is_calm`, they do nothing but echo."""

    def __init__(self, random):
        self.random = random
        self.is_calm = False

    async def __call__(self, container):
        request = await container.read_input()
        text, session, answered = request["prompt"], request.get("sessionId"), ()
        with container.open_sigterm_receiver() as sigterm:
            stop = Stop(container, sigterm)
            while True:
                turn = script.Turn(text, session, answered, request, self.random)
                for step, *arguments in script.behave(turn, is_calm=self.is_calm):
                    status = await stop.unless(take_step, container, step, arguments)
                    if status is not None:
                        return status
                session = turn.session
                taken = await stop.unless(next_follow_up, container)
                if taken is None or isinstance(taken, int):
                    return taken or 0
                answered, text = (taken.name,), taken.text


class Stop:
    """SIGTERM as a program meets it: it ends, unless it has no ear for it."""

    def __init__(self, container, sigterm):
        self.container = container
        self.sigterm = sigterm
        self.is_stubborn = False

    async def unless(self, function, container, *arguments):
        """What the function returns; 143 if SIGTERM comes before."""
        if arguments[:1] == ("stubborn",):
            self.is_stubborn = True
        if arguments[:1] == ("memory",):
            # Not within a nursery, which would wrap what ends the script.
            container.run_out_of_memory()
        if self.is_stubborn:
            return await function(container, *arguments)
        result = 143
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel, nursery.cancel_scope)
            result = await function(container, *arguments)
            nursery.cancel_scope.cancel()
        return result

    async def _cancel(self, scope):
        await self.sigterm.wait()
        scope.cancel()


async def next_follow_up(container):
    """The next one; None for the wish that it ends."""
    return await container.take_follow_up(longest_poll=2)


async def take_step(container, step, arguments):
    """Take a step; the exit status, where it is the last."""
    match step, arguments:
        case "write", (1, data):
            await container.stdout.send_all(data)
        case "write", (2, data):
            await container.stderr.send_all(data)
        case "sleep", (seconds,):
            await trio.sleep(seconds)
        case "put", (name, content):
            await in_thread(put, container.writable_path(f"/workspace/ipc/{name}"), content)
        case "exit", (status,):
            return status
        case "mute", ():
            await container.stdout.aclose()
    return None


def put(target, content):
    """Write a file whole."""
    target.parent.mkdir(exist_ok=True)
    temporary = target.with_suffix(".tmp")
    temporary.write_bytes(content)
    temporary.rename(target)
