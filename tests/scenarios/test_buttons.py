"""A button saves a step: each does its one thing, for those who may, and says so privately."""

import asyncio
from dataclasses import replace

import pytest

from bot.sandbox.delivery import Ack
from bot.sandbox.modelslab import ACCEPTED, error
from bot.sandbox.workspace import Message
from tests.answers import Held, RateLimited
from tests.scenarios.scenario import ADA, BEN, EVE, FAILED, MODELS, OPS, READY, Scenario, eventually, locked, mentioned

one_mode = pytest.mark.parametrize("mode", ["socket"])

NOTIFY, AGAIN, RELOAD_AGAIN = "Notify me too", "Try again", "Reload again"
REMIND = "Remind me before it's unloaded"

UNKNOWN = error(200, "Model not found: x")


async def press(bot: Scenario, message: Message, label: str, user: str = ADA) -> Ack:
    """Press a button, and expect that it is acknowledged in time, without words."""
    ack = await bot.slack.press(message, label, user=user)
    assert (ack.status, ack.error, ack.text) == (200, "", "")
    return ack


async def answered(bot: Scenario, *words: str, user: str = ADA, n: int = 1) -> Message:
    """Wait for the n-th private answer to a press that holds these words."""

    def found() -> list[Message]:
        answers = [m for m in bot.slack.messages if m.via == "response_url" and m.user == user]
        return [m for m in answers if all(word in m.text for word in words)]

    await bot.slack.wait_until(lambda: len(found()) >= n)
    return found()[-1]


async def a_failure(bot: Scenario, model: str = "sdxl") -> Message:
    """A reload that ModelsLab refused."""
    bot.modelslab.answer(model, UNKNOWN, ACCEPTED)
    await bot.ask(model)
    return await bot.wait_said(f"`{model}`", FAILED)


# --- Notify me too --------------------------------------------------------------------------------------


async def test_who_wants_to_be_notified_too_joins(bot: Scenario) -> None:
    """They are mentioned in the follow-up, and read in private when to expect it."""
    await bot.reopen(RELOAD_SECONDS="1")
    await bot.ask("sdxl")
    status = await bot.wait_said("is reloading `sdxl`", channel=MODELS)
    await press(bot, status, NOTIFY, BEN)
    told = await answered(bot, f"<@{ADA}> is already reloading `sdxl`", user=BEN)
    follow_up = await bot.wait_said(READY)

    assert mentioned(follow_up.text) == [ADA, BEN]
    assert told.channel == MODELS
    assert len(bot.modelslab.calls) == 1


@one_mode
async def test_a_double_click_joins_once(bot: Scenario) -> None:
    """And a person who has already requested it stays on the list once."""
    await bot.reopen(RELOAD_SECONDS="1")
    await bot.ask("sdxl")
    status = await bot.wait_said("is reloading `sdxl`")
    await asyncio.gather(press(bot, status, NOTIFY, BEN), press(bot, status, NOTIFY, BEN))
    await press(bot, status, NOTIFY, ADA)

    assert bot.sql("SELECT user_id, count(*) FROM reload_model_subscribers GROUP BY user_id ORDER BY user_id") == [
        (ADA, 1),
        (BEN, 1),
    ]


@one_mode
async def test_a_press_and_a_command_are_one_person(bot: Scenario) -> None:
    """In `status`, `history` and the Home tab alike, since people count, not requests."""
    await bot.reopen(RELOAD_SECONDS="60")
    await bot.ask("sdxl")
    await press(bot, await bot.wait_said("is reloading `sdxl`"), NOTIFY, BEN)
    await answered(bot, "is already reloading", user=BEN)
    await bot.ask("sdxl", BEN)
    running = await bot.ask("status")
    await bot.slack.open_home(ADA)
    await bot.slack.wait_home(ADA, lambda home: "requested by you and 1 more" in " ".join(home.texts))
    bot.sql("UPDATE reload_model_jobs SET due_at = 0 WHERE kind = 'notify'")  # a minute later
    await bot.wait_done()
    ended = await bot.ask("history")

    assert bot.sql("SELECT count(*) FROM reload_model_subscribers") == [(3,)]
    assert [ack.text.count("requested by you and 1 more") for ack in (running, ended)] == [1, 1]


@one_mode
async def test_there_is_nothing_to_join_when_it_is_over(bot: Scenario) -> None:
    """A press of an old message's button is answered with that."""
    await bot.reopen(RELOAD_SECONDS="0.5")
    await bot.ask("sdxl")
    status = await bot.wait_said("is reloading `sdxl`")
    left_on_a_screen = replace(status)
    await bot.wait_said(READY)
    await press(bot, left_on_a_screen, NOTIFY, BEN)
    await answered(bot, "That reload has already finished", user=BEN)

    assert bot.sql("SELECT count(*) FROM reload_model_subscribers") == [(1,)]


# --- Try again, Reload again ----------------------------------------------------------------------------


async def test_a_failure_can_be_tried_again(bot: Scenario) -> None:
    """It is a reload of its own, for the person who pressed."""
    failure = await a_failure(bot)
    await press(bot, failure, AGAIN, BEN)
    await answered(bot, "Reloading `sdxl`", user=BEN)
    follow_up = await bot.wait_said("`sdxl`", READY)

    assert mentioned(follow_up.text) == [BEN]
    assert [call.model_id for call in bot.modelslab.calls] == ["sdxl", "sdxl"]


@one_mode
async def test_a_double_click_tries_once(bot: Scenario) -> None:
    """Even where ModelsLab refuses so fast that the first reload is over by the second click."""
    bot.modelslab.answer("sdxl", UNKNOWN, UNKNOWN, UNKNOWN)
    await bot.ask("sdxl")
    failure = await bot.wait_said(FAILED)
    await press(bot, failure, AGAIN)
    await bot.wait_said(FAILED, n=2)
    await press(bot, failure, AGAIN)
    await bot.wait_done(2)

    assert len(bot.modelslab.calls) == 2


@one_mode
async def test_what_was_reloaded_a_while_ago_can_be_reloaded_again(bot: Scenario) -> None:
    """The button comes to the status message when there is a use for it."""
    await bot.ask("sdxl")
    await bot.wait_said(READY)
    await eventually(lambda: bot.said("✓ `sdxl`") and bot.said("✓ `sdxl`")[0].buttons)
    (over,) = bot.said("✓ `sdxl`")
    await press(bot, over, RELOAD_AGAIN, BEN)
    await bot.wait_said(READY, n=2)

    assert len(bot.modelslab.calls) == 2


@one_mode
async def test_a_lists_buttons_are_for_its_channel(bot: Scenario) -> None:
    """History and status carry them beside each line."""
    held = asyncio.Event()
    await bot.ask("sdxl")
    await bot.wait_said(READY)
    await bot.wait_sql("SELECT (strftime('%s','now') - ended_at) > 1.2 FROM reload_model_reloads WHERE state = 'done'")
    bot.modelslab.answer("flux", Held(held), ACCEPTED)
    await bot.ask("flux")
    history = await bot.slack.command("history", user=BEN, channel=OPS)
    status = await bot.slack.command("status", user=BEN, channel=OPS)
    shown = {m.text: m for m in bot.slack.messages if m.via == "ack" and m.user == BEN}
    await press(bot, shown[history.text], "Reload sdxl again", BEN)
    await press(bot, shown[status.text], "Notify me about flux", BEN)
    held.set()
    await bot.slack.wait_until(lambda: sorted(bot.ready()) == ["flux", "flux", "sdxl", "sdxl"])

    assert sorted(call.model_id for call in bot.modelslab.calls) == ["flux", "sdxl", "sdxl"]


# --- Did you mean ---------------------------------------------------------------------------------------


async def test_an_unknown_model_has_neighbours(bot: Scenario) -> None:
    """The failure has the most similar IDs, as text and as buttons, own models before public ones."""
    bot.modelslab.models, bot.modelslab.own_models = ["sdxl", "sdxxl-1", "flux"], ["sdxxl-2"]
    failure = await a_failure(bot, "sdxxl")
    assert "Did you mean `sdxl`, `sdxxl-2` or `sdxxl-1`?" in failure.text
    await press(bot, failure, "sdxl", BEN)
    await bot.wait_said("`sdxl` should be ready now", f"<@{BEN}>")

    assert [call.model_id for call in bot.modelslab.calls] == ["sdxxl", "sdxl"]


@one_mode
async def test_without_a_list_an_unknown_model_is_told_all_the_same(bot: Scenario) -> None:
    """What cannot be had offers nothing, and holds up nothing for long."""
    bot.modelslab.lists["public"] = error(500, "no")
    failure = await a_failure(bot, "sdxxl")

    assert "Did you mean" not in failure.text
    assert [button.text for button in failure.buttons] == [AGAIN]


# --- reminders ------------------------------------------------------------------------------------------


async def test_a_reminder_is_a_row_and_comes_as_a_direct_message(bot: Scenario) -> None:
    """On the sixth day; it says what is known, and what can be done."""
    await bot.ask("sdxl")
    follow_up = await bot.wait_said(READY)
    await press(bot, follow_up, REMIND, BEN)
    await answered(bot, "I'll remind you", "`sdxl`", user=BEN)
    await bot.wait_done()
    await bot.shut()
    bot.sql("UPDATE reload_model_reloads SET ready_at = ready_at - 6 * 86400")
    bot.sql("UPDATE reload_model_jobs SET due_at = due_at - 6 * 86400 WHERE kind = 'reminder'")
    await bot.open()
    reminder = await bot.wait_said("`sdxl` was reloaded 6 days ago", "ModelsLab will unload it tomorrow")

    assert (reminder.via, reminder.user) == ("dm", BEN)
    assert [button.text for button in reminder.buttons] == ["Reload now", "Stop reminding"]
    await press(bot, reminder, "Reload now", BEN)
    await bot.wait_said("`sdxl`", READY, channel=MODELS, n=2)


@one_mode
async def test_reminding_stops(bot: Scenario) -> None:
    """And a double click asks once."""
    await bot.ask("sdxl")
    follow_up = await bot.wait_said(READY)
    await press(bot, follow_up, REMIND)
    await press(bot, follow_up, REMIND)
    await answered(bot, "I'll remind you", n=2)
    assert bot.sql("SELECT count(*) FROM reload_model_jobs WHERE kind = 'reminder'") == [(1,)]
    await bot.wait_done()
    await bot.shut()
    bot.sql("UPDATE reload_model_reloads SET ready_at = ready_at - 6 * 86400")
    bot.sql("UPDATE reload_model_jobs SET due_at = 0 WHERE kind = 'reminder'")
    await bot.open()
    reminder = await bot.wait_said("`sdxl` was reloaded")
    await press(bot, reminder, "Stop reminding")
    await answered(bot, "no more reminders")

    assert bot.sql("SELECT count(*) FROM reload_model_jobs WHERE kind = 'reminder'") == [(0,)]


# --- who may press --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "team", "words"),
    [(EVE, "T0SANDBOX", "You don't have permission"), (BEN, "T0OTHER", "Only members of this bot's workspace")],
    ids=["not named", "of another organisation"],
)
async def test_people_without_access_read_so_in_private(bot: Scenario, user: str, team: str, words: str) -> None:
    """People of other organisations see the buttons of a shared channel, and can press them. The message stays."""
    failure = await a_failure(bot)
    shown = failure.text
    bot.slack.user_teams[user] = team
    await press(bot, failure, AGAIN, user)
    await answered(bot, words, user=user)

    assert len(bot.modelslab.calls) == 1
    assert (failure.text, failure.edits) == (shown, [])
    (record,) = [record for record in bot.log.of("command") if record["outcome"] in ("not_allowed", "other_workspace")]
    assert record["user"] == user


@one_mode
async def test_a_channel_that_has_been_closed_is_closed_to_buttons_too(bot: Scenario) -> None:
    """What is allowed is asked afresh with every press."""
    failure = await a_failure(bot)
    await bot.reopen(ALLOWED_CHANNELS=OPS)
    await press(bot, failure, AGAIN)
    await answered(bot, f"I only work in <#{OPS}>")

    assert len(bot.modelslab.calls) == 1


@one_mode
async def test_the_database_is_away_when_a_button_is_pressed(bot: Scenario) -> None:
    """It says so, and nothing was started."""
    failure = await a_failure(bot)
    await bot.wait_done()
    with locked(bot.database):
        await press(bot, failure, AGAIN)
        await answered(bot, "I didn't start anything")

    assert len(bot.modelslab.calls) == 1


@one_mode
async def test_a_reload_that_is_forgotten_cannot_be_reminded_of(bot: Scenario) -> None:
    """History is kept for so many days, and a message for longer."""
    await bot.ask("sdxl")
    follow_up = await bot.wait_said(READY)
    await bot.wait_done()
    bot.sql("DELETE FROM reload_model_jobs")
    bot.sql("DELETE FROM reload_model_subscribers")
    bot.sql("DELETE FROM reload_model_reloads")
    await press(bot, follow_up, REMIND)

    await answered(bot, "That reload has already finished")


@one_mode
async def test_an_answer_that_slack_does_not_take(bot: Scenario) -> None:
    """What was asked for happens all the same."""
    failure = await a_failure(bot)
    bot.slack.fail("response_url", "used_url", times=1)
    await press(bot, failure, AGAIN, BEN)
    await bot.log.wait_for("answer_not_sent")

    await bot.wait_said("`sdxl`", READY)


@one_mode
async def test_an_answer_to_a_press_is_tried_again(bot: Scenario) -> None:
    """After as long as Slack asks for."""
    failure = await a_failure(bot)
    bot.slack.fail("response_url", RateLimited(1), times=1)
    await press(bot, failure, AGAIN, BEN)

    await answered(bot, "Reloading `sdxl`.", user=BEN)
