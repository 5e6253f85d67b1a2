"""What the log says: one line for one event, at a level by whether an operator should wake up."""

import pytest

from bot.sandbox.modelslab import error
from bot.ui import views
from tests.answers import Raw, Reset
from tests.scenarios.scenario import ADA, BEN, EVE, MODELS, Scenario, locked

one_mode = pytest.mark.parametrize("mode", ["socket"])


@one_mode
@pytest.mark.parametrize(
    ("answer", "level"),
    [
        (error(200, "Model not found: sdxl"), "info"),
        (error(400, "Not today."), "warning"),
        (error(402, "Insufficient credits."), "error"),
        (error(401, "Invalid API key"), "error"),
    ],
)
async def test_a_failed_reload_is_as_urgent_as_its_reason(bot: Scenario, answer: Raw, level: str) -> None:
    """Somebody's typo wakes nobody up; an account that doesn't work any more does."""
    bot.modelslab.answer("sdxl", answer)
    await bot.ask("sdxl")
    await bot.wait_done()

    (failed,) = bot.log.of("reload_failed")
    assert failed["level"] == level


@one_mode
async def test_what_people_do_is_info(bot: Scenario) -> None:
    """Slips and refusals, too, and a channel where the bot can't post."""
    bot.slack.fail("chat.postMessage", "not_in_channel", channel=MODELS)
    for text, user in (("two words", ADA), ("stauts", ADA), ("sdxl", EVE), ("sdxl", ADA)):
        await bot.ask(text, user)
    await bot.wait_done()

    assert {record["level"] for record in bot.log.records} <= {"debug", "info"}


@one_mode
async def test_what_cannot_be_reached_is_named(bot: Scenario) -> None:
    """A host's name tells a proxy's fault from a service's."""
    bot.modelslab.answer("sdxl", Reset())
    bot.slack.fail("chat.postMessage", Reset())
    await bot.ask("sdxl")
    await bot.ask("flux")
    await bot.log.wait_for("job_failed", 2)

    slack, modelslab = bot.slack.api_url.split("/")[2], bot.modelslab.url.split("/")[2]
    hosts = {(record["job"], record["host"]) for record in bot.log.of("job_failed")}
    assert ("call", modelslab) in hosts
    assert ("status", slack) in hosts or ("notify", slack) in hosts


@pytest.mark.parametrize("mode", ["http"])
async def test_a_database_that_is_away_is_one_line(bot: Scenario) -> None:
    """However many commands and turns of the worker find it out."""
    with locked(bot.database):
        for user in (ADA, BEN, ADA):
            await bot.ask("sdxl", user)
        await bot.wait_ready(503)
    await bot.wait_ready()

    assert len(bot.log.of("database_unavailable")) == 1
    assert [record["outcome"] for record in bot.log.of("command")] == ["not_recorded"] * 3


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_another_environment_has_a_command_of_its_own(scenario: Scenario) -> None:
    """Help and all messages name it; the other environment's command is answered, and is a line in the log."""
    other = "/reload-model-dev"
    await scenario.open(SLASH_COMMAND=other, ALLOWED_USERS=ADA)
    texts = [(await scenario.ask(text, command=other)).text for text in ("help", "_bad", "stauts", "sdxl", "status")]
    wrong = await scenario.ask("sdxl")
    await scenario.slack.shortcut(views.PICKER, user=ADA)
    await scenario.wait_done()

    assert "`/reload-model-dev status` shows" in texts[0]
    assert texts[1].endswith("See `/reload-model-dev help`.")
    assert texts[2].startswith("Did you mean `/reload-model-dev status`?")
    assert texts[3].startswith("Reloading `sdxl`")
    assert not [text for text in texts if "`/reload-model " in text or "`/reload-model`" in text]
    assert wrong.text == (
        "I don't answer to `/reload-model`. Use `/reload-model-dev`, or ask the operator to check `SLASH_COMMAND`."
    )
    assert [record["command"] for record in scenario.log.of("command") if record["outcome"] == "unknown_command"] == [
        "/reload-model"
    ]
