"""Access that admins give in Slack: asked for after a refusal, decided once, and listed for admins only."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from time import time
from unittest.mock import DEFAULT, Mock

import pytest

from bot.core.command import SHORTCUT
from bot.core.grants import ASK_AGAIN_AFTER
from bot.errors import DatabaseUnavailable
from bot.sandbox.slack.service import Ack
from bot.sandbox.slack.workspace import Message
from bot.storage.grants import show_to_new_admins
from bot.worker.loop import SLOTS
from tests.answers import Hang
from tests.faults.fleet import fleet
from tests.scenarios.scenario import ADA, BEN, CEM, EVE, MODELS, OPS, READY, Scenario, both_modes, eventually, labels
from tests.times import set_timing

FAY = "U0FAY"

ASK, ALLOW, DENY, REVOKE, ADD = "Ask for access", "Allow", "Deny", "Revoke", "Add people"
ASKS = f"<@{EVE}> asks for access to reload models. They wanted `sdxl` in <#{MODELS}>."

AUDIT = "SELECT user_id, text, outcome, rule FROM reload_model_audit ORDER BY id"
DUE_NOW = "UPDATE reload_model_jobs SET due_at = 0 WHERE user_id = ?"
BOTH_ASKED = "SELECT count(*) = 2 FROM reload_model_jobs WHERE status_ts <> '' AND lease_owner IS NULL"


@pytest.fixture
async def bot(scenario: Scenario) -> Scenario:
    """A scenario in which Ben and Cem are admins, and nobody is allowed by the settings but Ada."""
    await scenario.open(ALLOWED_USERS=ADA, ADMIN_USERS=f"{BEN} {CEM}")
    return scenario


async def refused(bot: Scenario) -> Message:
    """Have Eve ask for a reload, and be refused."""
    refusal = await bot.shown("sdxl", EVE)
    assert "You don't have permission to reload models. One of this bot's admins can give it to you." in refusal.text
    return refusal


async def asks(bot: Scenario, *admins: str) -> list[Message]:
    """Have Eve ask for access after a refusal, and return what each admin reads."""
    await bot.slack.press(await refused(bot), ASK, user=EVE)
    return [await bot.wait_said(ASKS, channel=bot.slack.dm(admin)) for admin in admins or (BEN, CEM)]


async def grant(bot: Scenario, user: str = EVE) -> None:
    """Have Ben add somebody."""
    await bot.slack.press(await bot.shown("access", BEN), ADD, user=BEN)
    await bot.slack.submit(await bot.slack.wait_modal(BEN), {"people": user}, user=BEN)


@both_modes
async def test_somebody_who_is_refused_asks_and_is_allowed(bot: Scenario) -> None:
    """Each admin is asked; the first decision shows in both messages, and the person gets the reload they wanted."""
    to_ben, to_cem = await asks(bot)
    assert labels(to_ben) == labels(to_cem) == [ALLOW, DENY]
    await bot.slack.press(to_ben, ALLOW, user=BEN)
    answer = await bot.wait_said(f"<@{BEN}> gave you access", channel=bot.slack.dm(EVE))
    for message in (to_ben, to_cem):
        await eventually(lambda message=message: f"✓ Allowed by <@{BEN}> on <!date^" in message.text)  # type: ignore[misc]
        assert labels(message) == []
    await bot.slack.press(answer, "Reload sdxl", user=EVE)
    await bot.wait_said(READY, f"<@{EVE}>", channel=MODELS)

    assert bot.sql(AUDIT) == [
        (EVE, "sdxl", "not_allowed", "ALLOWED_USERS"),
        (EVE, "sdxl", "access_requested", ""),
        (BEN, EVE, "access_granted", "ADMIN_USERS"),
        (EVE, "sdxl", "requested", f"granted by {BEN}"),
    ]


async def test_somebody_who_is_denied_is_told(bot: Scenario) -> None:
    """They can't ask again today, and read so wherever they are refused. Others read nothing of it."""
    to_ben, to_cem = await asks(bot)
    await bot.slack.press(to_cem, DENY, user=CEM)
    answer = await bot.wait_said("An admin denied your request", channel=bot.slack.dm(EVE))
    await eventually(lambda: f"✗ Denied by <@{CEM}> on" in to_ben.text)
    again = await bot.shown("sdxl", EVE)
    await bot.ask("sdxl", ADA)
    await bot.wait_said(READY)
    lists = [(await bot.ask(word, ADA)).text for word in ("status", "history")]

    asking_again = re.search(r"An admin denied your request\. You can ask again on <!date\^(\d+)\^", again.text)
    assert asking_again is not None
    assert abs(int(asking_again[1]) - time() - ASK_AGAIN_AFTER) < 600
    assert labels(answer) == labels(again) == []
    others = [message.text for message in bot.slack.messages if message.user not in (BEN, CEM, EVE)]
    assert not [text for text in others + lists if EVE in text]


async def test_with_a_channel_for_admins_they_are_asked_there(bot: Scenario) -> None:
    """By one message, which everybody there reads, and in which only admins decide. Else by direct messages."""
    await bot.reopen(ADMIN_CHANNEL=OPS)
    await bot.slack.press(await refused(bot), ASK, user=EVE)
    message = await bot.wait_said(ASKS, channel=OPS)
    await bot.slack.press(message, ALLOW, user=ADA)
    await bot.wait_said("Only this bot's admins can do that.")
    await bot.slack.press(message, ALLOW, user=CEM)
    await eventually(lambda: f"Allowed by <@{CEM}>" in message.text)

    assert len(bot.said(f"<@{EVE}> asked for access")) == 1
    bot.slack.fail("chat.postMessage", "not_in_channel", channel=OPS)
    await bot.slack.press(await bot.shown("sdxl", FAY), ASK, user=FAY)
    direct = [await bot.wait_said(f"<@{FAY}> asks for access", channel=bot.slack.dm(admin)) for admin in (BEN, CEM)]
    assert [labels(message) for message in direct] == [[ALLOW, DENY]] * 2
    assert len(bot.said(f"<@{FAY}> asks for access")) == 2


async def test_of_a_reload_that_is_forgotten_nobody_knows_the_model(bot: Scenario) -> None:
    """Its button has the ID of the reload, which is no model."""
    await bot.ask("flux", ADA)
    follow_up = await bot.wait_said(READY)
    await bot.wait_done()
    bot.sql("DELETE FROM reload_model_reloads")
    await bot.slack.press(follow_up, "Remind me before it's unloaded", user=EVE)
    await bot.slack.press(await bot.wait_said("One of this bot's admins can give it to you."), ASK, user=EVE)
    request = await bot.wait_said("asks for access", channel=bot.slack.dm(BEN))

    assert request.text == f"<@{EVE}> asks for access to reload models. They wanted a reload in <#{MODELS}>."


async def test_below_a_button_the_reload_and_its_thread_are_what_is_wanted(bot: Scenario) -> None:
    """Somebody saw it, and wanted to be notified, too: from the refusal to the follow-up all stays there."""
    thread_ts = "1795787189.000100"
    await bot.reopen(RELOAD_SECONDS="60")
    await bot.slack.mention("flux", user=ADA, thread_ts=thread_ts)
    await bot.slack.press(await bot.wait_said("is reloading `flux`"), "Notify me too", user=EVE)
    await bot.slack.press(await bot.wait_said("One of this bot's admins can give it to you."), ASK, user=EVE)
    request = await bot.wait_said("asks for access", channel=bot.slack.dm(BEN))
    assert request.text == f"<@{EVE}> asks for access to reload models. They wanted `flux` in <#{MODELS}>."
    await bot.wait_said("I've asked this bot's admins.", channel=MODELS)
    await bot.slack.press(request, ALLOW, user=BEN)
    answer = await bot.wait_said("gave you access", channel=bot.slack.dm(EVE))
    await bot.slack.press(answer, "Reload flux", user=EVE)
    await bot.wait_sql("SELECT count(*) = 2 FROM reload_model_subscribers")
    await bot.pass_reloads()
    follow_up = await bot.wait_said(READY)

    assert follow_up.text.startswith(f"<@{ADA}> <@{EVE}>")
    assert (follow_up.channel, follow_up.thread_ts) == (MODELS, thread_ts)


async def test_the_shortcut_says_nothing_of_what_is_wanted(bot: Scenario) -> None:
    """The modal says that the admins have been asked. If it can't be changed any more, they are asked all the same."""
    await bot.slack.shortcut(SHORTCUT, user=EVE)
    modal = await bot.slack.wait_modal(EVE)
    await bot.slack.press(modal, ASK, user=EVE)
    await bot.wait_said(f"<@{EVE}> asks for access to reload models.", channel=bot.slack.dm(BEN))
    await bot.slack.wait_until(lambda: "I've asked this bot's admins." in " ".join(modal.texts))

    await bot.slack.shortcut(SHORTCUT, user=FAY)
    bot.slack.fail("views.update", "not_found")
    await bot.slack.press(await bot.slack.wait_modal(FAY), ASK, user=FAY)
    await bot.log.wait_for("modal_not_changed")
    await bot.wait_said(f"<@{FAY}> asks for access", channel=bot.slack.dm(BEN))


async def test_in_the_home_tab_the_request_is_shown_and_the_answer_opens_the_picker(bot: Scenario) -> None:
    """Which asks for the model and the channel that aren't known."""
    tab = await bot.open_home(EVE, "One of this bot's admins can give it to you.")
    await bot.slack.press(tab, ASK, user=EVE)
    await bot.wait_home(EVE, "You've already asked for it")
    await bot.slack.press(await bot.wait_said("asks for access", channel=bot.slack.dm(BEN)), ALLOW, user=BEN)
    await bot.wait_home(EVE, "No reloads right now.")
    await bot.slack.press(await bot.wait_said("gave you access"), "Reload a model", user=EVE)
    await bot.slack.submit(await bot.slack.wait_modal(EVE), {"typed": "sdxl", "where": OPS}, user=EVE)

    await bot.wait_said(READY, f"<@{EVE}>", channel=OPS)


async def test_what_was_chosen_in_the_picker_is_what_is_wanted(bot: Scenario) -> None:
    """By somebody whose access was revoked while it was open."""
    await grant(bot)
    await bot.slack.shortcut(SHORTCUT, user=EVE)
    modal = await bot.slack.wait_modal(EVE)
    await bot.slack.press(await bot.shown("access", CEM), REVOKE, user=CEM)
    await bot.slack.submit(modal, {"typed": "flux", "where": OPS}, user=EVE)
    await bot.slack.press(modal, ASK, user=EVE)

    await bot.wait_said(
        f"<@{EVE}> asks for access to reload models. They wanted `flux` in <#{OPS}>.", channel=bot.slack.dm(BEN)
    )


async def test_a_request_that_nobody_decides_on_expires(bot: Scenario) -> None:
    """All messages say so, a late decision is refused, and the person can ask again right there."""
    to_ben, to_cem = await asks(bot)
    left_on_a_screen = replace(to_ben)
    await bot.wait_sql(BOTH_ASKED)
    bot.sql("UPDATE reload_model_access_requests SET expires_at = 1")
    bot.sql("UPDATE reload_model_jobs SET due_at = 1")
    answer = await bot.wait_said("No admin decided on your request", channel=bot.slack.dm(EVE))
    await eventually(lambda: all("the request has expired" in message.text for message in (to_ben, to_cem)))
    await bot.slack.press(left_on_a_screen, ALLOW, user=BEN)
    await bot.wait_said("This request has expired.")
    await bot.slack.press(answer, "Ask again", user=EVE)

    await bot.wait_said(ASKS, channel=bot.slack.dm(BEN))


async def test_two_replicas_make_one_decision(tmp_path: Path, postgres_url: str) -> None:
    """Asked for on one, decided on both at once; what counts does so on both from then on."""
    async with fleet(tmp_path, postgres_url, 1, ALLOWED_USERS="", ADMIN_USERS=f"{BEN} {CEM}") as bots:
        await bots.launch("one", "two")
        slack = bots.slack

        async def press(message: Message, button: str, user: str, name: str) -> Ack:
            slack.request_url = bots.url(name)
            return await slack.press(message, button, user=user)

        refusal = (await bots.command(0, "one", model="sdxl", user=EVE)).message
        assert refusal is not None
        await asyncio.gather(press(refusal, ASK, EVE, "one"), press(refusal, ASK, EVE, "two"))
        await slack.wait_until(lambda: sum(bool(labels(m)) for m in slack.messages if m.via == "dm") == 2)
        to_ben, to_cem = sorted((m for m in slack.messages if m.via == "dm"), key=lambda m: m.channel)
        await asyncio.gather(press(to_ben, ALLOW, BEN, "one"), press(to_cem, DENY, CEM, "two"))
        await slack.wait_until(lambda: not (labels(to_ben) or labels(to_cem)), within=30.0)
        await slack.wait_until(lambda: any("has already decided this" in m.text for m in slack.messages))

        assert to_ben.text == to_cem.text
        allowed = f"Allowed by <@{BEN}>" in to_ben.text
        assert allowed or f"Denied by <@{CEM}>" in to_ben.text
        for name in ("one", "two"):
            ack = await bots.command(0, name, model=name, user=EVE)
            assert ack.text.startswith("Reloading") is allowed


async def test_nobody_is_allowed_from_memory(bot: Scenario) -> None:
    """While the database takes nothing, no decision is made, and a grant counts for nothing. People read why."""
    to_ben, _ = await asks(bot)
    await bot.wait_sql(BOTH_ASKED)
    with bot.locked():
        await bot.slack.press(to_ben, ALLOW, user=BEN)
        await bot.wait_said("My database isn't responding, so I didn't change anything.")
    await bot.slack.press(to_ben, ALLOW, user=BEN)
    await bot.wait_said("gave you access", channel=bot.slack.dm(EVE))
    assert "Reloading" in (await bot.ask("sdxl", EVE)).text
    await bot.wait_done()
    with bot.locked():
        acks = [await bot.ask(text, EVE) for text in ("sdxl", "status", "")]
        listed = await bot.ask("access", BEN)

    assert {ack.text.splitlines()[0] for ack in [*acks, listed]} == {
        "My database isn't responding. Try again in a minute."
    }
    assert len(bot.reloads) == 1


async def test_an_admin_who_cannot_be_reached_holds_up_nobody(bot: Scenario) -> None:
    """The others are asked; a message that can't be edited any more is left as it is."""
    bot.slack.fail("conversations.open", "user_not_found", times=1)
    await bot.slack.press(await refused(bot), ASK, user=EVE)
    asked = await bot.wait_said(ASKS)
    assert (await bot.log.wait_for("access_undeliverable"))["level"] == "error"
    bot.slack.fail("chat.update", "message_not_found")
    await bot.slack.press(asked, ALLOW, user=asked.user or "")
    await bot.wait_said("gave you access", channel=bot.slack.dm(EVE))

    assert (await bot.log.wait_for("access_undeliverable", 2))["level"] == "info"
    await bot.wait_sql("SELECT count(*) = 0 FROM reload_model_jobs")


async def test_if_no_admin_can_be_reached_the_person_is_told(bot: Scenario) -> None:
    """They can ask again at once."""
    bot.slack.fail("conversations.open", "user_not_found", times=2)
    await bot.slack.press(await refused(bot), ASK, user=EVE)
    answer = await bot.wait_said("I couldn't reach any of this bot's admins", channel=bot.slack.dm(EVE))
    await bot.slack.press(answer, "Ask again", user=EVE)

    await bot.wait_said(ASKS, channel=bot.slack.dm(BEN))


async def test_an_admin_who_was_not_reached_before_the_decision_is_not_asked_any_more(bot: Scenario) -> None:
    """There is nothing left to decide."""
    bot.slack.fail("chat.postMessage", "internal_error", channel=bot.slack.dm(CEM))
    (to_ben,) = await asks(bot, BEN)
    assert (await bot.log.wait_for("job_failed"))["job"] == "access_request"
    await bot.slack.press(to_ben, ALLOW, user=BEN)
    await bot.wait_sql("SELECT count(*) = 0 FROM reload_model_jobs")

    assert not bot.said(ASKS, channel=bot.slack.dm(CEM))


async def test_a_new_admin_gets_the_open_requests(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a direct message, if others have got one. Nobody gets a request twice, or who isn't an admin any more.

    What isn't for an admin here waits: during a rolling restart, another replica's settings are newer.
    """
    await asks(bot)
    away = Mock(side_effect=[DatabaseUnavailable("away"), DEFAULT], wraps=show_to_new_admins)
    monkeypatch.setattr("bot.app.show_to_new_admins", away)
    set_timing(start_retry_most=0.05)
    await bot.reopen(ADMIN_USERS=f"{BEN} {FAY}")
    to_fay = await bot.wait_said(ASKS, channel=bot.slack.dm(FAY))
    monkeypatch.undo()
    await bot.reopen(ADMIN_USERS=f"{BEN} {FAY}", ADMIN_CHANNEL=OPS)
    bot.slack.fail("conversations.open", "internal_error")
    await bot.reopen(ADMIN_USERS=f"{ADA} {FAY}", ADMIN_CHANNEL=OPS)
    await bot.log.wait_for("job_failed")
    await bot.shut()
    bot.slack.heal()
    await bot.open(ADMIN_USERS=FAY)
    bot.sql(DUE_NOW, ADA)
    bot.worker.wake()
    await bot.wait_sql("SELECT due_at > 0 AND lease_owner IS NULL FROM reload_model_jobs WHERE user_id = ?", ADA)
    await bot.slack.press(to_fay, ALLOW, user=FAY)
    await bot.wait_said("gave you access", channel=bot.slack.dm(EVE))
    await bot.wait_sql("SELECT count(*) = 0 FROM reload_model_jobs")

    assert len(bot.said("for access")) == 3


async def test_a_denial_takes_nothing_from_whom_the_settings_allow(bot: Scenario) -> None:
    """They were added there after they had asked. Both read so."""
    to_ben, _ = await asks(bot)
    await bot.wait_sql(BOTH_ASKED)
    await bot.reopen(ALLOWED_USERS=f"{ADA} {EVE}")
    await bot.slack.press(to_ben, DENY, user=BEN)

    await bot.wait_said(f"You denied <@{EVE}> access, but they can reload models because of `ALLOWED_USERS` (`{EVE}`).")
    await bot.wait_said("An admin denied your request, but you can reload models", channel=bot.slack.dm(EVE))


async def test_a_decision_that_is_not_true_any_more_is_not_told(bot: Scenario) -> None:
    """Access was revoked before the person could be told that they have it."""
    to_ben, _ = await asks(bot)
    await bot.wait_sql(BOTH_ASKED)
    bot.slack.fail("conversations.open", "internal_error")
    await bot.slack.press(to_ben, ALLOW, user=BEN)
    await bot.log.wait_for("job_failed")
    await bot.slack.press(await bot.shown("access", CEM), REVOKE, user=CEM)
    bot.slack.heal()
    await bot.wait_sql("SELECT count(*) = 0 FROM reload_model_jobs")

    assert not bot.said("gave you access")


async def test_what_was_wanted_in_a_closed_channel_is_picked_for_another(bot: Scenario) -> None:
    """The button opens the form, with the model and a channel in which models can be reloaded."""
    await bot.reopen(ALLOWED_CHANNELS=OPS)
    to_ben, _ = await asks(bot)
    await bot.slack.press(to_ben, ALLOW, user=BEN)
    await bot.slack.press(await bot.wait_said("gave you access"), "Reload sdxl", user=EVE)
    await bot.slack.submit(await bot.slack.wait_modal(EVE), {}, user=EVE)

    await bot.wait_said(READY, f"<@{EVE}>", channel=OPS)


async def test_a_decision_outlives_the_process(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped between the decision and its messages, the bot sends them when it is started again.

    Messages that hang in all slots for them hold up no follow-up.
    """
    monkeypatch.setattr("bot.worker.loop.SLOTS", dict.fromkeys(SLOTS, 3))
    await bot.reopen()
    to_ben, _ = await asks(bot)
    await bot.wait_sql(BOTH_ASKED)
    bot.slack.fail("chat.update", Hang())
    bot.slack.fail("conversations.open", Hang())
    await bot.slack.press(to_ben, ALLOW, user=BEN)
    await bot.wait_sql("SELECT count(*) = 3 FROM reload_model_jobs WHERE lease_owner IS NOT NULL")
    await bot.ask("flux")
    await bot.wait_said(READY)
    await bot.shut()
    assert not bot.said("gave you access")
    bot.slack.heal()
    await bot.open()

    await bot.wait_said(f"<@{BEN}> gave you access", channel=bot.slack.dm(EVE))
    await eventually(lambda: "Allowed by" in to_ben.text)


async def test_without_admins_there_is_nothing_to_ask(bot: Scenario) -> None:
    """A refusal is as ever, nobody's grant counts, and a button of earlier days says no more."""
    refusal = await refused(bot)
    await grant(bot, FAY)
    await bot.wait_said("gave you access", channel=bot.slack.dm(FAY))
    await bot.reopen(ADMIN_USERS="")
    acks = [await bot.ask("sdxl", user) for user in (EVE, FAY)]
    await bot.slack.press(refusal, ASK, user=EVE)
    answer = await bot.wait_said("You don't have permission")

    for user, text in ((EVE, acks[0].text), (FAY, acks[1].text), (EVE, answer.text)):
        assert text.endswith(f"Ask the bot's operator to add your Slack ID, `{user}`, to `ALLOWED_USERS`.")
    assert labels(answer) == []
    assert "Only this bot's admins can do that." in (await bot.ask("access", ADA)).text


async def test_a_grant_counts_where_a_user_group_cannot_be_read(bot: Scenario) -> None:
    """So do IDs in the settings, and the start doesn't wait. Other people read why, and aren't offered to ask."""
    await grant(bot)
    bot.slack.fail("usergroups.users.list", Hang())
    await bot.reopen(ALLOWED_USERS=f"S0CREW {ADA}")
    granted, listed, other = [await bot.ask("sdxl", user) for user in (EVE, ADA, FAY)]

    assert granted.text.startswith("Reloading `sdxl`")
    assert listed.text.startswith(f"<@{EVE}> is already reloading `sdxl`")
    assert "Slack won't let me read the user group `S0CREW`." in other.text
    assert "blocks" not in other.body
    await bot.wait_sql("SELECT count(*) FROM reload_model_audit WHERE outcome = 'group_unread' AND rule = 'S0CREW'")
