"""What the model did wrong."""

from __future__ import annotations


class InvalidRequest(Exception):
    """The model's fault: the call's arguments ask for nothing that the host could do.

    The text is for the model: what is wrong, and how to do it right. Nothing was written.
    """
