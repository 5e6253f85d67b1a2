"""What the audit keeps of what people do; and the log, at a level by whether somebody should wake up."""

import asyncio
from collections import Counter
from unittest.mock import Mock

import pytest
from sqlalchemy.exc import OperationalError

from bot.background import BackgroundTasks
from bot.core.command import SHORTCUT
from bot.sandbox.modelslab import error
from tests.scenarios.scenario import ADA, BEN, EVE, FAILED, MODELS, Scenario, eventually, http_mode
from tests.times import set_timing

_LINES = "SELECT user_id, team_id, channel_id, text, outcome, rule, reload_id FROM reload_model_audit ORDER BY id"


async def test_every_command_is_kept(bot: Scenario) -> None:
    """With the rule that decided; the log has it as info, with typos, refusals, and a channel where the bot can't post.

    Without user groups in it none is read, so that the app needs no scope for them.
    """
    bot.slack.fail("chat.postMessage", "not_in_channel", channel=MODELS)
    await bot.ask("sdxl", ADA)
    for text, user in (("sdxl", EVE), ("status", BEN), ('"two words\u202e"', BEN), ("", EVE)):
        await bot.ask(text, user)
    await bot.wait_sql("SELECT count(*) = 5 FROM reload_model_audit")
    await bot.wait_done()

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
    assert {record["level"] for record in bot.log.records} <= {"debug", "info"}
    assert "usergroups.users.list" not in {call.method for call in bot.slack.calls}


async def test_one_action_has_one_word(bot: Scenario) -> None:
    """However it was done: typed, pressed or picked."""
    bot.modelslab.answer("bad", error(200, "Model not found: bad"))
    await bot.slack.command("", user=ADA)
    await bot.slack.shortcut(SHORTCUT, user=ADA)
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
    away = Mock(side_effect=OperationalError("INSERT", None, Exception("away")))
    monkeypatch.setattr("bot.storage.history.add_note", away)
    ack = await bot.ask("sdxl", EVE)

    assert "You don't have permission" in ack.text
    assert (await bot.log.wait_for("audit_line_lost"))["outcome"] == "not_allowed"
    assert bot.log.of("command")[-1]["rule"] == "ALLOWED_USERS"


@http_mode
async def test_a_stop_waits_for_the_audit(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of answers that were given before."""
    waits, stop = list[float](), BackgroundTasks.stop

    async def noting(tasks: BackgroundTasks, within: float = 0.0) -> None:
        if within:
            asyncio.get_running_loop().call_soon(waits.append, within)
        await stop(tasks, within)

    monkeypatch.setattr(BackgroundTasks, "stop", noting)
    set_timing(sqlite_busy=30.0, http_stop=30.0)
    await bot.reopen()
    with bot.locked():
        for _ in range(3):
            await bot.ask("sdxl", EVE)
        stopping = asyncio.create_task(bot.shut())
        await eventually(lambda: waits)
    await stopping

    assert bot.sql("SELECT count(*) FROM reload_model_audit WHERE outcome = 'not_allowed'") == [(3,)]


async def test_a_failed_reload_is_as_urgent_as_its_reason(bot: Scenario) -> None:
    """Somebody's typo wakes nobody up; an account that doesn't work any more does."""
    answers = {
        "typo": (error(200, "Model not found: typo"), "info"),
        "large": (error(400, "Not today."), "warning"),
        "dear": (error(402, "Insufficient credits."), "error"),
        "revoked": (error(401, "Invalid API key"), "error"),
    }
    for model, (answer, _) in answers.items():
        bot.modelslab.answer(model, answer)
        await bot.ask(model)
    await bot.wait_done(len(answers))

    levels = {record["model"]: record["level"] for record in bot.log.of("reload_failed")}
    assert levels == {model: level for model, (_, level) in answers.items()}


async def test_another_environment_has_a_command_of_its_own(scenario: Scenario) -> None:
    """Help and all messages name it. Any other name that the app's page has is answered; the operator sees it."""
    ours = "/reload-model-dev"
    await scenario.open(SLASH_COMMAND=ours, ALLOWED_USERS=ADA)
    texts = [(await scenario.ask(text, command=ours)).text for text in ("help", "_bad", "stauts", "sdxl", "status")]
    await scenario.slack.shortcut(SHORTCUT, user=ADA)
    await scenario.slack.send_event({"type": "app_home_opened", "user": EVE, "tab": "home"}, team_id="T0OTHER")
    await scenario.wait_home(EVE, "type `/reload-model-dev help` once")
    await scenario.wait_done()

    ways = ("`/reload-model-dev`", "`/reload-model-dev sdxl flux`", "write `@reload-model-dev sdxl`")
    assert [way for way in (*ways, "`/reload-model-dev status` shows") if way not in texts[0]] == []
    assert texts[1].endswith("See `/reload-model-dev help`.")
    assert texts[2].startswith("Did you mean `/reload-model-dev status`?")
    assert texts[3].startswith("Reloading `sdxl`")
    assert not [text for text in texts if "`/reload-model " in text or "`/reload-model`" in text]
    for name, shown in {"/reload-model": "/reload-model", "/<!channel>": "/&lt;!channel&gt;"}.items():
        assert (await scenario.ask("sdxl", command=name)).text == (
            f"I don't answer to `{shown}`. Use `/reload-model-dev`, or ask the operator to check `SLASH_COMMAND`."
        )
        record = scenario.log.of("command")[-1]
        assert (record["level"], record["outcome"], record["command"]) == ("warning", "unknown_command", name)
    assert len(scenario.reloads) == 1
