"""Wherever people ask, the bot tells them: in the channel, else through the response_url, else in a DM."""

import asyncio
from itertools import pairwise

import pytest

from bot.sandbox.modelslab import ACCEPTED, error
from tests.answers import AcceptThenReset, Answer, Hang, Held, Json, RateLimited, Raw, Reset
from tests.scenarios.scenario import ADA, BEN, CEM, FAILED, MODELS, OPS, READY, Scenario, eventually, mentioned

one_mode = pytest.mark.parametrize("mode", ["socket"])

_NO_THREAD = ("thread_not_found", "message_not_found", "cannot_reply_to_message", "restricted_action_thread_locked")

PRIVATE = "G0SECRET"
DM = "D0ADABEN"


@pytest.fixture
def places(bot: Scenario) -> Scenario:
    """A scenario with a private channel that the bot is not in."""
    bot.slack.add_channel(PRIVATE, "secret", private=True, bot_is_member=False)
    return bot


# --- where the bot can't post ---------------------------------------------------------------------------


@pytest.mark.parametrize("channel", [PRIVATE, DM])
async def test_a_place_without_the_bot(places: Scenario, channel: str) -> None:
    """In a private channel and in a DM between two people, the response_url carries the status and the follow-up."""
    await places.reopen(RELOAD_SECONDS="60")
    await places.ask("sdxl", ADA, channel)
    await places.wait_said("is reloading")
    await places.pass_reloads()
    await places.wait_done()

    status, follow_up = places.said(channel=channel)
    assert f"<@{ADA}> is reloading `sdxl`" in status.text
    assert f"<@{ADA}> `sdxl` {READY}." in follow_up.text
    for message in (status, follow_up):
        assert (message.via, message.user, message.thread_ts) == ("response_url", None, None)
        assert message.edits == []
    assert len(places.said()) == 2


@one_mode
async def test_a_failure_in_a_place_without_the_bot(places: Scenario) -> None:
    """A refusal, too, comes through the response_url."""
    places.modelslab.answer("sdxl", error(402, "Insufficient credits."))
    await places.ask("sdxl", ADA, PRIVATE)
    await places.wait_done()

    assert [message.via for message in places.said(FAILED, channel=PRIVATE)] == ["response_url"]


@one_mode
async def test_a_public_channel_without_the_bot(places: Scenario) -> None:
    """If the app lacks chat:write.public, a channel that the bot hasn't joined is reached through the response_url."""
    places.slack.scopes.remove("chat:write.public")
    places.slack.add_channel(OPS, "ops", bot_is_member=False)
    await places.ask("sdxl", ADA, OPS)
    await places.wait_done()

    assert [message.via for message in places.said(channel=OPS)] == ["response_url", "response_url"]


@one_mode
async def test_a_channel_archived_meanwhile(places: Scenario) -> None:
    """A channel that was archived after the status gets the follow-up through the response_url all the same."""
    await places.open_slowly()
    await places.ask("sdxl")
    await places.wait_said("is reloading")
    places.slack.add_channel(MODELS, "models", archived=True)
    await places.wait_done()

    assert places.said(READY)[0].via == "response_url"
    assert "status_dropped" in places.log.text


@one_mode
async def test_a_refused_post(places: Scenario) -> None:
    """Any other refusal that Slack will not take back sends the message the next way."""
    places.slack.fail("chat.postMessage", "restricted_action")
    await places.ask("sdxl")
    await places.wait_done()

    assert [message.via for message in places.said(channel=MODELS)] == ["response_url", "response_url"]


@one_mode
async def test_each_response_url_is_used_no_more_often_than_it_may_be(places: Scenario) -> None:
    """The follow-up uses the response_url of the last request, and another one if that is used up."""
    held = asyncio.Event()
    places.modelslab.answer("sdxl", Held(held), ACCEPTED)
    await places.ask("sdxl", ADA, PRIVATE)
    second = await places.ask("sdxl", BEN, PRIVATE)
    places.slack.spend(second.response_url)
    held.set()
    await places.wait_done()

    assert [mentioned(message.text) for message in places.said(READY, channel=PRIVATE)] == [[ADA, BEN]]
    assert places.sql("SELECT user_id, response_url_uses FROM reload_model_subscribers ORDER BY id") == [
        (ADA, 2),
        (BEN, 0),
    ]


# --- where the response_url is of no use ----------------------------------------------------------------


@one_mode
@pytest.mark.parametrize("how", ["spent", "gone", "answers ok: false"])
async def test_a_spent_response_url(places: Scenario, how: str) -> None:
    """Where the response_url is spent, everyone who asked there gets a DM."""
    held = asyncio.Event()
    places.modelslab.answer("sdxl", Held(held), ACCEPTED)
    acks = [await places.ask("sdxl", user, PRIVATE) for user in (ADA, BEN)]
    for ack in acks:
        if how == "spent":
            places.slack.spend(ack.response_url)
    if how == "gone":
        places.slack.fail("response_url", Raw(410, b""))
    elif how != "spent":
        places.slack.fail("response_url", Json(200, {"ok": False, "error": "no_such_channel"}))
    held.set()
    await places.wait_done()

    told = places.said(READY)
    assert {(ADA, "dm"), (BEN, "dm")} == {(message.user, message.via) for message in told}
    assert places.said(channel=PRIVATE) == []
    assert {(ADA,), (BEN,)} == {tuple(mentioned(message.text)) for message in told}


@one_mode
async def test_somebody_who_asked_twice(places: Scenario) -> None:
    """Who asked twice in one place gets one DM."""
    held = asyncio.Event()
    places.modelslab.answer("sdxl", Held(held), ACCEPTED)
    for _ in range(2):
        places.slack.spend((await places.ask("sdxl", ADA, PRIVATE)).response_url)
    held.set()
    await places.wait_done()

    assert [message.user for message in places.said(READY)] == [ADA]


@one_mode
async def test_an_old_response_url(places: Scenario) -> None:
    """A response_url over 30 minutes old is not even tried."""
    held = asyncio.Event()
    places.modelslab.answer("sdxl", Held(held), ACCEPTED)
    await places.ask("sdxl", ADA, PRIVATE)
    places.sql("UPDATE reload_model_subscribers SET requested_at = requested_at - 1801")
    held.set()
    await places.wait_done()

    assert [message.via for message in places.said()] == ["dm"]
    assert "response_url" not in [call.method for call in places.slack.calls]


@one_mode
async def test_a_foreign_response_url(places: Scenario) -> None:
    """A response_url that is not of Slack's hosts is never sent anything."""
    foreign = [
        "https://hooks.example.com/commands/T0SANDBOX/1/x",
        "https://evilslack.com/commands/T0SANDBOX/1/x",
        "https://slack.com.example.com/commands/T0SANDBOX/1/x",
        "http://hooks.slack.com/commands/T0SANDBOX/1/x",
        "ftp://hooks.slack.com/commands/1",
        "file:///etc/passwd",
        "http://[::1",
        "x",
    ]
    for number, url in enumerate(foreign):
        await places.ask(f"model-{number}", ADA, PRIVATE, response_url=url)
    await places.wait_done(len(foreign))

    assert {message.via for message in places.said()} == {"dm"}


@one_mode
@pytest.mark.parametrize("reason", ["messages_tab", "scope", "error"])
async def test_nobody_can_be_told(places: Scenario, reason: str) -> None:
    """Where not even a DM gets through, the log says so at ERROR, with whom, and the history shows it."""
    places.hurry(post_give_up=0.5)
    await places.reopen()
    places.slack.fail("response_url", "used_url")
    if reason == "messages_tab":
        places.slack.messages_tab = False
    elif reason == "scope":
        places.slack.scopes.remove("im:write")
    else:
        places.slack.fail("conversations.open", "user_disabled")
    await places.ask("sdxl", ADA, PRIVATE)
    await places.wait_done()
    history = await places.ask("history")

    (lost,) = places.log.of("undeliverable")
    assert (lost["level"], lost["users"]) == ("error", [ADA])
    assert lost["reason"] in ("messages_tab_disabled", "missing_scope", "user_disabled")
    assert "couldn't notify everyone" in history.text
    assert places.said() == []


@one_mode
async def test_one_of_two_can_be_told(places: Scenario) -> None:
    """A DM that one person does not get keeps nobody else from theirs."""
    places.slack.fail("response_url", "used_url")
    places.slack.fail("chat.postMessage", "messages_tab_disabled", channel=f"D{ADA}")
    held = asyncio.Event()
    places.modelslab.answer("sdxl", Held(held), ACCEPTED)
    for user in (ADA, BEN):
        await places.ask("sdxl", user, PRIVATE)
    held.set()
    await places.wait_done()

    assert [message.user for message in places.said(READY)] == [BEN]
    assert [record["users"] for record in places.log.of("undeliverable")] == [[ADA]]


@one_mode
async def test_a_dm_is_tried_again(places: Scenario) -> None:
    """A DM meets the same faults as any message, and is tried again after them."""
    places.slack.fail("response_url", "expired_url")
    places.slack.fail("conversations.open", Json(200, {"ok": True, "channel": "?"}), times=1)
    places.slack.fail("conversations.open", Raw(500, b"oh"), times=1)
    places.slack.fail("chat.postMessage", RateLimited(1), times=1, channel=f"D{ADA}")
    await places.ask("sdxl", ADA, PRIVATE)
    await places.wait_done()

    assert [message.via for message in places.said(READY)] == ["dm"]


# --- Slack's faults -------------------------------------------------------------------------------------


@one_mode
@pytest.mark.parametrize("code", ["token_revoked", "account_inactive"])
async def test_a_revoked_token(places: Scenario, code: str) -> None:
    """A token that Slack refuses while the bot runs leaves the response_url, and /readyz says so until it is fixed."""
    places.slack.fail("chat.postMessage", code)
    await places.ask("sdxl")
    await places.wait_said("is reloading")
    status, parts = await places.health("/readyz")
    await places.wait_said(READY)
    places.slack.heal()
    await places.ask("other")
    await places.wait_said("`other`", READY)

    assert (503, code) == (status, parts["token"])
    assert [message.via for message in places.said("`sdxl`")] == ["response_url", "response_url"]
    assert (await places.health("/readyz"))[0] == 200


@one_mode
async def test_a_revoked_token_and_no_response_url(places: Scenario) -> None:
    """Without a response_url a revoked token is waited for: a new one may be set before all is lost."""
    places.slack.fail("chat.postMessage", "token_revoked")
    places.slack.fail("response_url", "used_url")
    await places.ask("sdxl")
    await places.log.wait_for("job_failed", 2)
    places.slack.heal()
    await places.wait_done()

    assert [message.via for message in places.said(READY)] == ["api"]


@one_mode
async def test_a_fault_in_one_channel(places: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of Slack's in one channel holds up no other, and the follow-up comes when it is over."""
    monkeypatch.setattr("bot.app.CALL_SECONDS", 0.4)
    monkeypatch.setattr("bot.slack.client.CALL_SECONDS", 0.4)
    await places.reopen(MODELSLAB_CONCURRENCY="20")
    faults: list[Answer] = [
        RateLimited(None),
        Json(200, {"ok": False, "error": "ratelimited"}),
        Json(200, {"ok": False, "error": "internal_error"}),
        Json(500, {"ok": False, "error": "channel_not_found"}),
        Json(200, {"ok": False}),
        Json(200, ["ok"]),
        Raw(500, b"<h1>oh</h1>"),
        Raw(200, b"<h1>oh</h1>"),
        Raw(200, b"\xff\xfe", "application/json"),
        Raw(302, b"", headers={"Location": "https://example.com/"}),
        Reset(),
        Hang(),
    ]
    rooms = {f"C0ROOM{number}": fault for number, fault in enumerate(faults)}
    for room, fault in rooms.items():
        places.slack.add_channel(room, room.lower())
        places.slack.fail("chat.postMessage", fault, channel=room)
        await places.ask("sdxl", ADA, room)
    await places.ask("sdxl", BEN, OPS)
    there = await places.wait_said(READY, channel=OPS)
    await eventually(lambda: {record["channel"] for record in places.log.of("job_failed")} == set(rooms))
    assert places.said() == places.said(channel=OPS)
    places.slack.heal()
    await places.wait_done()

    assert "late" not in there.text
    for room in rooms:
        assert [mentioned(message.text) for message in places.said(READY, channel=room)] == [[ADA]]


@one_mode
async def test_an_answer_of_slack_that_is_lost(places: Scenario) -> None:
    """Where Slack's answer to a follow-up is lost, the bot posts it again rather than not at all."""
    await places.open_slowly()
    await places.ask("sdxl")
    await places.wait_said("is reloading")
    places.slack.fail("chat.postMessage", AcceptThenReset(), times=1)
    await places.wait_done()

    assert len(places.said(READY)) == 2


@one_mode
async def test_retry_after_is_honoured(places: Scenario) -> None:
    """After a 429 the channel is left alone for as long as Retry-After says, by whatever else is to be said there."""
    places.slack.fail("chat.postMessage", RateLimited(1), times=1, channel=MODELS)
    await places.ask("sdxl")
    await places.ask("other", BEN)
    await places.wait_said(READY, channel=MODELS, n=2)

    limited, *others = (call.at for call in places.slack.calls if call.args.get("channel") == MODELS)
    assert all(at - limited > 0.95 for at in others[1:])


@one_mode
async def test_a_faulty_response_url_is_tried_again(places: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """A response_url that fails for now is tried again, and keeps nothing else waiting."""
    monkeypatch.setattr("bot.slack.client.RESPOND_SECONDS", 0.3)
    faults: list[Answer] = [RateLimited(1), Raw(500, b""), Reset(), Hang()]
    rooms = {f"D0ROOM{number}": fault for number, fault in enumerate(faults)}
    for room, fault in rooms.items():
        places.slack.fail("response_url", fault, times=1, channel=room)
        await places.ask("sdxl", ADA, room)
    await places.ask("sdxl", BEN, OPS)
    await places.wait_said(READY, channel=OPS)
    await places.wait_done()

    for room in rooms:
        assert [message.via for message in places.said(READY, channel=room)] == ["response_url"]


@one_mode
async def test_giving_up_on_a_message(places: Scenario) -> None:
    """After 25 minutes of faults a follow-up is given up, loudly, and the model can be asked for again."""
    places.hurry(post_give_up=0.2)
    await places.reopen()
    places.slack.fail("chat.postMessage", Raw(500, b""))
    await places.ask("sdxl")
    lost = await places.log.wait_for("undeliverable")
    await places.wait_done()
    places.slack.heal()

    assert (lost["level"], lost["users"], lost["reason"]) == ("error", [ADA], "http_500")
    assert "couldn't notify everyone" in (await places.ask("history")).text
    assert "Reloading" in (await places.ask("sdxl")).text
    await places.wait_said(READY)


@one_mode
async def test_a_status_that_cannot_be_posted(places: Scenario) -> None:
    """Without a status message, the follow-up is a message of its own."""
    places.slack.fail("chat.postMessage", Raw(503, b""), times=6)
    await places.ask("sdxl")
    await places.wait_done()

    (follow_up,) = places.said()
    assert READY in follow_up.text
    assert (follow_up.thread_ts, follow_up.broadcast) == (None, False)


@one_mode
async def test_a_status_that_was_deleted(places: Scenario) -> None:
    """Where the status message is gone, the follow-up is a message of its own, and nothing is edited."""
    rooms = {f"C0{code.upper().replace('_', '')}": code for code in _NO_THREAD}
    for room in rooms:
        places.slack.add_channel(room, room.lower())
    await places.open_slowly()
    for room in rooms:
        await places.ask("sdxl", ADA, room)
    await places.log.wait_for("status_posted", len(rooms))
    for room, code in rooms.items():
        places.slack.fail("chat.postMessage", code, times=1, channel=room)
    places.slack.fail("chat.update", "message_not_found")
    await places.wait_done()

    for room in rooms:
        status, follow_up = places.said(channel=room)
        assert READY in follow_up.text
        assert (follow_up.thread_ts, follow_up.broadcast, status.edits) == (None, False, [])


@one_mode
async def test_an_edit_is_tried_again(places: Scenario) -> None:
    """An edit that fails for now is tried again; one that keeps failing is let be."""
    places.slack.fail("chat.update", Raw(500, b""), times=2)
    await places.ask("sdxl")
    await places.wait_done()
    places.slack.fail("chat.update", Raw(500, b""))
    await places.ask("other")
    await places.wait_done(2)

    assert places.said("is reloading `sdxl`") == []
    assert len(places.said("is reloading `other`")) == 1
    assert len(places.said(READY)) == 2


@one_mode
@pytest.mark.parametrize("code", ["msg_too_long", "msg_blocks_too_long", "invalid_blocks", "invalid_blocks_format"])
async def test_a_message_that_is_too_much(places: Scenario, code: str) -> None:
    """What Slack finds too long is posted without its blocks."""
    places.slack.fail("chat.postMessage", code, times=1)
    places.modelslab.answer("sdxl", error(402, "Insufficient credits."))
    await places.ask("sdxl")
    await places.wait_done()

    (told,) = places.said(FAILED)
    assert told.blocks == []


@one_mode
async def test_posts_to_one_channel_are_spaced(places: Scenario) -> None:
    """Messages of one channel come about a second apart, so that Slack never limits them; channels wait for none."""
    places.hurry(channel_gap=0.5)
    await places.reopen()
    for model, user in (("a1", ADA), ("b2", BEN), ("c3", CEM)):
        await places.ask(model, user, MODELS)
    await places.ask("d4", BEN, OPS)
    there = await places.wait_said(READY, channel=OPS)
    await places.wait_said(READY, channel=MODELS, n=3)

    at = [call.at for call in places.slack.calls if call.args.get("channel") == MODELS and call.method.endswith("age")]
    assert all(later - earlier > 0.3 for earlier, later in pairwise(at))
    assert there.at < places.said(READY, channel=MODELS)[-1].at
    assert places.log.of("job_failed") == []
    assert places.said("late") == []


@one_mode
@pytest.mark.parametrize("code", ["fatal_error", "channel_not_found"])
async def test_ways_that_fail_until_the_bot_gives_up_lead_to_a_direct_message(places: Scenario, code: str) -> None:
    """Whether the channel is refused or only out of order, and nothing answers at the response_url."""
    places.hurry(post_give_up=0.5)
    await places.reopen()
    places.slack.fail("chat.postMessage", code, channel=MODELS)
    places.slack.fail("response_url", Raw(500, b""))
    await places.ask("sdxl")
    await places.wait_done()

    (message,) = places.said(READY)
    assert message.via == "dm"
