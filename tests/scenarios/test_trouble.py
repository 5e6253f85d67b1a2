"""ModelsLab has trouble: people read about it when it starts and when it is over."""

import asyncio

import pytest

from bot.sandbox.modelslab import ACCEPTED, error
from tests.answers import Answer, Held, Raw
from tests.scenarios.scenario import ADA, BEN, FAILED, MODELS, OPS, READY, Scenario
from tests.times import set_timing

DOWN = error(500, "Internal server error. Please try again.")
TROUBLE = "I'll keep trying until"


@pytest.fixture
def over() -> asyncio.Event:
    """When ModelsLab's trouble is over."""
    return asyncio.Event()


@pytest.fixture
async def bot(scenario: Scenario, over: asyncio.Event) -> Scenario:
    """A bot that reports trouble soon, and a model that ModelsLab accepts only when the trouble is over."""
    set_timing(trouble_after=0.1)
    scenario.modelslab.answer("sdxl", DOWN, Held(over, ACCEPTED))
    await scenario.open(RELOAD_SECONDS="60")
    return scenario


async def test_the_channel_is_told_of_trouble_and_of_its_end(bot: Scenario, over: asyncio.Event) -> None:
    """The status message says that ModelsLab hasn't accepted it, then how far the reload is, then how it ended."""
    busy = error(429, "Rate limit exceeded.", retry_after=0)
    answers: dict[str, Answer] = {"down": DOWN, "busy": busy, "gateway": Raw(502, b"")}
    for model, answer in answers.items():
        bot.modelslab.answer(model, answer, Held(over, ACCEPTED))
        await bot.ask(model, ADA, MODELS)
    bot.modelslab.answer("dear", DOWN, Held(over, error(402, "Insufficient credits.")))
    await bot.ask("dear", ADA, MODELS)
    await bot.wait_said(TROUBLE, channel=MODELS, n=4)
    over.set()
    await bot.wait_said("is reloading", n=3)
    await bot.wait_said(FAILED)
    await bot.finish_reloads(4)

    for model in answers:
        (status,) = bot.said(f"✓ `{model}`")
        waiting = f"<@{ADA}> is waiting for `{model}`. ModelsLab hasn't accepted the request yet"
        assert status.edits[0].startswith(waiting)
        assert any(f"is reloading `{model}`" in edit for edit in status.edits)
    assert TROUBLE in bot.said("✗ `dear`")[0].edits[0]
    assert sorted(bot.ready()) == sorted(answers)


async def test_a_channel_that_joins_is_told_of_trouble(bot: Scenario, over: asyncio.Event) -> None:
    """At once, and even where the bot can't post: there the response_url carries each message once."""
    await bot.ask("sdxl", ADA, "C0NOWHERE")
    await bot.wait_said(TROUBLE, channel="C0NOWHERE")
    await bot.ask("sdxl", BEN, OPS)
    there = await bot.wait_said(TROUBLE, channel=OPS)
    over.set()
    await bot.wait_said("is reloading", channel="C0NOWHERE")
    await bot.finish_reloads()

    assert there.edits[0].startswith(f"<@{BEN}>")
    assert [message.via for message in bot.said(channel="C0NOWHERE")] == ["response_url"] * 3
    assert READY in bot.said(channel="C0NOWHERE")[-1].text
