"""Real processes: a replica that dies, a rolling restart, many commands at once."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from bot.sandbox.modelslab import ACCEPTED
from bot.sandbox.slack import Ack
from tests.answers import Held
from tests.faults.fleet import Fleet, fleet

PATIENCE = 30.0
"""Seconds that people wait for an answer, where the point is not how long it takes."""


async def test_a_replica_that_dies_for_good(tmp_path: Path, postgres_url: str) -> None:
    """What it had taken the other finishes; only calls that were running are made again."""
    async with fleet(tmp_path, postgres_url, 40, MODELSLAB_CONCURRENCY="4") as bots:
        bots.slack.ack_seconds = PATIENCE
        await bots.launch("one", "two")
        acks = await asyncio.gather(*(bots.command(n, "one") for n in range(40)))
        await bots.kill("one")
        await bots.wait_notified(40)

        assert all(ack.text.startswith("Reloading") for ack in acks)
        assert len(bots.modelslab.calls) <= 44


async def test_two_hundred_people_who_ask_for_one_model(tmp_path: Path, postgres_url: str) -> None:
    """On two replicas, they make one call, and each is notified once."""
    held = asyncio.Event()
    async with fleet(tmp_path, postgres_url, 200) as bots:
        bots.slack.ack_seconds = PATIENCE
        bots.modelslab.answer("sdxl", Held(held), ACCEPTED)
        await bots.launch("one", "two")
        at_once = asyncio.Semaphore(16)

        async def ask(n: int) -> Ack:
            async with at_once:
                return await bots.command(n, model="sdxl")

        acks = await asyncio.gather(*map(ask, range(200)))
        held.set()
        await bots.wait_notified(200)

        assert sum(ack.text.startswith("Reloading") for ack in acks) == 1
        assert sum("already" in ack.text for ack in acks) == 199
        assert len({call.at for call in bots.modelslab.calls}) == 1


async def _restart(bots: Fleet, rounds: int) -> None:
    """Restart one replica after the other while people ask some ten times a second, each for another model."""
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


async def test_rolling_restarts(tmp_path: Path, postgres_url: str) -> None:
    """A deployment under load loses nothing and refuses nobody, as long as one replica is ready."""
    async with fleet(tmp_path, postgres_url, 400) as bots:
        bots.slack.ack_seconds = PATIENCE
        await _restart(bots, 2)


@pytest.mark.soak
async def test_many_rolling_restarts(tmp_path: Path, postgres_url: str) -> None:
    """As above, ten times over, and in time."""
    async with fleet(tmp_path, postgres_url, 2000) as bots:
        await _restart(bots, 10)


def _mebibytes(pid: int) -> float:
    """Resident memory: https://man7.org/linux/man-pages/man5/proc_pid_status.5.html."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


async def _storm(bots: Fleet, commands: int, seconds: float) -> None:
    """Send so many commands evenly in so many seconds: none is lost, none comes twice, and memory stays bounded."""
    loop = asyncio.get_running_loop()
    await bots.launch("one")
    pid = bots.replicas["one"].pid
    before, began = _mebibytes(pid), loop.time()

    async def one(n: int) -> Ack:
        await asyncio.sleep(began + n * seconds / commands - loop.time())
        return await bots.command(n)

    acks = await asyncio.gather(*map(one, range(commands)))
    assert [ack for ack in acks if not ack.text.startswith("Reloading")] == []
    await bots.wait_notified(commands)

    assert len(bots.modelslab.calls) == commands
    assert _mebibytes(pid) - before < 32


async def test_a_hundred_commands_at_once(tmp_path: Path) -> None:
    """All are acknowledged, and all follow-ups are due together."""
    async with fleet(tmp_path, f"sqlite:///{tmp_path}/x.db", 100) as bots:
        bots.slack.ack_seconds = PATIENCE
        await _storm(bots, 100, 1)


@pytest.mark.soak
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_a_thousand_commands(tmp_path: Path, database: str, request: pytest.FixtureRequest) -> None:
    """A thousand in ten seconds for a thousand channels are all acknowledged within Slack's three seconds."""
    url = f"sqlite:///{tmp_path}/x.db" if database == "sqlite" else request.getfixturevalue("postgres_url")
    async with fleet(tmp_path, url, 1000, RELOAD_SECONDS="15") as bots:
        await _storm(bots, 1000, 10)
