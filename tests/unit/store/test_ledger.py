"""The ledger of messages against a naive model, whatever is done in whatever order."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nanoclaw_trio.store import messages
from nanoclaw_trio.store.connection import open_database

FOLDERS = ("family", "work")
RUNS = ("run-1", "run-2", "run-3")

folders = st.sampled_from(FOLDERS)
runs = st.sampled_from(RUNS)
numbers = st.lists(st.integers(0, 12), max_size=6)


class Refused(Exception):
    """Raised in the middle of a transaction."""


class Entry:
    """A message as the model has it."""

    def __init__(self, key, folder, *, is_owed, second):
        self.key = key
        self.folder = folder
        self.is_owed = is_owed
        self.second = second
        self.state = "waiting"
        self.attempts = 0
        self.run = None
        self.follow_up = None

    def put_back(self, *, counted):
        self.state, self.run, self.follow_up = "waiting", None, None
        self.attempts += counted


class Ledger(RuleBasedStateMachine):
    """Does to a store and to a list of entries the same, and compares them after each step."""

    make = None

    @initialize()
    def open(self):
        self.project = Path(tempfile.mkdtemp())
        self.database = open_database(self.project)
        self.entries = []
        self.second = 0

    def teardown(self):
        self.database.close()
        shutil.rmtree(self.project)

    def call(self, function, *args, **kwargs):
        return self.database.transact(function, *args, **kwargs)

    def of(self, folder):
        return [e for e in self.entries if e.folder == folder and e.state == "waiting"]

    def at(self, places):
        """The entries at places of the list, those beyond its end left out, and their numbers."""
        found = [self.entries[place] for place in places if place < len(self.entries)]
        rows = self.call(lambda tx: tx.rows("SELECT seq, chat_jid, id FROM messages"))
        seqs = {(row["chat_jid"], row["id"]): row["seq"] for row in rows}
        return found, [seqs[entry.key] for entry in found]

    def arguments(self, key):
        message = self.make.message(key[1], key[0])
        return message, {"received_at": self.make.moment(self.second)}

    @rule(folder=folders, id_=st.sampled_from("ABCDEFGH"), is_owed=st.booleans())
    def accept(self, folder, id_, is_owed):
        self.second += 1
        key = (f"{folder}@test", id_)
        message, moments = self.arguments(key)
        is_new = all(entry.key != key for entry in self.entries)
        assert self.call(messages.accept, message, folder, is_owed=is_owed, **moments) == is_new
        if is_new:
            self.entries.append(Entry(key, folder, is_owed=is_owed, second=self.second))

    @rule(places=numbers, run=runs, follow_up=st.sampled_from([None, "1.json", "2.json"]))
    def ask(self, places, run, follow_up):
        entries, seqs = self.at(places)
        self.call(messages.mark_asked, seqs, run, follow_up)
        for entry in entries:
            if entry.state == "waiting":
                entry.state, entry.run, entry.follow_up = "asked", run, follow_up

    @rule(places=numbers)
    def settle(self, places):
        _, seqs = self.at(places)
        settled = [
            entry
            for place, entry in enumerate(self.entries)
            if place in places and entry.state == "asked"
        ]
        assert self.call(messages.settle, seqs) == tuple(entry.key[1] for entry in settled)
        for entry in settled:
            entry.state = "settled"

    @rule(run=runs, failed=st.booleans(), places=numbers)
    def put_back(self, run, failed, places):
        spared, seqs = self.at(places)
        returned = [e for e in self.entries if e.state == "asked" and e.run == run]
        number = self.call(messages.put_back, run, failed=failed, except_seqs=seqs)
        assert number == len(returned)
        for entry in returned:
            entry.put_back(counted=failed and entry not in spared)

    @rule(folder=folders, attempts=st.integers(0, 2))
    def give_up(self, folder, attempts):
        given_up, context = [], []
        for entry in self.of(folder):
            context.append(entry)
            if entry.is_owed:
                if entry.attempts > attempts:
                    given_up += context
                context = []
        found = self.call(messages.give_up, folder, attempts)
        assert [stored.message.id for stored in found] == [
            entry.key[1] for entry in given_up if entry.is_owed
        ]
        for entry in given_up:
            entry.state = "given_up"

    @rule(folder=folders, keep=st.integers(0, 3))
    def skip_context(self, folder, keep):
        context = [entry for entry in self.of(folder) if not entry.is_owed]
        skipped = context[: max(0, len(context) - keep)]
        assert self.call(messages.skip_context, folder, keep) == len(skipped)
        for entry in skipped:
            entry.state = "settled"

    @rule(age=st.integers(0, 10))
    def forget_old(self, age):
        before = self.second - age
        old = [
            entry
            for entry in self.entries
            if entry.state in {"settled", "given_up"} and entry.second < before
        ]
        assert self.call(messages.forget_old, self.make.moment(before)) == len(old)
        self.entries = [entry for entry in self.entries if entry not in old]

    @rule(places=numbers, run=runs)
    def fail_in_the_middle(self, places, run):
        """A transaction of many changes that raises changes nothing."""
        _, seqs = self.at(places)
        message, moments = self.arguments(("family@test", "new"))

        def change(tx):
            messages.accept(tx, message, "family", is_owed=True, **moments)
            messages.mark_asked(tx, seqs, run)
            messages.settle(tx, seqs)
            messages.put_all_back(tx)
            raise Refused

        with pytest.raises(Refused):
            self.call(change)

    @rule()
    def reopen(self):
        self.database.close()
        self.database = open_database(self.project)

    @rule()
    def crash(self):
        """Another connection finds all that was committed, and what was asked waits again."""
        crashed, self.database = self.database, open_database(self.project)
        crashed.close()
        asked = [entry for entry in self.entries if entry.state == "asked"]
        files = {(entry.folder, entry.follow_up) for entry in asked if entry.follow_up}
        assert set(self.call(messages.follow_up_files)) == files
        assert self.call(messages.put_all_back) == len(asked)
        for entry in asked:
            entry.put_back(counted=False)

    @invariant()
    def same(self):
        """What waits, in its order and with its attempts, and who has work."""
        for folder in FOLDERS:
            found = [
                ((s.message.chat_jid, s.message.id), s.is_owed, s.attempts, s.run, s.follow_up)
                for s in self.call(messages.waiting, folder)
            ]
            assert found == [
                (entry.key, entry.is_owed, entry.attempts, None, None) for entry in self.of(folder)
            ]
            owed = any(entry.is_owed for entry in self.of(folder))
            assert self.call(messages.has_work, folder) == owed

    @invariant()
    def same_work(self):
        owed = [entry for entry in self.entries if entry.state == "waiting" and entry.is_owed]
        folders_in_order = tuple(dict.fromkeys(entry.folder for entry in owed))
        assert self.call(messages.folders_with_work) == folders_in_order
        assert self.call(messages.counts) == {
            folder: sum(entry.folder == folder for entry in owed) for folder in folders_in_order
        }


def test_ledger(make):
    """No message is lost, doubled, or out of its order, whatever happens between."""
    Ledger.make = make
    case = Ledger.TestCase()
    case.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
    case.runTest()
