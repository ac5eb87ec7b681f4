"""How Trio is to be used here, read off the source (the third table of traps)."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

BOUNDED = frozenset({"move_on_after", "move_on_at", "fail_after", "fail_at"})
"""Scopes that can't be opened without a deadline."""

DEADLINES = frozenset({"deadline", "relative_deadline"})

CHANNELS = ("SendChannel", "ReceiveChannel")
"""Parts of the types' names: MemorySendChannel, trio.abc.ReceiveChannel, …"""

OTHER_LOOPS = frozenset({"asyncio", "anyio", "uvloop", "sniffio"})


def last_name(node: ast.AST) -> str:
    """`CancelScope` for `trio.CancelScope`, and for a call or a subscript of it."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value) | ast.Call(func=value):
            return last_name(value)
        case _:
            return ""


def unbounded_shields(tree: ast.AST) -> list[int]:
    """The lines where something is shielded without a deadline beside it."""
    return sorted(
        node.lineno  # type: ignore[attr-defined]
        for node in ast.walk(tree)
        if is_unbounded_shield(node)
    )


def is_unbounded_shield(node: ast.AST) -> bool:
    """Whether a node shields without saying until when."""
    match node:
        case ast.Call(func=function, keywords=keywords) if shields(keywords):
            return last_name(function) not in BOUNDED and not has_deadline(keywords)
        case ast.Assign(targets=targets):
            # Shielded later: nothing beside it says until when.
            return any(isinstance(t, ast.Attribute) and t.attr == "shield" for t in targets)
        case _:
            return False


def shields(keywords: list[ast.keyword]) -> bool:
    """Whether a call's keywords shield, or may."""
    return any(
        keyword.arg == "shield"
        and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
        for keyword in keywords
    )


def has_deadline(keywords: list[ast.keyword]) -> bool:
    """Whether a call's keywords set a deadline that comes."""
    return any(
        keyword.arg in DEADLINES and last_name(keyword.value) != "inf" for keyword in keywords
    )


def asynchronously_closed_channels(tree: ast.AST) -> list[int]:
    """The lines with an `async with` on a memory channel."""
    channels = set(channel_names(tree))
    return [
        item.context_expr.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncWith)
        for item in node.items
        if is_channel(item.context_expr, channels)
    ]


def is_channel(node: ast.AST, channels: set[str]) -> bool:
    """Whether an expression is one of these channels, or is named as one."""
    match node:
        case ast.Call(func=ast.Attribute(value=value, attr="clone")):
            return is_channel(value, channels)
        case ast.Name() | ast.Attribute():
            return last_name(node) in channels or "channel" in last_name(node).lower()
        case _:
            return False


def channel_names(tree: ast.AST) -> Iterator[str]:
    """The names under which a source knows its memory channels, as far as it says so."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets, value=ast.Call() as value):
                if last_name(value) == "open_memory_channel":
                    yield from (last_name(part) for t in targets for part in parts_of(t))
            case ast.AnnAssign(target=target, annotation=annotation):
                if names_a_channel(annotation):
                    yield last_name(target)
            case ast.arg(arg=name, annotation=ast.AST() as annotation):
                if names_a_channel(annotation):
                    yield name


def parts_of(target: ast.AST) -> list[ast.AST]:
    """The two names of a pair, or the one."""
    return list(target.elts) if isinstance(target, ast.Tuple) else [target]


def names_a_channel(annotation: ast.AST) -> bool:
    """Whether an annotation has a channel's type in it."""
    return any(channel in ast.unparse(annotation) for channel in CHANNELS)


def unprotected_tasks(tree: ast.AST) -> list[int]:
    """The lines where a task is started in which a Ctrl-C is raised."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and starts_a_task(node) and not is_protected(node)
    ]


def starts_a_task(call: ast.Call) -> bool:
    """Whether a call is a nursery's `start_soon`, or its `start`."""
    match call.func:
        case ast.Attribute(attr="start_soon"):
            return True
        case ast.Attribute(attr="start", value=value):
            return "nursery" in last_name(value)
        case _:
            return False


def is_protected(call: ast.Call) -> bool:
    """Whether what is started there is protected, or protects itself."""
    return bool(call.args) and last_name(call.args[0]) in PROTECTED


def protected_functions() -> frozenset[str]:
    """The names of the functions that are protected themselves, wherever they are."""
    return frozenset(
        node.name
        for tree in parsed("src/nanoclaw_trio").values()
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncFunctionDef)
        and "enable_ki_protection" in map(last_name, node.decorator_list)
    )


def other_loops(tree: ast.AST) -> list[int]:
    """The lines that import another event loop's library."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), level=0):
                modules = [module]
            case _:
                continue
        if any(module.split(".")[0] in OTHER_LOOPS for module in modules):
            found.append(node.lineno)
    return found


def parsed(*folders: str) -> dict[str, ast.AST]:
    """The sources below these folders, by their paths."""
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8"))
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


@pytest.mark.parametrize(
    ("check", "folders"),
    [
        (unbounded_shields, ("src", "container")),
        (asynchronously_closed_channels, ("src", "container")),
        (other_loops, ("src", "container", "tests", "docs")),
    ],
    ids=["every shield has a deadline", "channels are closed by `with`", "no loop but Trio's"],
)
def test_the_whole_source_has_manners(check, folders: tuple[str, ...]) -> None:
    """No shield without a deadline, no `async with` on a channel, no other loop, anywhere.

    The Trio traps: a shield without a deadline hangs the program; `async with channel:` swallows
    an exception in flight when cancelled.
    """
    lines = {path: check(tree) for path, tree in parsed(*folders).items()}
    assert {path: found for path, found in lines.items() if found} == {}


PROTECTED = protected_functions()

ROOMS = tuple(
    f"src/nanoclaw_trio/{room}" for room in ("engine", "run", "proxy", "runtimes", "mailbox")
)
"""Where there are tasks of the host's; those of the command have its signals received."""


def test_no_task_is_interrupted() -> None:
    """Trap A10. A Ctrl-C is raised in none of the tasks that the host starts."""
    lines = {path: unprotected_tasks(tree) for path, tree in parsed(*ROOMS).items()}
    assert {path: found for path, found in lines.items() if found} == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("nursery.start_soon(self._settle, folder)", True),
        ("self._nursery.start_soon(f)", True),
        ("await nursery.start(trio.serve_listeners, f)", True),
        ("nursery.start_soon(protected, f)", False),
        ("await nursery.start(run.conduct)", False),
        ("await nursery.start(protected, trio.serve_listeners, f)", False),
        ("start_protected(nursery, f)", False),
        ("await runtime.start(spec)", False),
    ],
)
def test_checker_tells_an_unprotected_task(source: str, found) -> None:
    """A task is found that is started without protection, and has none itself."""
    assert (unprotected_tasks(ast.parse(source)) != []) is found


@pytest.mark.parametrize(
    ("source", "bounded"),
    [
        ("trio.CancelScope(shield=True)", False),
        ("CancelScope(shield=True)", False),
        ("trio.CancelScope(shield=self.shielded)", False),
        ("trio.CancelScope(shield=True, deadline=math.inf)", False),
        ("trio.CancelScope(shield=True, deadline=inf)", False),
        ("scope.shield = True", False),
        ("with trio.move_on_after(5) as scope:\n    scope.shield = True", False),
        ("open_scope(shield=True)", False),
        ("trio.CancelScope(shield=True, deadline=trio.current_time() + 5)", True),
        ("trio.CancelScope(shield=True, relative_deadline=5)", True),
        ("trio.move_on_after(5, shield=True)", True),
        ("move_on_at(5, shield=True)", True),
        ("trio.fail_after(5, shield=True)", True),
        ("trio.CancelScope(shield=False)", True),
        ("trio.CancelScope()", True),
    ],
)
def test_checker_tells_a_bounded_shield(source: str, bounded) -> None:
    """Trap T2. A shield without a deadline is found, and one with is let be."""
    assert (unbounded_shields(ast.parse(source)) == []) is bounded


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("send, receive = trio.open_memory_channel(0)\n    async with send: ...", True),
        ("send, receive = trio.open_memory_channel[int](0)\n    async with receive: ...", True),
        (
            "self._send, self._receive = open_memory_channel(0)\n    async with self._send: ...",
            True,
        ),
        ("pair = trio.open_memory_channel(0)\n    async with pair: ...", True),
        ("x: trio.MemorySendChannel[int] = y\n    async with x: ...", True),
        ("x: trio.MemorySendChannel[int] = y\n    async with x.clone(): ...", True),
        ("async with a, outputs_channel: ...", True),
        ("async with parameter: ...", True),
        ("send, receive = trio.open_memory_channel(0)\n    with send, receive: ...", False),
        ("async with trio.open_nursery() as nursery: ...", False),
        ("async with self.lock, stream: ...", False),
    ],
)
def test_checker_tells_a_channel_closed_by_async_with(body: str, found) -> None:
    """Trap T3. A channel in an `async with` is found by how it was made, annotated or named."""
    source = f"async def f(parameter: trio.abc.ReceiveChannel[int]) -> None:\n    {body}"
    assert (asynchronously_closed_channels(ast.parse(source)) != []) is found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import asyncio", True),
        ("import anyio.abc as a", True),
        ("from asyncio.subprocess import PIPE", True),
        ("def f():\n    from anyio import run", True),
        ("import trio, asyncio", True),
        ("import trio", False),
        ("from . import asyncio", False),
        ("'import asyncio'", False),
    ],
)
def test_checker_tells_another_loop(source: str, found) -> None:
    """An import of another loop's library is found, wherever it stands."""
    assert (other_loops(ast.parse(source)) != []) is found
