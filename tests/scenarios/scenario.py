"""What a scenario is made of: a Slack, a ModelsLab, and the real bot between them, over real sockets."""

import asyncio
import io
import json
import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import aiohttp
import pytest

from bot import logs, settings
from bot.app import App
from bot.handlers.store import Store
from bot.sandbox.modelslab import SandboxModelsLab
from bot.sandbox.slack.service import Ack, SandboxSlack
from bot.sandbox.slack.surfaces import Home
from bot.sandbox.slack.workspace import Message
from bot.sandbox.terminal.screen import ended
from bot.sandbox.wire import JsonObject
from bot.worker.loop import Worker
from tests.secrecy import remember, scan, scan_folder
from tests.times import set_timing

both_modes = pytest.mark.parametrize("mode", ["socket", "http"])
"""For scenarios in which it matters how Slack reaches the bot. All others are in Socket Mode."""

http_mode = pytest.mark.parametrize("mode", ["http"])

ADA, BEN, CEM, EVE = "U0ADA", "U0BEN", "W0CEM", "U0EVE"
"""The first three can reload models, Eve can't."""

MODELS, OPS = "C0MODELS", "C0OPS"

MARK = "ThisIsNobodysBusiness"
"""Is sent by nobody but an attacker, and must stand in no log."""

READY = "should be ready now"
FAILED = "was not reloaded"

_NOW = "(julianday('now') - 2440587.5) * 86400"
_RESTS = (
    f"kind = 'reminder' OR (kind = 'status' AND lease_owner IS NULL AND first_tried_at IS NULL AND due_at > {_NOW})"
)
_SETTLED = f"NOT EXISTS (SELECT 1 FROM reload_model_jobs WHERE NOT ({_RESTS}))"  # noqa: S608 - words of ours
_ENDED = "(SELECT count(*) FROM reload_model_reloads WHERE state = 'done')"
_BUSY = f"kind = 'call' OR lease_owner IS NOT NULL OR due_at <= {_NOW}"
_ONLY_TIME_HAS_TO_PASS = f"SELECT sum(kind = 'notify') AND NOT sum({_BUSY}) FROM reload_model_jobs"  # noqa: S608 - as above

BRISK = {
    "sqlite_busy": 0.3,
    "database_stop": 20.0,
    "answer": 20.0,
    "look": 0.3,
    "gather": 0.01,
    "stop": 0.5,
    "probe": 20.0,
    "exit": 60.0,
    "channel_gap": 0.02,
    "call_retry": 0.05,
    "post_retry": 0.05,
    "post_retry_most": 0.05,
    "bar_pause_most": 600.0,
    "bar_pause_least": 600.0,
    "models_wait": 20.0,
    "start_retry": 0.05,
    "slack_retry": 0.05,
    "slack_retry_most": 0.2,
    "http_linger": 0.3,
    "http_stop": 0.2,
    "home_gather": 0.02,
    "home_per_tab": 0.0,
}
"""Pauses that are not the point of a scenario are shorter; what must come in time gets more of it."""

NEVER_LOGGED = {
    *("background_task_failed", "crashed", "group_reading_failed", "internal_error", "job_crashed"),
    *("outcome_not_recorded", "worker_failed"),
}

T = TypeVar("T")
Record = Mapping[str, object]


def invocation(**fields: object) -> JsonObject:
    """What Slack sends of a command, with these fields besides or instead."""
    return {
        "team_id": "T0SANDBOX",
        "channel_id": MODELS,
        "user_id": ADA,
        "command": "/reload-model",
        "text": "sdxl",
        "response_url": "https://hooks.slack.com/commands/T0SANDBOX/1/x",
        "trigger_id": "1.x",
    } | fields


async def eventually(look: Callable[[], T]) -> T:
    """Look again and again until there is something true to return. Raises TimeoutError."""
    async with asyncio.timeout(30.0):
        while not (found := look()):  # noqa: ASYNC110 - a log, a database and a port ring no bell
            await asyncio.sleep(0.02)
    return found


async def eventually_answered(ask: Callable[[], Awaitable[T]], *, within: float = 30.0) -> T:
    """Ask again and again until the answer is something true. Raises TimeoutError."""
    async with asyncio.timeout(within):
        while not (found := await ask()):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)
    return found


class Log:
    """What the bot logs, line by line."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        """All of it."""
        return self.stream.getvalue()

    @property
    def records(self) -> list[Record]:
        """All of it, read."""
        return [json.loads(line) for line in self.text.splitlines()]

    def of(self, event: str) -> list[Record]:
        """The records of one event."""
        return [record for record in self.records if record["event"] == event]

    async def wait_for(self, event: str, n: int = 1) -> Record:
        """Wait until an event has been logged n times, and return the last record. Raises TimeoutError."""
        return (await eventually(lambda: found if len(found := self.of(event)) >= n else []))[-1]


def settings_of(slack: SandboxSlack, modelslab: SandboxModelsLab) -> dict[str, str]:
    """The settings of a bot that uses these two, in HTTP mode, without limits, and on any free port."""
    return {
        "SLACK_BOT_TOKEN": slack.bot_token,
        "SLACK_SIGNING_SECRET": slack.signing_secret,
        "SLACK_API_URL": slack.api_url,
        "MODELSLAB_API_KEY": modelslab.key,
        "MODELSLAB_URL": modelslab.url,
        "COMMANDS_PER_PERSON": "0",
        "MAX_IN_FLIGHT": "0",
        "RELOAD_SECONDS": "2",
        "LOG_FORMAT": "json",
        "HOST": "127.0.0.1",
        "PORT": "0",
    }


class Scenario:
    """All parts of one scenario. The bot runs from open() to shut()."""

    def __init__(self, slack: SandboxSlack, modelslab: SandboxModelsLab, folder: Path, mode: str) -> None:
        self.slack = slack
        self.modelslab = modelslab
        self.log = Log()
        self.database = folder / "reload-model.db"
        self.mode = mode
        self.env = settings_of(slack, modelslab) | {
            "ALLOWED_USERS": f"{ADA} {BEN} {CEM}",
            "RELOAD_SECONDS": "0.2",
            "DATABASE_URL": f"sqlite:///{self.database}",
        }
        if mode == "socket":
            self.env["SLACK_APP_TOKEN"] = slack.app_token
        remember(self.secrets)
        set_timing(**BRISK)
        self.internal_errors = False
        """Whether the scenario is about internal errors of the bot."""
        self.app: App | None = None
        self.starting: asyncio.Task[None] | None = None
        self._connection: sqlite3.Connection | None = None

    def begin(self, **env: str) -> "asyncio.Task[None]":
        """Begin to start the bot, with these settings besides the usual ones."""
        self.env |= env
        config, problems = settings.read(self.env)
        assert problems == []
        logs.configure("DEBUG", "json", config.secrets, self.log.stream)
        self.app = App(config)
        self.starting = asyncio.create_task(self.app.start())
        return self.starting

    async def open(self, **env: str) -> None:
        """Start the bot, with these settings besides the usual ones. Raises CannotStart."""
        await self.begin(**env)
        if self.mode == "http":
            self.slack.request_url = f"{self.url}/slack/events"

    async def shut(self) -> None:
        """Stop the bot."""
        app, starting, self.app, self.starting = self.app, self.starting, None, None
        if starting is not None:
            starting.cancel()
            await asyncio.wait([starting])
        if app is not None:
            await app.stop()

    async def reopen(self, **env: str) -> None:
        """Stop the bot and start it again, as at a new version's roll-out."""
        await self.shut()
        await self.open(**env)

    @property
    def worker(self) -> Worker:
        """The bot's worker."""
        assert self.app is not None
        return self.app.worker

    @property
    def store(self) -> Store:
        """What the bot's handlers ask of its database."""
        assert self.app is not None
        return self.app.store

    @property
    def secrets(self) -> list[str]:
        """What must be written nowhere."""
        return [self.slack.bot_token, self.slack.app_token, self.slack.signing_secret, self.modelslab.key]

    @property
    def port(self) -> int:
        """The port of the bot's HTTP face."""
        assert self.app is not None
        return self.app.port

    @property
    def url(self) -> str:
        """The address of the bot's HTTP face."""
        return f"http://127.0.0.1:{self.port}"

    async def health(self, path: str) -> tuple[int, Mapping[str, str]]:
        """What /healthz or /readyz answers: the status, and the state of each part."""
        async with aiohttp.request("GET", f"{self.url}{path}") as response:
            parts: Mapping[str, str] = await response.json()
            return response.status, parts

    async def wait_ready(self, status: int = 200, path: str = "/readyz") -> Mapping[str, str]:
        """Wait until /readyz or /healthz answers so, and return the parts that it names."""

        async def look() -> Mapping[str, str]:
            found, parts = await self.health(path)
            return parts if found == status else {}

        return await eventually_answered(look)

    async def ask(self, text: str, user: str = ADA, channel: str = MODELS, **fields: str) -> Ack:
        """Invoke the command, and expect that it is answered in time, privately."""
        ack = await self.slack.command(text, user=user, channel=channel, **fields)
        assert (ack.status, ack.error, ack.response_type) == (200, "", "ephemeral")
        return ack

    async def shown(self, text: str, user: str = ADA, channel: str = MODELS) -> Message:
        """Invoke the command, and return the private message that answers it, with its buttons."""
        message = (await self.ask(text, user, channel)).message
        assert message is not None
        return message

    async def wait_home(self, user: str, *words: str, without: str = "\0") -> Home:
        """Wait until somebody's Home tab shows these words, and not that one. Raises TimeoutError."""

        def shows(home: Home) -> bool:
            text = " ".join(home.texts)
            return all(word in text for word in words) and without not in text

        return await self.slack.wait_home(user, shows)

    async def open_home(self, user: str, *words: str) -> Home:
        """Open somebody's Home tab, and wait until it shows these words. Raises TimeoutError."""
        await self.slack.open_home(user)
        return await self.wait_home(user, *words)

    def said(self, *words: str, channel: str | None = None, user: str | None = None, since: int = 0) -> list[Message]:
        """The messages with these words, in one channel or for one person; without acks and the first `since`."""
        return [
            message
            for message in self.slack.messages[since:]
            if message.via != "ack"
            and channel in (None, message.channel)
            and user in (None, message.user)
            and all(word in message.text for word in words)
        ]

    def ready(self) -> list[str]:
        """Every model that a follow-up has said to be ready, once for each."""
        return [model_id for message in self.said(READY) for model_id in ended(message.text)]

    async def wait_said(self, *words: str, channel: str | None = None, user: str | None = None, n: int = 1) -> Message:
        """Wait until there are n such messages, and return the last one. Raises TimeoutError."""
        await self.slack.wait_until(lambda: len(self.said(*words, channel=channel, user=user)) >= n, within=30.0)
        return self.said(*words, channel=channel, user=user)[-1]

    async def wait_done(self, n: int = 1) -> None:
        """Wait until n reloads have ended, and no job is left but reminders and late edits. Raises TimeoutError."""
        await self.wait_sql(f"SELECT {_SETTLED} AND {_ENDED} >= ?", n)

    async def pass_reloads(self) -> None:
        """Make the follow-ups of running reloads due, once all calls and status messages are done."""
        await self.wait_sql(_ONLY_TIME_HAS_TO_PASS)
        self.end_reloads()

    async def finish_reloads(self, n: int = 1) -> None:
        """Pass running reloads, and wait until n have ended."""
        await self.pass_reloads()
        await self.wait_done(n)

    def end_reloads(self) -> None:
        """Make the follow-ups of running reloads due, whatever else goes on."""
        self.sql("UPDATE reload_model_jobs SET due_at = 0 WHERE kind = 'notify'")
        self.worker.wake()

    def lose_lease(self) -> None:
        """Let another replica take over the jobs that run."""
        self.sql("UPDATE reload_model_jobs SET lease_owner = 'another', fence = fence + 1, due_at = due_at + 3600")

    async def wait_job(self, kind: str) -> None:
        """Wait until a job of this kind is running."""
        await self.wait_sql("SELECT count(*) FROM reload_model_jobs WHERE kind = ? AND lease_owner IS NOT NULL", kind)

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Run one statement on the database, beside the bot."""
        if self._connection is None:
            self._connection = sqlite3.connect(self.database, timeout=5, isolation_level=None)
        return self._connection.execute(statement, values).fetchall()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the bot from writing to its database, as a backup program may."""
        self.sql("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            self.sql("ROLLBACK")

    async def wait_sql(self, statement: str, *values: object) -> None:
        """Wait until a statement finds something true. Raises TimeoutError."""
        await eventually(lambda: any(row[0] for row in self.sql(statement, *values)))

    @property
    def reloads(self) -> list[tuple[object, ...]]:
        """Each reload's model, state, and why it failed."""
        return self.sql("SELECT model_id, state, failure FROM reload_model_reloads ORDER BY requested_at")

    @property
    def last_id(self) -> str:
        """The ID of the reload that was requested last."""
        (((id_,),)) = self.sql("SELECT id FROM reload_model_reloads ORDER BY requested_at DESC LIMIT 1")
        return str(id_)

    def check(self) -> None:
        """No secret shows anywhere, there was no internal error, and only a follow-up says "now"."""
        if self._connection is not None:
            self._connection.close()
        scan("the log", self.log.text)
        scan("a message", repr(self.slack.messages))
        scan_folder(self.database.parent)
        assert [record for record in self.log.records if record.get("logger") == "asyncio"] == []
        assert not [record for record in self.log.records if {*map(str, record.values())} & {"", "None", "[]"}]
        errors = [record for record in self.log.records if record["event"] in NEVER_LOGGED or "exception" in record]
        assert self.internal_errors == bool(errors), errors
        for message in self.slack.messages:
            assert not any(READY in text for text in message.edits)
            if READY in message.text:
                assert message.via in ("api", "dm", "response_url")
            if message.via in ("api", "dm", "response_url"):
                blocks = [block["text"]["text"] for block in message.blocks if isinstance(block.get("text"), dict)]
                said = " ".join(blocks).split()
                assert message.text.split()[: len(said)] == said, "the text says what the blocks say"


def labels(source: Message | Home) -> list[str]:
    """The labels of the buttons there, from top to bottom."""
    return [button.text for button in source.buttons]


def mentioned(text: str) -> list[str]:
    """Whom a text mentions, in order."""
    return re.findall(r"<@(\w+)>", text)
