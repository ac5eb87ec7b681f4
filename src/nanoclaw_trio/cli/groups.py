"""`nanoclaw-trio groups`: which chats are served, and by which groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from nanoclaw_trio.cli.conduct import conduct, write_lines, write_records
from nanoclaw_trio.cli.exit_status import SUCCESS
from nanoclaw_trio.cli.group_texts import (
    GroupPicture,
    list_lines,
    list_record,
    removal_lines,
    show_lines,
    show_record,
)
from nanoclaw_trio.cli.holder import holder_of
from nanoclaw_trio.cli.mounts import read_config
from nanoclaw_trio.cli.records import group_record
from nanoclaw_trio.clock import utc_now
from nanoclaw_trio.engine.requests.registrations import GroupWish, make_registration
from nanoclaw_trio.errors import GroupUnknown
from nanoclaw_trio.files import in_thread
from nanoclaw_trio.settings import load_settings
from nanoclaw_trio.store import groups, messages, sessions, tasks
from nanoclaw_trio.store.database import open_store
from nanoclaw_trio.workspace.folders import validate_group_folder

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from nanoclaw_trio.cli.program import World
    from nanoclaw_trio.settings import Settings
    from nanoclaw_trio.store.database import Transaction
    from nanoclaw_trio.store.models import Registration

MESSAGES_WAIT: Final = 1
"""The exit status where a group isn't removed since messages wait for it."""


@frozen(kw_only=True)
class ListOptions:
    """The options of `groups list`."""

    project: Path
    as_json: bool


@frozen(kw_only=True)
class AddOptions:
    """The options of `groups add`; None for what wasn't given."""

    jid: str
    folder: str
    name: str | None
    trigger: str | None
    requires_trigger: bool | None
    is_main: bool | None
    config: Path | None
    project: Path
    as_json: bool


@frozen(kw_only=True)
class RemoveOptions:
    """The options of `groups remove`."""

    folder: str
    force: bool
    project: Path


@frozen(kw_only=True)
class ShowOptions:
    """The options of `groups show`."""

    folder: str
    project: Path
    as_json: bool


async def list_command(options: ListOptions, world: World) -> int:
    """List the registered groups; the exit status."""

    async def list_groups() -> int:
        settings = await load_settings(options.project)
        async with open_store(settings.project_root) as store:
            pictures = await store.transact(_look_at_all)
        if options.as_json:
            await write_records(world, map(list_record, pictures))
        else:
            await write_lines(world, list_lines(pictures))
        return SUCCESS

    return await conduct(world, list_groups)


async def add_command(options: AddOptions, world: World) -> int:
    """Register a group; the exit status."""

    async def add() -> int:
        settings = await load_settings(options.project)
        wish = await in_thread(_wish, options)
        async with open_store(settings.project_root) as store:
            registration = await store.transact(_add, wish, settings, utc_now())
        if options.as_json:
            await write_records(world, [{"type": "group", **group_record(registration)}])
        else:
            await write_lines(world, [f"{registration.folder} answers in {registration.jid}"])
        return SUCCESS

    return await conduct(world, add)


async def remove_command(options: RemoveOptions, world: World) -> int:
    """Forget a group's registration, unless messages wait; the exit status."""

    async def remove() -> int:
        settings = await load_settings(options.project)
        async with open_store(settings.project_root) as store:
            picture = await store.transact(_remove, options.folder, force=options.force)
        if picture.owed and not options.force:
            world.streams.say(
                f"messages wait in {options.folder} ({picture.owed}); "
                "have them answered by `serve`, or leave them unanswered with --force"
            )
            return MESSAGES_WAIT
        await write_lines(world, removal_lines(picture))
        return SUCCESS

    return await conduct(world, remove)


async def show_command(options: ShowOptions, world: World) -> int:
    """Show what is known of a group; the exit status."""

    async def show() -> int:
        settings = await load_settings(options.project)
        folder = validate_group_folder(options.folder)
        async with open_store(settings.project_root) as store:
            picture = await store.transact(_look_at, folder)
        holder = await in_thread(holder_of, settings.project_root, folder)
        picture = evolve(picture, holder=holder)
        if options.as_json:
            await write_records(world, [show_record(picture)])
        else:
            await write_lines(world, show_lines(picture))
        return SUCCESS

    return await conduct(world, show)


def _wish(options: AddOptions) -> GroupWish:
    return GroupWish(
        jid=options.jid,
        folder=validate_group_folder(options.folder),
        name=options.name,
        trigger=options.trigger,
        requires_trigger=options.requires_trigger,
        is_main=options.is_main,
        container_config=None if options.config is None else read_config(options.config),
    )


def _add(tx: Transaction, wish: GroupWish, settings: Settings, now: datetime) -> Registration:
    trigger = f"@{settings.assistant_name}"
    known = groups.by_jid(tx, wish.jid)
    registration = make_registration(wish, known, trigger=trigger, now=now)
    groups.register(tx, registration)
    return registration


def _look_at_all(tx: Transaction) -> tuple[GroupPicture, ...]:
    return tuple(_picture(tx, registration) for registration in groups.registrations(tx))


def _look_at(tx: Transaction, folder: str) -> GroupPicture:
    registration = groups.by_folder(tx, folder)
    if registration is None:
        raise GroupUnknown(folder)
    return _picture(tx, registration)


def _picture(tx: Transaction, registration: Registration) -> GroupPicture:
    waiting = messages.waiting(tx, registration.folder)
    return GroupPicture(
        registration=registration,
        has_session=sessions.session_of(tx, registration.folder) is not None,
        waiting=len(waiting),
        owed=sum(message.is_owed for message in waiting),
        tasks=len(tasks.tasks(tx, registration.folder)),
    )


def _remove(tx: Transaction, folder: str, *, force: bool) -> GroupPicture:
    """The group as it was. It is removed unless messages wait; with force those are given up."""
    picture = _look_at(tx, folder)
    if picture.owed and not force:
        return picture
    messages.give_up(tx, folder, messages.ANY_ATTEMPTS)
    messages.skip_context(tx, folder, 0)
    groups.unregister(tx, folder)
    return picture
