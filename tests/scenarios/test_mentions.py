"""Mentions of the bot in channels and threads, and direct messages to it."""

import asyncio
from dataclasses import replace
from functools import partial
from unittest.mock import Mock

import pytest

from bot.core import command
from bot.sandbox.modelslab import error
from tests.answers import Answer, Json, RateLimited
from tests.scenarios.scenario import ADA, BEN, CEM, FAILED, MODELS, READY, Scenario, both_modes, eventually
from tests.times import set_timing

THREAD = "1795787189.000100"

MENTION = {"type": "app_mention", "user": ADA, "team": "T0SANDBOX", "channel": MODELS, "ts": "1.1", "event_ts": "1.1"}


@both_modes
async def test_a_mention_in_a_thread_stays_in_the_thread(slow: Scenario) -> None:
    """The answer is for its author only; status and follow-up are replies that the channel does not see."""
    ack = await slow.slack.mention("sdxl", user=ADA, thread_ts=THREAD)
    private = await slow.wait_said("Reloading `sdxl`. I'll ping you here around", user=ADA)
    await slow.wait_said("is reloading")
    await slow.pass_reloads()
    follow_up = await slow.wait_said(READY)
    await slow.wait_done()

    assert ack.status == 200
    assert private.thread_ts == THREAD
    assert follow_up.text.startswith(f"<@{ADA}> `sdxl` should be ready now.")
    assert [(m.thread_ts, m.broadcast) for m in slow.slack.messages if m.user is None] == [(THREAD, False)] * 2
    assert slow.sql("SELECT text, outcome FROM reload_model_audit") == [("sdxl", "requested")]


@pytest.mark.parametrize(("follow_up", "broadcast"), [("channel", True), ("thread", False)])
async def test_a_mention_outside_a_thread_is_like_the_command(
    slow: Scenario, follow_up: str, *, broadcast: bool
) -> None:
    """Its status is in the channel, with the follow-up below it, which the channel sees unless FOLLOW_UP=thread."""
    await slow.reopen(FOLLOW_UP=follow_up)
    await slow.slack.mention("sdxl", user=ADA)
    await slow.finish_reloads()
    status, told = (m for m in slow.slack.messages if m.user is None)

    assert (status.channel, status.thread_ts) == (MODELS, None)
    assert (told.thread_ts, told.broadcast) == (status.ts, broadcast)


async def test_a_thread_and_its_channel_are_two_places(slow: Scenario) -> None:
    """One reload, and each place has its status and its follow-up; people who press a button are notified there."""
    await slow.slack.mention("sdxl", user=ADA, thread_ts=THREAD)
    in_thread = await slow.wait_said("is reloading `sdxl`")
    left_on_a_screen = replace(in_thread)
    ack = await slow.ask("sdxl", BEN)
    await slow.slack.press(in_thread, "Notify me too", user=CEM)
    await slow.finish_reloads()
    await slow.slack.press(left_on_a_screen, "Notify me too", user=BEN)
    await slow.wait_said("To start another: `@reload-model &lt;model ID&gt;`.", user=BEN)

    assert ack.text.startswith(f"<@{ADA}> is already reloading `sdxl`.")
    assert len(slow.modelslab.calls) == 1
    assert {(m.thread_ts == THREAD, m.text) for m in slow.said(READY)} == {
        (True, f"<@{ADA}> <@{CEM}> `sdxl` should be ready now."),
        (False, f"<@{BEN}> `sdxl` should be ready now."),
    }
    assert len([m for m in slow.slack.messages if m.thread_ts == THREAD and m.user is None]) == 2


WORDS = {
    "": "`/reload-model sdxl` reloads the model `sdxl`",
    "help": "`/reload-model sdxl` reloads the model `sdxl`",
    "status": "No reloads right now.",
    "history": "No reloads yet.",
    "list": "Did you mean `@reload-model status`?",
    "thanks <@U0BOT>": "I load it again",
    "<@U0BOT> is broken today": "Did you mean `@reload-model broken`? Nothing was started.",
    "sdxl&amp;flux": "`sdxl&amp;flux` isn't a valid model ID.",
    "sdxl " * 8_000: "isn't a valid model ID",
    "\u6f22" * 40_000: "is too long for a model ID",
}


async def test_a_mention_knows_the_words_of_the_command(bot: Scenario) -> None:
    """And its typos; what Slack escaped is read as it was typed. It may be as long as Slack allows, in two forms."""
    for text, part in WORDS.items():
        said = len(bot.slack.messages)
        assert (await bot.slack.mention(text, user=ADA, padding=text)).status == 200
        await bot.slack.wait_until(lambda said=said: len(bot.slack.messages) > said)  # type: ignore[misc]
        assert part in bot.slack.messages[-1].text

    assert bot.reloads == []


READ_AS = {
    "<@U0BOT> a1": "a1",
    "<@U0BOT|reload-model> \u201cb1\u201d": "b1",
    "that one <@U0BEN> is gone, <@U0BOT> c1": "c1",
    "could somebody try <@U0BOT> sdxl-1.0.": "sdxl-1.0",
    "<@U0BOT> <https://modelslab.com/models/x/d1|modelslab.com/models/x/d1>": "d1",
    "<@U0BOT> <http://flux.dev|flux.dev>": "flux.dev",
    "<@U0BOT> <mailto:model@v1.co|model@v1.co>": "model@v1.co",
    f"{'sdxl ' * 7_990}<@U0BOT> at-the-end": "at-the-end",
}


async def test_what_follows_the_mention_counts(bot: Scenario) -> None:
    """Not what is before it. Links are as Slack writes them. Where the text has no mention, all of it counts."""
    for text in READ_AS:
        await bot.slack.mention(text, user=ADA)
    await bot.slack.send_event(MENTION | {"text": "no-mention"})
    with_a_file = {"type": "message", "channel_type": "im", "subtype": "file_share", "files": [{"id": "F0"}]}
    await bot.slack.send_event(MENTION | with_a_file | {"channel": bot.slack.dm(ADA), "ts": "1.2", "text": "with-file"})
    shown_in_channel = MENTION | {"subtype": "thread_broadcast", "thread_ts": THREAD, "text": "<@U0BOT> broadcast"}
    await bot.slack.send_event(shown_in_channel)
    await bot.wait_done(len(READ_AS) + 3)

    models = {*READ_AS.values(), "no-mention", "with-file", "broadcast"}
    assert {call.model_id for call in bot.modelslab.calls} == models


async def test_an_event_that_slack_delivers_again_is_one_request(
    bot: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes again if its acknowledgement was lost, and is answered once, with a line for each model.

    No delivery is acknowledged before the request is committed.
    """
    set_timing(sqlite_busy=30.0)
    await bot.reopen()
    event = partial(bot.slack.mention, "sdxl flux", user=ADA, event_id="Ev0123ABCD")
    parse = Mock(side_effect=command.parse)
    monkeypatch.setattr("bot.handlers.commands.parse", parse)
    with bot.locked():
        deliveries = [asyncio.create_task(event()) for _ in range(2)]
        await eventually(lambda: parse.call_count == len(deliveries))
        assert not any(delivery.done() for delivery in deliveries)
    acks = [*await asyncio.gather(*deliveries), await event()]
    private = await bot.wait_said("Reloading `flux`.", user=ADA)
    await bot.wait_done(2)
    await bot.slack.mention("help", user=ADA)
    await bot.wait_said("I load it again", user=ADA)
    await bot.wait_sql("SELECT count(*) >= 3 FROM reload_model_audit")

    assert {ack.status for ack in acks} == {200}
    assert len(private.text.splitlines()) == len(bot.modelslab.calls) == 2
    assert len(bot.sql("SELECT id FROM reload_model_subscribers")) == 2
    assert [call.method for call in bot.slack.calls].count("chat.postEphemeral") == 2
    assert sorted(bot.sql("SELECT text FROM reload_model_audit")) == [("flux",), ("help",), ("sdxl",)]


async def test_what_is_not_for_the_bot_starts_nothing(bot: Scenario) -> None:
    """What bots write, edits, and messages in channels, even where the app is subscribed to them."""
    mention = MENTION | {"text": "<@U0BOT> sdxl"}
    in_channel = mention | {"type": "message", "channel_type": "channel"}
    for event in (mention | {"bot_id": "B0OTHER"}, mention | {"subtype": "message_changed"}, in_channel):
        assert (await bot.slack.send_event(event)).status == 200
    assert (await bot.slack.send_event(mention | {"edited": {"ts": "1.2"}})).status == 200
    await bot.ask("flux")
    await bot.wait_done()

    assert [call.model_id for call in bot.modelslab.calls] == ["flux"]


async def test_a_direct_message_is_like_a_mention(bot: Scenario) -> None:
    """Everything is said there, which is here; and there, where a button of it is pressed elsewhere."""
    bot.modelslab.answer("sdxl", error(200, "Model not found: sdxl"))
    await bot.slack.write("<@U0BOT> flux", user=ADA)
    await bot.wait_said(f"<@{ADA}> `flux` should be ready now.")
    await bot.slack.write("sdxl", user=ADA)
    failure = await bot.wait_said(FAILED)
    await bot.slack.press(failure, "Try again", user=ADA)
    await bot.wait_said("I'll ping you here around", user=ADA, n=3)
    assert {m.channel for m in bot.slack.messages} == {bot.slack.dm(ADA)}
    elsewhere = bot.slack.say(MODELS, {"text": failure.text, "blocks": failure.blocks}, "api")
    await bot.slack.press(elsewhere, "Try again", user=ADA)
    await bot.wait_said("I'll ping you there", user=ADA)


@pytest.mark.parametrize("fault", [RateLimited(1), Json(500, {})], ids=["429", "500"])
async def test_an_answer_is_tried_again(bot: Scenario, fault: Answer) -> None:
    """After as long as Slack asks for."""
    bot.slack.fail("chat.postEphemeral", fault, times=1)
    await bot.slack.mention("help", user=ADA)
    await bot.wait_said("I load it again", user=ADA)

    first, second = (call.at for call in bot.slack.calls if call.method == "chat.postEphemeral")
    assert second - first >= 1 or fault != RateLimited(1)


async def test_an_answer_that_slack_does_not_take_is_logged(bot: Scenario) -> None:
    """It is best-effort: tried a few times at most, and all else goes on."""
    bot.slack.fail("chat.postEphemeral", "internal_error")
    await bot.slack.mention("sdxl", user=ADA)
    await bot.wait_said(READY)

    assert (await bot.log.wait_for("answer_not_sent"))["reason"] == "internal_error"
    assert [call.method for call in bot.slack.calls].count("chat.postEphemeral") == 4


@pytest.mark.parametrize(("thread_ts", "code"), [("", "user_not_in_channel"), (THREAD, "restricted_action")])
async def test_an_answer_that_is_refused_comes_in_a_direct_message(bot: Scenario, thread_ts: str, code: str) -> None:
    """As if the person isn't in the channel, or the bot isn't allowed to post there."""
    bot.slack.fail("chat.postEphemeral", code)
    await bot.slack.mention("help", user=ADA, thread_ts=thread_ts)
    message = await bot.wait_said("I load it again", channel=bot.slack.dm(ADA))

    assert message.thread_ts is None
    assert bot.log.of("answer_not_sent") == []
