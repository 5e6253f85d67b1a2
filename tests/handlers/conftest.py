"""The Bolt app with all its listeners, between a storage and a Slack that record what they are asked for."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from slack_bolt.async_app import AsyncApp
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot.core.access import Allowlist, Home
from bot.core.models import HomeData, ListedReload, Reload, Reminder, State, Subscriber
from bot.core.timing import Timing
from bot.errors import SlackError
from bot.handlers import bolt, buttons, commands, errors, home_tab, picker
from bot.handlers.access import Access
from bot.handlers.audit_trail import AuditTrail
from bot.handlers.home_tab import HomeTabs
from bot.handlers.picker import Picker
from bot.handlers.replies import Replies
from bot.handlers.requests import Requests
from bot.modelslab.catalog import Catalog
from bot.slack.client import SlackClient, quiet
from bot.storage import history
from bot.storage.database import Database
from bot.storage.requests import Limits, Request, Requested

ADA, EVE = "U0ADA", "U0EVE"
MODELS = "C0MODELS"
URL = "https://hooks.slack.com/actions/T0HOME/1/abc"

RELOAD = Reload("r4x7", "sdxl", State.REQUESTED, 1_700_000_000.0)
FIRST = Subscriber(1, RELOAD.id, ADA, MODELS, RELOAD.requested_at)


class RecordingSlack(SlackClient):
    """Takes every call, and sends nothing; failing is how the next calls fail."""

    failing: SlackError | None = None

    def __init__(self) -> None:
        self.calls: list[tuple[str, Mapping[str, object]]] = []

    async def call(self, method: str, **fields: object) -> Mapping[str, object]:
        """Record it."""
        self.calls.append((method, fields))
        if self.failing is not None:
            raise self.failing
        return {}

    async def respond(self, response_url: str, **fields: object) -> None:
        """Record it."""
        await self.call("response_url", url=response_url, **fields)


class FakeDatabase(Database):
    """A database in which every reload is new; failing is how the next transactions fail."""

    def __init__(self) -> None:
        self.failing: Exception | None = None
        self.over = False
        self.count = 0
        """How many reloads are running."""
        self.asked: list[Request] = []
        self.notes: list[history.Note] = []

    async def run(  # type: ignore[override]
        self,
        work: Callable[..., Any],
        *args: Any,  # noqa: ANN401
        within: float | None = None,
    ) -> Any:  # noqa: ANN401
        """Answer as the function would."""
        assert within is not None
        if work is history.add_note:
            self.notes.append(args[0])
            return None
        if self.failing is not None:
            raise self.failing
        answer: Callable[..., Any] = getattr(self, f"_{work.__name__}")
        return answer(*args)

    def _ask(self, request: Request, _limits: Limits) -> Requested:
        self.asked.append(request)
        state = State.DONE if self.over else State.REQUESTED
        return Requested(replace(RELOAD, model_id=request.model_id, state=state), FIRST, joined=False)

    def _join(self, request: Request, reload_id: str, _limits: Limits) -> Requested | None:
        self.asked.append(request)
        return None if self.over else Requested(replace(RELOAD, id=reload_id), FIRST, joined=True)

    def _remind(self, _user_id: str, reload_id: str, channel_id: str) -> Reminder | None:
        return None if self.over else Reminder("sdxl", reload_id, channel_id, 0.0, 500_000.0)

    def _stop_reminding(self, _user_id: str, _model_id: str) -> bool:
        return True

    def _running(self, _limit: int) -> tuple[list[ListedReload], int]:
        return [], self.count

    def _recent(self, _limit: int) -> list[ListedReload]:
        return []

    def _home(self, _user_id: str, _limit: int) -> HomeData:
        return HomeData([], self.count, [], [], RELOAD.requested_at)


def requests_to(database: Database) -> Requests:
    """What the handlers ask of a database."""
    return Requests(database, Limits(), 120.0, lambda: None)


async def settled() -> None:
    """Wait for everything that runs in the background."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)


@dataclass
class Bot:
    """The app, and what stands around it."""

    app: AsyncApp
    slack: RecordingSlack
    requests: FakeDatabase

    async def send(self, payload: Mapping[str, object]) -> BoltResponse:
        """Hand the app a payload, and wait for what follows the ack. Raises Malformed."""
        try:
            return await bolt.dispatch(self.app, payload)
        finally:
            await settled()

    @property
    def outcomes(self) -> list[str]:
        """What the audit has."""
        return [note.outcome for note in self.requests.notes]


async def _no_models() -> list[str]:
    return []


async def _no_history(_limit: int) -> list[str]:
    return []


@pytest.fixture
async def bot() -> AsyncIterator[Bot]:
    """A bot in which Ada may reload models."""
    slack, database = RecordingSlack(), FakeDatabase()
    requests = requests_to(database)
    allowlist = Allowlist({ADA}, ())
    allowlist.home = Home("T0HOME")
    catalog = Catalog(_no_models, _no_history)
    access, audit = Access(allowlist), AuditTrail(requests)
    home_tabs = HomeTabs(slack, requests, allowlist, Timing(home_gather=0.0, home_per_tab=0.0))
    replies = Replies(slack, home_tabs)
    opener = Picker(replies, catalog, allowlist)
    app = bolt.new_app(AsyncWebClient(token="xoxb-test"), quiet("slack_bolt.app"))
    commands.register(app, access, requests, audit, opener)
    buttons.register(app, access, requests, audit, replies, opener)
    picker.register(app, access, requests, audit, opener)
    home_tab.register(app, home_tabs)
    errors.register(app, audit, replies)
    yield Bot(app, slack, database)
    for part in (requests, home_tabs, replies, catalog):
        await part.stop()


def command(text: str = "sdxl", **fields: object) -> Mapping[str, object]:
    """An invocation of the slash command, by Ada."""
    return {
        "command": "/reload-model",
        "text": text,
        "user_id": ADA,
        "team_id": "T0HOME",
        "channel_id": MODELS,
        "trigger_id": "1.2.abc",
        "response_url": "https://hooks.slack.com/commands/T0HOME/1/abc",
        **fields,
    }


def interaction(kind: str, **fields: object) -> Mapping[str, object]:
    """An interaction, by Ada."""
    return {
        "type": kind,
        "user": {"id": ADA, "team_id": "T0HOME"},
        "team": {"id": "T0HOME"},
        "trigger_id": "1.2.abc",
        **fields,
    }


def press(action_id: str, value: str, *, below_a_message: bool = True, **fields: object) -> Mapping[str, object]:
    """A press of a button, below a message or in the Home tab."""
    place: Mapping[str, object] = (
        {
            "container": {"channel_id": MODELS, "message_ts": "1.2"},
            "channel": {"id": MODELS},
            "response_url": URL,
        }
        if below_a_message
        else {"container": {"view_id": "V0HOME"}}
    )
    action = {"type": "button", "action_id": action_id, "value": value}
    return interaction("block_actions", actions=[action], **place, **fields)
