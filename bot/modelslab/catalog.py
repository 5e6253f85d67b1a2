"""The ids of models that are known here: what was reloaded before, and ModelsLab's list, kept in memory.

Nobody waits long for ModelsLab: its list is fetched in the background, and an old one is better than none.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from difflib import get_close_matches
from time import monotonic

import structlog

from bot.core.retry import Backoff
from bot.errors import ModelsLabError, ModelsLabRetryableError, Refused

FRESH_SECONDS = 600.0
"""For how long a list is taken for fresh."""

RETRY_SECONDS = 60.0
"""After a list could not be fetched, the first time; then twice as long each time, up to FRESH_SECONDS."""

FIRST_SECONDS = 1.0
"""How long the first query waits for the list, of the three seconds that Slack gives."""

HISTORY_LIMIT = 1000
"""Models that were reloaded before, the latest first."""

HISTORY_SECONDS = 5.0

_LIKE = 0.6

log = structlog.get_logger(__name__)


class Catalog:
    """Finds ids of models, by a part of them or by their likeness."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Sequence[str]]],
        history: Callable[[int], Awaitable[Sequence[str]]],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """fetch asks ModelsLab (raises ModelsLabError), history the database (Refused); clock counts seconds."""
        self._fetch = fetch
        self._history = history
        self._clock = clock
        self._pauses = Backoff(RETRY_SECONDS, FRESH_SECONDS)
        self._listed: Sequence[str] = ()
        self._reloaded: Sequence[str] = ()
        self._list_again_at = self._history_again_at = clock()
        self._fetching: asyncio.Task[None] | None = None

    async def matching(self, query: str, limit: int) -> list[str]:
        """The ids that contain every part of what was typed, those first that begin with it."""
        known = await self._known()
        parts = query.lower().split()
        found = [id_ for id_ in known if all(part in id_.lower() for part in parts)]
        first = parts[0] if parts else ""
        return sorted(found, key=lambda id_: not id_.lower().startswith(first))[:limit]

    async def nearest(self, model_id: str, limit: int = 3) -> list[str]:
        """The ids most like this one. To compare it with thousands takes a moment: other work goes on meanwhile."""
        by_lower = {id_.lower(): id_ for id_ in await self._known() if id_ != model_id}
        near = await asyncio.to_thread(get_close_matches, model_id.lower(), by_lower, limit, _LIKE)
        return [by_lower[id_] for id_ in near]

    async def stop(self) -> None:
        """Cancel what is being fetched."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def look(self) -> None:
        """Fetch ModelsLab's list again if it is old, in the background."""
        if self._fetching is None and self._clock() >= self._list_again_at:
            self._fetching = asyncio.create_task(self._refetch())

    async def _known(self) -> Sequence[str]:
        """What was reloaded before, then what ModelsLab has besides."""
        self.look()
        if self._fetching is not None and not self._listed:
            await asyncio.wait([self._fetching], timeout=FIRST_SECONDS)
        if self._clock() >= self._history_again_at:
            await self._look_back()
        return list(dict.fromkeys([*self._reloaded, *self._listed]))

    async def _refetch(self) -> None:
        wait = FRESH_SECONDS
        try:
            self._listed = await self._fetch()
            self._pauses.reset()
            log.info("models_listed", count=len(self._listed))
        except ModelsLabError as failed:
            wait = self._pauses.pause(failed.wait if isinstance(failed, ModelsLabRetryableError) else None)
            log.warning("models_not_listed", why=failed.failure.value, said=failed.said, again_in=round(wait, 1))
        finally:
            self._list_again_at = self._clock() + wait
            self._fetching = None

    async def _look_back(self) -> None:
        try:
            self._reloaded = await self._history(HISTORY_LIMIT)
            self._history_again_at = self._clock() + HISTORY_SECONDS
        except Refused:
            log.warning("history_not_read")
