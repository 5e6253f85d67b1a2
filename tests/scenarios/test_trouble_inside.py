"""Whatever goes wrong inside, each surface says what is certain, and the audit has it."""

from collections.abc import Callable

import pytest

from bot.errors import CommitUncertain, DatabaseUnavailable
from bot.sandbox.modelslab import error
from bot.ui import views
from tests.scenarios.scenario import ADA, FAILED, MODELS, Scenario

one_mode = pytest.mark.parametrize("mode", ["http"])

Break = Callable[[Exception], None]

AWAY, UNCERTAIN, BROKEN = DatabaseUnavailable("away"), CommitUncertain("away"), ArithmeticError("of our own")


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Makes all that the handlers do with the database fail."""

    def broken(failure: Exception) -> None:
        def raising(*_: object) -> None:
            raise failure

        for work in ("requests.ask", "requests.join", "reminders.add", "reminders.stop"):
            monkeypatch.setattr(f"bot.storage.{work}", raising)
        for work in ("running", "recent", "home"):
            monkeypatch.setattr(f"bot.storage.history.{work}", raising)

    return broken


@one_mode
@pytest.mark.parametrize(
    ("failure", "words", "outcome"),
    [
        (AWAY, "My database isn't responding, so I didn't start anything.", "not_recorded"),
        (UNCERTAIN, "I couldn't confirm that I recorded this.", "uncertain"),
        (BROKEN, "Something broke on my side.", "internal_error"),
    ],
)
async def test_what_would_start_something(
    bot: Scenario, fail: Break, failure: Exception, words: str, outcome: str
) -> None:
    """The command answers in its ack, a button privately below its message, the picker in the modal."""
    bot.modelslab.answer("bad", error(200, "Model not found: bad"))
    await bot.ask("bad")
    failed = await bot.wait_said(FAILED)
    await bot.wait_done()
    await bot.slack.shortcut(views.PICKER, user=ADA)
    modal = await bot.slack.wait_modal(ADA)
    bot.mishaps = failure is BROKEN
    fail(failure)

    assert words in (await bot.ask("sdxl")).text
    await bot.slack.press(failed, "Try again", user=ADA)
    assert (await bot.wait_said(words)).via == "response_url"
    await bot.slack.submit(modal, {"typed": "sdxl", "where": MODELS}, user=ADA)
    assert words in " ".join(modal.texts)
    await bot.wait_sql(f"SELECT count(*) = 3 FROM reload_model_audit WHERE outcome = '{outcome}'")  # noqa: S608 - ours
    assert len(bot.modelslab.calls) == 1


@one_mode
@pytest.mark.parametrize("failure", [AWAY, UNCERTAIN, BROKEN])
async def test_what_only_lists_something(bot: Scenario, fail: Break, failure: Exception) -> None:
    """Nothing is said of what was started."""
    bot.mishaps = failure is BROKEN
    fail(failure)
    words = "Something broke on my side." if failure is BROKEN else "My database isn't responding. Try again"

    assert words in (await bot.ask("status")).text
    assert words in (await bot.ask("history")).text


@one_mode
async def test_an_event(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is acknowledged, or Slack would send it again and again; the log and the audit have the error."""
    bot.mishaps = True
    monkeypatch.setattr("bot.handlers.home_tab.HomeTabs.opened", lambda *_: 1 / 0)
    ack = await bot.slack.open_home(ADA)

    assert (ack.status, ack.raw) == (200, b"")
    await bot.wait_sql("SELECT outcome = 'internal_error' FROM reload_model_audit")


@one_mode
async def test_suggestions(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are none: what was typed can be typed in the other field. The audit has no line for each letter."""
    bot.mishaps = True
    await bot.slack.shortcut(views.PICKER, user=ADA)
    modal = await bot.slack.wait_modal(ADA)
    monkeypatch.setattr("bot.modelslab.catalog.Catalog.matching", lambda *_: 1 / 0)

    assert await bot.slack.suggest(modal, "s", user=ADA) == []
    await bot.wait_sql("SELECT group_concat(outcome) = 'picker' FROM reload_model_audit")
