"""The known model IDs: how they are searched, and when their lists are read again. The rest is in tests/scenarios."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from difflib import SequenceMatcher
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from bot.background import BackgroundTasks
from bot.core.models import ModelGroup
from bot.errors import DatabaseUnavailable, Failure, ModelsLabPermanentError, ModelsLabRetryableError
from bot.modelslab.catalog import FRESH_SECONDS, LIMITS, RETRY_MOST_SECONDS, RETRY_SECONDS, Catalog, _nearest
from bot.modelslab.lists import ModelList
from tests.times import set_timing

RELOADED, OWN, PUBLIC = ModelGroup


class Sources:
    """A ModelsLab and a database, and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.ids: dict[ModelGroup, Sequence[str]] = {
            RELOADED: ["midjourney"],
            OWN: ["our-mascot"],
            PUBLIC: ["anything-v5", "sdxl", "sd-turbo", "Flux.1-dev"],
        }
        self.failing: dict[ModelGroup, Exception] = {}
        self.reads: list[tuple[ModelGroup, int]] = []
        self.released = asyncio.Event()
        self.released.set()

    async def reloaded(self, limit: int) -> Sequence[str]:
        """What was reloaded before."""
        return (await self.read(RELOADED, limit)).ids

    async def read(self, group: ModelGroup, limit: int) -> ModelList:
        """A list, once it is released if it is ModelsLab's. There are more public models than are read."""
        if group is not RELOADED:
            await self.released.wait()
        self.reads.append((group, limit))
        if group in self.failing:
            raise self.failing[group]
        return ModelList(self.ids[group], cut_off=group is PUBLIC)

    def count(self, group: ModelGroup) -> int:
        """How often a list was read."""
        return [read for read, _ in self.reads].count(group)


@pytest.fixture
def sources() -> Sources:
    """All answer at once."""
    return Sources()


@pytest.fixture
async def catalog(sources: Sources) -> AsyncIterator[Catalog]:
    """The catalog under test."""
    own, public = partial(sources.read, OWN), partial(sources.read, PUBLIC)
    set_timing(models_wait=30.0)
    background = BackgroundTasks()
    yield Catalog(sources.reloaded, own, public, background, lambda: sources.now)
    await background.stop()


async def found(catalog: Catalog, query: str) -> list[str]:
    """What a query finds, group after group."""
    return [id_ for ids in (await catalog.matching(query, 100)).values() for id_ in ids]


async def settled() -> None:
    """Let what has begun come to its end: nothing here takes more than a few turns of the loop."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_query_finds_the_ids_with_all_its_parts(catalog: Catalog) -> None:
    """In any order and any case."""
    ids = {
        "sd": ["sdxl", "sd-turbo"],
        "SD": ["sdxl", "sd-turbo"],
        "turbo sd": ["sd-turbo"],
        "flux": ["Flux.1-dev"],
        "i": ["midjourney", "anything-v5"],
        "our": ["midjourney", "our-mascot"],
        "nothing like it": [],
    }

    assert {query: await found(catalog, query) for query in ids} == ids


async def test_an_id_is_in_its_first_group_only(catalog: Catalog, sources: Sources) -> None:
    """Even if that group has no room for it. IDs that begin with the query come first."""
    sources.ids = {RELOADED: ["a-sd", "sd-b"], OWN: ["sd-b", "c-sd"], PUBLIC: ["a-sd", "sd-b", "d-sd", "sd-d"]}

    assert await catalog.matching("sd", 9) == {RELOADED: ["sd-b", "a-sd"], OWN: ["c-sd"], PUBLIC: ["sd-d", "d-sd"]}
    assert await catalog.matching("sd", 1) == {RELOADED: ["sd-b"], OWN: ["c-sd"], PUBLIC: ["sd-d"]}


@example([], ["111", "11111a"], "111a11")
@example([], ["Flux.1-dev", "flux1-DEV"], "flux1-DEV")
@example(["sdxxl", "sdxl-3", "sdxl-1"], ["sdxl-2", "sdxl", "Flux.1-dev"], "sdxl-9")
@given(st.lists(st.text("aAbc-1", max_size=6)), st.lists(st.text("aAbc-1", max_size=6)), st.text("aAbc-1", max_size=6))
def test_no_similar_id_is_overlooked(ours: list[str], public: list[str], model_id: str) -> None:
    """Much alike ones that are ours first, then by likeness, whatever the case."""

    def rank(id_: str) -> tuple[bool, float]:
        likeness = SequenceMatcher(a=id_.lower(), b=model_id.lower()).ratio()
        return likeness >= 0.8 and id_.lower() in {own.lower() for own in ours}, likeness

    others = {id_.lower(): id_ for id_ in [*public, *ours] if id_ != model_id}
    alike = sorted((rank(id_) for id_ in others.values() if rank(id_)[1] >= 0.6), reverse=True)
    half = len(ours) // 2
    nearest = _nearest({RELOADED: ours[:half], OWN: ours[half:], PUBLIC: public}, model_id, 3)
    assert [rank(id_) for id_ in nearest] == alike[:3]
    assert len({id_.lower() for id_ in nearest} & others.keys()) == len(nearest)


async def test_an_old_list_is_used_while_it_is_read_again(catalog: Catalog, sources: Sources) -> None:
    """Nobody waits for the new one. Each is read up to its limit, and only when somebody searches."""
    assert sources.reads == []
    await catalog.matching("", 9)
    await catalog.matching("s", 9)
    assert dict(sources.reads) == LIMITS
    assert len(sources.reads) == 3
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
    """It is tried again after growing pauses, or when ModelsLab says, and not with each letter that is typed."""
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
        (RELOADED, DatabaseUnavailable("no answer in time"), {"reason": "no answer in time"}),
        (OWN, ModelsLabPermanentError(Failure.PLAN, "Not on yours"), {"reason": "plan", "said": "Not on yours"}),
        (PUBLIC, ModelsLabRetryableError(Failure.DOWN, "HTTP 503"), {"reason": "down", "said": "HTTP 503"}),
    ],
)
async def test_a_list_that_is_missing_is_logged_once_and_so_is_its_return(
    catalog: Catalog, sources: Sources, group: ModelGroup, error: Exception, line: Mapping[str, str]
) -> None:
    """However often it is tried. So is a list of which only the beginning was read."""
    sources.failing[group] = error
    with capture_logs() as logged:
        for failing in (sources.failing, sources.failing, {}, {}):
            sources.failing = failing
            await catalog.matching("", 9)
            await settled()
            sources.now += 2 * max(FRESH_SECONDS.values())

    event = "models_cut_off" if group is PUBLIC else "models_listed"
    assert [event for event in logged if event["list"] == group] == [
        {"event": "models_not_readable", "log_level": "warning", "list": group, **line},
        {"event": event, "log_level": "info", "list": group, "count": len(sources.ids[group])},
    ]
