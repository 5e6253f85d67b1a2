"""The known ids are at hand when somebody types: never waited for long, old rather than absent."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from bot.errors import Failure, ModelsLabRetryableError, Refusal, Refused
from bot.modelslab import catalog as catalogue
from bot.modelslab.catalog import FRESH_SECONDS, HISTORY_SECONDS, RETRY_SECONDS, Catalog


class Sources:
    """A ModelsLab and a database, and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.listed: Sequence[str] | None = ("anything-v5", "sdxl", "sd-turbo", "Flux.1-dev")
        self.reloaded: Sequence[str] | None = ("midjourney",)
        self.asked: float | None = None
        self.lists = self.looks = 0
        self.released = asyncio.Event()
        self.released.set()

    async def fetch(self) -> Sequence[str]:
        """The account's list, once it is released."""
        self.lists += 1
        await self.released.wait()
        if self.listed is None:
            raise ModelsLabRetryableError(Failure.DOWN, "HTTP 503", wait=self.asked)
        return self.listed

    async def history(self, limit: int) -> Sequence[str]:
        """What was reloaded before."""
        self.looks += 1
        if self.reloaded is None:
            raise Refused(Refusal.NOT_LISTED)
        return self.reloaded[:limit]

    def clock(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def sources() -> Sources:
    """Both answer at once."""
    return Sources()


@pytest.fixture
async def known(sources: Sources) -> AsyncIterator[Catalog]:
    """The catalogue under test."""
    known = Catalog(sources.fetch, sources.history, sources.clock)
    yield known
    await known.stop()


# Finding


async def test_nothing_typed_finds_everything_the_reloaded_first(known: Catalog) -> None:
    """What this workspace has used is what it most likely wants."""
    assert await known.matching("", 100) == ["midjourney", "anything-v5", "sdxl", "sd-turbo", "Flux.1-dev"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("sd", ["sdxl", "sd-turbo"]),
        ("SD", ["sdxl", "sd-turbo"]),
        ("turbo sd", ["sd-turbo"]),
        ("flux", ["Flux.1-dev"]),
        ("5", ["anything-v5"]),
        ("i", ["midjourney", "anything-v5"]),
        ("j", ["midjourney"]),
        ("nothing like it", []),
    ],
)
async def test_parts_find_what_holds_them_all(known: Catalog, query: str, found: list[str]) -> None:
    """In any order, whatever their case."""
    assert await known.matching(query, 100) == found


async def test_what_begins_with_it_comes_first(known: Catalog, sources: Sources) -> None:
    """Then what holds it elsewhere."""
    sources.listed = ["my-sdxl", "sdxl", "sdxl-2"]

    assert await known.matching("sdxl", 2) == ["sdxl", "sdxl-2"]


async def test_the_nearest_are_like_it(known: Catalog, sources: Sources) -> None:
    """And are not the very id, of which ModelsLab has just said that it does not know it."""
    sources.reloaded = ["sdxxl"]

    assert await known.nearest("sdxxl") == ["sdxl"]
    assert await known.nearest("flux1-DEV") == ["Flux.1-dev"]
    assert await known.nearest("completely-different") == []


# What is fetched, and when


async def test_nobody_asks_modelslab_until_somebody_wants_to_know(known: Catalog, sources: Sources) -> None:
    """A bot that is only typed at needs no list."""
    assert (sources.lists, sources.looks) == (0, 0)
    await known.matching("", 9)
    await known.matching("s", 9)

    assert (sources.lists, sources.looks) == (1, 1)


async def test_a_list_that_does_not_come_is_not_waited_for(
    known: Catalog, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was reloaded before is there meanwhile; the list is there once it has come."""
    monkeypatch.setattr(catalogue, "FIRST_SECONDS", 0.01)
    sources.released.clear()
    assert await known.matching("", 9) == ["midjourney"]
    sources.released.set()

    assert len(await known.matching("", 9)) == 5
    assert sources.lists == 1


async def test_an_old_list_is_fetched_anew_beside_all_else(known: Catalog, sources: Sources) -> None:
    """Whoever asks gets the old one."""
    await known.matching("", 9)
    sources.now += FRESH_SECONDS
    sources.listed = ["new"]
    sources.released.clear()
    assert "sdxl" in await known.matching("", 9)
    sources.released.set()
    await asyncio.sleep(0)

    assert await known.matching("", 9) == ["midjourney", "new"]
    assert sources.lists == 2


@pytest.mark.parametrize("asked", [None, 200.0])
async def test_a_list_that_cannot_be_had_leaves_the_old_one(
    known: Catalog, sources: Sources, asked: float | None
) -> None:
    """It is fetched again after growing pauses, as long as ModelsLab asks for, and not with each letter."""
    await known.matching("", 9)
    sources.now += FRESH_SECONDS
    sources.listed, sources.asked = None, asked
    lists = []
    for pause in (0.0, RETRY_SECONDS, 1.5 * (asked or RETRY_SECONDS), 3.1 * RETRY_SECONDS, FRESH_SECONDS):
        sources.now += pause
        assert "sdxl" in await known.matching("", 9)
        await asyncio.sleep(0)
        lists.append(sources.lists)

    assert lists == ([2, 2, 3, 4, 5] if asked is None else [2, 2, 3, 3, 4])


async def test_without_a_list_there_is_history(known: Catalog, sources: Sources) -> None:
    """And without either, nothing."""
    sources.listed = None
    assert await known.matching("", 9) == ["midjourney"]
    sources.now += HISTORY_SECONDS
    sources.reloaded = None

    assert await known.matching("", 9) == ["midjourney"]


async def test_what_is_being_fetched_is_broken_off_at_the_end(sources: Sources) -> None:
    """Nothing outlives the bot."""
    known = Catalog(sources.fetch, sources.history, sources.clock)
    sources.released.clear()
    known.look()
    await asyncio.sleep(0)
    await known.stop()
    known.look()
    await known.stop()

    assert sources.lists == 1
