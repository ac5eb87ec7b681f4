"""The tools at work, for any way to call them: arguments in, an answer for the model out."""

from __future__ import annotations

from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Final

from nanoclaw_agent.chat_tools import requests
from nanoclaw_agent.chat_tools.context import milliseconds
from nanoclaw_agent.chat_tools.ipc import SNAPSHOT, RequestWriter, read_snapshot
from nanoclaw_agent.chat_tools.listing import list_text
from nanoclaw_agent.chat_tools.tasks import InvalidSnapshot, KnownTasks, visible_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from nanoclaw_agent.chat_tools.context import ChatContext
    from nanoclaw_agent.chat_tools.tasks import Task

    Arguments: TypeAlias = Mapping[str, object]
    Handler: TypeAlias = Callable[[Arguments], str]

MESSAGES: Final = "messages"
TASKS: Final = "tasks"


class ChatTools:
    """One session's tools. It remembers what it asked for, which the host's list can't have yet."""

    def __init__(self, context: ChatContext) -> None:
        self._context = context
        self._writer = RequestWriter(context.ipc, context.clock)
        self._asked_for: dict[str, str] = {}  # schedule types by the tasks' ids

    def handlers(self) -> dict[str, Handler]:
        """The tools by their names.

        Each returns the text of its answer. It raises InvalidRequest or InvalidSnapshot, whose text
        the model can read, or OSError if the disk refuses; nothing was written then.
        """
        return {
            "send_message": self._send_message,
            "schedule_task": self._schedule_task,
            "list_tasks": self._list_tasks,
            "pause_task": partial(self._name_task, "pause_task"),
            "resume_task": partial(self._name_task, "resume_task"),
            "cancel_task": self._cancel_task,
            "update_task": self._update_task,
            "register_group": self._register_group,
            "refresh_groups": self._refresh_groups,
        }

    def _send_message(self, arguments: Arguments) -> str:
        now = self._context.clock()
        request = requests.send_message(arguments, context=self._context, now=now)
        self._write(MESSAGES, request)
        return "The message is in the host's mailbox and will be sent from there."

    def _schedule_task(self, arguments: Arguments) -> str:
        now = self._context.clock()
        task_id = f"task-{milliseconds(now)}-{token_hex(4)}"
        request = requests.schedule_task(arguments, context=self._context, now=now, task_id=task_id)
        self._write(TASKS, request)
        self._asked_for[task_id] = request["schedule_type"]
        return _asked(f"schedule task {task_id}")

    def _list_tasks(self, _arguments: Arguments) -> str:
        return list_text(
            self._visible_tasks(), asked_for=self._asked_for, show_groups=self._context.is_main
        )

    def _name_task(self, kind: str, arguments: Arguments) -> str:
        request = requests.name_task(
            kind,
            arguments,
            context=self._context,
            now=self._context.clock(),
            known=self._known_tasks(),
        )
        self._write(TASKS, request)
        return _asked(f"{kind.removesuffix('_task')} task {request['taskId']}")

    def _cancel_task(self, arguments: Arguments) -> str:
        answer = self._name_task("cancel_task", arguments)
        self._asked_for.pop(str(arguments["task_id"]), None)
        return answer

    def _update_task(self, arguments: Arguments) -> str:
        known = self._known_tasks()
        now = self._context.clock()
        request = requests.update_task(arguments, context=self._context, now=now, known=known)
        self._write(TASKS, request)
        if "schedule_type" in request:
            self._asked_for[request["taskId"]] = request["schedule_type"]
        return _asked(f"update task {request['taskId']}")

    def _register_group(self, arguments: Arguments) -> str:
        now = self._context.clock()
        request = requests.register_group(arguments, context=self._context, now=now)
        self._write(TASKS, request)
        return _asked(f"register {request['jid']} as the group {request['name']!r}")

    def _refresh_groups(self, _arguments: Arguments) -> str:
        request = requests.refresh_groups(context=self._context, now=self._context.clock())
        self._write(TASKS, request)
        return _asked("look for chats anew")

    def _write(self, folder: str, request: requests.Request) -> None:
        self._writer.write(folder, requests.encode_request(request))

    def _visible_tasks(self) -> list[Task]:
        try:
            return visible_tasks(read_snapshot(self._context.ipc), self._context)
        except InvalidSnapshot as problem:
            raise InvalidSnapshot(f"there is no list of tasks: {SNAPSHOT}: {problem}") from None

    def _known_tasks(self) -> KnownTasks:
        try:
            tasks = self._visible_tasks()
        except InvalidSnapshot:
            return KnownTasks(schedule_types=self._asked_for, complete=False)
        listed = {task.id: task.schedule_type for task in tasks}
        return KnownTasks(schedule_types=listed | self._asked_for)


def _asked(action: str) -> str:
    return f"The host was asked to {action}. It isn't done yet: the request is in its mailbox."
