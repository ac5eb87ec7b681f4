"""What is left of a run that was cut off before there was anything to ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from nanoclaw_trio.cli.conclude import in_doubt
from nanoclaw_trio.errors import NanoclawError
from nanoclaw_trio.run.host import this_process
from nanoclaw_trio.runtimes.abc import OWNER_LABEL

if TYPE_CHECKING:
    from nanoclaw_trio.cli.ending import Ending
    from nanoclaw_trio.runtimes.abc import ContainerRuntime


async def ask_for_leftovers(ending: Ending, runtime: ContainerRuntime, *, bound: float) -> Ending:
    """The ending with what the runtime says of the containers that this process started."""
    with trio.move_on_after(bound):  # noqa: ASYNC912 - asking is one
        try:
            found = await runtime.list({OWNER_LABEL: this_process()})
        except NanoclawError as error:
            return in_doubt(ending, None, str(error), runtime=runtime.name)
        if not found:
            return ending
        return in_doubt(ending, found[0].name, "its start was cut off", runtime=runtime.name)
    return in_doubt(ending, None, f"no answer within {bound:g} s", runtime=runtime.name)
