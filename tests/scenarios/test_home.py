"""The Home tab: what is going on, what went on, and what one wants to be reminded of."""

import asyncio

import pytest

from bot.errors import DatabaseUnavailable
from bot.sandbox.modelslab import ACCEPTED, error
from bot.sandbox.surfaces import Home
from tests.answers import Held
from tests.scenarios.scenario import ADA, BEN, EVE, MODELS, OPS, READY, Scenario

one_mode = pytest.mark.parametrize("mode", ["socket"])

PICK, STOP = "Reload a model", "Stop reminding me about sdxl"


async def seen(bot: Scenario, *words: str, without: str = "\0", user: str = ADA) -> Home:
    """Wait until somebody's Home tab shows these words."""

    def shows(home: Home) -> bool:
        text = " ".join(home.texts)
        return all(word in text for word in words) and without not in text

    return await bot.slack.wait_home(user, shows)


def labels(home: Home) -> list[str]:
    """What can be pressed in it."""
    return [button.text for button in home.buttons]


def published(bot: Scenario) -> list[object]:
    """To whom the tab was published, in order."""
    return [call.args["user_id"] for call in bot.slack.calls if call.method == "views.publish"]


async def test_the_home_tab_shows_what_goes_on(bot: Scenario) -> None:
    """What is in flight, and what is over, with who asked and how it ended."""
    held = asyncio.Event()
    bot.modelslab.answer("bad", error(200, "Model not found: bad"))
    await bot.ask("bad")
    await bot.wait_done()
    bot.modelslab.answer("sdxl", Held(held), ACCEPTED)
    await bot.ask("sdxl", BEN)
    await bot.slack.open_home(ADA)
    home = await seen(bot, "`sdxl`", "a colleague", "`bad`", "you", "no such model")
    shown = " ".join(home.texts)

    assert shown.index("`sdxl`") < shown.index("`bad`")
    held.set()


@one_mode
async def test_a_model_is_picked_from_it(bot: Scenario) -> None:
    """It has no channel of its own: where to announce is asked for."""
    await bot.slack.open_home(ADA)
    ack = await bot.slack.press(await seen(bot, "No reloads right now."), PICK, user=ADA)
    modal = await bot.slack.wait_modal(ADA)
    await bot.slack.submit(modal, {"typed": "sdxl", "where": OPS}, user=ADA)
    await bot.wait_said("`sdxl`", READY, channel=OPS)

    assert (ack.status, ack.error) == (200, "")


@one_mode
async def test_a_reminder_shows_and_is_stopped_there(bot: Scenario) -> None:
    """Only the person who set it sees it."""
    await bot.ask("sdxl")
    follow_up = await bot.wait_said(READY)
    await bot.slack.press(follow_up, "Remind me before it's unloaded", user=ADA)
    await bot.slack.open_home(ADA)
    await bot.slack.open_home(BEN)
    mine = await bot.slack.wait_home(ADA, lambda home: STOP in labels(home))
    theirs = await seen(bot, "`sdxl`", user=BEN)
    await bot.slack.press(mine, STOP, user=ADA)
    await bot.slack.wait_home(ADA, lambda home: STOP not in labels(home))

    assert STOP not in labels(theirs)
    assert bot.sql("SELECT count(*) FROM reload_model_jobs WHERE kind = 'reminder'") == [(0,)]


# When it is published


@one_mode
async def test_it_changes_with_what_it_shows(bot: Scenario) -> None:
    """For people who opened it, and nobody else."""
    await bot.ask("flux", BEN)
    await bot.wait_done()
    assert published(bot) == []
    await bot.slack.open_home(ADA)
    await seen(bot, "`flux`", without="`sdxl`")
    await bot.ask("sdxl", BEN)
    await seen(bot, "`sdxl`")
    await bot.wait_said("`sdxl`", READY)

    assert PICK in labels(await seen(bot, "`sdxl`", "✓", "No reloads right now."))
    assert set(published(bot)) == {ADA}


@one_mode
async def test_it_is_published_once_for_changes_that_come_together(scenario: Scenario) -> None:
    """A busy worker does not use up Slack's limit. What looks the same is not published again until it is opened."""
    scenario.hurry(home_gather=0.5)
    await scenario.open(RELOAD_SECONDS="60")
    await scenario.slack.open_home(ADA)
    await seen(scenario, "No reloads right now.")
    for number in range(5):
        await scenario.ask(f"model-{number}", BEN)
    await seen(scenario, "`model-0`", "`model-4`")
    count = len(published(scenario))
    assert count < 8  # of fifteen changes: requests, acceptances, status messages
    await scenario.slack.open_home(ADA)
    await scenario.slack.wait_until(lambda: len(published(scenario)) > count)


@one_mode
async def test_an_older_view_does_not_come_after_a_newer_one(bot: Scenario) -> None:
    """However long Slack takes for the older one."""
    held = asyncio.Event()
    bot.slack.fail("views.publish", Held(held), times=1)
    await bot.slack.open_home(ADA)
    await bot.slack.wait_until(lambda: published(bot) == [ADA])
    await bot.ask("sdxl", BEN)
    await bot.wait_done()
    held.set()

    await seen(bot, "`sdxl`", "✓")


@one_mode
async def test_nobody_looks_for_ever(scenario: Scenario) -> None:
    """Slack does not tell when somebody leaves the tab: after a while it is left as it is, until it is opened again."""
    scenario.hurry(home_open=0.0)
    await scenario.open()
    await scenario.slack.open_home(ADA)
    await seen(scenario, "No reloads right now.")
    await scenario.ask("sdxl")
    await scenario.wait_done()
    await scenario.slack.open_home(BEN)
    await seen(scenario, "`sdxl`", user=BEN)

    assert published(scenario) == [ADA, BEN]


@one_mode
async def test_only_so_many_tabs_are_kept_up_to_date(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were opened last."""
    monkeypatch.setattr("bot.handlers.home_tab.TABS", 1)
    for user in (ADA, BEN):
        await bot.slack.open_home(user)
        await seen(bot, "No reloads right now.", user=user)
    await bot.ask("sdxl")
    await seen(bot, "`sdxl`", user=BEN)

    assert "sdxl" not in str(bot.slack.homes[ADA])


@one_mode
async def test_what_slack_does_not_take_is_published_with_the_next_change(bot: Scenario) -> None:
    """The tab may be switched off in the app's settings; all else works."""
    bot.slack.fail("views.publish", "not_enabled", times=1)
    await bot.slack.open_home(ADA)
    await bot.log.wait_for("home_not_shown")
    await bot.ask("sdxl")
    await bot.wait_said(READY)

    await seen(bot, "`sdxl`")


@one_mode
async def test_the_home_tab_says_that_the_database_is_away(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows more when the database is back and something changes."""

    def away(*_: object) -> None:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr("bot.storage.history.home", away)
        await bot.slack.open_home(ADA)
        await seen(bot, "My database isn't responding.")
    await bot.ask("sdxl", BEN)
    await seen(bot, "`sdxl`")


# Who sees it


async def test_a_stranger_sees_whom_to_ask(bot: Scenario) -> None:
    """Their own id, and nothing of what goes on."""
    await bot.ask("secret-model")
    await bot.slack.open_home(EVE)
    home = await seen(bot, f"add your Slack ID, `{EVE}`", user=EVE, without="secret-model")

    assert labels(home) == []


@one_mode
async def test_it_names_the_command_of_its_own_environment(scenario: Scenario) -> None:
    """Also to somebody whose workspace isn't clear, who has to type the command once."""
    await scenario.open(SLASH_COMMAND="/reload-model-dev", ALLOWED_USERS="*")
    event = {"type": "app_home_opened", "user": EVE, "channel": "D0EVE", "tab": "home"}
    await scenario.slack.send_event(event, team_id="T0OTHER")

    await seen(scenario, "type `/reload-model-dev help` once", user=EVE)


@one_mode
async def test_who_is_taken_off_the_list_sees_nothing_more(bot: Scenario) -> None:
    """Even while they look; a button in it does nothing any more."""
    await bot.ask("secret-model", channel=MODELS)
    await bot.slack.open_home(ADA)
    old = await seen(bot, "`secret-model`")
    await bot.reopen(ALLOWED_USERS=BEN)
    await bot.slack.press(old, PICK, user=ADA)

    assert labels(await seen(bot, "You don't have permission", without="secret-model")) == []
