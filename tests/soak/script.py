"""What the soak's agents do, step by step; the same for agents that are functions and for processes.

A prompt with a word such as `!crash` in it makes an agent behave so; all else is echoed. Only the
standard library is used here: an agent that is a process starts in twenty milliseconds.

A step is a tuple: ("write", descriptor, bytes), ("sleep", seconds), ("put", path, bytes) for a file
in the mailbox, ("exit", status), ("memory",) for an end by want of memory, ("mute",) for a closed
standard output, ("orphan",) for a child that holds the streams, ("stubborn",) for no ear for SIGTERM.
"""

from __future__ import annotations

import json
import re

START = b"---NANOCLAW_OUTPUT_START---"
END = b"---NANOCLAW_OUTPUT_END---"

KIB = 1024
NOISE = b"what a program says when nobody listens to it\n" * 1400

DONE_LONG_AGO = "2020-01-01T00:00:00"
"""When a task was due that is due at once, by any clock."""

FOREVER = 1e6


class Turn:
    """One query of an agent: its text, its session, and the follow-ups that it answers."""

    def __init__(self, text, session, answered, request, random):
        self.text = text
        self.session = session or f"session-{random.getrandbits(32):08x}"
        self.was_resumed = request.get("sessionId") is not None
        self.answered = answered
        self.chat_jid = request["chatJid"]
        self.random = random

    def frame(self, **fields):
        output = {"newSessionId": self.session, "followUps": list(self.answered), **fields}
        return b"\n".join((START, json.dumps(output).encode(), END, b""))

    def answer(self, text=None):
        result = f"echo: {self.text[-200:]}" if text is None else text
        return ("write", 1, self.frame(status="success", result=result))

    def update(self):
        return ("write", 1, self.frame(status="success", result=None))

    def put(self, directory, content):
        name = f"{directory}/{self.random.getrandbits(64):016x}.json"
        return (
            "put",
            name,
            content if isinstance(content, bytes) else json.dumps(content).encode(),
        )


def echo(turn):
    yield turn.answer()
    yield turn.update()


def slow(turn):
    yield ("sleep", turn.random.uniform(0.2, 4))
    yield from echo(turn)


def crash(turn):
    """An answer, then a failing exit."""
    yield turn.answer()
    yield ("write", 2, b"it went wrong afterwards\n")
    yield ("exit", 1)


def leave(turn):
    """An answer, and the agent ends by itself soon, whatever lies in the mailbox."""
    yield from echo(turn)
    yield ("sleep", turn.random.uniform(0, 2))
    yield ("exit", 0)


def deaf(turn):
    """An answer, and no ear for anything after it."""
    yield from echo(turn)
    yield ("sleep", FOREVER)


def stubborn(turn):
    """The same, and none for SIGTERM."""
    yield ("stubborn",)
    yield from deaf(turn)


def garbage(turn):
    """All that isn't an output, around one that is."""
    yield ("write", 1, b"\x1b[2J\xff\xfe\r\n" + START + b"no JSON\n" + END + b"\n")
    yield ("write", 1, START + b'{"status":"great"}\n' + END + END + b"\n")
    yield ("write", 1, START + b'\n{"status":\n' + START + b"\n{}\n" + END + b"\n")
    yield ("write", 2, b"\x00\x07 \xc3\x28 not UTF-8 \x1b]0;title\x07\n")
    yield from echo(turn)


def flood(turn):
    """Noise on both streams before the answer."""
    for _ in range(turn.random.randrange(4, 24)):
        yield ("write", 1, NOISE)
        yield ("write", 2, NOISE)
    yield from echo(turn)


def big(turn):
    yield turn.answer("x" * turn.random.randrange(64 * KIB, 512 * KIB))
    yield turn.update()


def giant(turn):
    """A frame beyond the cap, which is dropped; then the answer."""
    yield ("write", 1, START + b"\n")
    for _ in range(20):
        yield ("write", 1, b"x" * 64 * KIB)
    yield ("write", 1, b"\n" + END + b"\n")
    yield from echo(turn)


def orphan(turn):
    """A child that holds the streams when the agent has gone."""
    yield ("orphan",)
    yield from echo(turn)
    yield ("exit", 0)


def requests(turn):
    """Requests, granted and refused, and files that are none."""
    yield turn.put("messages", {"type": "message", "chatJid": turn.chat_jid, "text": "I am at it"})
    yield turn.put("messages", {"type": "message", "chatJid": "else@chat", "text": "I mustn't"})
    task = {"type": "schedule_task", "prompt": "errand", "targetJid": turn.chat_jid}
    when = {"schedule_type": "once", "schedule_value": DONE_LONG_AGO}
    yield turn.put("tasks", {**task, **when})
    yield turn.put("tasks", b'{"type": [[[[')
    yield from echo(turn)


def fail(turn):
    yield ("write", 2, b"it went wrong\n")
    yield ("exit", 1)


def hang(turn):
    yield ("sleep", FOREVER)


def mute(turn):
    """It closes standard output, and lives on."""
    yield ("mute",)
    yield ("sleep", FOREVER)


def report(turn):
    """An error that the agent reports, and outlives."""
    yield ("write", 1, turn.frame(status="error", result=None, error="the model is overloaded"))


def unfinished(turn):
    """It dies in the middle of an answer."""
    yield ("write", 1, turn.answer()[2][:-40])
    yield ("exit", 1)


def memory(turn):
    yield ("memory",)


def stale(turn):
    """A session that isn't there any more; in a new one, the echo."""
    if not turn.was_resumed:
        yield from echo(turn)
        return
    error = f"No conversation found with session ID: {turn.session}"
    yield ("write", 1, turn.frame(status="error", result=None, error=error))
    yield ("exit", 1)


HARMLESS = {
    "slow": (slow, 10),
    "crash": (crash, 4),
    "leave": (leave, 4),
    "garbage": (garbage, 4),
    "flood": (flood, 2),
    "big": (big, 2),
    "giant": (giant, 1),
    "orphan": (orphan, 2),
    "requests": (requests, 3),
    "deaf": (deaf, 0.5),
    "stubborn": (stubborn, 0.3),
}
"""Behaviours that answer, and how often people ask for them, in hundredths."""

HARMFUL = {
    "fail": (fail, 3),
    "report": (report, 2),
    "unfinished": (unfinished, 2),
    "memory": (memory, 1),
    "stale": (stale, 1),
    "hang": (hang, 0.5),
    "mute": (mute, 0.5),
}
"""Those that don't, which is tried again: an agent behaves so only with MISHAP, else it echoes."""

MISHAP = 0.6

WEIGHTS = {word: weight for word, (_, weight) in {**HARMLESS, **HARMFUL}.items()}


def behave(turn, *, is_calm):
    """The steps of one query."""
    words = [word for word in re.findall(r"!(\w+)", turn.text) if word in WEIGHTS]
    if is_calm or not words:
        return echo(turn)
    word = turn.random.choice(words)
    if word in HARMLESS:
        return HARMLESS[word][0](turn)
    return HARMFUL[word][0](turn) if turn.random.random() < MISHAP else echo(turn)


def chosen_word(random):
    """What a person's message asks for; "" for nothing but an answer."""
    if random.random() * 100 >= sum(WEIGHTS.values()):
        return ""
    (word,) = random.choices(list(WEIGHTS), WEIGHTS.values())
    return f"!{word}"
