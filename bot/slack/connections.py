"""The connections of a server: how many there may be, and how long each may take to send a request's head.

aiohttp limits how long a connection may be idle, and takes a head that never ends for idleness: so without this a
client could keep a connection for as long as a balancer may. Knows nothing of what is asked.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

HEAD_SECONDS = 5.0
"""From a connection's beginning, or the first byte of its next request, to the end of that request's head."""

IDLE_SECONDS = 620.0
"""How long a connection is kept for its next request: longer than any usual balancer keeps its end, so that it is
the balancer who closes it. Otherwise a command may meet a connection that is just being closed, and is lost: nobody may
send a POST twice. AWS's and nginx's wait 60 s, Azure's 240, Google's always 600.

https://cloud.google.com/load-balancing/docs/https#timeouts_and_retries
"""

MOST = 512
"""Connections at once; one more, and the one that has waited for longest is closed. Many systems allow 1024 files."""


class Connections:
    """All connections of one server."""

    def __init__(self) -> None:
        self._open: dict[asyncio.BaseProtocol, _Connection] = {}  # the one that was used last at the end

    def factory(self, make: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """For an event loop's server; make makes the protocol that a connection is handed on to."""
        return lambda: _Connection(self, make())

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def request(self, protocol: asyncio.BaseProtocol) -> Iterator[None]:
        """While a request is in hand that came through this protocol, its connection is neither idle nor slow."""
        if (connection := self._open.get(protocol)) is None:  # the client has gone already
            yield
            return
        connection.in_hand(True)
        try:
            yield
        finally:
            connection.in_hand(False)
            if self._open.pop(protocol, None):
                self._open[protocol] = connection

    def add(self, protocol: asyncio.BaseProtocol, connection: "_Connection") -> None:
        """Count a connection in, and part with another where there are too many."""
        self._open[protocol] = connection
        if len(self._open) > MOST:
            next((other for other in self._open.values() if not other.busy), connection).cut()

    def remove(self, protocol: asyncio.BaseProtocol) -> None:
        """Count a connection out."""
        self._open.pop(protocol, None)


class _Connection(asyncio.Protocol):
    """One connection: all that happens to it is handed on, and a head that takes too long ends it."""

    def __init__(self, all_: Connections, protocol: asyncio.Protocol) -> None:
        self._all = all_
        self._protocol = protocol
        self._transport: asyncio.Transport
        self._end_of_head: asyncio.TimerHandle | None = None
        self.busy = False
        """Whether a request is in hand."""

    def in_hand(self, busy: bool) -> None:  # noqa: FBT001 - the name says which
        """Note that the head of a request has come, or that its answer is made."""
        self.busy = busy
        self._stop_waiting()

    def cut(self) -> None:
        """End the connection, without a word."""
        self._transport.abort()

    def _wait_for_head(self) -> None:
        self._end_of_head = asyncio.get_running_loop().call_later(HEAD_SECONDS, self.cut)

    def _stop_waiting(self) -> None:
        if self._end_of_head is not None:
            self._end_of_head.cancel()
            self._end_of_head = None

    # --- what the event loop says of it ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._wait_for_head()
        self._protocol.connection_made(transport)
        self._all.add(self._protocol, self)

    def data_received(self, data: bytes) -> None:
        if not self.busy and self._end_of_head is None:
            self._wait_for_head()
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._all.remove(self._protocol)
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
