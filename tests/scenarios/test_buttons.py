"""A button saves a step: each does its one thing, for people with access, and says so privately."""

from dataclasses import replace

from bot.sandbox.modelslab import error
from bot.sandbox.slack.workspace import Message
from tests.answers import Hang, RateLimited
from tests.scenarios.scenario import ADA, BEN, FAILED, MODELS, OPS, READY, Scenario, both_modes, labels, mentioned
from tests.times import set_timing

NOTIFY, AGAIN, REMIND = "Notify me too", "Try again", "Remind me before it's unloaded"


async def press(bot: Scenario, message: Message, label: str, user: str = ADA) -> None:
    """Press a button, and expect that it is acknowledged without words."""
    ack = await bot.slack.press(message, label, user=user)
    assert (ack.status, ack.error, ack.text) == (200, "", "")


async def a_failure(bot: Scenario, model: str = "sdxl") -> Message:
    """A reload that ModelsLab refused once."""
    bot.modelslab.answer(model, error(200, f"Model not found: {model}"))
    await bot.ask(model)
    failure = await bot.wait_said(f"`{model}`", FAILED)
    bot.modelslab.answer(model)
    return failure


@both_modes
async def test_people_who_press_notify_me_too_join(slow: Scenario) -> None:
    """They are mentioned in the follow-up, and read in private when to expect it. Who asks twice is one person."""
    await slow.ask("sdxl")
    status = await slow.wait_said("is reloading `sdxl`", channel=MODELS)
    await press(slow, status, NOTIFY, BEN)
    told = await slow.wait_said(f"<@{ADA}> is already reloading `sdxl`", user=BEN)
    await slow.ask("sdxl", BEN)
    await slow.pass_reloads()
    follow_up = await slow.wait_said(READY)

    assert mentioned(follow_up.text) == [ADA, BEN]
    assert (told.via, told.channel) == ("response_url", MODELS)
    assert len(slow.modelslab.calls) == 1
    assert slow.sql("SELECT count(*) FROM reload_model_subscribers") == [(3,)]


async def test_a_failure_can_be_tried_again(bot: Scenario) -> None:
    """For the person who pressed, unless the channel has been closed. An answer that Slack limits is tried again."""
    failure = await a_failure(bot)
    bot.slack.fail("response_url", RateLimited(1), times=1)
    await press(bot, failure, AGAIN, BEN)
    await bot.wait_said("Reloading `sdxl`.", user=BEN)
    assert mentioned((await bot.wait_said("`sdxl`", READY)).text) == [BEN]
    assert len(bot.modelslab.calls) == 2

    failure = await a_failure(bot, "flux")
    bot.slack.fail("response_url", "used_url", times=1)
    await press(bot, failure, AGAIN, BEN)
    await bot.log.wait_for("answer_not_sent")
    await bot.wait_said("`flux`", READY)

    await bot.reopen(ALLOWED_CHANNELS=OPS)
    await press(bot, failure, AGAIN)
    await bot.wait_said(f"I only work in <#{OPS}>", user=ADA)
    assert len(bot.modelslab.calls) == 4


async def test_a_lists_buttons_are_for_its_channel(slow: Scenario) -> None:
    """History and status carry them beside each line. History offers only what was reloaded a while ago.

    Two presses in one message are no double click if they are for two models, one right after the other.
    """
    await slow.ask("sdxl midjourney")
    await slow.finish_reloads(2)
    slow.sql("UPDATE reload_model_reloads SET ready_at = ready_at - 3600, ended_at = ended_at - 3600")
    slow.modelslab.answer("flux", Hang())
    await slow.ask("flux")
    history = await slow.shown("history", BEN, OPS)
    for model in ("sdxl", "midjourney"):
        await press(slow, history, f"Reload {model} again", BEN)
    await press(slow, await slow.shown("status", BEN, OPS), "Notify me about flux", BEN)

    there = "SELECT count(*) = 3 FROM reload_model_subscribers WHERE user_id = ? AND channel_id = ?"
    await slow.wait_sql(there, BEN, OPS)
    for model in ("sdxl", "midjourney"):
        await slow.wait_said(f"is reloading `{model}`", channel=OPS)


async def test_an_unknown_model_has_similar_ones(bot: Scenario) -> None:
    """As text and as buttons, the account's own ones first; a list that does not come holds up no failure."""
    bot.modelslab.models, bot.modelslab.own_models = ["sdxl", "sdxxl-1", "flux"], ["sdxxl-2"]
    failure = await a_failure(bot, "sdxxl")
    assert "Did you mean `sdxxl-2`, `sdxl` or `sdxxl-1`?" in failure.text
    await press(bot, failure, "sdxl", BEN)
    await bot.wait_said("`sdxl` should be ready now", f"<@{BEN}>")

    assert [call.model_id for call in bot.modelslab.calls] == ["sdxxl", "sdxl"]
    set_timing(suggestions=0.1)
    bot.modelslab.lists["public"] = Hang()
    await bot.reopen()
    failure = await a_failure(bot, "sdxxl-3")
    assert ("Did you mean" in failure.text, labels(failure)) == (False, [AGAIN])
    assert len(bot.log.of("no_similar_models")) == 1


async def test_a_button_of_a_reload_that_is_over_says_so(slow: Scenario) -> None:
    """There is nothing to join; and history is kept for so many days, a message for longer."""
    await slow.ask("sdxl")
    left_on_a_screen = replace(await slow.wait_said("is reloading `sdxl`"))
    await slow.pass_reloads()
    follow_up = await slow.wait_said(READY)
    await slow.wait_done()
    await press(slow, left_on_a_screen, NOTIFY, BEN)
    await slow.wait_said("That reload has already finished", user=BEN)
    assert slow.sql("SELECT count(*) FROM reload_model_subscribers") == [(1,)]

    for table in ("jobs", "subscribers", "reloads"):
        slow.sql(f"DELETE FROM reload_model_{table}")  # noqa: S608 - names of ours
    await press(slow, follow_up, REMIND)
    await slow.wait_said("I no longer have a record of that reload", user=ADA)


async def test_a_press_in_a_thread_is_answered_there(bot: Scenario) -> None:
    """And says which thread it is about where it is pressed elsewhere."""
    await bot.slack.mention("sdxl", user=ADA, thread_ts="1795787189.000100")
    follow_up = await bot.wait_said(READY)
    await bot.wait_done()
    await press(bot, follow_up, REMIND)
    answer = await bot.wait_said("I'll remind you about `sdxl`", user=ADA)
    bot.sql("UPDATE reload_model_reloads SET ready_at = ready_at - 6 * 86400")
    bot.sql("UPDATE reload_model_jobs SET due_at = 0 WHERE kind = 'reminder'")
    bot.worker.wake()
    await press(bot, await bot.wait_said("was reloaded 6 days ago"), "Reload now")
    told = await bot.wait_said(f"I'll ping you in the thread in <#{MODELS}> around", user=ADA)
    await bot.wait_done(2)

    assert (answer.thread_ts, told.thread_ts) == ("1795787189.000100", None)
    assert {m.thread_ts for m in bot.said(READY)} == {"1795787189.000100"}
