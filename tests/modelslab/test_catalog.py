"""The known IDs are at hand when somebody types: in groups, never waited for long, old rather than absent."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from structlog.testing import capture_logs

from bot.core.models import ModelGroup
from bot.core.timing import Timing
from bot.errors import Failure, ModelsLabPermanentError, ModelsLabRetryableError, Refusal, Refused
from bot.modelslab.catalog import FRESH_SECONDS, LIMITS, RETRY_MOST_SECONDS, RETRY_SECONDS, Catalog
from bot.modelslab.lists import ModelList

RELOADED, OWN, PUBLIC = ModelGroup
ALL = ["midjourney", "our-mascot", "anything-v5", "sdxl", "sd-turbo", "Flux.1-dev"]


class Sources:
    """A ModelsLab and a database, and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.ids: dict[ModelGroup, Sequence[str]] = {
            RELOADED: ["midjourney"],
            OWN: ["our-mascot"],
            PUBLIC: ["anything-v5", "sdxl", "sd-turbo", "Flux.1-dev"],
        }
        self.cut_off = False
        self.failing: dict[ModelGroup, Exception] = {}
        self.reads: list[ModelGroup] = []
        self.limits: dict[ModelGroup, int] = {}
        self.released = asyncio.Event()
        self.released.set()

    async def reloaded(self, limit: int) -> Sequence[str]:
        """What was reloaded before."""
        return (await self._read(RELOADED, limit)).ids

    async def own(self, limit: int) -> ModelList:
        """The account's own models, once they are released."""
        await self.released.wait()
        return await self._read(OWN, limit)

    async def public(self, limit: int) -> ModelList:
        """The public models, once they are released."""
        await self.released.wait()
        return await self._read(PUBLIC, limit)

    def clock(self) -> float:
        """Seconds."""
        return self.now

    def count(self, group: ModelGroup) -> int:
        """How often a list was read."""
        return self.reads.count(group)

    def catalog(self, wait: float = 30.0) -> Catalog:
        """A catalog of these lists, which waits so many seconds for those that it doesn't have."""
        return Catalog(self.reloaded, self.own, self.public, Timing(models_wait=wait), self.clock)

    async def _read(self, group: ModelGroup, limit: int) -> ModelList:
        self.reads.append(group)
        self.limits[group] = limit
        if group in self.failing:
            raise self.failing[group]
        return ModelList(self.ids[group], self.cut_off and group is PUBLIC)


@pytest.fixture
def sources() -> Sources:
    """All answer at once."""
    return Sources()


@pytest.fixture
async def catalog(sources: Sources) -> AsyncIterator[Catalog]:
    """The catalog under test."""
    catalog = sources.catalog()
    yield catalog
    await catalog.stop()


async def found(catalog: Catalog, query: str, limit: int = 100) -> list[str]:
    """What a query finds, group after group."""
    return [id_ for ids in (await catalog.matching(query, limit)).values() for id_ in ids]


# Finding


async def test_nothing_typed_finds_everything_in_groups(catalog: Catalog, sources: Sources) -> None:
    """What this workspace uses comes first, then what the account has, then the rest."""
    assert list((await catalog.matching("", 100)).items()) == list(sources.ids.items())


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("sd", ["sdxl", "sd-turbo"]),
        ("SD", ["sdxl", "sd-turbo"]),
        ("turbo sd", ["sd-turbo"]),
        ("flux", ["Flux.1-dev"]),
        ("5", ["anything-v5"]),
        ("i", ["midjourney", "anything-v5"]),
        ("our", ["midjourney", "our-mascot"]),
        ("nothing like it", []),
    ],
)
async def test_a_query_finds_the_ids_with_all_its_parts(catalog: Catalog, query: str, ids: list[str]) -> None:
    """In any order and any case."""
    assert await found(catalog, query) == ids


async def test_ids_that_begin_with_the_query_come_first_in_each_group(catalog: Catalog, sources: Sources) -> None:
    """Of each group there are no more than the limit."""
    sources.ids = {RELOADED: ["a-sdxl"], OWN: ["our-sdxl", "sdxl-ours"], PUBLIC: ["my-sdxl", "sdxl", "sdxl-2"]}

    assert await found(catalog, "sdxl", 2) == ["a-sdxl", "sdxl-ours", "our-sdxl", "sdxl", "sdxl-2"]


async def test_an_id_is_in_its_first_group_only(catalog: Catalog, sources: Sources) -> None:
    """Even where that group has no room for it."""
    sources.ids = {RELOADED: ["a", "b"], OWN: ["b", "c"], PUBLIC: ["a", "b", "c", "d"]}

    assert await catalog.matching("", 100) == {RELOADED: ["a", "b"], OWN: ["c"], PUBLIC: ["d"]}
    assert await catalog.matching("", 1) == {RELOADED: ["a"], OWN: ["c"], PUBLIC: ["d"]}


async def test_the_nearest_ids_come_from_all_groups(catalog: Catalog, sources: Sources) -> None:
    """The most alike first; never the ID itself, which ModelsLab has just said that it doesn't know."""
    sources.ids = {RELOADED: ["sdxxl", "sd-x"], OWN: ["sdxl-1"], PUBLIC: ["sdxl", "Flux.1-dev", "midjourney"]}

    assert await catalog.nearest("sdxxl") == ["sdxl", "sdxl-1", "sd-x"]
    assert await catalog.nearest("sdxxl", 1) == ["sdxl"]
    assert await catalog.nearest("flux1-DEV") == ["Flux.1-dev"]
    assert await catalog.nearest("completely-different") == []


async def test_of_ids_at_the_same_distance_the_accounts_own_come_first(catalog: Catalog, sources: Sources) -> None:
    """After those that were reloaded here."""
    sources.ids = {RELOADED: ["sdxl-1"], OWN: ["sdxl-2"], PUBLIC: ["sdxl-0", "sdxl"]}

    assert await catalog.nearest("sdxl-9", 4) == ["sdxl-1", "sdxl-2", "sdxl-0", "sdxl"]


# What is read, and when


async def test_no_list_is_read_before_somebody_searches(catalog: Catalog, sources: Sources) -> None:
    """Then each is read once, up to its limit."""
    assert sources.reads == []
    await catalog.matching("", 9)
    await catalog.matching("s", 9)

    assert sorted(sources.reads) == [OWN, PUBLIC, RELOADED]
    assert sources.limits == LIMITS


async def test_a_list_that_does_not_come_is_not_waited_for(sources: Sources) -> None:
    """The others are there meanwhile, and the list is once it has come."""
    catalog = sources.catalog(wait=0.01)
    sources.released.clear()
    await catalog.matching("", 9)
    sources.now += 1.0
    assert await found(catalog, "") == ["midjourney"]
    sources.released.set()
    await settled()

    assert await found(catalog, "") == ALL
    assert len(sources.reads) == 3


async def test_an_old_list_is_used_while_it_is_read_again(catalog: Catalog, sources: Sources) -> None:
    """Nobody waits for the new one."""
    await catalog.matching("", 9)
    sources.now += FRESH_SECONDS[PUBLIC]
    sources.ids[PUBLIC] = ["new"]
    sources.released.clear()
    assert await found(catalog, "sdxl") == ["sdxl"]
    sources.released.set()
    await settled()

    assert await found(catalog, "") == ["midjourney", "our-mascot", "new"]
    assert sources.count(PUBLIC) == 2


async def test_each_list_is_read_again_in_its_own_time(catalog: Catalog, sources: Sources) -> None:
    """A reload is soon among those that were reloaded; the public models change slowly."""
    for _ in range(3):
        await catalog.matching("", 9)
        await settled()
        sources.now += FRESH_SECONDS[OWN] / 2

    assert [sources.count(group) for group in ModelGroup] == [3, 2, 1]


@pytest.mark.parametrize("wait", [None, 200.0])
async def test_a_list_that_cannot_be_read_again_stays_as_it_was(
    catalog: Catalog, sources: Sources, wait: float | None
) -> None:
    """It is tried again after growing pauses, as long as ModelsLab asks for, and not with each letter."""
    await catalog.matching("", 9)
    sources.now += FRESH_SECONDS[PUBLIC]
    sources.failing[PUBLIC] = ModelsLabRetryableError(Failure.DOWN, "HTTP 503", wait=wait)
    counts = []
    for pause in (0.0, RETRY_SECONDS, 1.5 * (wait or RETRY_SECONDS), 3.1 * RETRY_SECONDS, RETRY_MOST_SECONDS):
        sources.now += pause
        assert await found(catalog, "sdxl") == ["sdxl"]
        await settled()
        counts.append(sources.count(PUBLIC))

    assert counts == ([2, 2, 3, 4, 5] if wait is None else [2, 2, 3, 3, 4])


@pytest.mark.parametrize(
    ("group", "error", "line"),
    [
        (RELOADED, Refused(Refusal.NOT_LISTED), {"reason": "not_listed"}),
        (
            OWN,
            ModelsLabPermanentError(Failure.PLAN, "Not on your plan"),
            {"reason": "plan", "said": "Not on your plan"},
        ),
        (PUBLIC, ModelsLabRetryableError(Failure.DOWN, "HTTP 503"), {"reason": "down", "said": "HTTP 503"}),
    ],
)
async def test_without_one_list_there_are_the_others_and_one_line_in_the_log(
    catalog: Catalog, sources: Sources, group: ModelGroup, error: Exception, line: dict[str, str]
) -> None:
    """However often it is tried; and one line when it is back."""
    sources.failing[group] = error
    with capture_logs() as logged:
        for _ in range(3):
            assert set(await found(catalog, "")) == {*ALL} - {*sources.ids[group]}
            await settled()
            sources.now += 2 * RETRY_MOST_SECONDS
        sources.failing.clear()
        await catalog.matching("", 9)
        await settled()

    assert await found(catalog, "") == ALL
    assert [event for event in logged if event["list"] == group] == [
        {"event": "models_not_listed", "log_level": "warning", "list": group} | line,
        {"event": "models_listed", "log_level": "info", "list": group, "count": len(sources.ids[group])},
    ]


async def test_what_was_cut_off_is_logged_once(catalog: Catalog, sources: Sources) -> None:
    """With how many IDs are left."""
    sources.cut_off = True
    with capture_logs() as logged:
        for _ in range(2):
            await catalog.matching("", 9)
            await settled()
            sources.now += FRESH_SECONDS[PUBLIC]

    line = {"event": "models_cut_off", "log_level": "info", "list": "public", "count": 4}
    assert [event for event in logged if event["list"] == "public"] == [line]


async def test_what_is_being_read_at_the_end_is_broken_off(sources: Sources) -> None:
    """Nothing outlives the bot."""
    catalog = sources.catalog()
    sources.released.clear()
    catalog.look()
    await settled()
    await catalog.stop()
    await catalog.stop()

    assert sources.reads == [RELOADED]


async def settled() -> None:
    """Let what has begun come to its end: nothing here takes more than a few turns of the loop."""
    for _ in range(10):
        await asyncio.sleep(0)
