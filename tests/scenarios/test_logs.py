"""What the log says: one line for one event, at a level by whether an operator should wake up."""

from bot.sandbox.modelslab import error
from bot.ui import views
from tests.answers import Reset
from tests.scenarios.scenario import ADA, EVE, MODELS, Scenario, eventually


async def test_a_failed_reload_is_as_urgent_as_its_reason(bot: Scenario) -> None:
    """Somebody's typo wakes nobody up; an account that doesn't work any more does."""
    answers = {
        "typo": (error(200, "Model not found: typo"), "info"),
        "large": (error(400, "Not today."), "warning"),
        "dear": (error(402, "Insufficient credits."), "error"),
        "revoked": (error(401, "Invalid API key"), "error"),
    }
    for model, (answer, _) in answers.items():
        bot.modelslab.answer(model, answer)
        await bot.ask(model)
    await bot.wait_done(len(answers))

    levels = {record["model"]: record["level"] for record in bot.log.of("reload_failed")}
    assert levels == {model: level for model, (_, level) in answers.items()}


async def test_what_people_do_is_info(bot: Scenario) -> None:
    """Typos and refusals, too, and a channel where the bot can't post."""
    bot.slack.fail("chat.postMessage", "not_in_channel", channel=MODELS)
    for text, user in (("two words", ADA), ("stauts", ADA), ("sdxl", EVE), ("sdxl", ADA)):
        await bot.ask(text, user)
    await bot.wait_done()

    assert {record["level"] for record in bot.log.records} <= {"debug", "info"}


async def test_what_cannot_be_reached_is_named(bot: Scenario) -> None:
    """A host's name tells a proxy's fault from a service's."""
    bot.modelslab.answer("sdxl", Reset())
    bot.slack.fail("chat.postMessage", Reset())
    await bot.ask("sdxl")
    await bot.ask("flux")

    hosts = {bot.slack.api_url.split("/")[2], bot.modelslab.url.split("/")[2]}
    await eventually(lambda: {record["host"] for record in bot.log.of("job_failed")} == hosts)


async def test_another_environment_has_a_command_of_its_own(scenario: Scenario) -> None:
    """Help and all messages name it. Any other name that the app's page has is answered; the operator sees it."""
    ours = "/reload-model-dev"
    await scenario.open(SLASH_COMMAND=ours, ALLOWED_USERS=ADA)
    texts = [(await scenario.ask(text, command=ours)).text for text in ("help", "_bad", "stauts", "sdxl", "status")]
    await scenario.slack.shortcut(views.PICKER, user=ADA)
    await scenario.wait_done()

    assert "`/reload-model-dev status` shows" in texts[0]
    assert texts[1].endswith("See `/reload-model-dev help`.")
    assert texts[2].startswith("Did you mean `/reload-model-dev status`?")
    assert texts[3].startswith("Reloading `sdxl`")
    assert not [text for text in texts if "`/reload-model " in text or "`/reload-model`" in text]
    for name, shown in {"/reload-model": "/reload-model", "/<!channel>": "/&lt;!channel&gt;"}.items():
        assert (await scenario.ask("sdxl", command=name)).text == (
            f"I don't answer to `{shown}`. Use `/reload-model-dev`, or ask the operator to check `SLASH_COMMAND`."
        )
        record = scenario.log.of("command")[-1]
        assert (record["level"], record["outcome"], record["command"]) == ("warning", "unknown_command", name)
    assert len(scenario.reloads) == 1
