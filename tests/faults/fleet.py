"""Several real processes of the bot on one database, behind a balancer, and a wire between that can be cut."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import aiohttp

from bot.sandbox.modelslab import SandboxModelsLab
from bot.sandbox.slack.service import Ack, SandboxSlack
from tests.scenarios.process import Process
from tests.scenarios.scenario import settings_of


class Wire:
    """Stands between the replicas and PostgreSQL's socket: it can be cut, and it can go silent."""

    def __init__(self, url: str, folder: Path) -> None:
        """url leads to PostgreSQL, folder is where the replicas connect to."""
        base, _, behind = url.partition("?host=")
        self._behind = Path(behind) / ".s.PGSQL.5432"
        self._path = folder / self._behind.name
        self.url = f"{base}?host={quote(str(folder), safe='')}"
        """The same database by way of the wire."""
        self._server: asyncio.AbstractServer | None = None
        self._streams: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()

    async def heal(self) -> None:
        """Let everything through, on new connections."""
        await self.cut()
        self._open.set()
        self._server = await asyncio.start_unix_server(self._connected, self._path)

    async def cut(self) -> None:
        """Break every connection, and take no more."""
        if self._server is not None:
            self._server.close()
        for stream in list(self._streams):
            stream.transport.abort()
        self._path.unlink(missing_ok=True)

    def silence(self) -> None:
        """Keep the connections, and let nothing through."""
        self._open.clear()

    def reroute(self) -> None:
        """Let new connections through; those that are silent stay so, as behind a balancer after a failover."""
        self._open = asyncio.Event()
        self._open.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            from_server, to_server = await asyncio.open_unix_connection(self._behind)
            await asyncio.gather(self._pass_on(reader, to_server), self._pass_on(from_server, writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._streams.add(writer)
        is_open = self._open
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await is_open.wait()
                writer.write(data)
                await writer.drain()
        self._streams.discard(writer)
        writer.close()


@dataclass
class Fleet:
    """Replicas by name; commands go to one that is ready, as a balancer would send them."""

    slack: SandboxSlack
    modelslab: SandboxModelsLab
    folder: Path
    env: dict[str, str]
    replicas: dict[str, Process] = field(default_factory=dict)
    ready: dict[str, int] = field(default_factory=dict)
    """The port of each replica that has said it is ready, and has not been seen otherwise since."""

    async def launch(self, *names: str, **env: str) -> None:
        """Start replicas, with these settings besides the usual ones, and wait until they are ready."""
        await asyncio.gather(*(self._launch(name, env) for name in names))

    async def _launch(self, name: str, env: dict[str, str]) -> None:
        replica = self.replicas[name] = Process(self.folder, self.env | env)
        await replica.start()
        await replica.ready()
        port = replica.of("ready")[0]["port"]
        assert isinstance(port, int)
        self.ready[name] = port

    async def kill(self, name: str) -> None:
        """Kill a replica for good."""
        self.ready.pop(name, None)
        await self.replicas[name].kill()

    async def restart(self, name: str) -> int:
        """End a replica as a deployment does, start it anew, and return its exit code."""
        replica = self.replicas[name]
        replica.signal(signal.SIGTERM)
        url = f"http://127.0.0.1:{self.ready[name]}/readyz"
        async with asyncio.timeout(30.0):
            while await status_of(url) == 200:  # noqa: ASYNC110 - a balancer asks, too
                await asyncio.sleep(0.02)
        self.ready.pop(name)
        code = await replica.wait()
        await self.launch(name)
        return code

    def url(self, name: str) -> str:
        """Where Slack reaches a replica."""
        return f"http://127.0.0.1:{self.ready[name]}/slack/events"

    async def command(self, n: int, name: str = "", *, model: str = "", **fields: str) -> Ack:
        """One command, each in a channel of its own; name is the replica it goes to, or else any that is ready."""
        names = [name] if name else list(self.ready)
        return await self.slack.command(
            model or f"model-{n}",
            **{"user": f"U{n:05d}", "channel": f"C{n:05d}"} | fields,
            request_url=self.url(names[n % len(names)]),
        )

    async def commands(self, count: int, name: str = "", *, model: str = "") -> None:
        """So many commands, a few of them at a time. What a busy machine doesn't record in time is tried again."""
        at_once = asyncio.Semaphore(8)

        async def one(n: int) -> None:
            async with at_once:
                while "already" not in (text := (await self.command(n, name, model=model)).text):
                    if text.startswith("Reloading"):
                        return

        await asyncio.gather(*map(one, range(count)))

    async def wait_notified(self, channels: int) -> None:
        """Wait until so many channels have their follow-up, and see that none has two."""

        def notified() -> list[str]:
            return [message.channel for message in self.slack.messages if "should be ready now" in message.text]

        await self.slack.wait_until(lambda: len(set(notified())) == channels, within=90)
        assert len(notified()) == channels


async def status_of(url: str) -> int:
    """The status with which a URL is answered; 0 if nobody answers."""
    with contextlib.suppress(aiohttp.ClientError):
        async with aiohttp.request("GET", url) as answer:
            return answer.status
    return 0


@contextlib.asynccontextmanager
async def fleet(folder: Path, url: str, rooms: int, **env: str) -> AsyncIterator[Fleet]:
    """A Slack with so many channels, where people are patient, a ModelsLab, and no replica yet."""
    async with SandboxSlack() as slack, SandboxModelsLab() as modelslab:
        slack.ack_seconds = 30.0
        for n in range(rooms):
            slack.add_channel(f"C{n:05d}", f"room-{n}")
        made = Fleet(
            slack, modelslab, folder, settings_of(slack, modelslab) | {"ALLOWED_USERS": "*", "DATABASE_URL": url} | env
        )
        try:
            yield made
        finally:
            for replica in made.replicas.values():
                await replica.kill()
