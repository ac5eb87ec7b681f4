"""What is logged has no secret in it."""

from __future__ import annotations

SCRIPT = """
import logging
from nanoclaw_agent.logs import log_to_stderr
from nanoclaw_agent.secrets import Secrets
log_to_stderr(Secrets({}))
log = logging.getLogger("some.package")
log.warning("before")
log_to_stderr(Secrets({"KEY": "canary"}))
log.info("not shown")
log.warning("a %s in an argument", "canary")
try:
    raise ValueError("a canary in a traceback")
except ValueError:
    log.exception("failed")
"""


async def test_secrets_are_taken_out_of_records_and_tracebacks(start_python):
    """A value in an argument or in an exception's text is replaced by its name, in any logger."""
    process = await start_python("-c", SCRIPT)
    assert await process.exit_status() == 0
    lines = process.stderr.splitlines()
    assert lines[:3] == [
        "WARNING some.package: before",
        "WARNING some.package: a [KEY] in an argument",
        "ERROR some.package: failed",
    ]
    assert lines[-1] == "ValueError: a [KEY] in a traceback"
    assert "canary" not in process.stderr.replace('"a canary in a traceback"', "")
