"""Mentions of the bot in channels and threads, and direct messages to it."""

import pytest

from bot.sandbox.workspace import Message
from tests.answers import Answer, Json, RateLimited
from tests.scenarios.scenario import ADA, BEN, CEM, EVE, MODELS, OPS, READY, Scenario

one_mode = pytest.mark.parametrize("mode", ["socket"])
THREAD = "1795787189.000100"


async def answer(bot: Scenario, *parts: str, user: str = ADA) -> Message:
    """What only this person sees, with these parts in it."""

    def found() -> list[Message]:
        return [m for m in bot.slack.messages if m.user == user and all(part in m.text for part in parts)]

    await bot.slack.wait_until(lambda: bool(found()))
    return found()[-1]


def in_thread(bot: Scenario, thread_ts: str) -> list[Message]:
    """What everybody sees in a thread."""
    return [m for m in bot.slack.messages if m.thread_ts == thread_ts and m.user is None]


async def test_a_mention_in_a_thread_stays_in_the_thread(bot: Scenario) -> None:
    """The answer is for its author only; status and follow-up are replies that the channel does not see."""
    await bot.reopen(RELOAD_SECONDS="60")
    ack = await bot.slack.mention("sdxl", user=ADA, thread_ts=THREAD)
    private = await answer(bot, "Reloading `sdxl`. I'll ping you here around")
    await bot.wait_said("is reloading")
    await bot.pass_reloads()
    follow_up = await bot.wait_said(READY)
    await bot.wait_done()

    assert ack.status == 200
    assert private.thread_ts == THREAD
    assert follow_up.text.startswith(f"<@{ADA}> `sdxl` should be ready now.")
    assert [(m.thread_ts, m.broadcast) for m in bot.slack.messages if m.user is None] == [(THREAD, False)] * 2
    assert bot.sql("SELECT text, outcome FROM reload_model_audit") == [("sdxl", "requested")]


async def test_a_mention_outside_a_thread_is_like_the_command(bot: Scenario) -> None:
    """Its status is in the channel, and so is its follow-up, below the status."""
    await bot.reopen(RELOAD_SECONDS="60")
    await bot.slack.mention("sdxl", user=ADA)
    await bot.wait_said("is reloading")
    await bot.pass_reloads()
    await bot.wait_done()
    status, follow_up = (m for m in bot.slack.messages if m.user is None)

    assert (status.channel, status.thread_ts) == (MODELS, None)
    assert (follow_up.thread_ts, follow_up.broadcast) == (status.ts, True)


@one_mode
async def test_buttons_in_a_thread_answer_there(bot: Scenario) -> None:
    """A person who presses one is notified in the thread, and their reload shows there."""
    await bot.reopen(RELOAD_SECONDS="1")
    await bot.slack.mention("sdxl", user=ADA, thread_ts=THREAD)
    status = await bot.wait_said("is reloading `sdxl`")
    await bot.slack.press(status, "Notify me too", user=BEN)
    follow_up = await bot.wait_said(READY)
    await bot.wait_done()

    assert follow_up.text.startswith(f"<@{ADA}> <@{BEN}> ")
    assert len(in_thread(bot, THREAD)) == 2


@one_mode
async def test_a_thread_and_its_channel_are_two_places(bot: Scenario) -> None:
    """One reload, and each place has its status and its follow-up."""
    await bot.reopen(RELOAD_SECONDS="1")
    await bot.slack.mention("sdxl", user=ADA, thread_ts=THREAD)
    await answer(bot, "Reloading `sdxl`")
    ack = await bot.ask("sdxl", BEN)
    await bot.wait_done()

    assert ack.text.startswith(f"<@{ADA}> is already reloading `sdxl`.")
    assert len(bot.modelslab.calls) == 1
    assert sorted(m.text for m in bot.said(READY)) == [
        f"<@{ADA}> `sdxl` should be ready now.",
        f"<@{BEN}> `sdxl` should be ready now.",
    ]


@one_mode
@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "`/reload-model sdxl` reloads the model `sdxl`"),
        ("help", "`/reload-model sdxl` reloads the model `sdxl`"),
        ("status", "No reloads right now."),
        ("history", "No reloads yet."),
        ("list", "Did you mean `/reload-model status`?"),
        ("thanks <@U0BOT>", "I load it again"),
        ("<@U0BOT> is broken today", "Did you mean `/reload-model broken today`? Nothing was started."),
        ("sdxl &amp; flux", "`&amp;` isn't a valid model ID."),
    ],
)
async def test_a_mention_knows_the_words_of_the_command(bot: Scenario, text: str, part: str) -> None:
    """And its slips; what Slack escaped is read as it was typed."""
    await bot.slack.mention(text, user=ADA)
    await answer(bot, part)

    assert bot.reloads == []


@one_mode
@pytest.mark.parametrize(
    "text",
    [
        "<@U0BOT> sdxl",
        "<@U0BOT|reload-model> \u201csdxl\u201d",
        "that one <@U0BEN> is gone, <@U0BOT> sdxl",
        "<@U0BOT> <https://modelslab.com/models/x/sdxl|modelslab.com/models/x/sdxl>",
    ],
)
async def test_what_follows_the_mention_counts(bot: Scenario, text: str) -> None:
    """Not what is before it. Links are as Slack writes them."""
    await bot.slack.mention(text, user=ADA)
    await bot.wait_done()

    assert [call.model_id for call in bot.modelslab.calls] == ["sdxl"]


async def test_several_models_by_one_mention(bot: Scenario) -> None:
    """As by one command."""
    await bot.slack.mention("sdxl flux", user=ADA, thread_ts=THREAD)
    private = await answer(bot, "Reloading `flux`.")
    await bot.wait_done(2)

    assert len(private.text.splitlines()) == 2


async def test_an_event_that_slack_delivers_again_is_one_request(bot: Scenario) -> None:
    """Its event_id says so, even from another connection or to another replica."""
    for _ in range(2):
        await bot.slack.mention("sdxl flux", user=ADA, event_id="Ev0123ABCD")
    await bot.wait_done(2)

    assert len(bot.modelslab.calls) == 2
    assert len(bot.sql("SELECT id FROM reload_model_subscribers")) == 2


@one_mode
@pytest.mark.parametrize("field", [{"bot_id": "B0OTHER"}, {"subtype": "message_changed"}, {"edited": {"ts": "1.2"}}])
async def test_bots_and_edits_start_nothing(bot: Scenario, field: dict[str, object]) -> None:
    """Nor are they answered."""
    event = {"type": "app_mention", "user": ADA, "text": "<@U0BOT> sdxl", "ts": "1.1", "channel": MODELS}
    ack = await bot.slack.send_event(event | field)
    await bot.ask("flux")
    await bot.wait_done()

    assert ack.status == 200
    assert [call.model_id for call in bot.modelslab.calls] == ["flux"]


@one_mode
async def test_who_is_not_allowed_is_refused_privately(bot: Scenario) -> None:
    """In the thread where they asked. Help is for everybody of the workspace."""
    await bot.slack.mention("sdxl", user=EVE, thread_ts=THREAD)
    refused = await answer(bot, "You don't have permission to reload models.", user=EVE)
    await bot.slack.mention("help", user=EVE)
    await answer(bot, "I load it again", user=EVE)

    assert refused.thread_ts == THREAD
    assert bot.reloads == []


@one_mode
async def test_a_stranger_of_a_shared_channel_is_refused(bot: Scenario) -> None:
    """Even for help, and whatever the allowlist."""
    await bot.reopen(ALLOWED_USERS="*")
    bot.slack.user_teams[CEM] = "T0OTHER"
    for text in ("sdxl", "help"):
        await bot.slack.mention(text, user=CEM)
        await bot.wait_sql(f"SELECT count(*) = 1 FROM reload_model_audit WHERE text = '{text}'")  # noqa: S608
    await answer(bot, "Only members of this bot's workspace can reload models.", user=CEM)

    assert bot.sql("SELECT DISTINCT outcome FROM reload_model_audit") == [("other_workspace",)]
    assert bot.reloads == []


@one_mode
async def test_where_channels_are_limited_mentions_are_too(bot: Scenario) -> None:
    """Wherever the bot was invited to."""
    await bot.reopen(ALLOWED_CHANNELS=OPS)
    await bot.slack.mention("sdxl", user=ADA, channel=MODELS)

    await answer(bot, f"I only work in <#{OPS}>.")
    assert bot.reloads == []


@pytest.mark.parametrize("text", ["sdxl", "<@U0BOT> sdxl"])
async def test_a_direct_message_is_like_a_mention(bot: Scenario, text: str) -> None:
    """Everything is said there."""
    await bot.slack.write(text, user=ADA)
    await bot.wait_done()
    texts = [m.text for m in bot.slack.messages if m.channel == bot.slack.dm(ADA)]

    assert texts[0].startswith("Reloading `sdxl`.")
    assert any(text.startswith(f"<@{ADA}> `sdxl` should be ready now.") for text in texts)
    assert {m.channel for m in bot.slack.messages} == {bot.slack.dm(ADA)}


@one_mode
async def test_a_message_in_a_channel_is_not_for_the_bot(bot: Scenario) -> None:
    """Even where somebody subscribed the app to those."""
    message = {"type": "message", "channel_type": "channel", "user": ADA, "text": "sdxl", "ts": "1.1"}
    ack = await bot.slack.send_event(message | {"channel": MODELS})
    await bot.ask("flux")
    await bot.wait_done()

    assert ack.status == 200
    assert [call.model_id for call in bot.modelslab.calls] == ["flux"]


@one_mode
async def test_an_answer_that_slack_does_not_take_is_logged(bot: Scenario) -> None:
    """All else goes on."""
    bot.slack.fail("chat.postEphemeral", "channel_not_found")
    await bot.slack.mention("sdxl", user=ADA)
    await bot.wait_said(READY)

    assert bot.log.of("answer_not_sent")[0]["reason"] == "channel_not_found"


@one_mode
async def test_a_thread_that_is_gone(bot: Scenario) -> None:
    """What was promised is said in the channel."""
    await bot.reopen(RELOAD_SECONDS="60")
    bot.slack.fail("chat.postMessage", "thread_not_found", times=1)
    await bot.slack.mention("sdxl", user=ADA, thread_ts=THREAD)
    await bot.wait_said("is reloading")
    await bot.pass_reloads()
    await bot.wait_done()

    assert [m.thread_ts for m in bot.slack.messages if m.user is None] == [None, THREAD]


@one_mode
async def test_follow_ups_can_stay_in_their_threads(bot: Scenario) -> None:
    """With FOLLOW_UP=thread the channel has the status only."""
    await bot.reopen(FOLLOW_UP="thread")
    await bot.ask("sdxl")
    follow_up = await bot.wait_said(READY)

    assert follow_up.thread_ts
    assert not follow_up.broadcast


@one_mode
async def test_without_a_mention_in_it_all_of_a_text_counts(bot: Scenario) -> None:
    """Slack says that the bot was mentioned, whatever it looks like."""
    event = {"type": "app_mention", "user": ADA, "team": bot.slack.team_id, "text": "sdxl", "channel": MODELS}
    await bot.slack.send_event(event | {"ts": "1.2", "event_ts": "1.2"})
    await bot.wait_done()

    assert [call.model_id for call in bot.modelslab.calls] == ["sdxl"]


@one_mode
@pytest.mark.parametrize(
    ("written", "model_id"),
    [("<http://flux.dev|flux.dev>", "flux.dev"), ("<mailto:model@v1.co|model@v1.co>", "model@v1.co")],
)
async def test_an_id_that_looks_like_a_host_name(bot: Scenario, written: str, model_id: str) -> None:
    """Slack makes a link of it."""
    await bot.slack.write(written, user=ADA)
    await bot.wait_done()

    assert [call.model_id for call in bot.modelslab.calls] == [model_id]


@pytest.mark.parametrize("text", ["sdxl " * 8_000, "\u6f22" * 40_000])
async def test_a_message_that_is_too_long_for_a_command(bot: Scenario, text: str) -> None:
    """It is answered as any other that is none, even if it is as long as Slack allows, and in two forms."""
    ack = await bot.slack.mention(text, user=ADA, padding=text)
    await answer(bot, "isn't a valid model ID" if text.isascii() else "is too long for a model ID")

    assert ack.status == 200
    assert bot.reloads == []


async def test_a_mention_at_the_end_of_a_long_message(bot: Scenario) -> None:
    """Only what follows it counts."""
    await bot.slack.mention(f"{'sdxl ' * 7_990}<@U0BOT> flux", user=ADA)
    await bot.wait_done()

    assert [call.model_id for call in bot.modelslab.calls] == ["flux"]


@one_mode
@pytest.mark.parametrize("fault", [RateLimited(1), Json(500, {})], ids=["429", "500"])
async def test_an_answer_is_tried_again(bot: Scenario, fault: Answer) -> None:
    """After as long as Slack asks for."""
    bot.slack.fail("chat.postEphemeral", fault, times=1)
    await bot.slack.mention("help", user=ADA)
    await answer(bot, "I load it again")

    first, second = (call.at for call in bot.slack.calls if call.method == "chat.postEphemeral")
    assert second - first >= 1 or fault != RateLimited(1)


@one_mode
async def test_an_answer_is_tried_a_few_times_only(bot: Scenario) -> None:
    """It is best-effort."""
    bot.slack.fail("chat.postEphemeral", "internal_error")
    await bot.slack.mention("help", user=ADA)
    failed = await bot.log.wait_for("answer_not_sent")

    assert failed["reason"] == "internal_error"
    assert [call.method for call in bot.slack.calls].count("chat.postEphemeral") == 4


@one_mode
@pytest.mark.parametrize("thread_ts", ["", THREAD])
async def test_who_is_not_in_the_channel_is_answered_in_a_direct_message(bot: Scenario, thread_ts: str) -> None:
    """Slack shows nothing in the channel to them alone."""
    bot.slack.fail("chat.postEphemeral", "user_not_in_channel")
    await bot.slack.mention("help", user=ADA, thread_ts=thread_ts)
    message = await bot.wait_said("I load it again", channel=bot.slack.dm(ADA))

    assert message.thread_ts is None
    assert bot.log.of("answer_not_sent") == []


async def test_an_event_that_slack_delivers_again_is_answered_once(bot: Scenario) -> None:
    """It comes again if its acknowledgement was lost."""
    for _ in range(3):
        ack = await bot.slack.mention("help", user=ADA, event_id="Ev0123ABCD")
        assert ack.status == 200
    await bot.slack.mention("history", user=ADA)
    await answer(bot, "No reloads yet.")
    await bot.wait_sql("SELECT count(*) >= 2 FROM reload_model_audit")

    assert [call.method for call in bot.slack.calls].count("chat.postEphemeral") == 2
    assert bot.sql("SELECT text FROM reload_model_audit") == [("help",), ("history",)]


@one_mode
async def test_a_mention_in_a_sentence(bot: Scenario) -> None:
    """A full stop is no part of the ID."""
    await bot.slack.mention("could somebody try <@U0BOT> sdxl-1.0.", user=ADA)
    await bot.wait_done()

    assert [call.model_id for call in bot.modelslab.calls] == ["sdxl-1.0"]


@one_mode
async def test_a_message_with_a_file(bot: Scenario) -> None:
    """Its text counts as that of any other."""
    message = {"type": "message", "channel_type": "im", "subtype": "file_share", "files": [{"id": "F0"}], "user": ADA}
    ids = {"team": bot.slack.team_id, "channel": bot.slack.dm(ADA), "ts": "1.1", "event_ts": "1.1"}
    await bot.slack.send_event(message | ids | {"text": "sdxl"})
    await bot.wait_done()

    assert [call.model_id for call in bot.modelslab.calls] == ["sdxl"]
