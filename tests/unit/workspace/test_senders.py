"""The sender allowlist: strict, read again at each change, and closed while it can't be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.errors import InvalidFile
from nanoclaw_trio.workspace.senders import (
    ALLOW_EVERYBODY,
    SenderAllowlist,
    SenderFile,
    SenderPolicy,
    SenderRule,
    SenderVerdict,
    load_senders,
    sender_allowlist_path,
)

reproducible = settings(derandomize=True, deadline=None)

ALLOWED, CONTEXT_ONLY, DROPPED = SenderVerdict
EVERYBODY = {"allow": "*", "mode": "trigger"}
ADA_ONLY = {"allow": ["ada@chat"], "mode": "trigger"}
ADA_OR_NOTHING = {"allow": ["ada@chat"], "mode": "drop"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sender-allowlist.json"


@pytest.fixture
def write(path):
    return lambda document: path.write_text(json.dumps(document))


def test_it_lies_beside_the_mount_allowlist() -> None:
    """Where the settings put the one, the other is looked for."""
    beside = sender_allowlist_path(Path("/home/ada/.config/nanoclaw/mount-allowlist.json"))
    assert beside == Path("/home/ada/.config/nanoclaw/sender-allowlist.json")


def test_a_good_file(path, write):
    """All keys of the format are read, the original's `logDenied` too."""
    write({"default": EVERYBODY, "chats": {"family@chat": ADA_OR_NOTHING}, "logDenied": False})
    assert load_senders(path) == SenderAllowlist(
        default=SenderRule(allow="*", mode="trigger"),
        chats={"family@chat": SenderRule(allow=frozenset({"ada@chat"}), mode="drop")},
        log_denied=False,
    )


def test_only_the_default_is_needed(path, write):
    """Chats without a rule of their own are what most operators have."""
    write({"default": ADA_ONLY})
    allowlist = load_senders(path)
    assert allowlist.chats == {}
    assert allowlist.log_denied


def test_without_a_file_everybody_may_ask(path):
    """Who wrote no file restricts nobody."""
    assert load_senders(path) is ALLOW_EVERYBODY
    assert SenderFile(path).read().verdict("family@chat", "anybody@chat") is ALLOWED


@pytest.mark.parametrize(
    ("chat", "sender", "expected"),
    [
        ("family@chat", "ada@chat", ALLOWED),
        ("family@chat", "bob@chat", CONTEXT_ONLY),
        ("work@chat", "ada@chat", ALLOWED),
        ("work@chat", "bob@chat", DROPPED),
        ("party@chat", "bob@chat", ALLOWED),
        ("empty@chat", "ada@chat", CONTEXT_ONLY),
        ("family@chat", "ADA@chat", CONTEXT_ONLY),
        ("family@chat", " ada@chat", CONTEXT_ONLY),
        ("family@chat", "ada@chatter", CONTEXT_ONLY),
        ("family@chat", "", CONTEXT_ONLY),
        ("family@chat", "*", CONTEXT_ONLY),
        ("WORK@chat", "bob@chat", CONTEXT_ONLY),
    ],
)
def test_verdicts(path, write, chat, sender, expected):
    """A chat's own rule stands in the default's place, and addresses are compared exactly."""
    chats = {
        "work@chat": ADA_OR_NOTHING,
        "party@chat": EVERYBODY,
        "empty@chat": {"allow": [], "mode": "trigger"},
    }
    write({"default": ADA_ONLY, "chats": chats})
    assert SenderFile(path).read().verdict(chat, sender) is expected


BAD = [
    ("", "not JSON"),
    ("{", "not JSON"),
    ("[]", "not an object @ $"),
    ("{}", "required field missing @ $.default"),
    (json.dumps({"chats": {}}), "required field missing @ $.default"),
    (json.dumps({"defualt": EVERYBODY}), "unknown key 'defualt' @ $"),
    (json.dumps({"default": {"allow": "*"}}), "required field missing @ $.default.mode"),
    (json.dumps({"default": {"mode": "drop"}}), "required field missing @ $.default.allow"),
    (json.dumps({"default": {**EVERYBODY, "mode": "tigger"}}), "not one of trigger, drop @ $.default.mode"),
    (json.dumps({"default": {**EVERYBODY, "allow": "ada"}}), "not one of * @ $.default.allow"),
    (json.dumps({"default": {**EVERYBODY, "allow": None}}), "not an array @ $.default.allow"),
    (json.dumps({"default": {**EVERYBODY, "allow": ["ada", 5]}}), "not a string @ $.default.allow[1]"),
    (json.dumps({"default": {**EVERYBODY, "allow": ["*"]}}), '"*" in an array, where it means nobody: leave the brackets out @ $.default.allow'),
    (json.dumps({"default": {**EVERYBODY, "deny": []}}), "unknown key 'deny' @ $.default"),
    (json.dumps({"default": EVERYBODY, "chats": []}), "@ $.chats"),
    (json.dumps({"default": EVERYBODY, "chats": {"a@b": "*"}}), "not an object @ $.chats['a@b']"),
    (json.dumps({"default": EVERYBODY, "chats": {"a@b": {**EVERYBODY, "allow": ["x", "*"]}}}), "leave the brackets out @ $.chats['a@b'].allow"),
    (json.dumps({"default": EVERYBODY, "isClosed": False}), "unknown key 'isClosed' @ $"),
    (json.dumps({"default": EVERYBODY, "logDenied": "no"}), "not true or false @ $.logDenied"),
    (" " * 2_000_000, "larger than 1048576 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), BAD, ids=[words for _, words in BAD])
def test_a_bad_file_is_refused_with_the_path(path, text, words):
    """The operator reads which file, where in it, what is wrong, and what it means meanwhile."""
    path.write_text(text)
    with pytest.raises(InvalidFile) as caught:
        load_senders(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert str(caught.value).endswith("; mend it: until then nobody's messages are answered")


@pytest.mark.parametrize("text", [text for text, _ in BAD], ids=[words for _, words in BAD])
def test_with_a_bad_file_nobody_may_ask(path, text):
    """A typing error doesn't open what its author meant to close."""
    path.write_text(text)
    policy = SenderFile(path).read()
    assert policy.is_closed
    assert policy.verdict("family@chat", "ada@chat") is CONTEXT_ONLY


def test_a_directory_in_its_place_closes_it(path):
    """What the system says becomes the reason."""
    path.mkdir()
    with pytest.raises(InvalidFile, match=r"sender-allowlist\.json: Is a directory; mend it"):
        load_senders(path)
    assert SenderFile(path).read().is_closed


def test_a_change_counts_at_once(path, write):
    """A file that appears, changes or goes is what counts from then on. Trap A27."""
    file = SenderFile(path)
    verdicts = [file.read().verdict("family@chat", "bob@chat")]
    for document in (ADA_ONLY, ADA_OR_NOTHING, EVERYBODY):
        write({"default": document})
        verdicts.append(file.read().verdict("family@chat", "bob@chat"))
    assert verdicts == [ALLOWED, CONTEXT_ONLY, DROPPED, ALLOWED]
    write({"default": ADA_ONLY})
    assert file.read().verdict("family@chat", "bob@chat") is CONTEXT_ONLY
    path.unlink()
    assert file.read() == SenderPolicy()


def test_who_was_dropped_stays_dropped_while_the_file_is_bad(path, write):
    """An operator's typing error keeps nothing of those whom he had dropped."""
    file = SenderFile(path)
    write({"default": EVERYBODY, "chats": {"work@chat": ADA_OR_NOTHING}})
    file.read()
    path.write_text("{")
    policy = file.read()
    assert policy.verdict("work@chat", "bob@chat") is DROPPED
    assert policy.verdict("work@chat", "ada@chat") is CONTEXT_ONLY
    assert policy.verdict("family@chat", "bob@chat") is CONTEXT_ONLY
    write({"default": EVERYBODY})
    assert file.read().verdict("work@chat", "bob@chat") is ALLOWED


def test_a_problem_is_logged_once_for_each_change(path, write):
    """The log says what is wrong when it becomes wrong, and not with each message."""
    file = SenderFile(path)
    with structlog.testing.capture_logs() as logs:
        for text in ("{", "{", "[]", "[]"):
            path.write_text(text)
            file.read()
        write({"default": EVERYBODY})
        file.read()
        path.write_text("[]")
        file.read()
    assert [(record["event"], record["log_level"]) for record in logs] == [
        ("sender allowlist can't be used", "error")
    ] * 3
    assert ["not an object @ $" in record["why"] for record in logs] == [False, True, True]
    assert all(str(path) in record["why"] for record in logs)


rules = st.builds(
    SenderRule,
    allow=st.just("*") | st.frozensets(st.sampled_from("abc")),
    mode=st.sampled_from(["trigger", "drop"]),
)
allowlists = st.builds(
    SenderAllowlist, default=rules, chats=st.dictionaries(st.sampled_from("xy"), rules)
)


@reproducible
@given(allowlists, st.sampled_from("xyz"), st.sampled_from("abcd"))
def test_closing_never_permits_more(allowlist, chat, sender):
    """Closed, a policy gives each sender what he had or less, and nobody an answer."""
    order = [DROPPED, CONTEXT_ONLY, ALLOWED]
    before = SenderPolicy(allowlist=allowlist).verdict(chat, sender)
    closed = SenderPolicy(allowlist=allowlist, is_closed=True).verdict(chat, sender)
    assert order.index(closed) <= order.index(before)
    assert closed is not ALLOWED
