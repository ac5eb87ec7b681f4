"""What the journal and the counters are told of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoclaw_trio.run.receipt import Gone

if TYPE_CHECKING:
    from nanoclaw_trio.engine.context import EngineContext
    from nanoclaw_trio.engine.journal.journal import Journal
    from nanoclaw_trio.engine.runs.hearing import Recorded
    from nanoclaw_trio.engine.runs.leaving import PutBack, TaskEnd
    from nanoclaw_trio.engine.runs.taking import Work
    from nanoclaw_trio.protocol.models import ContainerOutput
    from nanoclaw_trio.run.agent_run import AgentRun
    from nanoclaw_trio.run.receipt import Receipt
    from nanoclaw_trio.store.models import Delivery, Task


class RunJournal:
    """Notes the events of one run, and counts them. Nothing that anybody said goes in here."""

    def __init__(self, context: EngineContext, *, folder: str, container: str) -> None:
        self._context = context
        self._journal = context.journal
        self._tally = context.tally
        self._folder = folder
        self._container = container

    def asked(self, work: Work) -> None:
        """The run is about to start, with this to do."""
        task = work.task
        self._journal.note(
            "run_asked",
            container=self._container,
            folder=self._folder,
            messages=list(work.ids),
            task=None if task is None else task.id,
        )
        if task is not None:
            self._journal.note(
                "task_claimed",
                task=task.id,
                folder=self._folder,
                due=_due(work),
                container=self._container,
            )

    def started(self) -> None:
        """A container was started."""
        self._tally.count("runs_started")
        self._journal.note("run_started", container=self._container, folder=self._folder)

    def follow_up_sent(self, file: str, ids: tuple[str, ...]) -> None:
        """A follow-up lies in its mailbox."""
        self._journal.note(
            "follow_up_sent", container=self._container, file=file, messages=list(ids)
        )

    def heard(self, number: int, output: ContainerOutput, recorded: Recorded) -> None:
        """An output came and was written down."""
        self._tally.count("outputs")
        self._journal.note(
            "output",
            container=self._container,
            n=number,
            kind=_kind(output),
            silent=recorded.delivery is None,
        )
        self._settled(recorded.settled)
        if recorded.delivery is not None:
            self._tally.count("answers")
            self.delivery(recorded.delivery, number)

    def delivery(self, delivery: Delivery, number: int | None = None) -> None:
        """Something is to be said in a chat."""
        note_delivery(self._journal, delivery, container=self._container, number=number)

    def task_completed(self, work: Work, task: Task) -> None:
        """The task's turn is over, by its first good output."""
        self._tally.count("tasks_completed")
        self._journal.note("task_completed", task=task.id, due=_due(work))

    def task_failed(self, work: Work, end: TaskEnd) -> None:
        """The task's run failed."""
        self._tally.count("tasks_failed")
        self._journal.note("task_failed", task=end.task.id, due=_due(work), gave_up=end.gave_up)

    def put_back(self, outcome: PutBack) -> None:
        """What the run didn't answer waits again, or was given up."""
        if outcome.returned:
            self._journal.note(
                "message_put_back",
                folder=self._folder,
                ids=list(outcome.returned),
                container=self._container,
            )
        for id_ in outcome.adopted:
            self._tally.count("messages_accepted")
            self._journal.note(
                "message_accepted", chat=outcome.chat_jid, id=id_, folder=self._folder, owed=True
            )
        if outcome.failure is not None:
            note_failure(self._context, self._folder, outcome.failure, container=self._container)

    def ended(self, run: AgentRun, outputs: int) -> None:
        """The run has a result."""
        result = run.result
        self._tally.run_ended(str(result.cause))
        self._tally.count("rejected_frames", result.rejected_frames)
        self._journal.note(
            "run_ended",
            container=self._container,
            folder=self._folder,
            cause=str(result.cause),
            gone=result.gone,
            detail=_detail(result.receipt),
            outputs=outputs,
            rejected_frames=result.rejected_frames,
            duration=result.duration,
        )

    def cut_off(self, run: AgentRun, outputs: int) -> None:
        """The run was left before its end, and has no result."""
        self._tally.run_ended("cut_off")
        self._journal.note(
            "run_cut_off",
            container=self._container,
            folder=self._folder,
            gone=isinstance(run.receipt, Gone),
            detail=_detail(run.receipt),
            outputs=outputs,
        )

    def _settled(self, ids: tuple[str, ...]) -> None:
        if ids:
            self._tally.count("messages_settled", len(ids))
            self._journal.note(
                "message_settled",
                folder=self._folder,
                ids=list(ids),
                container=self._container,
            )


def note_delivery(
    journal: Journal, delivery: Delivery, *, container: str | None = None, number: int | None = None
) -> None:
    """Something is to be said in a chat: by a run's output of that number, or by a run, or by us."""
    journal.note(
        "delivery_recorded",
        id=delivery.id,
        kind=str(delivery.kind),
        chat=delivery.chat_jid,
        container=container,
        n=number,
        in_reply_to=list(delivery.in_reply_to),
    )


def note_failure(
    context: EngineContext, folder: str, failure: Delivery, *, container: str | None = None
) -> None:
    """Messages were given up, and their chat is to be told."""
    ids = failure.in_reply_to
    context.tally.count("messages_given_up", len(ids))
    context.journal.note("message_given_up", folder=folder, ids=list(ids))
    note_delivery(context.journal, failure, container=container)


def _due(work: Work) -> str | None:
    task = work.task
    return None if task is None or task.next_run is None else task.next_run.isoformat()


def _kind(output: ContainerOutput) -> str:
    if output.status == "error":
        return "error"
    return "update" if output.result is None else "answer"


def _detail(receipt: Receipt | None) -> str:
    if isinstance(receipt, Gone):
        return receipt.evidence
    return "it was not heard of" if receipt is None else receipt.why
