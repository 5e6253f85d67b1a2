"""The houses of the scenarios, with a port for the operator."""

import socket

import aiohttp
import pytest

from tests.scenarios.conftest import bot, brisk, house, mode, slack
from tests.scenarios.house import House
from tests.secrecy import remember, scan

__all__ = ["bot", "brisk", "house", "mode", "slack"]


class Operator:
    """Whoever reads the metrics of a house, on the port that is theirs."""

    def __init__(self, house: House) -> None:
        self.house = house
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]

    async def open(self) -> None:
        """Start the bot with that port."""
        await self.house.open(ADMIN_PORT=str(self.port))

    async def get(self, path: str, *, port: int | None = None) -> tuple[int, str, str]:
        """The status, content type and text that a path answers, on the operator's port or on another."""
        async with aiohttp.request("GET", f"http://127.0.0.1:{port or self.port}{path}") as response:
            return response.status, response.headers["Content-Type"], await response.text()

    async def scrape(self) -> dict[str, float]:
        """Every sample, as Prometheus names it."""
        _, _, text = await self.get("/metrics")
        remember(self.house.secrets)
        scan("the metrics", text)
        samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}


@pytest.fixture
async def operator(house: House) -> Operator:
    """A house in which the bot runs, and its operator."""
    operator = Operator(house)
    await operator.open()
    return operator
