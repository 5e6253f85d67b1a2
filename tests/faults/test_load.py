"""Many commands at once, for many channels."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.fleet import Fleet, fleet


def _mebibytes(pid: int) -> float:
    """Resident memory: https://man7.org/linux/man-pages/man5/proc_pid_status.5.html."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


async def _storm(bots: Fleet, commands: int, seconds: float) -> list[float]:
    """Send so many commands evenly in so many seconds, wait for all follow-ups; return how long each ack took."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def one(n: int) -> float:
        await asyncio.sleep(began + n * seconds / commands - loop.time())
        ack = await bots.command(n)
        assert ack.text.startswith("Reloading"), ack
        return ack.seconds

    acks = await asyncio.gather(*map(one, range(commands)))
    await bots.slack.wait_until(lambda: len(set(bots.told())) == commands, within=60)
    return acks


async def _weathers(bots: Fleet, commands: int, seconds: float) -> None:
    await bots.launch("one")
    pid = bots.replicas["one"].pid
    before = _mebibytes(pid)
    acks = await _storm(bots, commands, seconds)

    assert max(acks) < 3
    assert Counter(bots.told()).most_common(1)[0][1] == 1
    assert len(bots.modelslab.calls) == commands
    assert _mebibytes(pid) - before < 32


async def test_a_hundred_commands_at_once(tmp_path: Path) -> None:
    """All are acknowledged in time, and all follow-ups are due together: none is lost, none comes twice."""
    async with fleet(tmp_path, f"sqlite:///{tmp_path}/x.db", 100, RELOAD_SECONDS="3") as bots:
        await _weathers(bots, 100, 1)


@pytest.mark.soak
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_a_thousand_commands(tmp_path: Path, database: str, request: pytest.FixtureRequest) -> None:
    """A thousand in ten seconds for a thousand channels."""
    url = f"sqlite:///{tmp_path}/x.db" if database == "sqlite" else request.getfixturevalue("postgres_url")
    async with fleet(tmp_path, url, 1000, RELOAD_SECONDS="15") as bots:
        await _weathers(bots, 1000, 10)
