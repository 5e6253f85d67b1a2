"""Access that admins give in Slack: asked for after a refusal, decided once, and listed for admins only."""

import asyncio
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from bot.core.command import SHORTCUT
from bot.sandbox.slack import Ack
from bot.sandbox.surfaces import Home
from bot.sandbox.workspace import Message
from tests.answers import Hang
from tests.faults.fleet import fleet
from tests.scenarios.process import Machine
from tests.scenarios.scenario import ADA, BEN, CEM, EVE, MODELS, OPS, READY, Scenario, eventually, locked

one_mode = pytest.mark.parametrize("mode", ["socket"])

ASK, ALLOW, DENY, REVOKE, ADD = "Ask for access", "Allow", "Deny", "Revoke", "Add people"
ASKS = f"<@{EVE}> asks for access to reload `sdxl` in <#{MODELS}>."

AUDIT = "SELECT user_id, text, outcome, rule FROM reload_model_audit ORDER BY id"


@pytest.fixture
async def bot(scenario: Scenario) -> Scenario:
    """A scenario in which Ben and Cem are admins, and nobody is allowed by the settings but Ada."""
    await scenario.open(ALLOWED_USERS=ADA, ADMIN_USERS=f"{BEN} {CEM}")
    return scenario


async def refused(bot: Scenario, text: str = "sdxl", user: str = EVE) -> Message:
    """Ask for a reload, and be refused."""
    ack = await bot.ask(text, user)
    assert "You don't have permission to reload models. An admin can give it to you." in ack.text
    assert ack.message is not None
    return ack.message


async def asks(bot: Scenario, *admins: str) -> list[Message]:
    """Have Eve ask for access after a refusal, and return what each admin reads."""
    await bot.slack.press(await refused(bot), ASK, user=EVE)
    return [await bot.wait_said(ASKS, channel=bot.slack.dm(admin)) for admin in admins or (BEN, CEM)]


async def grant(bot: Scenario, user: str = EVE) -> None:
    """Have Ben add somebody."""
    listed = await bot.ask("access", BEN)
    assert listed.message is not None
    await bot.slack.press(listed.message, ADD, user=BEN)
    await bot.slack.submit(await bot.slack.wait_modal(BEN), {"people": user}, user=BEN)


async def home(bot: Scenario, user: str, *words: str) -> Home:
    """Open the Home tab, and wait until it shows these words."""
    await bot.slack.open_home(user)
    return await bot.slack.wait_home(user, lambda home: all(word in " ".join(home.texts) for word in words))


def labels(message: Message | Home) -> list[str]:
    """What can be pressed there."""
    return [button.text for button in message.buttons]


# From a refusal to a reload


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


@one_mode
async def test_somebody_who_is_denied_is_told(bot: Scenario) -> None:
    """They can't ask again today, and read so wherever they are refused."""
    to_ben, to_cem = await asks(bot)
    await bot.slack.press(to_cem, DENY, user=CEM)
    answer = await bot.wait_said("An admin denied your request", channel=bot.slack.dm(EVE))
    await eventually(lambda: f"✗ Denied by <@{CEM}> on" in to_ben.text)
    again = await bot.ask("sdxl", EVE)

    assert labels(answer) == []
    assert "An admin denied your request. You can ask again the next day." in again.text
    assert again.message is not None
    assert labels(again.message) == []


@one_mode
async def test_with_a_channel_for_admins_they_are_asked_there(bot: Scenario) -> None:
    """By one message, which everybody there reads, and in which only admins decide."""
    await bot.reopen(ADMIN_CHANNEL=OPS)
    await bot.slack.press(await refused(bot), ASK, user=EVE)
    message = await bot.wait_said(ASKS, channel=OPS)
    await bot.slack.press(message, ALLOW, user=ADA)
    await bot.wait_said("Only admins can do that.")
    await bot.slack.press(message, ALLOW, user=CEM)
    await eventually(lambda: f"Allowed by <@{CEM}>" in message.text)

    assert len(bot.said(f"<@{EVE}> asked for access")) == 1


@one_mode
async def test_who_asks_is_named_to_nobody_but_the_admins(bot: Scenario) -> None:
    """Neither in a channel nor in a list."""
    await asks(bot)
    await bot.ask("sdxl", ADA)
    await bot.wait_said(READY)
    lists = [(await bot.ask(word, ADA)).text for word in ("status", "history")]

    others = [message.text for message in bot.slack.messages if message.user not in (BEN, CEM, EVE)]
    assert not [text for text in others + lists if EVE in text]


# On every surface


@one_mode
async def test_below_a_button_the_reload_and_its_channel_are_what_is_wanted(bot: Scenario) -> None:
    """Somebody saw it, and wanted to be notified, too."""
    await bot.reopen(RELOAD_SECONDS="60")
    await bot.ask("flux", ADA)
    await bot.slack.press(await bot.wait_said("is reloading `flux`"), "Notify me too", user=EVE)
    refusal = await bot.wait_said("An admin can give it to you.")
    await bot.slack.press(refusal, ASK, user=EVE)

    await bot.wait_said(f"<@{EVE}> asks for access to reload `flux` in <#{MODELS}>.", channel=bot.slack.dm(BEN))
    await bot.wait_said("I've asked the admins.", channel=MODELS)


@one_mode
async def test_what_is_wanted_in_a_thread_stays_there(bot: Scenario) -> None:
    """From the refused mention to the follow-up."""
    await bot.reopen(RELOAD_SECONDS="60")
    await bot.slack.mention("sdxl", user=EVE, thread_ts="1795787189.000100")
    await bot.slack.press(await bot.wait_said("An admin can give it to you."), ASK, user=EVE)
    await bot.slack.press(await bot.wait_said("asks for access", channel=bot.slack.dm(BEN)), ALLOW, user=BEN)
    answer = await bot.wait_said("gave you access", channel=bot.slack.dm(EVE))
    await bot.slack.press(answer, "Reload sdxl", user=EVE)
    status = await bot.wait_said("is reloading `sdxl`")
    await bot.pass_reloads()

    assert (status.channel, status.thread_ts) == (MODELS, "1795787189.000100")
    assert (await bot.wait_said(READY)).thread_ts == "1795787189.000100"


@one_mode
async def test_the_shortcut_says_nothing_of_what_is_wanted(bot: Scenario) -> None:
    """The modal with the refusal says that the admins have been asked."""
    await bot.slack.shortcut(SHORTCUT, user=EVE)
    modal = await bot.slack.wait_modal(EVE)
    await bot.slack.press(modal, ASK, user=EVE)

    await bot.wait_said(f"<@{EVE}> asks for access to reload models.", channel=bot.slack.dm(BEN))
    await bot.slack.wait_until(lambda: "I've asked the admins." in " ".join(modal.texts))


@one_mode
async def test_in_the_home_tab_the_request_is_shown_and_the_answer_opens_the_picker(bot: Scenario) -> None:
    """Which asks for the model and the channel that aren't known."""
    tab = await home(bot, EVE, "An admin can give it to you.")
    await bot.slack.press(tab, ASK, user=EVE)
    await bot.slack.wait_home(EVE, lambda home: "You've asked for it" in " ".join(home.texts))
    await bot.slack.press(await bot.wait_said("asks for access", channel=bot.slack.dm(BEN)), ALLOW, user=BEN)
    await bot.slack.wait_home(EVE, lambda home: "No reloads right now." in " ".join(home.texts))
    await bot.slack.press(await bot.wait_said("gave you access"), "Reload a model", user=EVE)
    await bot.slack.submit(await bot.slack.wait_modal(EVE), {"typed": "sdxl", "where": OPS}, user=EVE)

    await bot.wait_said(READY, f"<@{EVE}>", channel=OPS)


@one_mode
async def test_what_was_chosen_in_the_picker_is_what_is_wanted(bot: Scenario) -> None:
    """By somebody whose access was revoked while it was open."""
    await grant(bot)
    await bot.slack.shortcut(SHORTCUT, user=EVE)
    modal = await bot.slack.wait_modal(EVE)
    listed = await bot.ask("access", CEM)
    assert listed.message is not None
    await bot.slack.press(listed.message, REVOKE, user=CEM)
    await bot.slack.submit(modal, {"typed": "flux", "where": OPS}, user=EVE)
    await bot.slack.press(modal, ASK, user=EVE)

    await bot.wait_said(f"<@{EVE}> asks for access to reload `flux` in <#{OPS}>.", channel=bot.slack.dm(BEN))


@one_mode
async def test_a_modal_that_is_gone_is_not_changed(bot: Scenario) -> None:
    """The request is made all the same."""
    await bot.slack.shortcut(SHORTCUT, user=EVE)
    modal = await bot.slack.wait_modal(EVE)
    bot.slack.fail("views.update", "not_found")
    await bot.slack.press(modal, ASK, user=EVE)

    await bot.log.wait_for("modal_not_changed")
    await bot.wait_said("asks for access", channel=bot.slack.dm(BEN))


# Once


@one_mode
async def test_two_presses_are_one_request_and_one_decision(bot: Scenario) -> None:
    """Of one person or of two admins; the second reads who was first."""
    refusal = await refused(bot)
    await asyncio.gather(*(bot.slack.press(refusal, ASK, user=EVE) for _ in range(2)))
    to_ben, to_cem = [replace(await bot.wait_said(ASKS, channel=bot.slack.dm(admin))) for admin in (BEN, CEM)]
    await asyncio.gather(bot.slack.press(to_ben, DENY, user=BEN), bot.slack.press(to_ben, DENY, user=BEN))
    await bot.slack.press(to_cem, ALLOW, user=CEM)
    await bot.wait_said(f"<@{BEN}> has already decided this.", channel=bot.slack.dm(CEM))
    await bot.wait_sql("SELECT count(*) = 6 FROM reload_model_audit")

    await bot.wait_said(f"<@{EVE}> asked for access", "Denied", n=2)
    assert not bot.said(ASKS)
    refusals = ["already_decided", "already_decided", "not_allowed", "not_allowed"]
    assert sorted(str(row[2]) for row in bot.sql(AUDIT)) == ["access_denied", "access_requested", *refusals]
    assert bot.sql("SELECT count(*) FROM reload_model_grants") == [(0,)]


@one_mode
async def test_a_request_that_nobody_decides_on_expires(bot: Scenario) -> None:
    """All messages say so, a late decision is refused, and the person can ask again right there."""
    to_ben, to_cem = await asks(bot)
    left_on_a_screen = replace(to_ben)
    await bot.wait_sql("SELECT count(*) = 2 FROM reload_model_jobs WHERE status_ts <> '' AND lease_owner IS NULL")
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
        slack, urls = bots.slack, {}
        for name in ("one", "two"):
            await bots.launch(name)
            urls[name] = f"http://127.0.0.1:{bots.ready[name]}/slack/events"

        async def press(message: Message, button: str, user: str, name: str) -> Ack:
            slack.request_url = urls[name]
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


# What goes wrong


@one_mode
async def test_nobody_is_allowed_from_memory(bot: Scenario) -> None:
    """While the database takes nothing, a grant counts for nothing, and people who aren't in the settings read why."""
    await grant(bot)
    assert "Reloading" in (await bot.ask("sdxl", EVE)).text
    await bot.wait_done()
    bot.hurry(answer=0.5)
    await bot.reopen()
    with locked(bot.database):
        acks = [await bot.ask(text, EVE) for text in ("sdxl", "status", "")]
        listed = await bot.ask("access", BEN)

    assert {ack.text.splitlines()[-1] for ack in [*acks, listed]} == {
        "My database isn't responding. Try again in a minute."
    }
    assert len(bot.reloads) == 1


@one_mode
async def test_a_decision_that_is_not_recorded_is_not_made(bot: Scenario) -> None:
    """The admin reads so, and can press again."""
    to_ben, _ = await asks(bot)
    await bot.wait_sql("SELECT count(*) = 2 FROM reload_model_jobs WHERE status_ts <> '' AND lease_owner IS NULL")
    bot.hurry(answer=0.5)
    await bot.reopen()
    with locked(bot.database):
        await bot.slack.press(to_ben, ALLOW, user=BEN)
        await bot.wait_said("My database isn't responding, so I didn't start anything.")
    await bot.slack.press(to_ben, ALLOW, user=BEN)

    await bot.wait_said("gave you access", channel=bot.slack.dm(EVE))


@one_mode
async def test_an_admin_who_cannot_be_reached_holds_up_nobody(bot: Scenario) -> None:
    """The others are asked; a message that can't be edited any more is left as it is."""
    bot.slack.fail("conversations.open", "user_not_found", times=1)
    await bot.slack.press(await refused(bot), ASK, user=EVE)
    asked = await bot.wait_said(ASKS)
    assert (await bot.log.wait_for("access_not_told"))["level"] == "error"
    bot.slack.fail("chat.update", "message_not_found")
    await bot.slack.press(asked, ALLOW, user=asked.user or "")
    await bot.wait_said("gave you access", channel=bot.slack.dm(EVE))

    assert (await bot.log.wait_for("access_not_told", 2))["level"] == "info"
    await bot.wait_sql("SELECT count(*) = 0 FROM reload_model_jobs")


@one_mode
async def test_an_admin_who_was_not_reached_before_the_decision_is_not_asked_any_more(bot: Scenario) -> None:
    """There is nothing left to decide."""
    bot.slack.fail("chat.postMessage", "internal_error", channel=bot.slack.dm(CEM))
    (to_ben,) = await asks(bot, BEN)
    await bot.log.wait_for("job_failed")
    await bot.slack.press(to_ben, ALLOW, user=BEN)
    await bot.wait_sql("SELECT count(*) = 0 FROM reload_model_jobs")

    assert not bot.said(ASKS, channel=bot.slack.dm(CEM))


@one_mode
async def test_a_message_that_slack_does_not_take_now_is_sent_later(bot: Scenario) -> None:
    """As any other is."""
    bot.slack.fail("chat.postMessage", "internal_error", times=2)
    await asks(bot)

    assert {record["job"] for record in bot.log.of("job_failed")} == {"access_request"}


@one_mode
async def test_a_decision_survives_the_death_of_the_process(scenario: Scenario, tmp_path: Path) -> None:
    """Killed between the decision and its messages, the bot sends them when it is started again."""
    machine = Machine(scenario, tmp_path)
    process = await machine.boot(ALLOWED_USERS=ADA, ADMIN_USERS=BEN)
    (to_ben,) = await asks(scenario, BEN)
    await scenario.wait_sql("SELECT count(*) = 1 FROM reload_model_jobs WHERE status_ts <> '' AND lease_owner IS NULL")
    scenario.slack.fail("chat.update", Hang(), times=1)
    scenario.slack.fail("conversations.open", Hang(), times=1)
    await scenario.slack.press(to_ben, ALLOW, user=BEN)
    await scenario.wait_sql("SELECT count(*) = 2 FROM reload_model_jobs WHERE lease_owner IS NOT NULL")
    await machine.end(process, signal.SIGKILL)
    assert not scenario.said("gave you access")
    scenario.slack.heal()
    await machine.boot(ALLOWED_USERS=ADA, ADMIN_USERS=BEN)
    await scenario.wait_said(f"<@{BEN}> gave you access", channel=scenario.slack.dm(EVE))
    await eventually(lambda: "Allowed by" in to_ben.text)

    await machine.check()


# Other rules


@one_mode
async def test_without_admins_there_is_nothing_to_ask(bot: Scenario) -> None:
    """A refusal is as ever, nobody's grant counts, and a button of earlier days says no more."""
    refusal = await refused(bot)
    await grant(bot, "U0FAY")
    await bot.wait_said("gave you access", channel=bot.slack.dm("U0FAY"))
    await bot.reopen(ADMIN_USERS="")
    acks = [await bot.ask("sdxl", user) for user in (EVE, "U0FAY")]
    await bot.slack.press(refusal, ASK, user=EVE)
    answer = await bot.wait_said("You don't have permission")

    for user, text in ((EVE, acks[0].text), ("U0FAY", acks[1].text), (EVE, answer.text)):
        assert text.endswith(f"Ask the bot's operator to add your Slack ID, `{user}`, to `ALLOWED_USERS`.")
    assert labels(answer) == []
    assert "Only admins can do that." in (await bot.ask("access", ADA)).text


@one_mode
async def test_a_grant_counts_where_a_user_group_cannot_be_read(bot: Scenario) -> None:
    """Without a grant, people can't be told yet whether they are allowed, and aren't offered to ask."""
    await grant(bot)
    bot.slack.fail("usergroups.users.list", "internal_error")
    await bot.reopen(ALLOWED_USERS="S0CREW")
    granted, other = await bot.ask("sdxl", EVE), await bot.ask("sdxl", "U0FAY")

    assert granted.text.startswith("Reloading `sdxl`")
    assert "Slack won't let me read the user group" in other.text
    assert "blocks" not in other.body


@one_mode
async def test_help_tells_admins_of_the_list(bot: Scenario) -> None:
    """And nobody else."""
    for user, shown in ((BEN, True), (ADA, False)):
        assert ("/reload-model access" in (await bot.ask("help", user)).text) is shown
