"""What the audit keeps of what people do, what limits tell them, and databases of earlier versions."""

import sqlite3
from collections import Counter
from contextlib import closing

import pytest
from sqlalchemy.exc import OperationalError

from bot.sandbox.modelslab import error
from bot.ui import views
from tests.scenarios.scenario import ADA, BEN, EVE, FAILED, MODELS, Scenario

one_mode = pytest.mark.parametrize("mode", ["socket"])


_LINES = "SELECT user_id, team_id, channel_id, text, outcome, rule, reload_id FROM reload_model_audit ORDER BY id"


@one_mode
async def test_every_command_is_kept(bot: Scenario) -> None:
    """Reloads with their id, other words, slips and blocked attempts, each with the rule that decided."""
    await bot.ask("sdxl", ADA)
    for text, user in (("sdxl", EVE), ("status", BEN), ('"two words\u202e"', BEN), ("", EVE)):
        await bot.ask(text, user)
    await bot.wait_sql("SELECT count(*) = 5 FROM reload_model_audit")

    home = ("T0SANDBOX", MODELS)
    assert bot.sql(_LINES) == [
        (ADA, *home, "sdxl", "requested", ADA, bot.last_id),
        (EVE, *home, "sdxl", "not_allowed", "ALLOWED_USERS", None),
        (BEN, *home, "status", "status", BEN, None),
        (BEN, *home, '"two words\N{REPLACEMENT CHARACTER}"', "not_a_command", BEN, None),
        (EVE, *home, "", "not_allowed", "ALLOWED_USERS", None),
    ]


@one_mode
async def test_one_action_has_one_word(bot: Scenario) -> None:
    """However it was done: typed, pressed or picked."""
    bot.modelslab.answer("bad", error(200, "Model not found: bad"))
    await bot.slack.command("", user=ADA)
    await bot.slack.shortcut(views.PICKER, user=ADA)
    await bot.slack.open_home(ADA)
    await bot.slack.press(await bot.slack.wait_home(ADA, lambda _: True), "Reload a model", user=ADA)
    await bot.slack.submit(await bot.slack.wait_modal(ADA), {"typed": "bad", "where": MODELS}, user=ADA)
    failure = await bot.wait_said(FAILED)
    await bot.slack.press(failure, "Try again", user=ADA)
    await bot.wait_done(2)
    await bot.ask("bad")
    await bot.wait_sql("SELECT count(*) = 6 FROM reload_model_audit")

    outcomes = [row[0] for row in bot.sql("SELECT outcome FROM reload_model_audit ORDER BY id")]
    assert Counter(outcomes) == {"picker": 3, "requested": 3}
    assert Counter(record["outcome"] for record in bot.log.of("command")) == Counter(outcomes)


@one_mode
async def test_an_error_of_our_own_is_kept(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is unknown what was started."""
    bot.mishaps = True
    monkeypatch.setattr("bot.ui.messages.reloading", lambda *_: 1 / 0)
    await bot.ask("sdxl")
    await bot.wait_sql("SELECT count(*) FROM reload_model_audit WHERE outcome = 'internal_error'")


@one_mode
async def test_an_answer_does_not_wait_for_the_audit(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database does not take a line, the answer is as ever, and the log has what it said."""

    def away(*_: object) -> None:
        raise OperationalError("INSERT", None, Exception("away"))

    monkeypatch.setattr("bot.storage.history.add_note", away)
    ack = await bot.ask("sdxl", EVE)

    assert "You don't have permission" in ack.text
    assert (await bot.log.wait_for("audit_line_lost"))["outcome"] == "not_allowed"
    assert bot.log.of("command")[-1]["rule"] == "ALLOWED_USERS"


@pytest.mark.parametrize("mode", ["http"])
async def test_before_the_tables_are_open(scenario: Scenario) -> None:
    """What is asked while the database is still away at the start is answered, and does not get in the start's way."""
    await scenario.open()
    await scenario.shut()
    with closing(sqlite3.connect(scenario.database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        starting = scenario.begin()
        await scenario.log.wait_for("database_unavailable")
        scenario.slack.request_url = f"{scenario.url}/slack/events"
        ack = await scenario.ask("sdxl")
    await starting

    assert "I'm still starting up." in ack.text
    assert scenario.log.of("command")[-1]["outcome"] == "not_ready"


@one_mode
async def test_somebody_who_asks_too_often(bot: Scenario) -> None:
    """They read why in private, nothing is started, and others are still served."""
    await bot.reopen(COMMANDS_PER_PERSON="1")
    await bot.ask("one", ADA)
    ack = await bot.ask("two", ADA)
    await bot.ask("three", BEN)
    await bot.wait_done(2)

    assert "You've hit the limit of 1 reloads in 10 minutes." in ack.text
    assert sorted(call.model_id for call in bot.modelslab.calls) == ["one", "three"]
    refused = "SELECT outcome, rule FROM reload_model_audit WHERE reload_id IS NULL"
    assert bot.sql(refused) == [("too_many_commands", "COMMANDS_PER_PERSON")]


@one_mode
async def test_too_many_reloads_in_flight(bot: Scenario) -> None:
    """A model more is refused until one is ready; joining is not."""
    await bot.reopen(MAX_IN_FLIGHT="1", RELOAD_SECONDS="0.6")
    await bot.ask("one", ADA)
    refused = await bot.ask("two", BEN)
    joined = await bot.ask("one", BEN)
    await bot.wait_done()
    later = await bot.ask("two", BEN)

    assert refused.text.startswith("1 models are already reloading, which is the limit.")
    assert f"<@{ADA}> is already reloading `one`" in joined.text
    assert later.text.startswith("Reloading `two`")
    await bot.wait_done(2)
