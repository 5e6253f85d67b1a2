"""What the handlers ask of storage, each in one transaction, and the sentence that acknowledges a reload."""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import structlog
from slack_bolt.async_app import AsyncBoltContext
from sqlalchemy import Connection

from bot.core.background import BackgroundTasks
from bot.core.models import HomeData, ListedReload, Reminder, Viewer
from bot.core.timing import Timing
from bot.errors import CommitUncertain, DatabaseUnavailable, Refusal, Refused
from bot.storage import history, requests
from bot.storage.database import Database
from bot.storage.history import Note
from bot.storage.requests import Limits, Request, Requested
from bot.ui import messages

LISTED_RUNNING = 20
LISTED_RECENT = 10

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

log = structlog.get_logger(__name__)


class Requests:
    """Writes raise Refused with what is certain about them, lists raise DatabaseUnavailable, while there is trouble."""

    def __init__(
        self,
        database: Database,
        limits: Limits,
        reload_seconds: float,
        on_change: Callable[[], None],
        timing: Timing = Timing(),
    ) -> None:
        """on_change is called when a request was recorded."""
        self._database = database
        self._limits = limits
        self.reload_seconds = reload_seconds
        self._on_change = on_change
        self._within = timing.answer
        self._background = BackgroundTasks()

    async def ask(self, request: Request) -> Requested:
        """Start a reload, or join the one in flight. Raises Refused."""
        requested = await self._write(requests.ask, request, self._limits)
        self._on_change()
        return requested

    async def join(self, request: Request, reload_id: str) -> Requested | None:
        """Join this very reload; None if it is over or unknown. Raises Refused."""
        requested = await self._write(requests.join, request, reload_id, self._limits)
        self._on_change()
        return requested

    async def remind(self, user_id: str, reload_id: str, channel_id: str) -> Reminder | None:
        """Add a reminder about a reload's model; None if it was never accepted. Raises Refused."""
        return await self._write(requests.remind, user_id, reload_id, channel_id)

    async def stop_reminding(self, user_id: str, model_id: str) -> bool:
        """Delete a reminder; returns whether there was one. Raises Refused."""
        return await self._write(requests.stop_reminding, user_id, model_id)

    async def running(self) -> tuple[list[ListedReload], int]:
        """The first of the reloads that have not ended, and how many there are."""
        return await self._database.run(history.running, LISTED_RUNNING, within=self._within)

    async def recent(self) -> list[ListedReload]:
        """The reloads that have ended, the latest first."""
        return await self._database.run(history.recent, LISTED_RECENT, within=self._within)

    async def home(self, user_id: str) -> HomeData:
        """What one person's Home tab shows."""
        return await self._database.run(history.home, user_id, LISTED_RECENT, within=self._within)

    async def known_models(self, limit: int) -> list[str]:
        """The IDs of models that were reloaded before, the latest first."""
        return await self._database.run(history.known_models, limit, within=self._within)

    def note(self, note: Note) -> None:
        """Add a line to the audit, in the background: the answer does not wait for it, and the log has it, too."""
        self._background.start(self._note(note))

    async def stop(self) -> None:
        """Cancel what is still being noted."""
        await self._background.stop()

    async def _note(self, note: Note) -> None:
        try:
            await self._database.run(history.add_note, note, within=self._within)
        except DatabaseUnavailable as error:
            log.info("note_not_kept", user=note.user_id, outcome=note.outcome, error=str(error))

    async def _write(self, work: Callable[[Connection, *Ts], T], *args: *Ts) -> T:
        try:
            return await self._database.run(work, *args, within=self._within)
        except CommitUncertain as error:
            raise Refused(Refusal.UNCERTAIN) from error
        except DatabaseUnavailable as error:
            raise Refused(Refusal.NOT_RECORDED) from error


def request_for(
    context: AsyncBoltContext, model_id: str, invocation_id: str, response_url: str, button: str = ""
) -> Request:
    """A request for a reload of a model, by the context's person, in their channel.

    invocation_id is unique, so that an invocation which Slack delivers twice counts once. button is unique to the
    button that was pressed, if one was, so that a double click counts once.
    """
    person = context["person"]
    return Request(
        f"{button}#{invocation_id}" if button else invocation_id,
        person.user_id,
        person.channel_id,
        model_id,
        response_url,
        team_id=person.team_id,
        rule=context["rule"],
        button=button,
        private=person.private,
    )


def acknowledgement(context: AsyncBoltContext, requested: Requested, reload_seconds: float, where: str = "here") -> str:
    """What a person reads whose request was recorded; where is how to call the channel of the reload."""
    person = context["person"]
    if not requested.joined:
        return messages.reloading(requested.reload, reload_seconds, where)
    if requested.again or requested.first.user_id == person.user_id:
        return messages.already_subscribed(requested.reload, reload_seconds)
    viewer = Viewer(person.user_id, person.channel_id)
    return messages.joined(requested.reload, requested.first, viewer, reload_seconds, where)


def there(context: AsyncBoltContext) -> str:
    """How to call the channel for somebody who asks from elsewhere; the name of a DM says nothing."""
    person = context["person"]
    return "there" if person.channel_id.startswith("D") else f"in <#{person.channel_id}>"
