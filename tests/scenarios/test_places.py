"""Wherever people ask, the bot tells them: in the channel, else through the response_url, else in a DM."""

import asyncio
from collections.abc import Mapping
from itertools import pairwise

import pytest

from bot.core.models import Place
from bot.sandbox.modelslab import ACCEPTED, error
from bot.ui.buttons import Action, Button
from bot.ui.messages import Message
from tests.answers import Answer, Hang, Held, Json, RateLimited, Raw, Reset
from tests.scenarios.scenario import ADA, BEN, FAILED, MODELS, OPS, READY, Scenario, eventually, mentioned
from tests.times import set_timing

PRIVATE, DM = "G0SECRET", "D0ADABEN"

PASSING = {
    code.replace("_", ""): code
    for code in ("team_added_to_org", "org_login_required", "message_limit_exceeded", "missing_scope", "what_is_this")
}
"""Why Slack may refuse a message for a while, by the name of a channel."""


def rooms(bot: Scenario, faults: Mapping[str, Answer | str], *, times: int | None = None) -> list[str]:
    """Add a channel for each fault of chat.postMessage there, and return them."""
    for name, fault in faults.items():
        bot.slack.add_channel(f"C0{name.upper()}", name)
        bot.slack.fail("chat.postMessage", fault, times=times, channel=f"C0{name.upper()}")
    return [f"C0{name.upper()}" for name in faults]


def vias(bot: Scenario, *words: str, channel: str | None = None) -> list[str]:
    """The ways by which messages came, in order."""
    return [message.via for message in bot.said(*words, channel=channel)]


async def test_where_the_bot_is_not_the_response_url_carries_every_message(slow: Scenario) -> None:
    """In a private channel, in a DM between two people, and wherever Slack refuses a post: it needs no scope."""
    slow.slack.add_channel(PRIVATE, "secret", private=True, bot_is_member=False)
    slow.slack.scopes.remove("chat:write.public")
    slow.slack.add_channel("C0PUBLIC", "public", bot_is_member=False)
    channels = [PRIVATE, DM, "C0PUBLIC", *rooms(slow, {"restricted": "restricted_action"}), *rooms(slow, PASSING)]
    slow.modelslab.answer("bad", error(402, "Insufficient credits."))
    for channel in channels:
        await slow.ask(channel.lower(), ADA, channel)
    await slow.ask("bad", BEN, PRIVATE)
    failure = await slow.wait_said(FAILED, channel=PRIVATE)
    await slow.finish_reloads(len(channels) + 1)

    for channel in channels:
        status, follow_up = slow.said(f"`{channel.lower()}`", channel=channel)
        assert f"<@{ADA}> is reloading" in status.text
        assert " left" not in status.text  # it can't be edited: what it says has to stay true
        assert f"<@{ADA}> `{channel.lower()}` {READY}." in follow_up.text
    for message in (failure, *slow.said()):
        assert (message.via, message.user, message.thread_ts, message.edits) == ("response_url", None, None, [])
    assert len(slow.said()) == 2 * len(channels) + 1


async def test_a_channel_archived_meanwhile_gets_its_follow_up(slow: Scenario) -> None:
    """A channel that was archived after the status gets the follow-up through the response_url all the same."""
    await slow.ask("sdxl")
    await slow.wait_said("is reloading")
    slow.slack.add_channel(MODELS, "models", archived=True)
    await slow.finish_reloads()

    assert vias(slow, READY) == ["response_url"]
    assert "status_dropped" in slow.log.text


async def test_where_a_response_url_is_spent_people_get_direct_messages(bot: Scenario) -> None:
    """Where it is spent, gone or refused, everyone who asked there gets one DM, however often they asked."""
    held = asyncio.Event()
    faults: dict[str, Answer | None] = {
        "spent": None,
        "gone": Raw(410, b""),
        "refused": Json(200, {"ok": False, "error": "no_such_channel"}),
    }
    for model, fault in faults.items():
        channel = f"G0{model.upper()}"
        bot.modelslab.answer(model, Held(held), ACCEPTED)
        for user in (ADA, ADA, BEN):
            ack = await bot.ask(model, user, channel)
            if fault is None:
                bot.slack.spend(ack.response_url)
        if fault is not None:
            bot.slack.fail("response_url", fault, channel=channel)
    held.set()
    await bot.wait_done(3)

    for model in faults:
        told = [(message.via, message.user, mentioned(message.text)) for message in bot.said(f"`{model}`", READY)]
        assert sorted(told) == [("dm", ADA, [ADA]), ("dm", BEN, [BEN])]
    assert set(vias(bot)) == {"dm"}


async def test_a_response_url_only_carries_what_belongs_where_it_posts(slow: Scenario) -> None:
    """That of a press in a direct message posts there: the channel's follow-up must not."""
    in_dm = Message("Reload", buttons=[Button("Reload sdxl", Action.AGAIN, "sdxl", Place(PRIVATE))])
    pressed = slow.slack.say(slow.slack.dm(BEN), {"text": in_dm.text, "blocks": in_dm.blocks}, "api")
    await slow.ask("sdxl", ADA, PRIVATE)
    await slow.slack.press(pressed, "Reload sdxl", user=BEN)
    await slow.wait_said("is already reloading `sdxl`", user=BEN)
    await slow.finish_reloads()

    [follow_up] = slow.said(READY)
    assert (follow_up.channel, follow_up.via, mentioned(follow_up.text)) == (PRIVATE, "response_url", [ADA, BEN])


async def test_the_response_url_of_a_command_is_shared_by_its_models(slow: Scenario) -> None:
    """It has five uses, and each follow-up gets one before a status message does."""
    await slow.ask("a b c d e", ADA, PRIVATE)
    await slow.finish_reloads(5)

    assert set(vias(slow)) == {"response_url"}
    assert not slow.said("is reloading")


async def test_a_foreign_or_old_response_url_is_not_used(bot: Scenario) -> None:
    """One that is not of Slack's hosts, or over 30 minutes old, is never sent anything."""
    held = asyncio.Event()
    foreign = [
        "https://hooks.example.com/commands/T0SANDBOX/1/x",
        "https://evilslack.com/commands/T0SANDBOX/1/x",
        "https://slack.com.example.com/commands/T0SANDBOX/1/x",
        "http://hooks.slack.com/commands/T0SANDBOX/1/x",
        "file:///etc/passwd",
        "http://[::1",
        "x",
    ]
    for number, url in enumerate(foreign):
        await bot.ask(f"model-{number}", ADA, PRIVATE, response_url=url)
        await bot.wait_done(number + 1)  # follow-ups that are due together would share one response_url
    bot.modelslab.answer("old", Held(held), ACCEPTED)
    await bot.ask("old", ADA, PRIVATE)
    long_ago = "UPDATE reload_model_subscribers SET requested_at = requested_at - 1801 WHERE reload_id = ?"
    bot.sql(long_ago, bot.last_id)
    held.set()
    await bot.wait_done(len(foreign) + 1)

    assert set(vias(bot)) == {"dm"}
    assert "response_url" not in [call.method for call in bot.slack.calls]


async def test_a_follow_up_that_reaches_nobody_is_an_error(bot: Scenario) -> None:
    """After 25 minutes of faults the log says so at ERROR, with whom, and the history. People can ask again."""
    set_timing(post_give_up=0.5)
    await bot.reopen()
    bot.slack.fail("response_url", "used_url")
    faults: dict[str, tuple[str, Answer | str]] = {
        code: ("conversations.open", code) for code in ("messages_tab_disabled", "missing_scope", "user_disabled")
    }
    faults["http_500"] = ("chat.postMessage", Raw(500, b""))
    for number, (reason, (method, fault)) in enumerate(faults.items(), start=1):
        bot.slack.fail(method, fault)
        await bot.ask(reason, ADA, PRIVATE)
        await bot.log.wait_for("undeliverable", number)
        await bot.wait_done(number)
        bot.slack.heal(method)
    history = await bot.ask("history")

    lost = [(record["level"], record["users"], record["reason"]) for record in bot.log.of("undeliverable")]
    assert lost == [("error", [ADA], reason) for reason in faults]
    assert history.text.count("couldn't notify everyone") == len(faults)
    assert bot.said() == []
    assert "Reloading" in (await bot.ask("http_500")).text
    await bot.wait_said(READY)
    bot.slack.heal()
    bot.slack.fail("response_url", Raw(500, b""))
    for channel in rooms(bot, {"failing": "fatal_error", "gone": "channel_not_found"}):  # every way but the last fails
        await bot.ask(channel.lower(), ADA, channel)
        assert (await bot.wait_said(f"`{channel.lower()}`", READY)).via == "dm"


async def test_what_passes_is_waited_for_in_the_channel(bot: Scenario) -> None:
    """Where nothing else leads there; nobody gets a direct message for what passes soon, such as an old token."""
    bot.slack.fail("response_url", "used_url")
    # Four times: the status message and the follow-up.
    channels = rooms(bot, PASSING | {"revoked": "token_revoked"}, times=4)
    for channel in channels:
        await bot.ask(channel.lower(), ADA, channel)
    await bot.wait_done(len(channels))

    assert [vias(bot, READY, channel=channel) for channel in channels] == [["api"]] * len(channels)
    assert bot.log.of("undeliverable") == []


async def test_what_does_not_pass_leads_to_a_direct_message(bot: Scenario) -> None:
    """After a while; a DM meets the same faults as any message, and is tried again after them."""
    bot.slack.fail("response_url", "used_url")
    channels = rooms(bot, PASSING)
    faults: list[Answer | str] = [*PASSING.values(), Json(200, {"ok": True, "channel": "?"}), Raw(500, b"oh")]
    for fault in faults:
        bot.slack.fail("conversations.open", fault, times=1)
    bot.slack.fail("chat.postMessage", RateLimited(1), times=1, channel=bot.slack.dm(ADA))
    for channel in channels:
        await bot.ask(channel.lower(), ADA, channel)
    await bot.wait_done(len(channels))

    assert vias(bot, READY) == ["dm"] * len(channels)
    assert bot.log.of("undeliverable") == []


async def test_a_revoked_token_leaves_the_response_url(slow: Scenario) -> None:
    """A token that Slack refuses while the bot runs leaves the response_url, and /readyz says so until it is fixed."""
    for number, code in enumerate(("token_revoked", "account_inactive"), start=1):
        slow.slack.fail("chat.postMessage", code)
        await slow.ask(code)
        await slow.wait_said(f"is reloading `{code}`")
        status, parts = await slow.health("/readyz")
        await slow.pass_reloads()
        await slow.wait_said(f"`{code}`", READY)
        slow.slack.heal()
        await slow.ask(f"other-{number}")
        await slow.wait_said(f"is reloading `other-{number}`")

        assert (503, code) == (status, parts["token"])
        assert vias(slow, f"`{code}`") == ["response_url", "response_url"]
        assert (await slow.health("/readyz"))[0] == 200


async def test_a_fault_in_one_channel_holds_up_no_other(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of Slack's in one channel holds up no other, and the follow-up comes when it is over."""
    monkeypatch.setattr("bot.app.CALL_SECONDS", 2.0)
    monkeypatch.setattr("bot.slack.client.CALL_SECONDS", 2.0)
    await bot.reopen(MODELSLAB_CONCURRENCY="20")
    faults: list[Answer] = [
        RateLimited(None),
        Json(200, {"ok": False, "error": "internal_error"}),
        Json(500, {"ok": False, "error": "channel_not_found"}),
        Raw(200, b"<h1>oh</h1>"),
        Raw(302, b"", headers={"Location": "https://example.com/"}),
        Reset(),
        Hang(),
    ]
    channels = rooms(bot, {f"room{number}": fault for number, fault in enumerate(faults)})
    for channel in channels:
        await bot.ask("sdxl", ADA, channel)
    await bot.ask("sdxl", BEN, OPS)
    await bot.wait_said(READY, channel=OPS)
    await eventually(lambda: {record["channel"] for record in bot.log.of("job_failed")} == set(channels))
    assert bot.said() == bot.said(channel=OPS)
    assert bot.slack.api_url.split("/")[2] in [record.get("host") for record in bot.log.of("job_failed")]
    bot.slack.heal()
    await bot.wait_done()

    for channel in channels:
        assert mentioned(bot.said(READY, channel=channel)[0].text) == [ADA]


async def test_retry_after_is_honoured(bot: Scenario) -> None:
    """After a 429 the channel is left alone for as long as Retry-After says, by whatever else is to be said there."""
    bot.slack.fail("chat.postMessage", RateLimited(1), times=1, channel=MODELS)
    await bot.ask("sdxl")
    await bot.ask("other", BEN)
    await bot.wait_said(READY, channel=MODELS, n=2)

    limited, *others = (call.at for call in bot.slack.calls if call.args.get("channel") == MODELS)
    assert all(at - limited > 0.95 for at in others[1:])


async def test_without_a_status_the_follow_up_is_a_message_of_its_own(slow: Scenario) -> None:
    """Whether the status message could not be posted, has an odd ts, or was deleted, and can't be edited any more."""
    rooms(slow, {"odd": Json(200, {"ok": True, "ts": "\0\ud800"})}, times=1)
    slow.slack.fail("chat.postMessage", Raw(503, b""), channel=MODELS)
    await slow.ask("sdxl", ADA, MODELS)
    await slow.ask("odd", ADA, "C0ODD")
    await slow.log.wait_for("status_posted")
    await slow.ask("flux", ADA, OPS)
    status = await slow.wait_said("is reloading", channel=OPS)
    await slow.log.wait_for("status_dropped")
    slow.slack.heal()
    slow.slack.fail("chat.postMessage", "thread_not_found", times=1, channel=OPS)
    slow.slack.fail("chat.update", "message_not_found")
    await slow.finish_reloads(3)

    follow_ups = slow.said(READY)
    assert (len(follow_ups), slow.said()) == (3, [status, *follow_ups])
    assert {(each.thread_ts, each.broadcast) for each in follow_ups} == {(None, False)}
    assert status.edits == []


async def test_posts_to_one_channel_are_spaced(slow: Scenario) -> None:
    """Messages of one channel come about a second apart, so that Slack never limits them; channels wait for none."""
    set_timing(channel_gap=0.5)
    await slow.reopen()
    for model, user, channel in (("a1", ADA, MODELS), ("b2", BEN, MODELS), ("c3", BEN, OPS)):
        await slow.ask(model, user, channel)
    await slow.log.wait_for("status_posted", 3)
    await slow.pass_reloads()
    await slow.wait_said(READY, n=3)

    at = [call.at for call in slow.slack.calls if call.args.get("channel") == MODELS and call.method.endswith("age")]
    assert all(later - earlier > 0.1 for earlier, later in pairwise(at))
    assert slow.said(channel=OPS)[-1].at < slow.said(channel=MODELS)[-1].at
    assert slow.log.of("job_failed") == []
