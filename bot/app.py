"""The whole bot: builds the parts from Settings, starts and stops them in order. Decides nothing else."""

import asyncio
import errno
import json
import secrets
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from time import monotonic
from urllib.parse import urlsplit

import aiohttp
import structlog
from aiohttp import web
from slack_bolt.async_app import AsyncApp

from bot import __version__
from bot.core.access import Allowlist, Home
from bot.core.clock import SteadyClock
from bot.core.timing import Timing
from bot.errors import CannotStart, DatabaseUnavailable, SlackError, SlackRetryableError
from bot.handlers.bolt import build, dispatch
from bot.handlers.home_tab import HomeTabs
from bot.handlers.listener import Listener
from bot.modelslab.catalog import Catalog
from bot.modelslab.client import ModelsLab
from bot.ops.logging import Redactor
from bot.ops.metrics import Metrics
from bot.settings import Settings
from bot.slack.client import CALL_SECONDS, TOKEN_FAULTS, BoundedResponse, SlackClient, quiet
from bot.slack.http import SlackDoor, WebServer
from bot.slack.manifest import EVENTS_PATH
from bot.slack.payloads import Request
from bot.slack.socket_mode import SocketMode
from bot.slack.user_groups import UserGroups, reading
from bot.storage.database import Database
from bot.storage.history import touch
from bot.storage.jobs import open_database
from bot.storage.requests import Limits
from bot.storage.store import Store
from bot.urls import is_loopback
from bot.worker.delivery import Delivery, Pacer
from bot.worker.jobs import Jobs
from bot.worker.loop import Worker

RETRY_SECONDS = 3.0
"""Between two attempts to reach what is away at the start."""

STUCK_SECONDS = 15.0
"""After which a loop that has not turned is said to be stuck."""

PROBE_SECONDS = 1.0
"""In which the database must take a transaction to be called well."""

DRAIN_SECONDS = 2.0
"""How long the port stays open in HTTP mode once the bot is told to stop, so that a balancer can see it go."""

EXIT_SECONDS = 7.5
"""After which stopping is over, whatever still hangs: Docker kills 10 s after its signal."""

_NOT_OURS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What the system says of an address that is another machine's, or of a kind that it does not have."""

_SLACK_HOSTS = ("slack.com", "slack-gov.com")

log = structlog.get_logger(__name__)


class Service:
    """One process of the bot."""

    def __init__(self, settings: Settings, timing: Timing = Timing()) -> None:
        self._settings = settings
        self._timing = timing
        self._closing = AsyncExitStack()
        clock = SteadyClock()
        self._groups = UserGroups(settings.allowed_groups, clock)
        self._allowlist = Allowlist(settings.allowed_users, settings.allowed_channels, self._groups.members)
        self._database = Database(settings.database_url, clock, timing)
        limits = Limits(settings.commands_per_person, settings.max_in_flight)
        self._store = Store(self._database, limits, timing, self._wake)
        self._web = WebServer(settings.host, settings.port)
        self._admin = WebServer(settings.host, settings.admin_port) if settings.admin_port else None
        self._metrics = Metrics()
        self._desk: Worker | None = None

    @property
    def port(self) -> int:
        """The port that the HTTP face listens on."""
        return self._web.port

    async def start(self) -> None:
        """Start the parts in the order in which they need each other, and return when commands are taken.

        What is away is waited for, and said to be away. Raises CannotStart for what waiting does not mend: then,
        as ever, stop() ends what had been started.
        """
        settings = self._settings
        self._at_stop(self._database.stop)
        await self._database.start()
        slack, desk = self._build()
        self._keep_reading(slack)
        listener = self._listener(slack)
        app = build(slack.client, self._allowlist, listener.answer, quiet("slack_bolt.app"))
        socket = None
        if settings.socket_mode:
            socket = SocketMode(slack.client, settings.slack_app_token, _to_ack(app), settings.proxy_for)
        await self._listen(app, slack, desk, socket)
        opened_at = await self._open()
        self._desk = desk
        desk.start(opened_at)
        self._allowlist.home = await self._who_am_i(slack)
        if socket is not None:
            await socket.connect()
        log.info("ready", version=__version__, mode="socket" if socket else "http", port=self.port)

    async def stop(self, *, drain: float = 0.0) -> None:
        """Stop the parts, the last started first: what is in hand, Slack's connection, the port, the database.

        For drain seconds at least the port still takes commands, and /readyz says that it is about to close: what
        comes in then is committed as ever, and carried on by another replica or by the next start.
        """
        log.info("stopping")
        self._web.closing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(EXIT_SECONDS):
                if self._desk is not None:
                    await asyncio.gather(self._desk.stop(), asyncio.sleep(drain))
                await self._closing.aclose()
        log.info("stopped")

    def _wake(self) -> None:
        if self._desk is not None:
            self._desk.wake()

    def _at_stop(self, stop: Callable[[], Awaitable[object]]) -> None:
        self._closing.push_async_callback(stop)

    # --- building -----------------------------------------------------------------------------------

    def _build(self) -> tuple[SlackClient, Worker]:
        """Make what needs the running event loop."""
        settings = self._settings
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
        to_slack = aiohttp.ClientSession(timeout=timeout, response_class=BoundedResponse)
        # Undecoded, so that the bytes of an answer that are read are the bytes that are counted.
        to_modelslab = aiohttp.ClientSession(proxy=settings.proxy_for(settings.modelslab_url), auto_decompress=False)
        self._at_stop(to_slack.close)
        self._at_stop(to_modelslab.close)
        slack = SlackClient(
            to_slack, settings.slack_bot_token, settings.slack_api_url, self._metrics, settings.proxy_for
        )
        redact = Redactor(settings.secrets)
        modelslab = ModelsLab(to_modelslab, settings.modelslab_url, settings.modelslab_api_key, redact)
        self._catalogue = Catalog(modelslab.models, self._store.known_models)
        self._at_stop(self._catalogue.stop)
        jobs = Jobs(
            modelslab,
            Delivery(slack, Pacer(monotonic, self._timing.channel_gap)),
            self._catalogue.nearest,
            self._metrics,
            settings.reload_seconds,
            self._timing,
        )
        desk = Worker(
            self._database,
            secrets.token_hex(8),
            jobs,
            self._metrics,
            calls_at_once=settings.modelslab_concurrency,
            history_days=settings.history_days,
            timing=self._timing,
        )
        return slack, desk

    def _listener(self, slack: SlackClient) -> Listener:
        homes = HomeTabs(slack, self._store, self._settings.reload_seconds, self._allowlist)
        may_respond = _trusted_hosts(self._settings.slack_api_url)
        listener = Listener(
            self._allowlist,
            self._store,
            self._settings.reload_seconds,
            slack,
            self._catalogue,
            homes,
            may_respond,
            self._metrics,
        )
        for part in (homes, listener):
            self._at_stop(part.stop)
        return listener

    def _keep_reading(self, slack: SlackClient) -> None:
        """Read the user groups, of which there may be none. Nobody waits for them: unread they admit nobody."""
        task = asyncio.create_task(self._groups.run(reading(slack)))

        async def stop() -> None:
            task.cancel()
            await asyncio.wait([task])

        self._at_stop(stop)

    async def _listen(self, app: AsyncApp, slack: SlackClient, desk: Worker, socket: SocketMode | None) -> None:
        """Open the ports. In Socket Mode Slack's events do not come this way, so there is no path for them."""
        operators = self._admin or self._web
        operators.add_health("/healthz", self._health(desk))
        operators.add_health("/readyz", self._readiness(slack, socket))
        if socket is None:
            door = SlackDoor(self._settings.slack_signing_secret, _to_response(app))
            self._web.app.router.add_post(EVENTS_PATH, door.handle)
        if self._admin is not None:
            self._admin.add_metrics("/metrics", self._scrape(desk))
            self._at_stop(self._admin.stop)
        self._at_stop(self._web.stop)
        if socket is not None:
            self._at_stop(socket.close)
        if self._admin is not None:
            await self._open_port("ADMIN_PORT", self._admin)
        await self._open_port("PORT", self._web)

    async def _open_port(self, setting: str, server: WebServer) -> None:
        try:
            await server.start()
        except (OSError, ValueError) as error:  # ValueError: a name that no name server can be asked for
            host, why = self._settings.host, error.strerror if isinstance(error, OSError) else "no host's name"
            if isinstance(error, ValueError | socket.gaierror) or error.errno in _NOT_OURS:
                mend = "give an address of this machine, or 0.0.0.0 for all of them"
                raise CannotStart(f"HOST: cannot listen at {host} ({why}): {mend}") from error
            raise CannotStart(f"{setting}: cannot listen on {server.port} ({why}): give a free one") from error

    # --- reaching what is outside -------------------------------------------------------------------

    async def _open(self) -> float:
        """Make the tables ready, however long the database takes to come."""
        while True:
            try:
                return await self._database.run(open_database)
            except DatabaseUnavailable as away:
                if self._database.is_sqlite and "locked" not in str(away):
                    raise CannotStart(f"DATABASE_URL: the SQLite file cannot be used: {away}") from away
                log.warning("database_away", again_in=RETRY_SECONDS)
            await asyncio.sleep(RETRY_SECONDS)

    async def _who_am_i(self, slack: SlackClient) -> Home:
        """Ask Slack whose token this is, however long it is away: https://docs.slack.dev/reference/methods/auth.test."""
        while True:
            try:
                home, bot = _home(await slack.call("auth.test"))
            except SlackError as failed:
                if failed.code in TOKEN_FAULTS:
                    raise CannotStart(
                        f"SLACK_BOT_TOKEN: Slack refuses it ({failed.code}): copy it again from the app's page, "
                        "OAuth & Permissions"
                    ) from failed
                log.warning("slack_away", part="auth.test", code=failed.code, again_in=RETRY_SECONDS)
            else:
                log.info("signed_in", team=home.team_id, bot=bot)
                return home
            await asyncio.sleep(RETRY_SECONDS)

    # --- health -------------------------------------------------------------------------------------

    def _health(self, desk: Worker) -> Callable[[], Awaitable[Mapping[str, str]]]:
        async def health() -> Mapping[str, str]:
            """Whether the loop turns; before it has begun, that is for /readyz to say."""
            still = _still(desk)
            return {"loop": "ok" if still < STUCK_SECONDS else f"has not turned for {still:.0f} s"}

        return health

    def _scrape(self, desk: Worker) -> Callable[[], Awaitable[bytes]]:
        async def scrape() -> bytes:
            in_flight = float("nan")
            with suppress(DatabaseUnavailable):
                in_flight = (await self._store.in_flight(0))[1]
            return self._metrics.text(in_flight=in_flight, idle=_still(desk))

        return scrape

    def _readiness(self, slack: SlackClient, socket: SocketMode | None) -> Callable[[], Awaitable[Mapping[str, str]]]:
        async def readiness() -> Mapping[str, str]:
            """Whether a command would be taken now."""
            signed_in = self._allowlist.home is not None
            connected = signed_in if socket is None else await socket.connected()
            parts = {
                "database": await self._database_state(),
                "slack": "ok" if connected else "not connected",
                "token": slack.token_fault or ("ok" if signed_in else "not checked yet"),
            }
            return parts | ({"process": "stopping"} if self._web.closing else {})

        return readiness

    async def _database_state(self) -> str:
        """Whether the database would take a command's row now: readers find a file well that is locked or full."""
        if self._desk is None:  # before that there may be no tables
            return self._database.fault or "not open yet"
        try:
            await self._database.run(touch, within=PROBE_SECONDS)
        except DatabaseUnavailable:
            return self._database.fault or "away"
        return "ok"


async def run(settings: Settings) -> None:
    """Run the bot until SIGTERM or SIGINT. Raises CannotStart."""
    service = Service(settings)
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    starting = asyncio.create_task(service.start())
    stopping = asyncio.create_task(told_to_stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await stopping
    finally:
        starting.cancel()
        stopping.cancel()
        await service.stop(drain=0.0 if settings.socket_mode else DRAIN_SECONDS)


# --- between Bolt and the two ways in -------------------------------------------------------------------


def _to_response(app: AsyncApp) -> Callable[[Request], Awaitable[web.Response]]:
    async def answer(request: Request) -> web.Response:
        response = await dispatch(app, request)
        content_type = response.first_headers().get("content-type", "text/plain").partition(";")[0]
        return web.Response(status=response.status, text=response.body, content_type=content_type)

    return answer


def _to_ack(app: AsyncApp) -> Callable[[Request], Awaitable[dict[str, object] | None]]:
    async def answer(request: Request) -> dict[str, object] | None:
        response = await dispatch(app, request)
        content: object = json.loads(response.body) if response.body.startswith("{") else None
        return content if isinstance(content, dict) else None

    return answer


def _trusted_hosts(api_url: str) -> Callable[[str], bool]:
    """A response_url is sent messages only on Slack's hosts, or on the configured API's."""
    api = urlsplit(api_url)

    def trusted(url: str) -> bool:
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        host = parts.hostname or ""
        if parts.scheme == "http":
            return is_loopback(host) and is_loopback(api.hostname or "")
        of_slack = any(host == known or host.endswith(f".{known}") for known in _SLACK_HOSTS)
        return parts.scheme == "https" and (of_slack or host == api.hostname)

    return trusted


def _home(answer: Mapping[str, object]) -> tuple[Home, str]:
    """Whose token it is, and the bot's own id. Raises SlackRetryableError where no workspace is named."""
    team, enterprise, bot = (answer.get(name) or "" for name in ("team_id", "enterprise_id", "user_id"))
    if not (isinstance(team, str) and isinstance(enterprise, str) and team):
        raise SlackRetryableError("no_sense")
    return Home(team, enterprise), str(bot)


def _still(desk: Worker) -> float:
    """Seconds since the loop turned; 0 before it has begun."""
    return monotonic() - desk.turned_at if desk.turned_at else 0.0
