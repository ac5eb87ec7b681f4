"""An agent that answers in capitals: the whole protocol, in Python's standard library."""

import json
import signal
import sys
import time
from pathlib import Path
from uuid import uuid4

MAILBOX = Path("/workspace/ipc/input")
FRAME = "---NANOCLAW_OUTPUT_START---\n{}\n---NANOCLAW_OUTPUT_END---\n"


def say(result: str | None) -> None:
    """Write an answer or, without a result, a session update."""
    output = {"status": "success", "result": result, "newSessionId": session}
    sys.stdout.write(FRAME.format(json.dumps(output)))
    sys.stdout.flush()


def next_follow_up() -> str | None:
    """Wait for a follow-up; None: the host asks to close, which goes before all that lies there."""
    while not (MAILBOX / "_close").exists():
        for path in sorted(MAILBOX.glob("*.json")):
            content = path.read_bytes()
            path.unlink()
            return json.loads(content)["text"]
        time.sleep(0.1)
    (MAILBOX / "_close").unlink()
    return None


signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
request = json.loads(sys.stdin.buffer.read())
session = request.get("sessionId") or str(uuid4())
text = request["prompt"]
while text is not None:
    say(text.upper())
    say(None)
    text = next_follow_up()
