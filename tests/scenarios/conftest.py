"""The fixtures of the scenarios."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.sandbox.modelslab import SandboxModelsLab
from bot.sandbox.slack.service import SandboxSlack
from tests.scenarios.process import Machine
from tests.scenarios.scenario import ADA, BEN, CEM, EVE, MODELS, OPS, Scenario


@pytest.fixture
def mode() -> str:
    """How Slack reaches the bot: "socket" or "http"."""
    return "socket"


@pytest.fixture
async def slack() -> AsyncIterator[SandboxSlack]:
    """A workspace with two channels that the bot is in, and four people."""
    async with SandboxSlack() as slack:
        slack.ack_seconds = 30.0  # a machine that is busy makes an answer slow, not wrong
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


@pytest.fixture
async def slow(scenario: Scenario) -> Scenario:
    """A scenario in which the bot runs, and a reload takes a minute, unless pass_reloads() ends it."""
    await scenario.open(RELOAD_SECONDS="60")
    return scenario


@pytest.fixture
async def machine(scenario: Scenario, tmp_path: Path) -> AsyncIterator[Machine]:
    """A machine on which the bot can run as a process, and doesn't yet."""
    machine = Machine(scenario, tmp_path)
    yield machine
    await machine.check()
