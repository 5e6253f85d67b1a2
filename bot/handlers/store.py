"""What the handlers do with the database, each in one transaction."""

import math
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from time import monotonic
from typing import TypeVar, TypeVarTuple

import structlog
from sqlalchemy import Connection

from bot.background import BackgroundTasks
from bot.core import timing
from bot.errors import CommitUncertain, DatabaseUnavailable, Refusal, Refused
from bot.storage import grants, history
from bot.storage.database import Database
from bot.storage.history import Note
from bot.storage.requests import Limits

LISTED_RUNNING = 20
LISTED_RECENT = 10

arrived_at: ContextVar[float] = ContextVar("arrived_at", default=math.inf)
"""When the Slack request that is being answered arrived, in monotonic seconds. See bot.handlers.bolt.dispatch."""

R = TypeVar("R")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

log = structlog.get_logger(__name__)


class Store:
    """The database, as handlers use it. If it doesn't answer, Refused says whether anything was written.

    All that one Slack request reads and writes has to be done within timing.ANSWER.
    """

    def __init__(
        self,
        database: Database,
        limits: Limits,
        reload_seconds: float,
        background: BackgroundTasks,
    ) -> None:
        self._database = database
        self._limits = limits
        self.reload_seconds = reload_seconds
        self.on_change: Sequence[Callable[[], None]] = ()
        """Called after something was written that adds jobs, or changes what the Home tab shows."""
        self._background = background
        self._known: set[str] = set()

    async def request(self, work: Callable[[Connection, R, Limits], T], asked: R) -> T:
        """Run a function of bot.storage.requests: it starts reloads or joins them."""
        return await self._run(work, asked, self._limits, unavailable=Refusal.NOT_RECORDED, uncertain=Refusal.UNCERTAIN)

    async def change(self, work: Callable[[Connection, *Ts], T], *args: *Ts) -> T:
        """Run a function of bot.storage that writes something else."""
        return await self._run(work, *args, unavailable=Refusal.NOT_CHANGED, uncertain=Refusal.UNCONFIRMED)

    async def read(self, work: Callable[[Connection, *Ts], T], *args: *Ts) -> T:
        """Run a function of bot.storage that only reads."""
        return await self._run(work, *args, unavailable=Refusal.NOT_READABLE)

    async def _run(
        self, work: Callable[[Connection, *Ts], T], *args: *Ts, unavailable: Refusal, uncertain: Refusal | None = None
    ) -> T:
        """uncertain is None for work that only reads."""
        used = max(monotonic() - arrived_at.get(), 0.0)  # in the background, each transaction has its full time
        try:
            result = await self._database.run(work, *args, within=max(timing.ANSWER - used, 0.0))
        except CommitUncertain as error:
            raise Refused(uncertain or unavailable) from error
        except DatabaseUnavailable as error:
            raise Refused(unavailable) from error
        if uncertain:
            for tell in self.on_change:
                tell()
        return result

    async def is_known(self, user_id: str) -> bool:
        """Whether this person has used the command."""
        return user_id in self._known or await self.read(grants.is_known, user_id)

    def remember(self, user_id: str) -> None:
        """Remember permanently, in the background, that this person has used the command."""
        if user_id not in self._known:
            self._background.start(self._remember(user_id))

    def note(self, note: Note) -> None:
        """Add a line to the audit in the background. The answer doesn't wait for it, and the log has it, too."""
        self._background.start(self._note(note))

    async def _remember(self, user_id: str) -> None:
        try:
            await self._database.run(grants.remember, user_id, within=timing.ANSWER)
            self._known.add(user_id)
        except DatabaseUnavailable as error:
            log.warning("person_not_remembered", user=user_id, reason=str(error))

    async def _note(self, note: Note) -> None:
        try:
            await self._database.run(history.add_note, note, within=timing.ANSWER)
        except DatabaseUnavailable as error:
            log.info("audit_line_lost", user=note.user_id, outcome=note.outcome, reason=str(error))
