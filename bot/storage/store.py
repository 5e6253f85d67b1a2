"""What the handlers ask of the storage, each in one transaction."""

from collections.abc import Callable

import structlog

from bot.core.background import BackgroundTasks
from bot.core.models import HomeData, ListedReload, Reminder
from bot.core.timing import Timing
from bot.errors import CommitUncertain, DatabaseUnavailable, NotRecorded, Uncertain
from bot.storage import history, requests
from bot.storage.database import Database
from bot.storage.history import Note
from bot.storage.requests import Limits, Request, Requested

log = structlog.get_logger(__name__)


class Store:
    """Every method raises DatabaseUnavailable if the database does not answer in time; ask and join NotRecorded."""

    def __init__(self, database: Database, limits: Limits, timing: Timing, wake: Callable[[], None]) -> None:
        self._database = database
        self._limits = limits
        self._within = timing.answer
        self._wake = wake
        self._background = BackgroundTasks()

    async def ask(self, request: Request) -> Requested:
        """Commit a request."""
        try:
            asked = await self._database.run(requests.ask, request, self._limits, within=self._within)
        except CommitUncertain as error:
            raise Uncertain from error
        except DatabaseUnavailable as error:
            raise NotRecorded from error
        self._wake()
        return asked

    async def join(self, request: Request, reload_id: str) -> Requested | None:
        """Commit that a person joins a reload."""
        try:
            asked = await self._database.run(requests.join, request, reload_id, self._limits, within=self._within)
        except CommitUncertain as error:
            raise Uncertain from error
        except DatabaseUnavailable as error:
            raise NotRecorded from error
        self._wake()
        return asked

    def note(self, note: Note) -> None:
        """Add a line to the audit in the background."""
        self._background.start(self._note(note))

    async def _note(self, note: Note) -> None:
        try:
            await self._database.run(history.add_note, note, within=self._within)
        except DatabaseUnavailable as error:
            log.warning("note_not_kept", user=note.user_id, outcome=note.outcome, error=str(error))

    async def remind(self, user_id: str, reload_id: str, channel_id: str) -> Reminder | None:
        """Commit a reminder."""
        try:
            return await self._database.run(requests.remind, user_id, reload_id, channel_id, within=self._within)
        except CommitUncertain as error:
            raise Uncertain from error
        except DatabaseUnavailable as error:
            raise NotRecorded from error

    async def stop_reminding(self, user_id: str, model_id: str) -> bool:
        """Take back a reminder."""
        try:
            return await self._database.run(requests.stop_reminding, user_id, model_id, within=self._within)
        except CommitUncertain as error:
            raise Uncertain from error
        except DatabaseUnavailable as error:
            raise NotRecorded from error

    async def known_models(self, limit: int = 100) -> list[str]:
        """See history.known_models."""
        return await self._database.run(history.known_models, limit, within=self._within)

    async def in_flight(self, limit: int = 20) -> tuple[list[ListedReload], int]:
        """See history.running."""
        return await self._database.run(history.running, limit, within=self._within)

    async def history(self, limit: int = 10) -> list[ListedReload]:
        """See history.recent."""
        return await self._database.run(history.recent, limit, within=self._within)

    async def home(self, user_id: str, limit: int = 10) -> HomeData:
        """See history.home."""
        return await self._database.run(history.home, user_id, limit, within=self._within)
