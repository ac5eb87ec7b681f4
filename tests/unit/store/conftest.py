"""A store to work on, and what goes into one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from nanoclaw_trio.protocol.models import RegisteredGroup
from nanoclaw_trio.store.connection import open_database
from nanoclaw_trio.store.models import (
    ChatMessage,
    Delivery,
    DeliveryKind,
    Registration,
    Task,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


def moment(seconds=0.0):
    return START + timedelta(seconds=seconds)


def registration(folder="family", jid="family@test", *, is_main=False, **fields):
    group = RegisteredGroup(name=folder.title(), folder=folder, **fields)
    return Registration(jid=jid, group=group, is_main=is_main)


def message(id_, chat_jid="family@test", text="hello"):
    return ChatMessage(
        chat_jid=chat_jid,
        id=id_,
        sender="ann@test",
        sender_name="Ann",
        text=text,
        timestamp=START,
    )


def delivery(id_, chat_jid="family@test", **fields):
    return Delivery(
        **{
            "id": id_,
            "kind": DeliveryKind.ANSWER,
            "chat_jid": chat_jid,
            "group_folder": "family",
            "text": "hi",
            "created_at": START,
            **fields,
        }
    )


def task(id_="t1", folder="family", **fields):
    return Task(
        **{
            "id": id_,
            "folder": folder,
            "chat_jid": f"{folder}@test",
            "prompt": "water the plants",
            "schedule_type": "interval",
            "schedule_value": "60000",
            "next_run": START,
            "created_at": START,
            **fields,
        }
    )


@pytest.fixture(scope="session")
def make():
    """The functions above: a moment so many seconds after the start, a message and so on."""

    class Make:
        moment = staticmethod(moment)
        registration = staticmethod(registration)
        message = staticmethod(message)
        delivery = staticmethod(delivery)
        task = staticmethod(task)

    return Make


@pytest.fixture
def project(nanoclaw_settings):
    """An empty project."""
    return nanoclaw_settings.project_root


@pytest.fixture
def database(project):
    """That project's database, with nothing in it."""
    database = open_database(project)
    yield database
    database.close()


@pytest.fixture
def call(database):
    """Calls a function of the store in a transaction of its own."""
    return database.transact
