"""Real processes: a replica that dies, a rolling restart, many commands at once."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from bot.sandbox.slack.service import Ack
from tests.bench.processes import mebibytes
from tests.faults.fleet import fleet
from tests.postgres import Postgres
from tests.scenarios.scenario import eventually


async def _end_reloads(postgres: Postgres, url: str, follow_ups: int) -> None:
    """Make so many follow-ups due, once all of them are pending."""
    pending = "SELECT count(*) FROM reload_model_jobs WHERE kind = 'notify'"
    await eventually(lambda: postgres.execute(pending, url)[0][0] == follow_ups)
    postgres.execute("UPDATE reload_model_jobs SET due_at = 0 WHERE kind = 'notify'", url)


async def test_a_replica_that_dies_loses_nothing(tmp_path: Path, postgres: Postgres, postgres_url: str) -> None:
    """What it had taken the other finishes; only calls that were running are made again."""
    async with fleet(tmp_path, postgres_url, 40, MODELSLAB_CONCURRENCY="4", RELOAD_SECONDS="600") as bots:
        await bots.launch("one", "two")
        await bots.commands(40, "one")
        await bots.kill("one")
        postgres.execute("UPDATE reload_model_jobs SET due_at = 0 WHERE kind = 'call'", postgres_url)  # time would
        await _end_reloads(postgres, postgres_url, 40)
        await bots.wait_notified(40)

        assert len(bots.modelslab.calls) <= 44


async def test_two_hundred_people_who_ask_for_one_model_make_one_call(
    tmp_path: Path, postgres: Postgres, postgres_url: str
) -> None:
    """On two replicas, they make one call, and each is notified once."""
    async with fleet(tmp_path, postgres_url, 200, RELOAD_SECONDS="600") as bots:
        await bots.launch("one", "two")
        await bots.commands(200, model="sdxl")
        await _end_reloads(postgres, postgres_url, 200)
        await bots.wait_notified(200)

        assert len(bots.modelslab.calls) == 1


@pytest.mark.parametrize(
    ("rounds", "ack_seconds"), [(2, 30.0), pytest.param(10, 3.0, marks=pytest.mark.soak)], ids=["few", "many"]
)
async def test_rolling_restarts_refuse_nobody(
    tmp_path: Path, postgres_url: str, rounds: int, ack_seconds: float
) -> None:
    """While people ask some ten times a second, a deployment loses nothing, as long as one replica is ready."""
    async with fleet(tmp_path, postgres_url, 200 * rounds) as bots:
        bots.slack.ack_seconds = ack_seconds
        await bots.launch("one", "two")
        done, answers, codes = asyncio.Event(), list[str](), list[int]()

        async def ask() -> None:
            while not done.is_set():
                answers.append((await bots.command(len(answers))).text)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(done.wait(), 0.1)

        requests = asyncio.create_task(ask())
        for n in range(rounds):
            codes.append(await bots.restart(("one", "two")[n % 2]))
        done.set()
        await requests
        await bots.wait_notified(len(answers))

        assert codes == [0] * rounds
        assert [answer for answer in answers if not answer.startswith("Reloading")] == []


@pytest.mark.soak
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_a_thousand_commands_are_answered(tmp_path: Path, database: str, request: pytest.FixtureRequest) -> None:
    """A thousand in ten seconds are all acknowledged in three. None is lost, none comes twice, memory stays bounded."""
    url = f"sqlite:///{tmp_path}/x.db" if database == "sqlite" else request.getfixturevalue("postgres_url")
    async with fleet(tmp_path, url, 1000, RELOAD_SECONDS="15") as bots:
        bots.slack.ack_seconds = 3.0
        loop = asyncio.get_running_loop()
        await bots.launch("one")
        pid = bots.replicas["one"].pid
        before, began = mebibytes(pid), loop.time()

        async def one(n: int) -> Ack:
            await asyncio.sleep(began + n / 100 - loop.time())
            return await bots.command(n)

        acks = await asyncio.gather(*map(one, range(1000)))
        assert [ack for ack in acks if not ack.text.startswith("Reloading")] == []
        await bots.wait_notified(1000)

        assert len(bots.modelslab.calls) == 1000
        assert mebibytes(pid) - before < 32
