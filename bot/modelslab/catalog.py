"""The known model IDs, kept in memory in three groups: reloaded here, the account's own, public.

Nobody waits long for a list: each is read in the background, and an old one is better than none.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from difflib import get_close_matches
from time import monotonic

import structlog

from bot.background import BackgroundTasks
from bot.core import timing
from bot.core.models import ModelGroup
from bot.core.retry import Backoff
from bot.errors import DatabaseUnavailable, ModelsLabError
from bot.modelslab.lists import ModelList

LIMITS: Mapping[ModelGroup, int] = {ModelGroup.RELOADED: 1000, ModelGroup.OWN: 5000, ModelGroup.PUBLIC: 50_000}
"""How many IDs of each group are kept."""

FRESH_SECONDS: Mapping[ModelGroup, float] = {
    ModelGroup.RELOADED: 5.0,
    ModelGroup.OWN: 600.0,
    ModelGroup.PUBLIC: 3600.0,
}
"""How long each list counts as fresh."""

RETRY_SECONDS = 60.0
RETRY_MOST_SECONDS = 600.0
"""The pause after a list couldn't be read, the first time; then twice as long each time, up to the second number."""

SIMILAR_LIMIT = 3
"""How many similar IDs are offered for an unknown one."""

_LIKE, _MUCH_ALIKE = 0.6, 0.8

log = structlog.get_logger(__name__)


class _Source:
    """One list. It is read again if somebody needs it and it is old."""

    def __init__(
        self, group: ModelGroup, read: Callable[[int], Awaitable[ModelList]], clock: Callable[[], float]
    ) -> None:
        self.ids: Sequence[str] = ()
        self.reading: asyncio.Task[None] | None = None
        self.began_at = 0.0
        self._group = group
        self._read = read
        self._clock = clock
        self._fresh = FRESH_SECONDS[group]
        self._pauses = Backoff(RETRY_SECONDS, min(self._fresh, RETRY_MOST_SECONDS))
        self._again_at = clock()
        self._logged: tuple[str, object] = ("", None)

    def look(self, background: BackgroundTasks) -> None:
        """Read the list again if it is old, in the background."""
        if self.reading is None and self._clock() >= self._again_at:
            self.began_at = self._clock()
            self.reading = background.start(self._refresh())

    async def _refresh(self) -> None:
        pause = self._fresh
        try:
            models = await self._read(LIMITS[self._group])
            self.ids = models.ids
            self._pauses.reset()
            self._log("models_cut_off" if models.cut_off else "models_listed", count=len(models.ids))
        except DatabaseUnavailable as error:
            pause = self._pauses.pause()
            self._log("models_not_readable", reason=str(error))
        except ModelsLabError as failed:
            pause = self._pauses.pause(failed.wait)
            self._log("models_not_readable", reason=failed.failure.value, said=failed.said)
        finally:
            self._again_at = self._clock() + pause
            self.reading = None

    def _log(self, event: str, **facts: object) -> None:
        """Log only changes, because a list is read again and again."""
        if self._logged != (event, facts.get("reason")):
            self._logged = (event, facts.get("reason"))
            log.log(logging.WARNING if "reason" in facts else logging.INFO, event, list=self._group.value, **facts)


class Catalog:
    """Finds model IDs, by a part of them or by similarity. Searches run in a thread, because there are many IDs."""

    def __init__(
        self,
        reloaded: Callable[[int], Awaitable[Sequence[str]]],
        own: Callable[[int], Awaitable[ModelList]],
        public: Callable[[int], Awaitable[ModelList]],
        background: BackgroundTasks,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Each takes a limit of IDs. reloaded raises DatabaseUnavailable, the others ModelsLabError.

        clock returns seconds.
        """

        async def reloaded_here(limit: int) -> ModelList:
            return ModelList(await reloaded(limit))

        reads = {ModelGroup.RELOADED: reloaded_here, ModelGroup.OWN: own, ModelGroup.PUBLIC: public}
        self._sources = {group: _Source(group, reads[group], clock) for group in ModelGroup}
        self._background = background
        self._clock = clock

    async def matching(self, query: str, limit: int) -> Mapping[ModelGroup, Sequence[str]]:
        """At most limit IDs of each group that contain every word of the query, each ID in its first group.

        IDs that begin with the query come first.
        """
        return await asyncio.to_thread(_matching, await self._known(), query.lower().split(), limit)

    async def nearest(self, model_id: str, limit: int = SIMILAR_LIMIT) -> Sequence[str]:
        """The IDs most similar to this one. Similar ones that aren't public, or were reloaded here, come first.

        Of several that differ only in case, there is one.
        """
        return await asyncio.to_thread(_nearest, await self._known(), model_id, limit)

    def look(self) -> None:
        """Read old lists again, in the background."""
        for source in self._sources.values():
            source.look(self._background)

    async def _known(self) -> Mapping[ModelGroup, Sequence[str]]:
        """The IDs of each group. If a group has none yet, wait for its list, but not for long."""
        self.look()
        for source in self._sources.values():
            left = source.began_at + timing.MODELS_WAIT - self._clock()
            if source.reading and not source.ids and left > 0:
                await asyncio.wait([source.reading], timeout=left)
        return {group: source.ids for group, source in self._sources.items()}


def _matching(
    known: Mapping[ModelGroup, Sequence[str]], parts: Sequence[str], limit: int
) -> Mapping[ModelGroup, Sequence[str]]:
    found: dict[ModelGroup, Sequence[str]] = {}
    earlier: set[str] = set()
    for group, ids in known.items():
        fitting = [id_ for id_ in ids if id_ not in earlier and all(part in id_.lower() for part in parts)]
        earlier.update(fitting)
        found[group] = sorted(fitting, key=lambda id_: not id_.lower().startswith(tuple(parts[:1])))[:limit]
    return found


def _nearest(known: Mapping[ModelGroup, Sequence[str]], model_id: str, limit: int) -> Sequence[str]:
    ids = {id_.lower(): id_ for group in reversed(ModelGroup) for id_ in known[group] if id_ != model_id}
    ours = {id_.lower() for group in (ModelGroup.RELOADED, ModelGroup.OWN) for id_ in known[group]} & ids.keys()
    word = model_id.lower()
    near = [*get_close_matches(word, ours, limit, _MUCH_ALIKE), *get_close_matches(word, ids, limit, _LIKE)]
    return [ids[low] for low in dict.fromkeys(near)][:limit]
