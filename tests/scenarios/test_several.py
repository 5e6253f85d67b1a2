"""Several models by one command."""

from tests.scenarios.house import ADA, BEN, READY, House


async def test_each_model_is_a_reload_of_its_own(bot: House) -> None:
    """The ack has a line for each, and so has everything that follows."""
    ack = await bot.ask("sdxl flux, sdxl https://modelslab.com/models/midjourney")
    for model in ("sdxl", "flux", "midjourney"):
        await bot.wait_said(f"`{model}`", READY)
    await bot.wait_done(3)

    assert [line.partition(".")[0] for line in ack.text.splitlines()] == [
        "Reloading `sdxl`",
        "Reloading `flux`",
        "Reloading `midjourney`",
    ]
    assert sorted(call.model_id for call in bot.modelslab.calls) == ["flux", "midjourney", "sdxl"]


async def test_one_invalid_id_starts_none(bot: House) -> None:
    """The answer says which one it is."""
    ack = await bot.ask("sdxl _flux midjourney")

    assert ack.text.startswith("`_flux` isn't a valid model ID.")
    assert ack.text.endswith("Nothing was started.")
    assert bot.reloads == []


async def test_started_joined_and_refused(bot: House) -> None:
    """What a limit refuses does not stop the others; each line says what became of its model."""
    await bot.reopen(MAX_IN_FLIGHT="2", RELOAD_SECONDS="60")
    await bot.ask("sdxl", BEN)
    ack = await bot.ask("zephyr sdxl flux", ADA)
    await bot.wait_sql("SELECT count(*) = 4 FROM reload_model_audit")

    lines = ack.text.splitlines()
    assert lines[0].startswith("`zephyr`: 2 models are already reloading, which is the limit.")
    assert lines[1].startswith("<@U0BEN> is already reloading `sdxl`.")
    assert lines[2].startswith("Reloading `flux`.")
    assert bot.sql("SELECT outcome FROM reload_model_audit ORDER BY outcome") == [
        ("joined",),
        ("requested",),
        ("requested",),
        ("too_many_in_flight",),
    ]


async def test_a_limit_counts_each_model(bot: House) -> None:
    """COMMANDS_PER_PERSON counts reloads, however they were typed."""
    await bot.reopen(COMMANDS_PER_PERSON="2")
    ack = await bot.ask("a1 b1 c1")

    assert [line.partition("`")[0] for line in ack.text.splitlines()] == ["Reloading ", "Reloading ", ""]
    assert "You've hit the limit of 2 reloads" in ack.text


async def test_what_slack_delivers_twice_is_done_once(bot: House) -> None:
    """And answered alike."""
    first = await bot.ask("sdxl flux")
    second = await bot.ask("sdxl flux", trigger_id=first.trigger_id, response_url=first.response_url)
    await bot.wait_done(2)

    assert second.text == first.text
    assert len(bot.modelslab.calls) == 2
