"""Whatever breaks inside the bot: people read what is certain, the audit has it, and nothing else is held up."""

from collections.abc import Sequence
from unittest.mock import Mock

import pytest

from bot.core.command import SHORTCUT
from bot.core.models import Reload
from bot.errors import CommitUncertain, DatabaseUnavailable
from bot.sandbox.modelslab import error
from bot.ui import messages
from tests.scenarios.scenario import ADA, BEN, FAILED, MODELS, OPS, READY, Scenario, both_modes

AWAY, UNCERTAIN, BROKEN = DatabaseUnavailable("away"), CommitUncertain("away"), ArithmeticError("of our own")


def broken(*_: object, **__: object) -> None:
    """A function with a bug."""
    raise BROKEN


@both_modes
@pytest.mark.parametrize(
    ("failure", "words", "outcome", "of_lists"),
    [
        (AWAY, "My database isn't responding, so I didn't start anything.", "not_recorded", "not_readable"),
        (UNCERTAIN, "I couldn't confirm that I recorded this.", "uncertain", "not_readable"),
        (BROKEN, "Something broke on my side.", "internal_error", "internal_error"),
    ],
    ids=["away", "uncertain", "broken"],
)
async def test_a_request_is_answered_with_what_is_certain(
    bot: Scenario, monkeypatch: pytest.MonkeyPatch, failure: Exception, words: str, outcome: str, of_lists: str
) -> None:
    """A command in its ack, a button below its message, the picker in the modal. A list speaks of itself only."""
    bot.modelslab.answer("bad", error(200, "Model not found: bad"))
    await bot.ask("bad")
    failed = await bot.wait_said(FAILED)
    await bot.wait_done()
    await bot.slack.shortcut(SHORTCUT, user=ADA)
    modal = await bot.slack.wait_modal(ADA)
    bot.internal_errors = failure is BROKEN
    for work in ("requests.ask", "history.running", "history.recent"):
        monkeypatch.setattr(f"bot.storage.{work}", Mock(side_effect=failure))

    assert words in (await bot.ask("sdxl")).text
    await bot.slack.press(failed, "Try again", user=ADA)
    assert (await bot.wait_said(words)).via == "response_url"
    await bot.slack.submit(modal, {"typed": "sdxl", "where": MODELS}, user=ADA)
    assert words in " ".join(modal.texts)
    await bot.wait_sql("SELECT count(*) = 3 FROM reload_model_audit WHERE outcome = ?", outcome)
    assert len(bot.modelslab.calls) == 1
    for text in ("status", "history"):
        listed = (await bot.ask(text)).text
        assert listed.startswith(words if failure is BROKEN else "My database isn't responding. Try again in a minute.")
        assert bot.log.of("command")[-1]["outcome"] == of_lists


async def test_a_bug_in_an_answer_is_logged_as_one(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as a request that can't be read."""
    bot.internal_errors = True
    monkeypatch.setattr("bot.handlers.bolt.sentence", broken)

    assert (await bot.ask("-x")).text == ""
    assert [record["level"] for record in bot.log.of("internal_error")] == ["error"]
    assert bot.log.of("envelope_dropped") == []


@both_modes
async def test_events_are_acknowledged_and_letters_have_no_suggestions(
    bot: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slack would send an event again and again. The audit has it, and no line for each letter that is typed."""
    bot.internal_errors = True
    await bot.slack.shortcut(SHORTCUT, user=ADA)
    modal = await bot.slack.wait_modal(ADA)
    monkeypatch.setattr("bot.modelslab.catalog.Catalog.matching", broken)
    assert await bot.slack.suggest(modal, "s", user=ADA) == []

    monkeypatch.setattr("bot.handlers.home_tab.HomeTabs.opened", broken)
    ack = await bot.slack.open_home(ADA)
    assert (ack.status, ack.error) == (200, "")
    await bot.wait_sql("SELECT group_concat(outcome) = 'picker,internal_error' FROM reload_model_audit")


async def test_a_call_that_crashes_is_given_up(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """After eight tries. People read that the model may be reloading. A failure of a later version is listed alike."""
    bot.internal_errors = True
    monkeypatch.setattr("bot.modelslab.client.ModelsLab.reload", broken)
    await bot.ask("sdxl")
    told = await bot.wait_said(FAILED)
    await bot.wait_done()

    assert "something broke inside this bot" in told.text
    assert "may already be reloading" in told.text
    assert len(bot.log.of("job_crashed")) == 8
    bot.sql("UPDATE reload_model_reloads SET failure = 'OF_A_LATER_VERSION'")
    assert "something broke inside this bot" in (await bot.ask("history")).text


async def test_a_follow_up_that_cannot_be_worded_is_reported(slow: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails every time, the requester reads so once. Others are posted, even what was in the same message."""
    slow.internal_errors = True
    wording = messages.follow_up

    def poisoned(reloads: Sequence[Reload], *rest: object, **more: bool) -> messages.Message:
        if "poison" in [reload.model_id for reload in reloads]:
            raise ArithmeticError("no words")
        return wording(reloads, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("bot.ui.messages.follow_up", poisoned)
    await slow.ask("poison flux", ADA)
    await slow.ask("sdxl", BEN, OPS)
    await slow.pass_reloads()
    await slow.wait_said(READY, channel=OPS)
    await slow.wait_said(READY, "`flux`", channel=MODELS)
    told = await slow.wait_said("I don't know whether `poison` was reloaded")
    await slow.wait_done(3)

    assert told.text.startswith(f"<@{ADA}>")
    assert [record["model"] for record in slow.log.of("job_crashed")].count("poison") == 7
    assert len(slow.said(READY)) == 2
    assert [record["level"] for record in slow.log.of("message_broken")] == ["error"]
    assert slow.sql("SELECT model_id FROM reload_model_reloads WHERE undeliverable") == [("poison",)]
    assert slow.said("✓ `poison`", "should be ready since")  # everyone in this place has been told what is known


async def test_a_message_that_cannot_be_posted(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """After eight tries, a direct message may get through. Else the log has an error with whom it was for."""
    bot.internal_errors = True
    monkeypatch.setattr("bot.worker.delivery.Delivery.to_channel", broken)
    await bot.ask("sdxl")
    await bot.wait_done()
    assert [message.via for message in bot.said(READY)] == ["dm"]

    monkeypatch.setattr("bot.worker.delivery.Delivery.to_person", broken)
    await bot.ask("flux")
    lost = await bot.log.wait_for("undeliverable")
    await bot.wait_done(2)
    assert (lost["reason"], lost["users"]) == ("crashes", [ADA])
    assert "couldn't notify everyone" in (await bot.ask("history")).text
