"""ModelsLab has trouble: people read about it when it starts and when it is over."""

import pytest

from bot.sandbox.modelslab import ACCEPTED, error
from tests.answers import Answer, Raw
from tests.scenarios.scenario import ADA, BEN, FAILED, MODELS, OPS, READY, Scenario

DOWN = error(500, "Internal server error. Please try again.")
TROUBLE = "I'll keep trying until"


@pytest.fixture
async def bot(scenario: Scenario) -> Scenario:
    """A bot that reports trouble soon, and tries again soon after."""
    scenario.hurry(trouble_after=0.2, call_retry=0.5)
    await scenario.open(RELOAD_SECONDS="0.6")
    return scenario


@pytest.mark.parametrize("answer", [DOWN, error(429, "Rate limit exceeded.", retry_after=0), Raw(502, b"")])
async def test_the_channel_is_told_of_trouble_and_of_its_end(bot: Scenario, answer: Answer) -> None:
    """The status message says that ModelsLab is busy, then how far the reload is, then that it is over."""
    bot.modelslab.answer("sdxl", answer, ACCEPTED)
    await bot.ask("sdxl", ADA, MODELS)
    status = await bot.wait_said(TROUBLE, channel=MODELS)
    await bot.wait_done()

    assert status.edits[0].startswith(f"<@{ADA}> is waiting for `sdxl`. ModelsLab is busy")
    assert any("is reloading `sdxl`" in edit for edit in status.edits)
    assert status.text.startswith("✓ `sdxl`")
    assert len(bot.said(READY)) == 1


@pytest.mark.parametrize("mode", ["socket"])
async def test_nobody_is_told_of_trouble_that_is_soon_over(bot: Scenario) -> None:
    """An attempt that fails, and is followed by an acceptance before 20 s have passed, is not worth a message."""
    bot.hurry(trouble_after=20.0)
    await bot.reopen()
    bot.modelslab.answer("sdxl", DOWN, ACCEPTED)
    await bot.ask("sdxl")
    await bot.wait_done()

    (status,) = (message for message in bot.said() if "✓" in message.text)
    assert TROUBLE not in "".join(status.edits)


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_joiner_from_another_channel_is_told_of_trouble(bot: Scenario) -> None:
    """A channel that joins while ModelsLab has trouble reads so at once."""
    bot.hurry(call_retry=5.0)
    await bot.reopen()
    bot.modelslab.answer("sdxl", DOWN, ACCEPTED)
    await bot.ask("sdxl", ADA, MODELS)
    await bot.wait_said(TROUBLE, channel=MODELS)
    await bot.ask("sdxl", BEN, OPS)

    there = await bot.wait_said(TROUBLE, channel=OPS)
    assert there.text.startswith(f"<@{BEN}>")


@pytest.mark.parametrize("mode", ["socket"])
async def test_trouble_is_reported_where_the_bot_may_not_post(bot: Scenario) -> None:
    """The command's own reply address carries the report, the new time and the follow-up, once each."""
    bot.modelslab.answer("sdxl", DOWN, ACCEPTED)
    await bot.ask("sdxl", ADA, "C0NOWHERE")
    await bot.wait_said(READY)
    await bot.wait_done()

    assert [message.via for message in bot.said(channel="C0NOWHERE")] == ["response_url"] * 3
    assert [TROUBLE in message.text for message in bot.said(channel="C0NOWHERE")] == [True, False, False]


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_restart_loses_no_report(bot: Scenario) -> None:
    """A report that falls due while nothing runs is made at the next start."""
    bot.hurry(call_retry=30.0, trouble_after=0.5)
    await bot.reopen()
    bot.modelslab.answer("sdxl", DOWN, ACCEPTED)
    await bot.ask("sdxl")
    await bot.log.wait_for("job_failed")
    await bot.shut()
    await bot.open()

    await bot.wait_said(TROUBLE)


@pytest.mark.parametrize("mode", ["socket"])
async def test_trouble_that_ends_in_a_failure(bot: Scenario) -> None:
    """The status message says in the end that the reload failed."""
    bot.modelslab.answer("sdxl", DOWN, error(402, "Insufficient credits."))
    await bot.ask("sdxl")
    status = await bot.wait_said(TROUBLE)
    await bot.wait_said(FAILED)
    await bot.wait_done()

    assert status.text.startswith("✗ `sdxl`")
