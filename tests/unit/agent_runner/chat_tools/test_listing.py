"""Tasks as text."""

from __future__ import annotations

from nanoclaw_agent.chat_tools.listing import LONGEST_PROMPT, list_text
from nanoclaw_agent.chat_tools.tasks import Task


def _task(**changes) -> Task:
    usual = {
        "id": "task-1",
        "group_folder": "family",
        "prompt": "Water the flowers",
        "schedule_type": "cron",
        "schedule_value": "0 9 * * *",
        "status": "active",
        "next_run": "2026-02-02T08:00:00.000Z",
    }
    return Task(**(usual | changes))


def test_no_tasks():
    """An empty list is said to be empty."""
    assert list_text([], asked_for=[], show_groups=False) == "No tasks are scheduled."


def test_tasks_are_paragraphs():
    """Each task is its id, state, schedule and next run, with its prompt below."""
    tasks = [_task(), _task(id="task-2", status="paused", next_run=None)]
    assert list_text(tasks, asked_for=[], show_groups=False) == (
        "Scheduled tasks, as the host last wrote them down:\n"
        "- task-1 | active | cron 0 9 * * * | next run 2026-02-02T08:00:00.000Z\n"
        "  Water the flowers\n"
        "- task-2 | paused | cron 0 9 * * * | next run none\n"
        "  Water the flowers"
    )


def test_main_is_told_whose_a_task_is():
    """With groups shown, each task has its group's folder."""
    text = list_text([_task()], asked_for=[], show_groups=True)
    assert "next run 2026-02-02T08:00:00.000Z | group family\n" in text


def test_what_this_session_asked_for_is_added():
    """A task that the host hasn't listed yet isn't forgotten; a listed one isn't named twice."""
    text = list_text([_task()], asked_for=["task-1", "task-9"], show_groups=False)
    assert text.endswith("\nAsked for in this session, not in the list yet: task-9")
    assert list_text([], asked_for=["task-9"], show_groups=False) == (
        "Asked for in this session, not in the list yet: task-9"
    )


def test_long_prompt_is_cut():
    """A long prompt is shown by its beginning and its length."""
    text = list_text([_task(prompt="x" * 1000)], asked_for=[], show_groups=False)
    assert text.endswith(f"  {'x' * LONGEST_PROMPT}… (1000 characters)")


def test_prompt_can_not_pass_for_another_task():
    """A prompt's lines are one line in the list."""
    text = list_text([_task(prompt="a\n- task-2 | active")], asked_for=[], show_groups=False)
    assert text.endswith("\n  a - task-2 | active")
