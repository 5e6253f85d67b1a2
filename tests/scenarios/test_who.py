"""Who can ask for what, where, and in which words."""

import json
import re

import pytest

from bot.core.command import SHORTCUT
from bot.ui import messages
from tests.answers import Json
from tests.scenarios.scenario import ADA, BEN, CEM, EVE, MODELS, OPS, READY, Scenario, both_modes

REMIND = "Remind me before it's unloaded"


@both_modes
async def test_people_who_are_not_readable_are_refused(bot: Scenario) -> None:
    """They read their own ID and what to ask for, whatever they type. Lists and hints are for others, help for all."""
    await bot.ask("secret-model")
    for text in ("sdxl", "status", "history", "statsu", "sdxl xl", "-f", "<!channel>"):
        ack = await bot.ask(text, EVE)
        assert f"add your Slack ID, `{EVE}`, to `ALLOWED_USERS`." in ack.text
        assert "secret-model" not in ack.text
    ack = await bot.ask("", EVE)
    assert messages.help_text("/reload-model") in ack.text
    assert f"add your Slack ID, `{EVE}`" in ack.text
    ack = await bot.ask(" HELP\u00a0", EVE, "D0EVEADA", team_id="T0OTHER")
    assert ack.text == messages.help_text("/reload-model")

    refused = [record for record in bot.log.of("command") if record["outcome"] == "not_allowed"]
    assert [(record["user"], record["channel"]) for record in refused] == [(EVE, MODELS)] * 8
    assert [reload[0] for reload in bot.reloads] == ["secret-model"]


@pytest.fixture(params=["workspace", "organisation"])
async def grid(scenario: Scenario, request: pytest.FixtureRequest) -> Scenario:
    """A bot that is installed in one workspace of an organisation, or in all: then Slack names no workspace."""
    scenario.slack.enterprise_id = "E0GRID"
    if request.param == "organisation":
        whose = {"team_id": None, "enterprise_id": "E0GRID", "is_enterprise_install": True, "user_id": "U0BOT"}
        scenario.slack.fail("auth.test", Json(200, {"ok": True, **whose}))
    await scenario.open(ALLOWED_USERS=f"{ADA} {CEM}")
    return scenario


@pytest.mark.parametrize("team", ["T0SANDBOX", "T0SISTER", "E0GRID"])
async def test_people_of_the_organisation_can_use_every_surface(grid: Scenario, team: str) -> None:
    """People of the organisation are known wherever Slack says that they belong, once they have used the command."""
    ack = await grid.ask("sdxl", CEM, team_id="T0SISTER")
    follow_up = await grid.wait_said(READY)
    await grid.wait_sql("SELECT count(*) FROM reload_model_people")
    await grid.wait_done()
    await grid.reopen(RELOAD_SECONDS="60")
    grid.slack.user_teams[CEM] = team

    await grid.slack.press(follow_up, REMIND, user=CEM)
    await grid.wait_said("I'll remind you about `sdxl`", user=CEM)
    await grid.slack.shortcut(SHORTCUT, user=CEM)
    modal = await grid.slack.wait_modal(CEM)
    await grid.slack.suggest(modal, "s", user=CEM)
    await grid.slack.submit(modal, {"typed": "sdxl", "where": OPS}, user=CEM)
    await grid.open_home(CEM, "`sdxl`")

    assert "Reloading `sdxl`" in ack.text
    assert "Reloading `sdxl`" in " ".join(modal.texts)
    assert grid.log.of("command")[-1]["outcome"] != "other_workspace"


async def test_a_stranger_of_a_shared_channel_is_refused(grid: Scenario) -> None:
    """Even where all are allowed: all of the workspace. They read what people of the organisation can do about it."""
    await grid.reopen(ALLOWED_USERS=f"* {CEM}")
    await grid.ask("sdxl", ADA)
    assert grid.log.of("command")[-1]["rule"] == "*"
    follow_up = await grid.wait_said(READY)
    await grid.wait_done()
    for team in ("T0OTHER", "E0OTHER"):
        grid.slack.user_teams[CEM] = team
        asked = await grid.ask("sdxl", CEM, team_id=team, enterprise_id="E0OTHER")
        assert grid.log.of("command")[-1]["rule"] == "workspace"
        helped = await grid.ask("help", CEM, team_id=team, enterprise_id="E0OTHER")
        said = len(grid.slack.messages)
        await grid.slack.press(follow_up, REMIND, user=CEM)
        await grid.slack.mention("sdxl", user=CEM)
        await grid.slack.wait_until(lambda said=said: len(grid.slack.messages) > said + 1)  # type: ignore[misc]
        refusals = [message.text for message in grid.slack.messages[said:]]

        assert helped.text == messages.help_text("/reload-model")
        assert asked.text == "Only members of this bot's workspace can reload models."
        assert all(text.startswith("Only members of this bot's workspace can reload models.") for text in refusals)
        assert all("type `/reload-model help` once" in text for text in refusals)
    assert grid.sql("SELECT user_id FROM reload_model_people") == [(ADA,)]


async def test_other_channels_are_refused(bot: Scenario) -> None:
    """People in others are pointed to those, and nothing is started. An admin manages access anywhere."""
    await bot.reopen(ALLOWED_CHANNELS=f"{OPS},C0THIRD", ADMIN_USERS=BEN)
    elsewhere = await bot.ask("sdxl", ADA, MODELS)
    await bot.slack.mention("sdxl", user=ADA, channel=MODELS)
    await bot.wait_said(elsewhere.text)
    there = await bot.ask("flux", ADA, OPS)
    access = await bot.ask("access", BEN, MODELS)

    assert elsewhere.text == f"I only work in <#{OPS}> and <#C0THIRD>. Please try there."
    assert "Reloading `flux`" in there.text
    assert access.text.startswith("Who can reload models")
    outcomes = ["wrong_channel", "wrong_channel", "requested", "access"]
    assert [record["outcome"] for record in bot.log.of("command")] == outcomes
    assert [reload[0] for reload in bot.reloads] == ["flux"]


async def test_status_and_history(slow: Scenario) -> None:
    """They say what is reloading, how the others ended and who asked, and start nothing. A long one is cut."""
    empty = [(await slow.ask(word)).text for word in ("status", "history")]
    for user in (ADA, CEM, CEM):
        await slow.ask("sdxl", user)
    await slow.open_home(ADA, "requested by you and 1 more")
    while_it_lasts = await slow.ask("status")
    await slow.finish_reloads()
    await slow.ask("no-such-model")
    await slow.wait_done(2)
    history = await slow.ask("History")

    assert empty == ["No reloads right now.", "No reloads yet."]
    assert "1 model reloading" in while_it_lasts.text
    assert "requested by you and 1 more" in while_it_lasts.text
    failed, done = history.text.splitlines()[1:]
    assert "✗ `no-such-model` · no such model" in failed
    assert "✓ `sdxl` · should be ready since" in done
    assert "requested by you and 1 more" in done
    assert len(slow.modelslab.calls) == 2
    words = ["status", "history", "requested", "joined", "joined", "status", "requested", "history"]
    assert [record["outcome"] for record in slow.log.of("command")] == words
    for number in range(0, 25, 5):
        await slow.ask(" ".join(f"model-{number + n}" for n in range(5)))
    lines = (await slow.ask("status")).text.splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("25 models reloading", "… and 5 more", 22)


async def test_what_began_in_private(bot: Scenario) -> None:
    """Elsewhere it is a model and its state: nobody reads who asked, or that it was a colleague."""
    bot.slack.add_channel("C0SECRET", "secret", private=True)
    await bot.ask("sdxl", ADA, "C0SECRET")
    await bot.wait_done()
    (_, own), (_, other) = [(await bot.ask("history", user, OPS)).text.splitlines() for user in (ADA, BEN)]

    assert own == f"{other} · requested by you"
    assert re.fullmatch(r"• ✓ `sdxl` · should be ready since <!date[^>]*>", other)


NO_ID: tuple[tuple[str, str], ...] = (
    ("<!channel>", "`&lt;!channel&gt;`"),
    ("sd`x\x1b[31m\u202exl\x00", "`sd\u02cbx�[31m�xl�`"),
    ('"sd\r\nxl"', "`sd  xl`"),
    ("😀" * 4000, f"`{'😀' * 59}…`"),
    ("''", "the quotes"),
    ("'; DROP TABLE reload; --", "`'`"),
)


async def test_what_is_no_id_is_shown_harmlessly(bot: Scenario) -> None:
    """To the person who typed it; it starts nothing, and isn't logged. Nearly a subcommand isn't an ID either."""
    for text, meant in {"statsu": "status", "--help": "help"}.items():
        assert f"Did you mean `/reload-model {meant}`?" in (await bot.ask(text)).text
    assert {record["outcome"] for record in bot.log.of("command")} == {"not_a_command"}
    for text, shown in NO_ID:
        ack = await bot.ask(text)

        assert f"{shown} " in ack.text or f"{shown}." in ack.text
        assert ack.text.endswith(
            ("See `/reload-model help`.", "Did you mean `/reload-model help`?", "Nothing was started.")
        )
        assert bot.reloads == []
        assert json.dumps(text)[1:-1] not in bot.log.text
