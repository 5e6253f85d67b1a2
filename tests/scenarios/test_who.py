"""Who may ask for what, where, and in which words."""

import json
import re

import pytest

from bot.core.command import SHORTCUT
from bot.sandbox.workspace import Message
from bot.ui import messages
from tests.answers import Hang, Json
from tests.scenarios.scenario import ADA, BEN, CEM, EVE, MODELS, OPS, READY, Scenario
from tests.usergroups import FakeUserGroups

one_mode = pytest.mark.parametrize("mode", ["socket"])

REMIND = "Remind me before it's unloaded"


async def nothing_happened(bot: Scenario) -> bool:
    """Whether nothing was written down, nothing called and nothing posted, which a reload shows that follows."""
    assert bot.reloads == []
    await bot.reopen(ALLOWED_USERS="*", ALLOWED_CHANNELS="")
    bot.slack.team_id, bot.slack.enterprise_id = "T0SANDBOX", None
    await bot.ask("afterwards")
    await bot.wait_done()
    return [call.model_id for call in bot.modelslab.calls] == ["afterwards"] and bool(bot.said(READY, "afterwards"))


# --- people ---------------------------------------------------------------------------------------------


async def test_somebody_who_is_not_allowed(bot: Scenario) -> None:
    """A person who isn't on the list reads their own ID and what to ask for, and nothing happens but a log line."""
    ack = await bot.ask("sdxl", EVE)

    assert f"add your Slack ID, `{EVE}`, to `ALLOWED_USERS`." in ack.text
    (record,) = bot.log.of("command")
    assert (record["outcome"], record["user"], record["channel"]) == ("not_allowed", EVE, MODELS)
    assert await nothing_happened(bot)


@one_mode
@pytest.mark.parametrize("text", ["status", "history", "statsu", "sdxl xl", "-f", "<!channel>"])
async def test_nothing_is_shown_to_others(bot: Scenario, text: str) -> None:
    """Lists and hints are only for people who can reload models."""
    await bot.ask("secret-model")
    ack = await bot.ask(text, EVE)

    assert "You don't have permission" in ack.text
    assert "secret-model" not in ack.text


@one_mode
@pytest.mark.parametrize("text", ["help", " HELP ", "\u00a0help\u00a0"])
async def test_help_is_for_anyone(bot: Scenario, text: str) -> None:
    """Anyone may ask for help, from anywhere."""
    ack = await bot.ask(text, EVE, "D0EVEADA", team_id="T0OTHER")

    assert ack.text == messages.help_text("/reload-model")


@one_mode
@pytest.mark.parametrize("fields", [{"team_id": "T0OTHER"}, {"team_id": "T0OTHER", "enterprise_id": "E0OTHER"}])
async def test_somebody_of_another_workspace(bot: Scenario, fields: dict[str, str]) -> None:
    """Through Slack Connect nobody of another workspace reloads anything, whatever their id and whatever the list."""
    await bot.reopen(ALLOWED_USERS=f"* {ADA}")
    ack = await bot.ask("sdxl", ADA, **fields)

    assert ack.text == "Only members of this bot's workspace can reload models."
    assert bot.log.of("command")[-1]["outcome"] == "other_workspace"
    assert await nothing_happened(bot)


async def test_a_user_group(bot: Scenario) -> None:
    """Its members have access, but nobody else, and nobody of another workspace."""
    bot.slack.fail("usergroups.users.list", FakeUserGroups({"S0CREW": [EVE]}))
    await bot.reopen(ALLOWED_USERS="S0CREW")
    await bot.log.wait_for("group_read")
    ack = await bot.ask("sdxl", EVE)
    refused = await bot.ask("sdxl", ADA)
    stranger = await bot.ask("sdxl", EVE, team_id="T0OTHER")
    await bot.wait_done()

    assert "Reloading `sdxl`" in ack.text
    assert bot.sql("SELECT user_id, outcome, rule FROM reload_model_audit WHERE outcome = 'requested'") == [
        (EVE, "requested", "S0CREW")
    ]
    assert "You don't have permission" in refused.text
    assert "Only members of this bot's workspace" in stranger.text


@one_mode
async def test_a_user_group_that_slack_does_not_tell_of(bot: Scenario) -> None:
    """The start doesn't wait for it, its members read why, and people who are listed by ID don't notice."""
    bot.slack.fail("usergroups.users.list", Hang(), times=1)
    await bot.reopen(ALLOWED_USERS=f"S0CREW {ADA}")
    refused = await bot.ask("sdxl", EVE)
    ack = await bot.ask("sdxl", ADA)
    await bot.wait_done()

    assert "Slack won't let me read the user group `S0CREW`." in refused.text
    assert "Reloading `sdxl`" in ack.text
    await bot.wait_sql("SELECT count(*) FROM reload_model_audit WHERE outcome = 'group_unread' AND rule = 'S0CREW'")


@one_mode
async def test_without_user_groups_none_is_read(bot: Scenario) -> None:
    """So that the app needs no scope for them."""
    await bot.ask("sdxl")
    await bot.wait_done()

    assert "usergroups.users.list" not in {call.method for call in bot.slack.calls}


@pytest.fixture
async def grid(scenario: Scenario) -> Scenario:
    """A bot in one workspace of an organisation."""
    scenario.slack.enterprise_id = "E0GRID"
    await scenario.open(ALLOWED_USERS=f"{ADA} {CEM}")
    return scenario


@one_mode
async def test_enterprise_grid(grid: Scenario) -> None:
    """People of the organisation's other workspaces can ask, too, and those of another organisation can't."""
    ack = await grid.ask("sdxl", CEM, team_id="T0SISTER")
    stranger = await grid.ask("sdxl", CEM, team_id="T0OTHER", enterprise_id="E0OTHER")
    await grid.wait_done()

    assert "Reloading `sdxl`" in ack.text
    assert "Only members of this bot's workspace" in stranger.text


async def every_surface(bot: Scenario, message: Message, user: str) -> list[str]:
    """What somebody reads who presses a button, uses the shortcut and submits the picker, and opens the Home tab."""
    said = len(bot.slack.messages)
    await bot.slack.press(message, REMIND, user=user)
    await bot.slack.wait_until(lambda: len(bot.slack.messages) > said)
    await bot.slack.shortcut(SHORTCUT, user=user)
    modal = await bot.slack.wait_modal(user)
    if modal.fields:
        await bot.slack.suggest(modal, "s", user=user)
        await bot.slack.submit(modal, {"typed": "sdxl", "where": OPS}, user=user)
    await bot.slack.open_home(user)
    home = await bot.slack.wait_home(user, lambda home: bool(home.texts))
    return [bot.slack.messages[said].text, " ".join(modal.texts), " ".join(home.texts)]


@one_mode
@pytest.mark.parametrize("team", ["T0SANDBOX", "T0SISTER", "E0GRID"])
async def test_every_surface_on_enterprise_grid(grid: Scenario, team: str) -> None:
    """Wherever Slack says that somebody belongs, once they have used the command; that is remembered for good."""
    await grid.ask("sdxl", CEM, team_id="T0SISTER")
    follow_up = await grid.wait_said(READY)
    await grid.wait_sql("SELECT count(*) FROM reload_model_people")
    await grid.reopen()
    grid.slack.user_teams[CEM] = team

    pressed, picked, home = await every_surface(grid, follow_up, CEM)

    assert "I'll remind you about `sdxl`" in pressed
    assert "Reloading `sdxl`" in picked
    assert "`sdxl`" in home
    assert grid.log.of("command")[-1]["outcome"] != "other_workspace"


@one_mode
@pytest.mark.parametrize("team", ["T0OTHER", "E0OTHER"])
async def test_a_stranger_of_a_shared_channel(grid: Scenario, team: str) -> None:
    """They press and are refused, whatever their id. Who is none of them reads what to do; the command never helps."""
    await grid.ask("sdxl", ADA)
    follow_up = await grid.wait_said(READY)
    grid.slack.user_teams[CEM] = team
    ack = await grid.ask("help", CEM, team_id=team, enterprise_id="E0OTHER")
    pressed, picked, _ = await every_surface(grid, follow_up, CEM)

    assert ack.text == messages.help_text("/reload-model")
    for text in (pressed, picked):
        assert "Only members of this bot's workspace can reload models." in text
        assert "type `/reload-model help` once" in text
    assert grid.sql("SELECT user_id FROM reload_model_people") == [(ADA,)]


@one_mode
async def test_a_home_tab_that_is_opened_from_a_shared_channel(grid: Scenario) -> None:
    """The event's team is not its author's."""
    event = {"type": "app_home_opened", "user": CEM, "tab": "home", "user_team": "T0OTHER"}
    await grid.slack.send_event(event)
    home = await grid.slack.wait_home(CEM, lambda home: bool(home.texts))

    assert "Only members of this bot's workspace" in " ".join(home.texts)


@one_mode
async def test_an_app_of_a_whole_organisation(scenario: Scenario) -> None:
    """It names no workspace: the organisation's people are known by their command."""
    scenario.slack.enterprise_id = "E0GRID"
    whose = {"team_id": None, "enterprise_id": "E0GRID", "is_enterprise_install": True, "user_id": "U0BOT"}
    scenario.slack.fail("auth.test", Json(200, {"ok": True, **whose}))
    await scenario.open()
    scenario.slack.user_teams[CEM] = "T0SISTER"
    ack = await scenario.ask("sdxl", CEM, team_id="T0SISTER")
    stranger = await scenario.ask("sdxl", ADA, team_id="T0OTHER", enterprise_id="E0OTHER")
    pressed, picked, _ = await every_surface(scenario, await scenario.wait_said(READY), CEM)

    assert "Reloading `sdxl`" in ack.text
    assert "Only members of this bot's workspace" in stranger.text
    assert "I'll remind you about `sdxl`" in pressed
    assert "Reloading `sdxl`" in picked


@one_mode
async def test_everyone(bot: Scenario) -> None:
    """With * everyone of the workspace may ask, and the log says that it was this rule that let them."""
    await bot.reopen(ALLOWED_USERS="*")
    ack = await bot.ask("sdxl", EVE)
    await bot.wait_done()

    assert "Reloading `sdxl`" in ack.text
    assert (bot.log.of("command")[-1]["outcome"], bot.log.of("command")[-1]["rule"]) == ("requested", "*")


@one_mode
async def test_the_log_names_the_rule(bot: Scenario) -> None:
    """Every command that is let in leaves who, where, which model, which reload and by which rule."""
    await bot.ask("sdxl")

    (record,) = bot.log.of("command")
    expected = ("requested", ADA, ADA, "T0SANDBOX", MODELS, "sdxl", bot.last_id)
    assert expected == tuple(record[name] for name in ("outcome", "user", "rule", "team", "channel", "model", "reload"))


@pytest.mark.parametrize("name", ["/reload-model-dev", "/RELOAD-MODEL", "/<!channel>"])
async def test_a_command_of_another_name(bot: Scenario, name: str) -> None:
    """The app's page has a name that the bot doesn't have: the person reads so, and the operator sees it."""
    ack = await bot.ask("sdxl", command=name)

    assert ack.text.startswith(f"I don't answer to `{name.replace('<', '&lt;').replace('>', '&gt;')}`.")
    [record] = bot.log.of("command")
    assert (record["level"], record["outcome"], record["command"]) == ("warning", "unknown_command", name)
    assert bot.reloads == []


# --- channels -------------------------------------------------------------------------------------------


@one_mode
async def test_another_channel(bot: Scenario) -> None:
    """Where only some channels are open, the others are pointed there, and nothing is started."""
    await bot.reopen(ALLOWED_CHANNELS=f"{OPS},C0THIRD")
    ack = await bot.ask("sdxl", ADA, MODELS)

    assert ack.text == f"I only work in <#{OPS}> and <#C0THIRD>. Please try there."
    assert bot.log.of("command")[-1]["outcome"] == "wrong_channel"
    assert await nothing_happened(bot)


@one_mode
async def test_an_open_channel(bot: Scenario) -> None:
    """In an open channel the command works."""
    await bot.reopen(ALLOWED_CHANNELS=OPS)
    await bot.ask("sdxl", ADA, OPS)

    await bot.wait_said(READY, channel=OPS)


# --- lists ----------------------------------------------------------------------------------------------


async def test_status_and_history(bot: Scenario) -> None:
    """The lists say what is reloading, how the others ended and who asked, and start nothing."""
    await bot.open_slowly()
    empty = [(await bot.ask(word)).text for word in ("status", "history")]
    await bot.ask("sdxl", ADA)
    await bot.ask("sdxl", CEM)
    await bot.wait_said("is reloading")
    while_it_lasts = await bot.ask("status")
    await bot.wait_done()
    await bot.ask("no-such-model")
    await bot.wait_done(2)
    history = await bot.ask("History")

    assert empty == ["No reloads right now.", "No reloads yet."]
    assert "1 model reloading" in while_it_lasts.text
    assert "requested by you and 1 more" in while_it_lasts.text
    failed, done = history.text.splitlines()[1:]
    assert "✗ `no-such-model` · no such model" in failed
    assert "✓ `sdxl` · should be ready since" in done
    assert len(bot.modelslab.calls) == 2
    assert [record["outcome"] for record in bot.log.of("command")] == [
        "status",
        "history",
        "requested",
        "joined",
        "status",
        "requested",
        "history",
    ]


@one_mode
async def test_what_began_in_private(bot: Scenario) -> None:
    """Elsewhere it is a model and its state: nobody reads who asked, or that it was a colleague."""
    bot.slack.add_channel("C0SECRET", "secret", private=True)
    await bot.ask("sdxl", ADA, "C0SECRET")
    await bot.wait_done()
    (_, own), (_, other) = [(await bot.ask("history", user, OPS)).text.splitlines() for user in (ADA, BEN)]

    assert own == f"{other} · requested by you"
    assert re.fullmatch(r"• ✓ `sdxl` · should be ready since <!date[^>]*>", other)


@one_mode
async def test_a_long_status(bot: Scenario) -> None:
    """A list shows twenty, and says how many more there are."""
    await bot.reopen(RELOAD_SECONDS="60")
    for number in range(23):
        await bot.ask(f"model-{number}")
    ack = await bot.ask("status")

    assert ack.text.splitlines()[0] == "23 models reloading"
    assert ack.text.splitlines()[-1] == "… and 3 more"
    assert len(ack.text.splitlines()) == 22


# --- words ----------------------------------------------------------------------------------------------


@one_mode
@pytest.mark.parametrize(("text", "meant"), [("statsu", "status"), ("histroy", "history"), ("--help", "help")])
async def test_a_slip(bot: Scenario, text: str, meant: str) -> None:
    """What is nearly a subcommand isn't taken for a model ID: the person is asked what they meant."""
    ack = await bot.ask(text)

    assert f"Did you mean `/reload-model {meant}`?" in ack.text
    assert (bot.log.of("command")[-1]["outcome"], bot.reloads) == ("not_a_command", [])


@one_mode
async def test_what_is_an_id(bot: Scenario) -> None:
    """A quoted word is a model ID. Quotes and spaces around an ID aren't part of it, and its case is kept."""
    meant = {
        '"status"': "status",
        "`help`": "help",
        "\u201chistory\u201d": "history",
        "\u00a0 sdxl\u00a0": "sdxl",
        "\u200bflux\u2066": "flux",
        "'sd-xl/v1.0:latest+a@b'": "sd-xl/v1.0:latest+a@b",
        "A" * 128: "A" * 128,
        "Realistic_Vision": "Realistic_Vision",
    }
    for text in meant:
        await bot.ask(text)
    await bot.wait_done(len(meant))

    assert {call.model_id for call in bot.modelslab.calls} == set(meant.values())


NO_ID: tuple[tuple[str, str], ...] = (
    ("<!channel>", "`&lt;!channel&gt;`"),
    ("<!here|x>", "`&lt;!here|x&gt;`"),
    ("<@U0BEN>", "`&lt;@U0BEN&gt;`"),
    ("<https://evil.example|sdxl>", "`&lt;https://evil.example|sdxl&gt;`"),
    ("a & b", "`&amp;`"),
    ("sd`xl", "`sd\u02cbxl`"),
    ("sd\x1b[31mxl\x00", "`sd�[31mxl�`"),
    ("sd\u202exl", "`sd�xl`"),
    ("sd\u200bxl", "`sd�xl`"),
    ('"sd\r\nxl"', "`sd  xl`"),
    ("x" * 129, f"`{'x' * 59}…`"),
    ("é", "`é`"),
    ("😀" * 4000, f"`{'😀' * 59}…`"),
    ("''", "the quotes"),
    ("-rf", "`-rf`"),
    ("../../etc/passwd", "`../../etc/passwd`"),
    ("sdxl {{7*7}} ${x} %s", "`{{7*7}}`"),
    ("'; DROP TABLE reload; --", "`'`"),
)


async def test_what_is_no_id(bot: Scenario) -> None:
    """What isn't an ID is shown harmlessly to the person who typed it, starts nothing, and isn't logged."""
    for text, shown in NO_ID:
        ack = await bot.ask(text)

        assert f"{shown} " in ack.text or f"{shown}." in ack.text
        assert ack.text.endswith(
            ("See `/reload-model help`.", "Did you mean `/reload-model help`?", "Nothing was started.")
        )
        assert bot.reloads == []
        assert json.dumps(text)[1:-1] not in bot.log.text
