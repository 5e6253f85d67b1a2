"""Random input for the bot: for a moment in `make test`, for ten minutes in `make soak`. What must hold meanwhile."""

import asyncio
import os
import re
import resource
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.attack.junk import Payloads, recorded
from tests.scenarios.conftest import bot, mode, scenario, slack
from tests.scenarios.scenario import ADA, BEN, CEM, NEVER_LOGGED, Scenario, eventually
from tests.secrecy import scan
from tests.times import set_timing

__all__ = ["bot", "mode", "scenario", "slack"]

ROUND = 60
"""Examples in one go. Hypothesis begins each round with simple ones; make test runs one round."""

SOAK = float(os.environ.get("ATTACK_SECONDS", "600"))
"""Seconds for all attacks together in make soak."""

GROWTH = 256 * 1024
"""KiB by which the process may grow, with all that the attack itself takes."""

_ALLOWED = re.compile(rf"<!date\^\d+\^[^|<>]+\|(\d+ \w{{3}} at )?\d\d:\d\d UTC>|<@({ADA}|{BEN}|{CEM})>")

T = TypeVar("T")


def harmless(*texts: str) -> None:
    """The texts mention only people who asked, have no link, and are short enough for Slack."""
    for text in texts:
        assert "<" not in _ALLOWED.sub("", text), text
        assert len(text) <= 12_000


def all_harmless(bot: Scenario) -> None:
    """The same for everything that the bot has said."""
    for message in bot.slack.messages:
        harmless(message.text, *message.edits)


def unharmed(bot: Scenario) -> set[object]:
    """The log has no bug and no secret. Returns its events, and empties it."""
    stream, records = bot.log.stream, bot.log.records
    for record in records:
        assert record["event"] not in NEVER_LOGGED, record
        assert "exception" not in record, record
    scan("the log", stream.getvalue())
    stream.seek(0)
    stream.truncate()
    return {record["event"] for record in records}


class Attack:
    """Tries to break a property, with one example after another: a round of them at least, and for so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __call__(
        self, examples: st.SearchStrategy[T], holds: Callable[[T], Awaitable[None]], at_once: int = 1
    ) -> None:
        """Run holds for examples, so many at once, in this event loop. Hypothesis runs in a thread, and shrinks.

        Afterwards the process must not have grown, and no task may be left.
        """
        loop, end = asyncio.get_running_loop(), time.monotonic() + self._seconds
        tasks, memory = len(asyncio.all_tasks()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        async def hold(batch: list[T]) -> None:
            async with asyncio.timeout(60.0):
                await asyncio.gather(*map(holds, batch))

        @settings(
            max_examples=ROUND // at_once,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, *([Phase.shrink] if at_once == 1 else [])],  # to shrink a crowd takes minutes
        )
        @given(st.lists(examples, min_size=at_once, max_size=at_once))
        def attack(batch: list[T]) -> None:
            asyncio.run_coroutine_threadsafe(hold(batch), loop).result()

        def go_on() -> None:
            attack()
            while time.monotonic() < end:
                attack()

        await asyncio.to_thread(go_on)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < GROWTH
        kept = 10 + 4 * at_once  # connections that are kept for the next request have a task each
        await eventually(lambda: len(asyncio.all_tasks()) <= tasks + kept)


@pytest.fixture(autouse=True)
def impatient() -> None:
    """Give up a body that never ends soon."""
    set_timing(http_body=0.4)


@pytest.fixture
async def payloads(bot: Scenario) -> Payloads:
    """Valid payloads to break."""
    return await recorded(bot)


@pytest.fixture(params=["moment", pytest.param("soak", marks=pytest.mark.soak)])
def attack(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Attack:
    """Either for a moment, or for a share of the long run."""
    monkeypatch.setattr("bot.core.retry.wait", lambda *_: 0.05)
    monkeypatch.setattr("bot.worker.delivery.PAUSE_LIMIT", 0.1)  # for how long an answer may hold a channel
    if request.param == "moment":
        return Attack(0.0)
    calls = [item.callspec for item in request.session.items if hasattr(item, "callspec")]
    return Attack(SOAK / sum(call.params.get("attack") == "soak" for call in calls))
