"""The ids of models that are known here: what was reloaded before, and the account's own list, kept in memory.

Knows nothing of Slack. Nobody waits for ModelsLab: its list is fetched beside all else, and an old one is better
than none.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from difflib import get_close_matches
from time import monotonic

import structlog

from bot.errors import DatabaseUnavailable, ModelsLabError

FRESH_SECONDS = 600.0
"""For how long the account's list is taken for fresh."""

RETRY_SECONDS = 60.0
"""Between two attempts to fetch it, where it cannot be had."""

FIRST_SECONDS = 1.0
"""How long the first who asks waits for the list, of the three seconds that Slack gives."""

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
        """fetch asks ModelsLab (raises ModelsLabError), history the store (DatabaseUnavailable); clock: seconds."""
        self._fetch = fetch
        self._history = history
        self._clock = clock
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
        known = [id_ for id_ in await self._known() if id_ != model_id]
        by_lower = {id_.lower(): id_ for id_ in known}
        near = await asyncio.to_thread(get_close_matches, model_id.lower(), by_lower, limit, _LIKE)
        return [by_lower[id_] for id_ in near]

    async def stop(self) -> None:
        """Break off what is being fetched."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def look(self) -> None:
        """Fetch the account's list anew where it is old, beside all else."""
        if self._fetching is None and self._clock() >= self._list_again_at:
            self._fetching = asyncio.create_task(self._refetch())

    async def _known(self) -> Sequence[str]:
        """What was reloaded before, then what the account has besides."""
        self.look()
        if self._fetching is not None and not self._listed:
            await asyncio.wait([self._fetching], timeout=FIRST_SECONDS)
        await self._look_back()
        return list(dict.fromkeys([*self._reloaded, *self._listed]))

    async def _refetch(self) -> None:
        try:
            self._listed = await self._fetch()
            self._list_again_at = self._clock() + FRESH_SECONDS
            log.info("models_listed", count=len(self._listed))
        except ModelsLabError as failed:
            self._list_again_at = self._clock() + RETRY_SECONDS
            log.warning("models_not_listed", why=failed.failure.value, said=failed.said, again_in=RETRY_SECONDS)
        finally:
            self._fetching = None

    async def _look_back(self) -> None:
        if self._clock() < self._history_again_at:
            return
        try:
            self._reloaded = await self._history(HISTORY_LIMIT)
            self._history_again_at = self._clock() + HISTORY_SECONDS
        except DatabaseUnavailable:
            log.warning("history_not_read")
