"""What the audit keeps of what people do."""

from collections import Counter

import pytest
from sqlalchemy.exc import OperationalError

from bot.sandbox.modelslab import error
from bot.ui import views
from tests.scenarios.scenario import ADA, BEN, EVE, FAILED, MODELS, Scenario

_LINES = "SELECT user_id, team_id, channel_id, text, outcome, rule, reload_id FROM reload_model_audit ORDER BY id"


async def test_every_command_is_kept(bot: Scenario) -> None:
    """Reloads with their ID, other words, typos and refused attempts, each with the rule that decided. So has the log.

    Without user groups in the settings none is read, so that the app needs no scope for them.
    """
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
    names = ("outcome", "user", "rule", "team", "channel", "model", "reload")
    logged = tuple(bot.log.of("command")[0][name] for name in names)
    assert logged == ("requested", ADA, ADA, *home, "sdxl", bot.last_id)
    assert "usergroups.users.list" not in {call.method for call in bot.slack.calls}


async def test_one_action_has_one_word(bot: Scenario) -> None:
    """However it was done: typed, pressed or picked."""
    bot.modelslab.answer("bad", error(200, "Model not found: bad"))
    await bot.slack.command("", user=ADA)
    await bot.slack.shortcut(views.PICKER, user=ADA)
    await bot.slack.press(await bot.open_home(ADA), "Reload a model", user=ADA)
    await bot.slack.submit(await bot.slack.wait_modal(ADA), {"typed": "bad", "where": MODELS}, user=ADA)
    failure = await bot.wait_said(FAILED)
    await bot.slack.press(failure, "Try again", user=ADA)
    await bot.wait_done(2)
    await bot.ask("bad")
    await bot.wait_sql("SELECT count(*) = 6 FROM reload_model_audit")

    outcomes = [row[0] for row in bot.sql("SELECT outcome FROM reload_model_audit ORDER BY id")]
    assert Counter(outcomes) == {"picker": 3, "requested": 3}
    assert Counter(record["outcome"] for record in bot.log.of("command")) == Counter(outcomes)


async def test_an_answer_does_not_wait_for_the_audit(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database does not take a line, the answer is as ever, and the log has what it said."""

    def away(*_: object) -> None:
        raise OperationalError("INSERT", None, Exception("away"))

    monkeypatch.setattr("bot.storage.history.add_note", away)
    ack = await bot.ask("sdxl", EVE)

    assert "You don't have permission" in ack.text
    assert (await bot.log.wait_for("audit_line_lost"))["outcome"] == "not_allowed"
    assert bot.log.of("command")[-1]["rule"] == "ALLOWED_USERS"
