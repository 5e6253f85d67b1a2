"""Clocks that are wrong, and clocks that jump."""

import time
from pathlib import Path

import pytest

from bot.core.models import JobKind
from bot.storage.database import Database
from bot.storage.jobs import open_database
from tests.faults.fleet import fleet
from tests.storage.support import Bot, Clock

# Python runs this before all else: time.time() then says what a wrong clock would.
_WRONG_CLOCK = """
import os, time
def wrong(right=time.time, path=os.environ["WRONG_BY"]):
    with open(path) as file:
        return right() + float(file.read())
time.time = wrong
"""


async def test_replicas_whose_clocks_differ_notify_in_time(tmp_path: Path, postgres_url: str) -> None:
    """Minutes apart, and with one that steps back an hour meanwhile, follow-ups keep their time: the database's."""
    (tmp_path / "sitecustomize.py").write_text(_WRONG_CLOCK)
    async with fleet(tmp_path, postgres_url, 10) as bots:
        for name, seconds in (("fast", 420), ("slow", -420)):
            (tmp_path / name).write_text(str(seconds))
            wrong = {"WRONG_BY": str(tmp_path / name), "PYTHONPATH": str(tmp_path)}
            await bots.launch(name, SLACK_APP_TOKEN=bots.slack.app_token, **wrong)
        began = time.monotonic()
        acks = [await bots.slack.command(f"model-{n}", channel=f"C{n:05d}") for n in range(10)]
        (tmp_path / "fast").write_text("-3600")
        await bots.wait_notified(10)
        took = time.monotonic() - began

        assert all(ack.text.startswith("Reloading") for ack in acks)
        assert 2 <= took < 120  # a clock's error would show as minutes


async def test_a_step_of_the_clock_moves_nothing_on_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On SQLite a step of the system's clock does not move what is pending."""
    database = Database(f"sqlite:///{tmp_path}/x.db")
    await database.start()
    await database.run(open_database)
    bot = Bot(database, Clock())
    await bot.accepted(ready_in=1000.0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    due_in = await bot.due_in(JobKind.NOTIFY)
    await database.stop()

    assert due_in is not None
    assert 900 < due_in <= 1000
