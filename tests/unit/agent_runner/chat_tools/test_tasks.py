"""The host's list of tasks."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_agent.chat_tools.tasks import InvalidSnapshot, Task, parse_snapshot, visible_tasks

reproducible = settings(derandomize=True, deadline=None)


def test_entry_is_read(make_task):
    """Each key arrives under its Python name; unknown ones are ignored."""
    [task] = parse_snapshot(json.dumps([make_task(fromTheFuture=1)]).encode())
    assert task == Task(
        id="task-1",
        group_folder="family",
        prompt="Water the flowers",
        schedule_type="cron",
        schedule_value="0 9 * * *",
        status="active",
        next_run="2026-02-02T08:00:00.000Z",
    )


def test_next_run_may_be_null(make_task):
    """A task without a run to come has none."""
    [task] = parse_snapshot(json.dumps([make_task(next_run=None)]).encode())
    assert task.next_run is None


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "it isn't JSON in UTF-8"),
        (b"\xff", "it isn't JSON in UTF-8"),
        (b"[" * 100_000, "it isn't JSON in UTF-8"),
        (b"{}", "it isn't an array"),
        (b"[1]", "expected an object @ $[0]"),
        (b'[{"id":1}]', "expected a string @ $[0].id"),
        (b'[{"id":"a"}]', "expected a string @ $[0].groupFolder"),
    ],
)
def test_what_is_no_list_is_named(data, problem):
    """What a file holds instead of tasks is said with the path into it."""
    with pytest.raises(InvalidSnapshot) as caught:
        parse_snapshot(data)
    assert str(caught.value) == problem


@pytest.mark.parametrize(("is_main", "ids"), [(True, ["a", "b"]), (False, ["b"])])
def test_only_main_sees_the_tasks_of_others(make_context, make_task, is_main, ids):
    """The main group sees all tasks, another its own."""
    entries = [make_task(id="a", groupFolder="work"), make_task(id="b")]
    tasks = parse_snapshot(json.dumps(entries).encode())
    visible = visible_tasks(tasks, make_context(is_main=is_main))
    assert [task.id for task in visible] == ids


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


@reproducible
@given(st.binary() | JSON.map(lambda document: json.dumps(document).encode()))
def test_no_bytes_make_another_error(data):
    """Whatever the bytes are, they are tasks or an InvalidSnapshot."""
    with contextlib.suppress(InvalidSnapshot):
        parse_snapshot(data)
