"""The fixtures of the scenarios. Each runs in both of Slack's modes, unless a test names one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.sandbox.modelslab import SandboxModelsLab
from bot.sandbox.slack import SandboxSlack
from tests.scenarios.scenario import ADA, BEN, CEM, EVE, MODELS, OPS, Scenario


@pytest.fixture(params=["socket", "http"])
def mode(request: pytest.FixtureRequest) -> str:
    """How Slack reaches the bot."""
    found: str = request.param
    return found


@pytest.fixture
async def slack() -> AsyncIterator[SandboxSlack]:
    """A workspace with two channels that the bot is in, and four people."""
    async with SandboxSlack() as slack:
        slack.add_channel(MODELS, "models")
        slack.add_channel(OPS, "ops")
        for user in (ADA, BEN, CEM, EVE):
            slack.users[user] = user.lower()
        yield slack


@pytest.fixture
async def scenario(
    slack: SandboxSlack, modelslab: SandboxModelsLab, tmp_path: Path, mode: str
) -> AsyncIterator[Scenario]:
    """A scenario in which the bot has not been started."""
    scenario = Scenario(slack, modelslab, tmp_path, mode)
    yield scenario
    await scenario.shut()
    scenario.check()


@pytest.fixture
async def bot(scenario: Scenario) -> Scenario:
    """A scenario in which the bot runs."""
    await scenario.open()
    return scenario
