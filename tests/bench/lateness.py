"""How late follow-ups are: a database in which many are due within seconds, and who carries them out.

python -m tests.bench.lateness URL NUMBER SECONDS runs a desk by itself, on a stub for Slack, and says how late each
follow-up was.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from sqlalchemy import insert

from bot.core.clock import SteadyClock
from bot.core.models import RANKS, JobKind, State, Work
from bot.storage.database import Database, Transaction
from bot.storage.schema import place, reload, step, watcher
from bot.storage.store import Store
from bot.ui.messages import Message
from bot.worker.delivery import Delivered, Delivery
from bot.worker.loop import Worker
from tests.bench.load import CHANNELS, channel

if TYPE_CHECKING:
    from bot.modelslab.client import ModelsLab

ASKED_BEFORE = 120.0
SEED_SECONDS = 4.0
"""From the beginning to the first follow-up that is due: what the seeding gets."""


async def seed(url: str, begin: float, seconds: float, number: int, statuses: Sequence[str] = ()) -> None:
    """Make a database with so many reloads that were accepted, whose follow-ups fall due evenly from begin on.

    statuses are the ts of their status messages; without, there are none.
    """
    database = Database(url, SteadyClock())
    await database.start()
    await Store(database, owner="seed").open()
    due = [begin + n * seconds / number for n in range(number)]

    def sow(tx: Transaction) -> None:
        asked = begin - ASKED_BEFORE
        for table, row in ((reload, _reload), (watcher, _watcher), (place, _place), (step, _step)):
            rows = [row(n, asked, at, statuses[n] if statuses else "") for n, at in enumerate(due)]
            tx.connection.execute(insert(table), rows)

    await database.run(sow)
    await database.stop()


def _reload(n: int, asked: float, due: float, _status: str) -> dict[str, object]:
    return {
        "id": f"r{n:05d}",
        "model_id": f"model-{n}",
        "state": State.ACCEPTED,
        "asked_at": asked,
        "accepted_at": asked,
        "ready_at": due,
        "said": "",
        "unknown": False,
        "undeliverable": False,
    }


def _watcher(n: int, asked: float, _due: float, _status: str) -> dict[str, object]:
    return {
        "reload_id": f"r{n:05d}",
        "trigger_id": f"seed-{n}",
        "user_id": f"U{n:05d}",
        "channel_id": channel(n),
        "asked_at": asked,
        "response_url": "",
        "response_uses": 0,
    }


def _place(n: int, _asked: float, _due: float, status: str) -> dict[str, object]:
    return {"reload_id": f"r{n:05d}", "channel_id": channel(n), "status_ts": status}


def _step(n: int, _asked: float, due: float, _status: str) -> dict[str, object]:
    return {
        "reload_id": f"r{n:05d}",
        "kind": JobKind.FOLLOW_UP,
        "rank": RANKS[JobKind.FOLLOW_UP],
        "channel_id": channel(n),
        "due_at": due,
        "claims": 0,
        "attempts": 0,
        "crashes": 0,
    }


class _Stub:
    """Takes every message at once, and notes when; all_told is set once there are as many as expected."""

    def __init__(self, expected: int) -> None:
        self.late: list[float] = []
        self.all_told = asyncio.Event()
        self._expected = expected

    async def announce(self, work: Work, _message: Message, *, thread: bool = False) -> Delivered:
        assert thread
        self.late.append(time.time() - (work.reload.ready_at or 0.0))
        if len(self.late) == self._expected:
            self.all_told.set()
        return Delivered()


async def _stubbed(url: str, number: int, seconds: float) -> list[float]:
    """What a desk alone can do: from a database it has just filled."""
    assert number <= CHANNELS
    begin = time.time() + SEED_SECONDS
    await seed(url, begin, seconds, number)
    database = Database(url, SteadyClock())
    await database.start()
    store, stub = Store(database, owner="bench"), _Stub(number)
    desk = Worker(
        store,
        cast("ModelsLab", None),
        cast("Delivery", stub),
        reload_seconds=120,
        concurrency=4,
        history_days=90,
    )
    opened_at = await store.open()
    assert opened_at < begin, "the seeding took too long"
    running = asyncio.create_task(desk.run(opened_at))
    async with asyncio.timeout(seconds + 60):
        await stub.all_told.wait()
    await desk.stop()  # which lets what is in hand be recorded
    assert not (await store.in_flight(1))[1], "not every reload has ended"
    await running
    await database.stop()
    assert len(stub.late) == number
    return stub.late


if __name__ == "__main__":
    # As bot.cli does.
    from bot.ops import logging as logs

    logs.configure("INFO", "json", ())
    sys.stdout.write(json.dumps(asyncio.run(_stubbed(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))) + "\n")
