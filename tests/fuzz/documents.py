"""What the fuzzers share: documents that are nearly right, and the search for what leaked."""

from __future__ import annotations

import json

from hypothesis import strategies as st

CANARY = "cAnArY51"
"""Stands in a document where a secret or a person's words could; no error may repeat it."""

TEXTS = st.text(max_size=20) | st.just(CANARY) | st.text(max_size=5).map(lambda text: text + CANARY)

NUMBERS = st.integers(-(2**70), 2**70) | st.floats() | st.booleans() | st.none()

VALUES = st.recursive(
    TEXTS | NUMBERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
"""Anything that JSON can hold, and NaN, which it can't."""

HALF_PAIRS = st.sampled_from(
    [b"", b'"\\ud83d"', b"\\udc00", b"[" * 3000, b"\xff", b"NaN", b"1e999"]
)


def objects(**fields):
    """Objects with these fields, of which some are missing, of another kind, or too many."""
    wrong = st.dictionaries(st.sampled_from(sorted(fields)), VALUES, max_size=2)
    more = st.dictionaries(TEXTS, VALUES, max_size=2)
    right = st.fixed_dictionaries({}, optional=fields)
    whole = st.fixed_dictionaries(fields)
    return st.builds(lambda *parts: _merged(parts), more, whole | right, wrong | st.just({}))


def _merged(parts):
    return {key: value for part in parts for key, value in part.items()}


def contents(documents):
    """Files' contents: such a document, the same cut or with something in its middle, or bytes."""
    written = documents.map(lambda document: json.dumps(document).encode())
    return (
        written
        | st.builds(_damaged, written, HALF_PAIRS | st.binary(max_size=6), st.integers(0, 400))
        | st.builds(lambda data, end: data[:end], written, st.integers(0, 400))
        | st.binary(max_size=200)
        | st.binary(max_size=20).map(lambda data: data + CANARY.encode())
    )


def _damaged(data, extra, at):
    return data[:at] + extra + data[at:]


def told(error):
    """All that an exception shows: its text, its fields, and what it came from."""
    parts = []
    while error is not None:
        parts += [str(error), repr(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    return "\n".join(parts)


def check_discreet(error):
    """An exception that came of a document shows nothing of it, nor does what it came from."""
    assert CANARY not in told(error)


def check_said(error):
    """It says something, and not too much."""
    assert 0 < len(str(error)) < 3000
