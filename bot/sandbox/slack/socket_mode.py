"""Slack's end of Socket Mode: connections, and envelopes that wait for their ack.

https://docs.slack.dev/apis/events-api/using-socket-mode
"""

import asyncio
import itertools
import json
import secrets
from contextlib import suppress

from aiohttp import WSMsgType, web

from bot.sandbox.changes import Changes
from bot.sandbox.server import break_connection
from bot.sandbox.wire import JsonObject, read_object


class SocketMode:
    """All connections of one app that are `open`. Each envelope goes to one of them, in turn."""

    def __init__(self, app_id: str, changes: Changes) -> None:
        self._app_id = app_id
        self._changes = changes
        self._tickets: set[str] = set()
        self.open: dict[web.WebSocketResponse, web.Request] = {}
        self._silent: set[web.WebSocketResponse] = set()
        self._turn = itertools.count()
        self._waiting: dict[str, asyncio.Future[JsonObject]] = {}

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
        # A connection that has gone silent must not answer pings, so aiohttp must not do it for us.
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        self.open[socket] = request
        self._changes.notify()
        try:
            info = {"app_id": self._app_id}
            await socket.send_json({"type": "hello", "num_connections": len(self.open), "connection_info": info})
            await self._listen(socket)
        finally:
            del self.open[socket]
            self._changes.notify()
        return socket

    async def deliver(self, envelope: JsonObject) -> JsonObject:
        """Send an envelope, and wait for its ack as long as the caller does. Raises ConnectionError."""
        envelope_id = envelope.get("envelope_id", "")
        waiting: asyncio.Future[JsonObject] = asyncio.get_running_loop().create_future()
        self._waiting[envelope_id] = waiting
        try:
            await self.send(json.dumps(envelope))
            return await waiting
        finally:
            del self._waiting[envelope_id]

    async def send(self, text: str) -> None:
        """Send any text to the connection whose turn it is. Raises ConnectionError without any."""
        if not self.open:
            raise ConnectionError("the app is not connected")
        socket = [*self.open][next(self._turn) % len(self.open)]
        if socket not in self._silent:
            await socket.send_str(text)

    async def refresh(self, reason: str = "refresh_requested", grace: float = 10.0) -> None:
        """Ask the app to connect anew, and close the old connections once it did, or after `grace` seconds."""
        old = set(self.open)
        for socket in old:
            await socket.send_json({"type": "disconnect", "reason": reason})
        with suppress(TimeoutError):
            await self._changes.until(lambda: self.open.keys() - old, grace, str)
        for socket in old & self.open.keys():
            await socket.close()

    async def cut(self) -> None:
        """Break every connection without a word, and return when none of them is left."""
        old = set(self.open)
        for request in self.open.values():
            break_connection(request)
        await self._changes.until(lambda: not old & self.open.keys(), 10.0, str)

    def silence(self) -> None:
        """Send nothing more on the present connections, not even a pong, and leave them open."""
        self._silent |= self.open.keys()

    async def _listen(self, socket: web.WebSocketResponse) -> None:
        async for message in socket:
            if message.type is WSMsgType.PING and socket not in self._silent:
                await socket.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                ack = read_object(message.data) or {}
                waiting = self._waiting.get(ack.get("envelope_id", ""))
                # An app can ack twice; the first one counts.
                if waiting is not None and not waiting.done():
                    waiting.set_result(ack)
