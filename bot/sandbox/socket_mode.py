"""Slack's end of Socket Mode: connections, and envelopes that wait for their ack.

https://docs.slack.dev/apis/events-api/using-socket-mode. Knows nothing of what the envelopes hold.
"""

import asyncio
import itertools
import json
import secrets
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from bot.sandbox.bell import Bell
from bot.sandbox.loopback import break_off
from bot.sandbox.wire import JsonObject, read_object, text_of


class NotConnected(ConnectionError):  # noqa: N818 - a state that Slack meets, not a fault of this program
    """The app has no connection open, so that nothing can reach it."""


@dataclass(eq=False, slots=True)
class _Connection:
    request: web.Request
    socket: web.WebSocketResponse
    silent: bool = False

    async def send(self, text: str) -> None:
        if not self.silent:
            await self.socket.send_str(text)

    async def pong(self, data: bytes) -> None:
        if not self.silent:
            await self.socket.pong(data)


class SocketMode:
    """All connections of one app. Each envelope goes to one of them, in turn."""

    def __init__(self, app_id: str, bell: Bell) -> None:
        self._app_id = app_id
        self._bell = bell
        self._tickets: set[str] = set()
        self._open: list[_Connection] = []
        self._turn = itertools.count()
        self._waiting: dict[str, asyncio.Future[JsonObject]] = {}

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def ticket(self) -> str:
        """Make a ticket that opens one connection."""
        ticket = secrets.token_urlsafe()
        self._tickets.add(ticket)
        return ticket

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Hold one connection for as long as it lasts."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.Response(status=403)
        self._tickets.remove(ticket)
        # We answer pings ourselves, to be able to stop.
        connection = _Connection(request, web.WebSocketResponse(autoping=False))
        await connection.socket.prepare(request)
        await connection.send(self._hello())
        self._open.append(connection)
        self._bell.ring()
        try:
            await self._listen(connection)
        finally:
            self._open.remove(connection)
            self._bell.ring()
        return connection.socket

    async def deliver(self, envelope: JsonObject) -> JsonObject:
        """Send an envelope, and wait for its ack as long as the caller does. Raises NotConnected as `send`."""
        envelope_id = text_of(envelope.get("envelope_id"))
        waiting: asyncio.Future[JsonObject] = asyncio.get_running_loop().create_future()
        self._waiting[envelope_id] = waiting
        try:
            await self.send(json.dumps(envelope))
            return await waiting
        finally:
            del self._waiting[envelope_id]

    async def send(self, text: str) -> None:
        """Send any text to the connection whose turn it is. Raises NotConnected when there is none."""
        if not self._open:
            raise NotConnected
        await self._open[next(self._turn) % len(self._open)].send(text)

    async def refresh(self, reason: str, grace: float) -> None:
        """Ask the app to connect anew, and close the old connections once it did, or after `grace` seconds."""
        old = list(self._open)
        for connection in old:
            await connection.send(json.dumps({"type": "disconnect", "reason": reason}))
        with suppress(TimeoutError):
            await self._bell.until(lambda: set(self._open) - set(old), grace, str)
        for connection in set(old) & set(self._open):
            await connection.socket.close()

    async def cut(self) -> None:
        """Break every connection, and return when none of them is left."""
        old = list(self._open)
        for connection in old:
            break_off(connection.request)
        await self._bell.until(lambda: not set(old) & set(self._open), 10.0, str)

    def silence(self) -> None:
        """Say nothing any more on the connections of now, not even a pong, and leave them open."""
        for connection in self._open:
            connection.silent = True

    async def _listen(self, connection: _Connection) -> None:
        async for message in connection.socket:
            if message.type is WSMsgType.PING:
                await connection.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                self._acknowledge(read_object(message.data) or {})

    def _acknowledge(self, ack: JsonObject) -> None:
        waiting = self._waiting.get(text_of(ack.get("envelope_id")))
        # An app may ack twice; the first one counts.
        if waiting is not None and not waiting.done():
            waiting.set_result(ack)

    def _hello(self) -> str:
        connections = len(self._open) + 1
        info = {"app_id": self._app_id}
        return json.dumps({"type": "hello", "num_connections": connections, "connection_info": info})
