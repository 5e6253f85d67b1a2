"""The whole bot: builds the parts from Settings, starts and stops them in order. Decides nothing else."""

import asyncio
import errno
import secrets
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

import aiohttp
import structlog
from slack_bolt.async_app import AsyncApp

from bot import __version__
from bot.core.access import Allowlist, Home
from bot.core.clock import SteadyClock
from bot.errors import CannotStart, DatabaseUnavailable, SlackError, SlackRetryableError
from bot.handlers import bolt, buttons, commands, errors, home_tab, picker
from bot.handlers.access import Access
from bot.handlers.audit_trail import AuditTrail
from bot.handlers.home_tab import HomeTabs, Pace
from bot.handlers.picker import Picker
from bot.handlers.replies import Replies
from bot.modelslab.catalog import Catalog
from bot.modelslab.client import ModelsLab
from bot.ops.health import add_health, add_metrics
from bot.ops.logging import Redactor
from bot.ops.metrics import Metrics
from bot.proxy import proxy_to
from bot.settings import Settings
from bot.slack.client import CALL_SECONDS, TOKEN_FAULTS, BoundedResponse, SlackClient, quiet
from bot.slack.http import BODY_SECONDS, SlackEndpoint
from bot.slack.manifest import EVENTS_PATH
from bot.slack.server import ServerTiming, WebServer
from bot.slack.socket_mode import SocketMode, SocketTiming
from bot.slack.user_groups import UserGroups, reading
from bot.storage.database import Database
from bot.storage.store import Limits, Store
from bot.worker.delivery import Delivery
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

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the parts wait."""

    body_seconds: float = BODY_SECONDS
    server: ServerTiming = field(default_factory=ServerTiming)
    socket_mode: SocketTiming = field(default_factory=SocketTiming)
    home_tabs: Pace = field(default_factory=Pace)


class Service:
    """One process of the bot."""

    def __init__(self, settings: Settings, timing: Timing = Timing()) -> None:
        self._settings = settings
        self._timing = timing
        self._closing = AsyncExitStack()
        clock = SteadyClock()
        self._groups = UserGroups(settings.allowed_groups, clock)
        self._allowlist = Allowlist(settings.allowed_users, settings.allowed_channels, self._groups.members)
        self._database = Database(settings.database_url, clock)
        # To PostgreSQL askings have a connection of their own: a commit takes milliseconds there, and who asks would
        # wait for that of the loop. SQLite has one writer.
        sqlite = self._database.sqlite
        self._asking = self._database if sqlite else Database(settings.database_url, clock)
        limits = Limits(settings.commands_per_person, settings.max_in_flight)
        self._store = Store(self._database, secrets.token_hex(8), limits, asking=self._asking)
        self._web = WebServer(settings.host, settings.port, timing.server)
        self._admin = WebServer(settings.host, settings.admin_port, timing.server) if settings.admin_port else None
        self._metrics = Metrics(read=self._admin is not None)
        self._desk: Worker | None = None
        self._loop: asyncio.Task[None] | None = None  # asyncio itself would not keep it

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
        for database in dict.fromkeys((self._database, self._asking)):
            self._at_stop(database.stop)
            await database.start()
        slack, desk = self._build()
        self._keep_reading(slack)
        app = self._bolt_app(slack, desk)
        socket = self._socket_mode(app, slack) if settings.socket_mode else None
        await self._listen(app, slack, desk, socket)
        opened_at = await self._open()
        self._desk = desk
        self._loop = asyncio.create_task(desk.run(opened_at))
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

    def _at_stop(self, stop: Callable[[], Awaitable[object]]) -> None:
        self._closing.push_async_callback(stop)

    # --- building -----------------------------------------------------------------------------------

    def _build(self) -> tuple[SlackClient, Worker]:
        """Make what needs the running event loop."""
        settings = self._settings
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
        by_proxy = proxy_to(settings.slack_api_url)
        to_slack = aiohttp.ClientSession(timeout=timeout, proxy=by_proxy, response_class=BoundedResponse)
        # Undecoded, so that the bytes of an answer that are read are the bytes that are counted.
        to_modelslab = aiohttp.ClientSession(proxy=proxy_to(settings.modelslab_url), auto_decompress=False)
        self._at_stop(to_slack.close)
        self._at_stop(to_modelslab.close)
        slack = SlackClient(to_slack, settings.slack_bot_token, settings.slack_api_url, self._metrics.posting)
        redact = Redactor(settings.secrets)
        modelslab = ModelsLab(to_modelslab, settings.modelslab_url, settings.modelslab_api_key, redact)
        self._catalogue = Catalog(modelslab.models, self._store.known_models)
        self._at_stop(self._catalogue.stop)
        desk = Worker(
            self._store,
            modelslab,
            Delivery(slack),
            nearest=self._catalogue.nearest,
            reload_seconds=settings.reload_seconds,
            concurrency=settings.modelslab_concurrency,
            history_days=settings.history_days,
            metrics=self._metrics,
        )
        return slack, desk

    def _bolt_app(self, slack: SlackClient, worker: Worker) -> AsyncApp:
        """The Bolt app with all its listeners. The command's comes first: Bolt asks them one after another."""
        access, audit = Access(self._allowlist), AuditTrail(worker, self._metrics)
        home_tabs = HomeTabs(slack, worker, self._allowlist, self._timing.home_tabs)
        replies = Replies(slack, home_tabs)
        opener = Picker(replies, self._catalogue, self._allowlist)
        worker.on_change = home_tabs.changed
        app = bolt.new_app(slack.client, quiet("slack_bolt.app"))
        commands.register(app, access, worker, audit, opener)
        buttons.register(app, access, worker, audit, replies, opener)
        picker.register(app, access, worker, audit, opener)
        home_tab.register(app, home_tabs)
        errors.register(app, audit, replies)
        for part in (home_tabs, replies):
            self._at_stop(part.stop)
        return app

    def _socket_mode(self, app: AsyncApp, slack: SlackClient) -> SocketMode:
        token, timing = self._settings.slack_app_token, self._timing.socket_mode
        return SocketMode(slack.client, token, partial(bolt.dispatch, app), timing)

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
        add_health(operators.app, "/healthz", self._health(desk))
        add_health(operators.app, "/readyz", self._readiness(slack, socket))
        if socket is None:
            secret, dispatch = self._settings.slack_signing_secret, partial(bolt.dispatch, app)
            endpoint = SlackEndpoint(secret, dispatch, body_seconds=self._timing.body_seconds)
            self._web.app.router.add_post(EVENTS_PATH, endpoint.handle)
        if self._admin is not None:
            add_metrics(self._admin.app, "/metrics", self._scrape(desk))
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
                return await self._store.open()
            except DatabaseUnavailable as away:
                if self._database.sqlite and "locked" not in str(away):
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
                in_flight = (await desk.in_flight(0))[1]
            return self._metrics.text(in_flight=in_flight, still=_still(desk))

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
        if self._loop is None:  # before that there may be no tables
            return self._asking.fault or "not open yet"
        try:
            await self._store.touch(PROBE_SECONDS)
        except DatabaseUnavailable:
            return self._asking.fault or "away"
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


def _home(answer: Mapping[str, object]) -> tuple[Home, str]:
    """Whose token it is, and the bot's own id. Raises SlackRetryableError where no workspace is named."""
    team, enterprise, bot = (answer.get(name) or "" for name in ("team_id", "enterprise_id", "user_id"))
    if not (isinstance(team, str) and isinstance(enterprise, str) and team):
        raise SlackRetryableError("no_sense")
    return Home(team, enterprise), str(bot)


def _still(desk: Worker) -> float:
    """Seconds since the loop turned; 0 before it has begun."""
    return monotonic() - desk.turned_at if desk.turned_at else 0.0
