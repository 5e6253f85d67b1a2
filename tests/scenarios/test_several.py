"""Several models by one command."""

from tests.scenarios.scenario import ADA, BEN, CEM, MODELS, OPS, READY, Scenario, both_modes, labels


@both_modes
async def test_each_model_is_a_reload_of_its_own(bot: Scenario) -> None:
    """The ack has a line for each. What Slack delivers twice is done once, and answered alike."""
    text = "sdxl flux, sdxl https://modelslab.com/models/midjourney"
    first = await bot.ask(text)
    second = await bot.ask(text, trigger_id=first.trigger_id, response_url=first.response_url)
    await bot.wait_done(3)

    for ack in (first, second):
        lines = [line.partition(".")[0] for line in ack.text.splitlines()]
        assert lines == ["Reloading `sdxl`", "Reloading `flux`", "Reloading `midjourney`"]
    assert sorted(call.model_id for call in bot.modelslab.calls) == ["flux", "midjourney", "sdxl"]
    assert sorted(bot.ready()) == ["flux", "midjourney", "sdxl"]


async def test_started_joined_and_refused(bot: Scenario) -> None:
    """What a limit refuses does not stop the others; each model, however typed, has its line, and counts by itself."""
    await bot.reopen(MAX_IN_FLIGHT="2", RELOAD_SECONDS="60")
    await bot.ask("sdxl", BEN)
    ack = await bot.ask("zephyr sdxl flux", ADA)
    await bot.wait_sql("SELECT count(*) = 4 FROM reload_model_audit")

    lines = ack.text.splitlines()
    assert lines[0].startswith("`zephyr`: 2 models are already reloading, which is the limit.")
    assert lines[1].startswith("<@U0BEN> is already reloading `sdxl`.")
    assert lines[2].startswith("Reloading `flux`.")
    outcomes = [row[0] for row in bot.sql("SELECT outcome FROM reload_model_audit ORDER BY outcome")]
    assert outcomes == ["joined", "requested", "requested", "too_many_in_flight"]
    await bot.reopen(COMMANDS_PER_PERSON="2", MAX_IN_FLIGHT="0")
    ack = await bot.ask("a1 b1 c1", CEM)
    assert [line.partition("`")[0] for line in ack.text.splitlines()] == ["Reloading ", "Reloading ", ""]
    assert "You've hit the limit of 2 reloads in 10 minutes." in ack.text
    assert (await bot.ask("d1", BEN)).text.startswith("Reloading")
    limited = "SELECT rule = 'COMMANDS_PER_PERSON' FROM reload_model_audit WHERE outcome = 'too_many_commands'"
    await bot.wait_sql(limited)


async def test_follow_ups_that_are_due_together_are_one_message(slow: Scenario) -> None:
    """With a button for each model, tried again as one. Who waits for other models has a message of their own."""
    await slow.ask("sdxl flux midjourney", ADA)
    await slow.ask("zephyr", BEN)
    await slow.ask("orca", ADA, OPS)
    await slow.log.wait_for("status_posted", 5)
    slow.slack.fail("chat.postMessage", "internal_error", channel=MODELS)
    await slow.pass_reloads()
    await slow.log.wait_for("job_failed", 4)
    slow.slack.heal()
    await slow.wait_done(5)
    said = {(message.channel, message.text): labels(message) for message in slow.said(READY)}

    assert len(said) == len(slow.said(READY)) == 3
    assert len({record["reload"] for record in slow.log.of("notified")}) == 5
    [together] = [text for _, text in said if "`flux`" in text]
    assert together.startswith(f"<@{ADA}> `")
    assert together.count("`, `") == together.count("` and `") == 1
    assert together.endswith("` should be ready now.")
    assert sorted(said[MODELS, together]) == [f"Remind me about {model}" for model in ("flux", "midjourney", "sdxl")]
    assert said[MODELS, f"<@{BEN}> `zephyr` should be ready now."] == ["Remind me before it's unloaded"]
    assert (OPS, f"<@{ADA}> `orca` should be ready now.") in said
