"""How much an agent may ask of the proxy."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Bounds:
    """Limits of the proxy. Times in seconds, sizes in bytes.

    Attributes:
        head: Of a request's line and headers, from which on it isn't waited for the rest of them.
        lines: Of a request's line and headers. Many short ones take far longer to read than few long
            ones; the agent's CLI sends thirty.
        requests: A group's requests at a time; more are told to come later.
        connections: Connections at a time on one socket or address; more are closed at once.
        lookups: Of the API's name at a time, of all groups; more wait. Each has a thread for as long
            as the system takes.
        connect: For the API's host to be found and to take a connection.
        silence: In the middle of a request, from either side. The API may think for ten minutes.
        pause: Between two requests on a connection.
    """

    head: int = 64 * 1024
    lines: int = 128
    requests: int = 32
    connections: int = 128
    lookups: int = 8
    connect: float = 30.0
    silence: float = 900.0
    pause: float = 300.0
