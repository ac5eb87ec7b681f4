"""The operator's two files: which mounts are allowed, and who may ask."""

from __future__ import annotations

import tempfile
from pathlib import Path

from documents import CANARY, contents, objects, told
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.errors import InvalidFile
from nanoclaw_trio.protocol.converters import own, structure
from nanoclaw_trio.protocol.json_text import dump_json, parse_json
from nanoclaw_trio.protocol.models import AllowedRoot, MountAllowlist
from nanoclaw_trio.workspace.allowlist import AllowlistProblem, load_allowlist
from nanoclaw_trio.workspace.facts import FoundPath, PathKind
from nanoclaw_trio.workspace.rules import find_blocked
from nanoclaw_trio.workspace.senders import (
    SenderAllowlist,
    SenderFile,
    SenderVerdict,
    load_senders,
)

VALUES = st.text(max_size=8) | st.just(CANARY)

PATHS = st.sampled_from(["/srv", "~/shared", "~", "relative", "", "/\0"]) | VALUES

PATTERNS = st.lists(
    st.sampled_from(["*.pem", "", "a/b", "[", "[!", "**", "?"]) | VALUES, max_size=4
)

ROOTS = objects(path=PATHS, allowReadWrite=st.booleans(), description=VALUES)

ALLOWLISTS = objects(
    allowedRoots=st.lists(ROOTS, max_size=3),
    blockedPatterns=PATTERNS,
    nonMainReadOnly=st.booleans(),
)

RULES = objects(
    allow=st.sampled_from(["*", "**", ""]) | st.lists(VALUES | st.just("*"), max_size=3),
    mode=st.sampled_from(["trigger", "drop", CANARY]),
)

SENDERS = objects(
    default=RULES,
    chats=st.dictionaries(st.text(max_size=8), RULES, max_size=3),
    logDenied=st.booleans(),
)


def in_file(content, load):
    """What is loaded from a file of this content."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "list.json")
        path.write_bytes(content)
        return load(path)


@given(contents(ALLOWLISTS))
def test_a_mount_allowlist_is_read_or_permits_nothing(content):
    """Any file is an allowlist that can be used, or a reason for none."""
    found = in_file(content, load_allowlist)
    if isinstance(found, AllowlistProblem):
        assert found.reason
    else:
        assert all(root.path[0] in "/~" for root in found.allowed_roots)
        assert all(pattern and "/" not in pattern for pattern in found.blocked_patterns)


@given(
    st.builds(
        MountAllowlist,
        allowed_roots=st.lists(
            st.builds(
                AllowedRoot,
                path=st.text(max_size=9).map(lambda text: f"/{text}"),
                allow_read_write=st.booleans(),
                description=st.none() | st.text(max_size=9),
            )
        ).map(tuple),
        blocked_patterns=st.lists(st.text(min_size=1).filter(lambda t: "/" not in t)).map(tuple),
        non_main_read_only=st.booleans(),
    )
)
def test_a_mount_allowlist_that_is_written_is_read_as_it_was(allowlist):
    """An allowlist, written as the template is, is the same when it is read."""
    assert in_file(dump_json(own.unstructure(allowlist)), load_allowlist) == allowlist


def found(path):
    """A path as the disk would show it."""
    return FoundPath(expanded=path, resolved=Path(path), kind=PathKind.DIRECTORY)


@given(st.text(max_size=30), st.lists(st.text(max_size=30) | st.just("*a" * 30), max_size=3))
def test_any_pattern_is_looked_for(path, patterns):
    """Whatever stands in a pattern, it is looked for, and one that is in the path is found."""
    assert isinstance(find_blocked(found(f"/{path}"), patterns), str | None)
    component = "secret-keys"
    assert find_blocked(found(f"/srv/{component}"), [*patterns, "secret"]) is not None


@given(contents(SENDERS))
def test_a_senders_list_is_read_or_refused_without_its_values(content):
    """Any file is a list, or InvalidFile; and a reader never raises, and lets nobody ask where the
    file can't be used."""
    try:
        found = in_file(content, load_senders)
    except InvalidFile as error:
        problem = told(error)
        assert in_file(content, lambda path: SenderFile(path).read()).is_closed
        assert CANARY not in problem or CANARY in keys_in(content)
    else:
        assert isinstance(found, SenderAllowlist)
        assert in_file(content, lambda path: SenderFile(path).read()).allowlist == found


def keys_in(content):
    """The keys of a document, which a path may name: chats' addresses are keys."""
    keys = []

    def collect(value):
        for key, inner in value.items() if isinstance(value, dict) else ():
            keys.append(key)
            collect(inner)
        for inner in value if isinstance(value, list) else ():
            collect(inner)

    try:
        collect(parse_json(content))
    except ValueError:
        return ""
    return "\n".join(keys)


@given(st.dictionaries(st.text(max_size=5), st.lists(st.text(max_size=5), max_size=3)), st.text())
def test_who_is_not_on_a_list_may_not_ask(chats, sender):
    """In a chat with a rule, those on its list may ask, and nobody else may."""
    rules = {
        jid: {"allow": allow, "mode": "drop"} for jid, allow in chats.items() if "*" not in allow
    }
    content = dump_json({"default": {"allow": "*", "mode": "trigger"}, "chats": rules})
    policy = in_file(content, lambda path: SenderFile(path).read())
    loaded = structure(own, parse_json(content), SenderAllowlist)
    assert policy.allowlist == loaded
    for jid, rule in rules.items():
        is_allowed = policy.verdict(jid, sender) is SenderVerdict.ALLOWED
        assert is_allowed == (sender in rule["allow"])
