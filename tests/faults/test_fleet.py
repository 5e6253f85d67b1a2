"""Real processes on a real PostgreSQL: a replica that dies, a rolling restart, a database that goes away."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from bot.sandbox.slack import Ack
from tests.faults.fleet import Fleet, Wire, fleet, through


async def test_a_replica_that_dies_for_good(tmp_path: Path, postgres_url: str) -> None:
    """What it had taken the other finishes; only calls that were in hand are made again."""
    async with fleet(tmp_path, postgres_url, 40, MODELSLAB_CONCURRENCY="4") as bots:
        await bots.launch("one")
        await bots.launch("two")
        acks = await asyncio.gather(*(bots.command(n, "one") for n in range(40)))
        await bots.kill("one")
        await bots.slack.wait_until(lambda: len(set(bots.told())) == 40, within=40)

        assert all(ack.text.startswith("Reloading") for ack in acks)
        assert Counter(bots.told()).most_common(1)[0][1] == 1
        assert len(bots.modelslab.calls) <= 44


async def test_a_burst_of_askers(tmp_path: Path, postgres_url: str) -> None:
    """Two hundred people who ask two replicas for one model make one call, and each is told once."""
    async with fleet(tmp_path, postgres_url, 200, RELOAD_SECONDS="10") as bots:
        await bots.launch("one")
        await bots.launch("two")
        at_once = asyncio.Semaphore(16)

        async def ask(n: int) -> Ack:
            async with at_once:
                return await bots.command(n, model="sdxl")

        acks = await asyncio.gather(*map(ask, range(200)))
        await bots.slack.wait_until(lambda: len(bots.told()) == 200, within=60)

        assert sum(ack.text.startswith("Reloading") for ack in acks) == 1
        assert sum("already" in ack.text for ack in acks) == 199
        assert len(bots.modelslab.calls) == 1
        assert len(set(bots.told())) == 200


async def _ask_until(done: asyncio.Event, bots: Fleet) -> list[str]:
    """Ask some ten times a second, each time for another model, until told to end; return the answers."""
    answers: list[str] = []
    while not done.is_set():
        answers.append((await bots.command(len(answers))).text)
        await asyncio.sleep(0.1)  # a pace, not a wait
    return answers


async def _restarted(bots: Fleet, rounds: int) -> tuple[list[int], list[str]]:
    """Restart one replica after the other while commands come; return the exit codes and the answers."""
    await bots.launch("one")
    await bots.launch("two")
    done = asyncio.Event()
    asking = asyncio.create_task(_ask_until(done, bots))
    codes = [await bots.restart(("one", "two")[n % 2]) for n in range(rounds)]
    done.set()
    answers = await asking
    await bots.slack.wait_until(lambda: len(set(bots.told())) == len(answers), within=40)
    return codes, answers


async def test_rolling_restarts(tmp_path: Path, postgres_url: str) -> None:
    """A deployment under load loses nothing and refuses nobody, as long as one replica is ready."""
    async with fleet(tmp_path, postgres_url, 400) as bots:
        codes, answers = await _restarted(bots, 2)

        assert codes == [0, 0]
        assert [answer for answer in answers if not answer.startswith("Reloading")] == []
        assert Counter(bots.told()).most_common(1)[0][1] == 1


@pytest.mark.soak
async def test_many_rolling_restarts(tmp_path: Path, postgres_url: str) -> None:
    """As above, ten times over."""
    async with fleet(tmp_path, postgres_url, 2000) as bots:
        codes, answers = await _restarted(bots, 10)

        assert codes == [0] * 10
        assert [answer for answer in answers if not answer.startswith("Reloading")] == []
        assert Counter(bots.told()).most_common(1)[0][1] == 1


@pytest.mark.parametrize("silent", [False, True], ids=["cut", "silent"])
async def test_a_database_that_goes_away(tmp_path: Path, postgres_url: str, silent: bool) -> None:  # noqa: FBT001
    """Commands are refused honestly and in time, what was accepted is not lost, and all comes back by itself."""
    folder = tmp_path / "socket"
    folder.mkdir()
    url, behind = through(postgres_url, folder)
    wire = Wire(folder, behind)
    await wire.start()
    async with fleet(tmp_path, url, 10) as bots:
        await bots.launch("one")
        before = await bots.command(0)
        await bots.modelslab.wait_for_calls(1)
        if silent:
            wire.silence()
        else:
            await wire.cut()
        refused = await bots.command(1)
        await bots.wait_readiness("one", lambda status: status == 503)
        if silent:
            wire.reroute()
        else:
            await wire.heal()
        await bots.slack.wait_until(lambda: bots.told() == ["C00000"], within=30)
        await bots.wait_readiness("one", lambda status: status == 200)
        after = await bots.command(2)
        await bots.slack.wait_until(lambda: bots.told() == ["C00000", "C00002"], within=30)

        assert before.text.startswith("Reloading")
        assert after.text.startswith("Reloading")
        assert "I didn't start anything" in refused.text
        assert [call.model_id for call in bots.modelslab.calls] == ["model-0", "model-2"]
    await wire.cut()
