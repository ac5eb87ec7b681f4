"""``python -m nanoclaw_trio``: the same as the command `nanoclaw-trio`."""

from __future__ import annotations

import sys

from nanoclaw_trio.cli import main

sys.exit(main())
