"""Builds the parts from the settings, starts them in order, and stops them."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

import aiohttp
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from slack_bolt.async_app import AsyncApp

from bot import __version__, metrics
from bot.background import BackgroundTasks, DaemonThreads
from bot.core import timing
from bot.core.access import Allowlist, Workspace
from bot.core.retry import Backoff
from bot.errors import CannotStart, DatabaseUnavailable, SlackError, SlackRetryableError
from bot.handlers import bolt, buttons, commands, grants, home_tab, picker
from bot.handlers.access import Access
from bot.handlers.home_tab import HomeTabs
from bot.handlers.picker import Picker
from bot.handlers.store import Store
from bot.modelslab.catalog import Catalog
from bot.modelslab.client import ModelsLab
from bot.settings import Settings
from bot.slack.client import CALL_SECONDS, TOKEN_FAULTS, SlackClient
from bot.slack.http import SlackEndpoint, WebServer
from bot.slack.manifest import EVENTS_PATH
from bot.slack.socket_mode import SocketMode
from bot.slack.user_groups import UserGroups, read_members
from bot.storage import history, jobs
from bot.storage.database import Database
from bot.storage.engines import sqlite
from bot.storage.engines.faults import fix_for
from bot.storage.grants import show_to_new_admins
from bot.storage.requests import Limits
from bot.worker.delivery import Delivery, Pacer
from bot.worker.jobs import Jobs
from bot.worker.loop import Worker

log = structlog.get_logger(__name__)


class App:
    """One process of the bot. It has to be created in a running event loop."""

    def __init__(self, settings: Settings) -> None:
        """Raises CannotStart."""
        self._settings = settings
        self._opened = False
        self._probe: asyncio.Task[str] | None = None
        self._background = BackgroundTasks()
        self._writes = BackgroundTasks()  # which no answer waits for, but a stop
        self._closing = AsyncExitStack()
        self._database = Database(settings.database_url)
        self._closing.push_async_callback(self._database.stop)
        self._slack = SlackClient(self._session(timeout=aiohttp.ClientTimeout(total=CALL_SECONDS)), settings)
        self._user_groups = UserGroups(settings.allowed_groups)
        self._allowlist = Allowlist(
            settings.allowed_users, settings.allowed_channels, self._user_groups.members, settings.admin_users
        )
        limits = Limits(settings.commands_per_person, settings.max_in_flight)
        self.store = Store(self._database, limits, settings.reload_seconds, self._writes)
        self._access = Access(self._allowlist, self.store)
        self._home_tabs = HomeTabs(self._slack, self._access, settings.slash_command, self._background)
        # Without decompression, so that the limit counts the bytes that are read.
        proxy = settings.proxy_for(settings.modelslab_url)
        modelslab = ModelsLab(self._session(proxy=proxy, auto_decompress=False), settings)
        self._catalog = Catalog(
            lambda limit: self._database.run(history.known_models, limit, within=timing.ANSWER),
            modelslab.own_models,
            modelslab.public_models,
            self._background,
        )
        delivery = Delivery(self._slack, Pacer(), broadcast=settings.follow_up == "channel")
        runner = Jobs(modelslab, delivery, self._catalog.nearest, settings.reload_seconds, self._allowlist)
        self.worker = Worker(
            self._database, runner, settings.modelslab_concurrency, settings.history_days, self._home_tabs.changed
        )
        self.store.on_change = (self.worker.wake, self._home_tabs.changed)
        self._dispatch = partial(bolt.dispatch, self._bolt_app())
        self._socket = SocketMode(self._slack, settings, self._dispatch) if settings.socket_mode else None
        self._web = WebServer(settings.host, settings.port, metrics.request_refused)
        self._admin = WebServer(settings.host, settings.admin_port) if settings.admin_port else None
        self._add_routes()
        self._closing.push_async_callback(self._background.stop)
        self._closing.push_async_callback(self._writes.stop, timing.HTTP_STOP)
        for part in (self._admin, self._web, self._socket):
            if part is not None:
                self._closing.push_async_callback(part.stop)

    @property
    def port(self) -> int:
        """The port in use for Slack and, without ADMIN_PORT, for health."""
        return self._web.port

    async def start(self) -> None:
        """Start, and return when commands are taken.

        If something is unavailable, wait for it and log that. Raises CannotStart if waiting can't help; close() then
        stops what has been started.
        """
        await self._database.start()
        read = partial(read_members, self._slack, apart=timing.GROUPS_APART)
        self._background.start(self._user_groups.run(read))
        if self._admin is not None:
            await self._admin.start("ADMIN_PORT")
        await self._web.start()
        started_at = await self._open_database()
        self._opened = True
        self.worker.start(started_at)
        if self._settings.admin_users:
            self._background.start(self._show_to_new_admins())
        self._allowlist.workspace = await self._sign_in()
        if self._socket is not None:
            await self._socket.connect()
        log.info("ready", version=__version__, mode="socket" if self._socket else "http", port=self.port)

    async def stop(self, *, drain: float = 0.0) -> None:
        """Stop as close() does, and log it.

        For drain seconds at least, the port still takes commands while /readyz says that the process is stopping. They
        are committed as usual, and another replica or the next start carries them out.
        """
        log.info("stopping")
        self._web.closing = True
        await self.close(drain=drain)
        log.info("stopped")

    async def close(self, *, drain: float = 0.0) -> None:
        """Stop the worker, then the other parts in reverse order: Slack's connection, the ports, the database."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timing.EXIT):
                await asyncio.gather(self.worker.stop(), asyncio.sleep(drain))
                await self._closing.aclose()

    async def _open_database(self) -> float:
        """Create or upgrade the tables, waiting for as long as the database is unavailable. Returns the time now.

        Raises CannotStart if waiting can't help.
        """
        pauses = Backoff(timing.START_RETRY, timing.START_RETRY_MOST)
        while True:
            try:
                return await self._database.run(jobs.open_database)
            except DatabaseUnavailable as error:
                what, fix = "PostgreSQL", fix_for(error)
                if self._database.is_sqlite:
                    path = sqlite.sqlite_file(self._database.url)
                    what, fix = "the SQLite file", sqlite.fix_for(path, str(error))
                if fix is not None:
                    raise CannotStart("DATABASE_URL", f"can't use {what} ({error})", fix) from error
            await asyncio.sleep(pauses.pause())

    async def _sign_in(self) -> Workspace:
        """Ask Slack which workspace or organisation the token is for, waiting for as long as Slack is unavailable.

        Raises CannotStart if Slack rejects the token. https://docs.slack.dev/reference/methods/auth.test
        """
        pauses = Backoff(timing.SLACK_RETRY, timing.SLACK_RETRY_MOST)
        while True:
            try:
                answer = await self._slack.call("auth.test")
                team, enterprise = answer.get("team_id") or "", answer.get("enterprise_id") or ""
                if not (isinstance(team, str) and isinstance(enterprise, str) and (team or enterprise)):
                    raise SlackRetryableError("no_sense")
            except SlackError as error:
                if error.code in TOKEN_FAULTS:
                    fix = "copy it again from OAuth & Permissions on your app's page"
                    raise CannotStart("SLACK_BOT_TOKEN", f"Slack rejects it ({error.code})", fix) from error
                wait = pauses.pause(error.wait)
                log.warning("slack_unavailable", reason=error.code, host=error.host, retry_in=round(wait, 1))
            else:
                log.info("signed_in", team=team or enterprise, bot=answer.get("user_id"))
                return Workspace(team, enterprise)
            await asyncio.sleep(wait)

    async def _show_to_new_admins(self) -> None:
        admins, channel = self._settings.admin_users, self._settings.admin_channel
        while True:
            with suppress(DatabaseUnavailable):
                await self._database.run(show_to_new_admins, admins, channel)
                return
            await asyncio.sleep(timing.START_RETRY_MOST)

    def _session(self, **options: Any) -> aiohttp.ClientSession:  # noqa: ANN401 - aiohttp's own
        """A session with a connection for each call, and without cookies.

        If a connection were reused, aiohttp would take late bytes from a faulty gateway for the next answer.
        """
        connector = aiohttp.TCPConnector(force_close=True)
        session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), **options)
        self._closing.push_async_callback(session.close)
        return session

    def _bolt_app(self) -> AsyncApp:
        """The Bolt app with all its listeners. The command comes first, because Bolt tries them in order."""
        access, background, command = self._access, self._background, self._settings.slash_command
        opener = Picker(self._slack, self._catalog, self._allowlist, background, command)
        presses = buttons.Presses(self._slack, self._home_tabs, background, command)
        app = bolt.new_app(access, command)
        commands.register(app, access, opener, commands.Mentions(self._slack, background, command), command)
        buttons.register(app, access, opener, presses)
        picker.register(app, access, opener)
        grants.register_requests(app, access, presses, self._settings.admin_channel)
        grants.register_list(app, access, opener, presses)
        home_tab.register(app, self._home_tabs)
        return app

    def _add_routes(self) -> None:
        """Add what the ports answer. In Socket Mode, payloads don't come this way, so there is no path for them."""
        operators = self._admin or self._web
        operators.app.router.add_get("/healthz", partial(answer_health, self._health))
        operators.app.router.add_get("/readyz", partial(answer_health, self._readiness))
        if self._admin is not None:
            self._admin.app.router.add_get("/metrics", self._scrape)
        if self._socket is None:
            endpoint = SlackEndpoint(self._settings.slack_signing_secret, self._dispatch)
            self._web.app.router.add_post(EVENTS_PATH, endpoint.handle)

    async def _health(self) -> Mapping[str, str]:
        """Whether the worker is alive. Until the worker starts, it counts as alive, but not as ready."""
        idle = self.worker.idle_seconds
        return {"worker": "ok" if idle < timing.STUCK else f"stuck for {idle:.0f} s"}

    async def _readiness(self) -> Mapping[str, str]:
        """Whether a command would be taken and carried out now."""
        signed_in = self._allowlist.workspace is not None
        connected = signed_in if self._socket is None else self._socket.connected
        parts = {
            "database": await self._database_state(),
            "worker": self.worker.fault or (await self._health())["worker"],
            "slack": "ok" if connected else "not connected",
            "token": self._slack.token_fault or ("ok" if signed_in else "not checked yet"),
        }
        return parts | ({"process": "stopping"} if self._web.closing else {})

    async def _database_state(self) -> str:
        """Whether the database would record a request now. One that is locked or full can still be read."""
        if not self._opened:  # before that there may be no tables
            return self._database.fault or "not open yet"
        if self._probe is None or self._probe.done():  # one probe for all who ask
            self._probe = asyncio.create_task(self._probe_database())
        return await asyncio.shield(self._probe)

    async def _probe_database(self) -> str:
        try:
            await self._database.run(history.touch, within=timing.PROBE)
        except DatabaseUnavailable as error:
            return str(error)
        return "ok"

    async def _scrape(self, _request: web.Request) -> web.Response:
        """The metrics, as Prometheus reads them."""
        metrics.WORKER_IDLE.set(self.worker.idle_seconds)
        metrics.IN_FLIGHT.set(float("nan"))
        with suppress(DatabaseUnavailable):
            metrics.IN_FLIGHT.set(await self._database.run(history.in_flight_count, within=timing.ANSWER))
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def answer_health(health: Callable[[], Awaitable[Mapping[str, str]]], _request: web.Request) -> web.Response:
    """The state of each part, "ok" or what is wrong with it: 200 if each is "ok", otherwise 503."""
    parts = await health()
    ok = all(state == "ok" for state in parts.values())
    return web.json_response({"status": "ok" if ok else "unavailable", **parts}, status=200 if ok else 503)


async def run(settings: Settings) -> None:
    """Run the bot until SIGTERM or SIGINT. Raises CannotStart."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(DaemonThreads())
    app = App(settings)
    stop_signal = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_signal.set)
    starting = asyncio.create_task(app.start())
    stopping = asyncio.create_task(stop_signal.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done() and starting.exception() is not None:
        await app.close()
        starting.result()
    await stopping
    starting.cancel()
    await app.stop(drain=0.0 if settings.socket_mode else timing.DRAIN)
