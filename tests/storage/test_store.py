"""What a handler learns when the database does not confirm what a person asked for."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bot.core.timing import Timing
from bot.errors import NotRecorded, Uncertain
from bot.storage.requests import Limits
from bot.storage.store import Store
from tests.storage.support import COMMIT, HERE, Bot, pass_time, press, request, stopped_at

CALLS: dict[str, Callable[[Store], Awaitable[object]]] = {
    "ask": lambda store: store.ask(request()),
    "join": lambda store: store.join(press(), "r4x7k2"),
    "remind": lambda store: store.remind("U0ADA", "r4x7k2", HERE),
    "stop_reminding": lambda store: store.stop_reminding("U0ADA", "sdxl"),
}


@pytest.mark.parametrize("call", CALLS)
async def test_what_is_not_confirmed_is_uncertain_and_what_has_not_begun_is_not_recorded(bot: Bot, call: str) -> None:
    """Only the second can be said to have started nothing."""
    store = Store(bot.database, Limits(), Timing(answer=60.0), lambda: None)
    with stopped_at(COMMIT) as gate:
        calling = asyncio.ensure_future(CALLS[call](store))
        await gate.reached()
        pass_time(60.0)
        with pytest.raises(Uncertain):
            await calling
    await bot.database.stop()

    with pytest.raises(NotRecorded):
        await CALLS[call](store)
