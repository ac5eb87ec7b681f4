"""What is in flight in a run, and what of it an output settles."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.engine.runs.conversation import Conversation
from nanoclaw_trio.protocol.models import ContainerOutput


def answer(*follow_ups, known=True):
    names = follow_ups if known else None
    return ContainerOutput(status="success", result="yes", new_session_id="s", follow_ups=names)


def update(*follow_ups):
    return ContainerOutput(status="success", result=None, new_session_id="s", follow_ups=follow_ups)


ERROR = ContainerOutput(status="error", result=None, error="no", follow_ups=())
LATER = 7.0


def test_prompt_is_settled_by_the_first_success():
    """The first query takes the prompt in; what it says settles the prompt's messages, once."""
    talk = Conversation((1, 2))
    assert talk.heard(answer(), LATER) == (1, 2)
    assert talk.heard(update(), LATER) == ()


def test_follow_up_is_settled_when_it_is_named():
    """A follow-up is in flight until an output names its file, however many queries end before."""
    talk = Conversation((1,))
    talk.sent("a.json", (2, 3))
    talk.sent("b.json", (4,))
    assert talk.heard(answer(), LATER) == (1,)
    assert talk.idle_since is None
    assert talk.heard(answer("b.json", "b.json", "c.json"), LATER) == (4,)
    assert talk.follow_ups == ("a.json",)
    assert talk.heard(update("a.json", "b.json"), LATER) == (2, 3)
    assert talk.idle_since == LATER


def test_follow_up_of_an_agent_that_names_none():
    """An original agent doesn't say what it took: what left the mailbox counts as taken in."""
    talk = Conversation((1,))
    talk.sent("a.json", (2,))
    talk.sent("b.json", (3,))
    assert talk.heard(answer(known=False), LATER, {"b.json"}) == (1, 2)
    assert talk.heard(answer(known=False), LATER, ()) == (3,)


def test_error_settles_nothing_and_is_closed_at_once():
    """After an error nothing counts as answered; an agent that lives on is closed."""
    talk = Conversation((1,))
    assert talk.heard(ERROR, LATER) == ()
    assert talk.has_failed
    assert talk.idle_since is None
    assert talk.close_at(100.0, yields=False, now=9.0) == 9.0
    assert talk.heard(answer(), LATER) == (1,)
    assert not talk.has_failed


@pytest.mark.parametrize(
    ("timeout", "yields", "expected"),
    [(100.0, False, LATER + 100.0), (None, False, math.inf), (100.0, True, LATER)],
)
def test_idle_run_is_closed_in_its_time(timeout, yields, expected):
    """Idle, a run is closed after the timeout, or as soon as somebody waits for its place."""
    talk = Conversation((1,))
    assert talk.close_at(timeout, yields=yields, now=0.0) == math.inf
    talk.heard(update(), LATER)
    assert talk.close_at(timeout, yields=yields, now=50.0) == expected


def test_follow_up_ends_idleness():
    """A run with a follow-up in flight isn't idle; one that didn't go leaves it idle as before."""
    talk = Conversation((1,))
    talk.heard(update(), LATER)
    talk.sent("a.json", (2,))
    assert talk.idle_since is None
    talk.unsent("a.json")
    assert talk.idle_since == LATER
    assert talk.heard(update("a.json"), 10.0) == ()
    assert talk.idle_since == 10.0


def test_unsent_before_the_first_answer():
    """While the prompt isn't answered, a follow-up that didn't go makes nobody idle."""
    talk = Conversation((1,))
    talk.sent("a.json", (2,))
    talk.sent("b.json", (3,))
    talk.unsent("a.json")
    assert talk.idle_since is None
    talk.heard(answer(), LATER)
    talk.unsent("b.json")
    assert talk.idle_since == LATER


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("sent"), st.integers(0, 5)),
            st.tuples(st.just("named"), st.lists(st.integers(0, 5), max_size=4)),
            st.tuples(st.just("taken"), st.lists(st.integers(0, 5), max_size=4)),
            st.tuples(st.just("error"), st.none()),
        ),
        max_size=20,
    )
)
def test_nothing_is_settled_twice(events):
    """Whatever comes in whatever order, each message is settled once at most, and none unsent."""
    talk, sent, settled = Conversation((100,)), set(), []
    for now, (kind, value) in enumerate(events):
        if kind == "sent" and value not in sent:
            sent.add(value)
            talk.sent(f"{value}", (value,))
        elif kind == "named":
            settled += talk.heard(answer(*map(str, value)), now)
        elif kind == "taken":
            settled += talk.heard(answer(known=False), now, set(map(str, value)))
        elif kind == "error":
            assert talk.heard(ERROR, now) == ()
    assert len(settled) == len(set(settled))
    assert set(settled) <= sent | {100}
    assert set(talk.follow_ups) == {str(value) for value in sent - set(settled)}
