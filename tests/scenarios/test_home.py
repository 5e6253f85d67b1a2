"""The Home tab: what is going on, what went on, and what people want to be reminded of."""

import asyncio
from unittest.mock import Mock

import pytest

from bot.errors import DatabaseUnavailable
from bot.sandbox.modelslab import error
from tests.answers import Hang, Held
from tests.scenarios.scenario import ADA, BEN, EVE, OPS, READY, Scenario, both_modes, labels
from tests.times import set_timing

PICK = "Reload a model"


def published(bot: Scenario) -> list[object]:
    """To whom the tab was published, in order."""
    return [call.args["user_id"] for call in bot.slack.calls if call.method == "views.publish"]


@both_modes
async def test_the_home_tab_shows_what_goes_on(bot: Scenario) -> None:
    """What is in flight, and what is over, with who asked and how it ended."""
    bot.modelslab.answer("bad", error(200, "Model not found: bad"))
    await bot.ask("bad")
    await bot.wait_done()
    bot.modelslab.answer("sdxl", Hang())
    await bot.ask("sdxl", BEN)
    home = await bot.open_home(ADA, "`sdxl`", "a colleague", "`bad`", "you", "no such model")
    shown = " ".join(home.texts)

    assert shown.index("`sdxl`") < shown.index("`bad`")


async def test_it_changes_with_what_it_shows(bot: Scenario) -> None:
    """For people who opened it, and nobody else. A model that is picked from it has its updates where they choose."""
    await bot.ask("flux", BEN)
    await bot.wait_done()
    assert published(bot) == []
    await bot.slack.press(await bot.open_home(ADA, "`flux`"), PICK, user=ADA)
    await bot.slack.submit(await bot.slack.wait_modal(ADA), {"typed": "sdxl", "where": OPS}, user=ADA)
    await bot.wait_home(ADA, "`sdxl`")
    await bot.wait_said("`sdxl`", READY, channel=OPS)

    assert PICK in labels(await bot.wait_home(ADA, "`sdxl`", "✓", "No reloads right now."))
    assert set(published(bot)) == {ADA}


async def test_it_is_published_once_for_changes_that_come_together(scenario: Scenario) -> None:
    """A busy worker does not use up Slack's limit. What looks the same is not published again until it is opened."""
    set_timing(home_gather=0.5)
    await scenario.open(RELOAD_SECONDS="60")
    await scenario.open_home(ADA, "No reloads right now.")
    await scenario.ask("a b c d e", BEN)
    await scenario.wait_home(ADA, "`a`", "`e`")
    count = len(published(scenario))
    assert count < 8  # of eleven changes: requests, acceptances, status messages
    await scenario.slack.open_home(ADA)
    await scenario.slack.wait_until(lambda: len(published(scenario)) > count)


async def test_an_older_view_does_not_come_after_a_newer_one(bot: Scenario) -> None:
    """However long Slack takes for the older one."""
    held = asyncio.Event()
    bot.slack.fail("views.publish", Held(held), times=1)
    await bot.slack.open_home(ADA)
    await bot.slack.wait_until(lambda: published(bot) == [ADA])
    await bot.ask("sdxl", BEN)
    await bot.wait_done()
    await bot.slack.open_home(ADA)
    await bot.open_home(BEN, "`sdxl`", "✓")
    assert published(bot) == [ADA, BEN]
    held.set()

    await bot.wait_home(ADA, "`sdxl`", "✓")


async def test_a_tab_is_not_kept_up_to_date_for_ever(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slack does not tell when somebody leaves it: only so many are, which were opened last, and for a while."""
    monkeypatch.setattr("bot.handlers.home_tab.TABS", 1)
    for user in (ADA, BEN):
        await bot.open_home(user, "No reloads right now.")
    await bot.ask("sdxl")
    await bot.wait_home(BEN, "`sdxl`")
    assert "sdxl" not in str(bot.slack.homes[ADA])

    set_timing(home_open=0.0)
    await bot.reopen()
    await bot.open_home(ADA, "`sdxl`")
    await bot.ask("flux")
    await bot.wait_done(2)
    await bot.open_home(BEN, "`flux`")
    assert "flux" not in str(bot.slack.homes[ADA])


async def test_what_cannot_be_shown_now_is_shown_later(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tab may be switched off in the app's settings, or the database away."""
    away = Mock(side_effect=DatabaseUnavailable("away"))
    bot.slack.fail("views.publish", "not_enabled", times=1)
    await bot.slack.open_home(ADA)
    await bot.log.wait_for("home_not_shown")
    with monkeypatch.context() as patch:
        patch.setattr("bot.storage.history.home", away)
        await bot.open_home(BEN, "My database isn't responding.")
    await bot.ask("sdxl", BEN)

    await bot.wait_home(ADA, "`sdxl`")
    await bot.wait_home(BEN, "`sdxl`")


async def test_people_without_access_see_whom_to_ask(bot: Scenario) -> None:
    """Their own ID, and nothing of what goes on. A button in it that is left on a screen does nothing."""
    await bot.ask("secret-model")
    old = await bot.open_home(ADA, "`secret-model`")
    assert labels(await bot.open_home(EVE, f"add your Slack ID, `{EVE}`")) == []
    await bot.reopen(ALLOWED_USERS=BEN)
    await bot.slack.press(old, PICK, user=ADA)

    assert labels(await bot.wait_home(ADA, "You don't have permission", without="secret-model")) == []
    assert "secret-model" not in str(bot.slack.homes[EVE])
