"""The ledger of messages, function by function."""

from __future__ import annotations

import pytest

from nanoclaw_trio.protocol.models import ContainerInput, ImageAttachment
from nanoclaw_trio.store import messages
from nanoclaw_trio.store.models import MessageState, StoredMessage


@pytest.fixture
def accept(call, make):
    """Takes messages in for a group; a name in lower case is only context."""

    def accept(*ids, folder="family", received_at=None):
        for id_ in ids:
            taken = call(
                messages.accept,
                make.message(id_, f"{folder}@test"),
                folder,
                is_owed=id_.isupper(),
                received_at=received_at or make.moment(),
            )
            assert taken

    return accept


@pytest.fixture
def waiting(call):
    """The ids of what waits, with the number of attempts where there were any."""

    def waiting(folder="family"):
        found = call(messages.waiting, folder)
        return " ".join(f"{m.message.id}{m.attempts or ''}" for m in found)

    return waiting


@pytest.fixture
def seqs(call):
    """The numbers of messages, by their ids."""

    def seqs(ids):
        rows = call(lambda tx: tx.rows("SELECT seq, id FROM messages"))
        numbers = {row["id"]: row["seq"] for row in rows}
        return [numbers[id_] for id_ in ids]

    return seqs


@pytest.fixture
def fail(call, seqs):
    """Lets a run ask these and fail, so many times."""

    def fail(ids, times=1):
        for _ in range(times):
            call(messages.mark_asked, seqs(ids), "run")
            call(messages.put_back, "run", failed=True)

    return fail


class TestAccepting:
    def test_all_of_it(self, call, make):
        """A message comes back whole: what was said, whether it is owed, what was submitted."""
        prompt = ContainerInput(
            prompt="hello",
            group_folder="family",
            chat_jid="family@test",
            is_main=True,
            image_attachments=(ImageAttachment(relative_path="a.png", media_type="image/png"),),
        )
        message = make.message("A", text="a\0b \N{SNOWMAN}")
        arguments = {"is_owed": True, "received_at": make.moment()}
        assert call(messages.accept, message, "family", **arguments, prompt=prompt)
        (stored,) = call(messages.waiting, "family")
        assert stored == StoredMessage(
            seq=stored.seq, folder="family", message=message, is_owed=True, prompt=prompt
        )

    def test_twice(self, call, make, accept):
        """One that is had already, by its chat and id, isn't taken again, whatever its state."""
        accept("A")
        arguments = {"is_owed": True, "received_at": make.moment()}
        assert not call(messages.accept, make.message("A"), "friends", **arguments)
        (stored,) = call(messages.waiting, "family")
        call(messages.mark_asked, [stored.seq], "run")
        assert not call(messages.accept, make.message("A"), "family", **arguments)
        call(messages.settle, [stored.seq])
        assert not call(messages.accept, make.message("A"), "family", **arguments)
        assert call(messages.accept, make.message("A", "other@test"), "family", **arguments)

    def test_half_a_pair(self, call, make):
        """Half of a surrogate pair becomes U+FFFD, in a text, an address and a prompt."""
        prompt = ContainerInput(
            prompt="\ud83d!", group_folder="family", chat_jid="family@test", is_main=False
        )
        message = make.message("\udc00", text="\ud83d and \N{GRINNING FACE}")
        arguments = {"is_owed": True, "received_at": make.moment()}
        assert call(messages.accept, message, "family", **arguments, prompt=prompt)
        (stored,) = call(messages.waiting, "family")
        assert stored.message.id == "\ufffd"
        assert stored.message.text == "\ufffd and \N{GRINNING FACE}"
        assert stored.prompt.prompt == "\ufffd!"


class TestWork:
    def test_context_alone_is_none(self, call, accept, waiting):
        """A group has work when a message waits that is owed an answer; context only waits."""
        accept("a", "b")
        assert not call(messages.has_work, "family")
        assert call(messages.folders_with_work) == ()
        assert call(messages.counts) == {}
        assert waiting() == "a b"

    def test_of_many_groups(self, call, accept):
        """Groups with work come by their oldest message that is owed; each one's are counted."""
        accept("a", folder="work")
        accept("A", "b", "C", folder="friends")
        accept("D", folder="family")
        accept("E", folder="work")
        assert call(messages.folders_with_work) == ("friends", "family", "work")
        assert call(messages.counts) == {"friends": 2, "family": 1, "work": 1}
        assert call(messages.has_work, "work")
        assert not call(messages.has_work, "nobody")

    def test_what_is_asked_is_no_work(self, call, accept, seqs, waiting):
        """What a run has doesn't wait, nor does what was settled."""
        accept("A", "B", "C")
        call(messages.mark_asked, seqs("AB"), "run", "1.json")
        call(messages.settle, seqs("A"))
        assert waiting() == "C"
        assert call(messages.counts) == {"family": 1}

    def test_what_is_asked_is_unanswered(self, call, accept, seqs):
        """What a run has still wants its answer, as what waits does; context never did."""
        accept("A", "B", "C", "d")
        call(messages.mark_asked, seqs("ABd"), "run", "1.json")
        call(messages.settle, seqs("A"))
        assert call(messages.count_unanswered) == 2


class TestAsking:
    def test_only_what_waits(self, call, accept, seqs, waiting):
        """A message that one run has isn't given to another."""
        accept("A", "B")
        call(messages.mark_asked, seqs("A"), "first")
        call(messages.mark_asked, seqs("AB"), "second")
        assert call(messages.put_back, "second", failed=False) == 1
        assert waiting() == "B"

    def test_what_a_run_has(self, call, accept, seqs):
        """What a run has is told in order: no other run's, and nothing that is settled."""
        accept("A", "b", "C", "D", "E")
        call(messages.mark_asked, seqs("C"), "run", "1.json")
        call(messages.mark_asked, seqs("AbE"), "run")
        call(messages.mark_asked, seqs("D"), "other")
        call(messages.settle, seqs("E"))
        found = call(messages.asked, "run")
        assert [(m.message.id, m.run, m.follow_up) for m in found] == [
            ("A", "run", None),
            ("b", "run", None),
            ("C", "run", "1.json"),
        ]
        assert {m.state for m in found} == {MessageState.ASKED}

    def test_settled_once(self, call, accept, seqs):
        """Settling gives the ids of what was asked, in order, and nothing the second time."""
        accept("A", "b", "C", "D")
        call(messages.mark_asked, seqs("AbC"), "run")
        assert call(messages.settle, reversed(seqs("AbD"))) == ("A", "b")
        assert call(messages.settle, seqs("AbC")) == ("C",)
        assert call(messages.settle, seqs("AbC")) == ()
        assert call(messages.settle, []) == ()

    def test_many(self, call, accept, seqs, make):
        """More messages at once than SQLite takes parameters."""
        limit = 40_000
        call(messages.mark_asked, range(limit), "run")
        assert call(messages.settle, range(limit)) == ()


class TestPuttingBack:
    def test_after_a_failure(self, call, accept, seqs, waiting):
        """Each has one attempt more, except for those that the agent never had."""
        accept("A", "B", "C")
        call(messages.mark_asked, seqs("ABC"), "run")
        assert call(messages.put_back, "run", failed=True, except_seqs=seqs("C")) == 3
        assert waiting() == "A1 B1 C"

    def test_without_a_failure(self, call, accept, seqs, waiting):
        """No attempt is counted, and they wait where they stood."""
        accept("A", "B", "C")
        call(messages.mark_asked, seqs("AC"), "run", "1.json")
        assert call(messages.put_back, "run", failed=False) == 2
        assert waiting() == "A B C"
        (stored, *_) = call(messages.waiting, "family")
        assert (stored.state, stored.run, stored.follow_up) == (MessageState.WAITING, None, None)

    def test_only_that_runs(self, call, accept, seqs, waiting):
        """What another run has, and what was settled, stays where it is."""
        accept("A", "B", "C")
        call(messages.mark_asked, seqs("AB"), "first")
        call(messages.mark_asked, seqs("C"), "second")
        call(messages.settle, seqs("A"))
        assert call(messages.put_back, "first", failed=True) == 1
        assert call(messages.put_back, "first", failed=True) == 0
        assert waiting() == "B1"

    def test_after_a_crash(self, call, accept, seqs, waiting):
        """All that any run had waits again, uncounted; the files of follow-ups are named once."""
        accept("A", "B", "C", "D")
        accept("E", folder="friends")
        call(messages.mark_asked, seqs("A"), "run")
        call(messages.mark_asked, seqs("BC"), "run", "2.json")
        call(messages.mark_asked, seqs("E"), "other", "2.json")
        files = (("family", "2.json"), ("friends", "2.json"))
        assert call(messages.follow_up_files) == files
        assert call(messages.put_all_back) == 4
        assert call(messages.put_all_back) == 0
        assert call(messages.follow_up_files) == ()
        assert (waiting(), waiting("friends")) == ("A B C D", "E")


class TestGivingUp:
    @pytest.mark.parametrize(
        ("failures", "given_up", "left"),
        [
            ({}, "", "a B c D e"),
            ({"aB": 2}, "", "a2 B2 c D e"),
            ({"aB": 3}, "B", "c D e"),
            ({"aBcD": 3}, "BD", "e"),
            ({"aBcDe": 3}, "BD", "e3"),
            ({"cD": 3}, "D", "a B e"),
            ({"D": 4}, "D", "a B e"),
        ],
    )
    def test_too_many_attempts(self, call, accept, fail, waiting, failures, given_up, left):
        """Above the number an owed message is given up, and the context before it that is its own."""
        accept(*"aBcDe")
        for ids, times in failures.items():
            fail(ids, times)
        found = call(messages.give_up, "family", 2)
        assert "".join(stored.message.id for stored in found) == given_up
        assert {stored.state for stored in found} <= {MessageState.GIVEN_UP}
        assert waiting() == left

    def test_another_group(self, call, accept, fail, waiting):
        """Nobody else's messages are given up."""
        accept("A", folder="friends")
        fail("A", 3)
        assert call(messages.give_up, "family", 0) == ()
        assert waiting("friends") == "A3"

    def test_what_a_run_has(self, call, accept, fail, seqs):
        """A message that was asked once more isn't given up meanwhile."""
        accept("A")
        fail("A", 3)
        call(messages.mark_asked, seqs("A"), "run")
        assert call(messages.give_up, "family", 0) == ()
        assert call(messages.settle, seqs("A")) == ("A",)


@pytest.mark.parametrize(
    ("keep", "skipped", "left"), [(0, 3, "B D"), (2, 1, "B c D e"), (3, 0, "a B c D e")]
)
def test_old_context_is_skipped(call, accept, waiting, keep, skipped, left):
    """The oldest context beyond the number is settled; what is owed is not touched."""
    accept(*"aBcDe")
    accept("x", folder="friends")
    assert call(messages.skip_context, "family", keep) == skipped
    assert (waiting(), waiting("friends")) == (left, "x")


def test_forgotten(call, make, accept, fail, seqs, waiting):
    """What is done and came in before the moment is deleted; no number comes a second time."""
    accept("A", "B", "C", "D")
    accept("E", received_at=make.moment(10))
    fail("B", 2)
    call(messages.give_up, "family", 1)
    call(messages.mark_asked, seqs("ACE"), "run")
    call(messages.settle, seqs("AE"))
    last = seqs("E")
    assert call(messages.forget_old, make.moment(10)) == 2
    assert waiting() == "D"
    assert call(messages.forget_old, make.moment(11)) == 1
    accept("F")
    assert seqs("F") > last
    assert call(messages.put_back, "run", failed=False) == 1
    assert waiting() == "C D F"
