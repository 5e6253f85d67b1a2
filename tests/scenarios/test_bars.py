"""The status message while a reload is under way: it shows how far it is, and never holds up what was promised."""

import asyncio
import json

import pytest

from bot.sandbox.workspace import Message
from bot.ui import messages
from tests.answers import Answer, Hang, Held, RateLimited, Raw
from tests.scenarios.scenario import ADA, BEN, MODELS, OPS, READY, Scenario, eventually

pytestmark = pytest.mark.parametrize("mode", ["socket"])


@pytest.fixture
async def slow(bot: Scenario) -> Scenario:
    """A bot whose reloads take long enough for a bar to move, and whose bars move several times a second."""
    bot.hurry(bar_every=0.1, bar_least=0.1, bar_last=0.05, bar_edit=0.3)
    await bot.reopen(RELOAD_SECONDS="1.2")
    return bot


def _labels(message: Message) -> list[str]:
    """Which of the buttons that there may be are there."""
    shown = json.dumps(message.blocks)
    return [label for label in ("Notify me too", "Reload again", "Remind me before it's unloaded") if label in shown]


def _edits(scenario: Scenario) -> list[str]:
    """The blocks of each edit that was asked for, in order."""
    return [
        json.dumps(call.args["blocks"], ensure_ascii=False)
        for call in scenario.slack.calls
        if call.method == "chat.update"
    ]


async def test_a_bar_moves(slow: Scenario) -> None:
    """The status message shows how far the reload is, and in the end that it is over."""
    await slow.ask("sdxl")
    await slow.wait_done()

    status, follow_up = slow.said()
    *moved, closed = _edits(slow)
    assert len(moved) >= 2
    assert all("░" in edit and " left)" in edit for edit in moved)
    assert "░" not in closed
    assert status.text.startswith("✓ `sdxl`")
    assert "late" not in follow_up.text


async def test_what_is_offered_on_the_way(slow: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is under way one may join; then be reminded; and after a while reload it again."""
    monkeypatch.setattr("bot.core.models.REPEAT_AFTER", 1.0)
    await slow.ask("sdxl")
    status = await slow.wait_said("is reloading")
    assert _labels(status) == ["Notify me too"]
    follow_up = await slow.wait_said(READY)
    assert _labels(follow_up) == ["Remind me before it's unloaded"]
    await slow.wait_done()
    assert _labels(status) == []

    await eventually(lambda: _labels(status) == ["Reload again"])
    await slow.wait_sql("SELECT count(*) = 0 FROM reload_model_jobs")
    assert status.text.startswith("✓ `sdxl`")


@pytest.mark.parametrize("fault", [RateLimited(30), Raw(500, b""), Hang()], ids=["limited", "failing", "silent"])
async def test_a_bar_that_slack_does_not_take(slow: Scenario, fault: Answer) -> None:
    """It is the first thing that is dropped: not tried again, and nothing else waits for it."""
    slow.slack.fail("chat.update", fault, times=1)
    await slow.ask("sdxl", ADA, MODELS)
    await slow.log.wait_for("bar_dropped")
    await slow.ask("flux", BEN, MODELS)
    await slow.wait_done(2)

    assert len([edit for edit in _edits(slow) if "`sdxl`" in edit and "░" in edit]) == 1
    assert len([edit for edit in _edits(slow) if "`flux`" in edit and "░" in edit]) >= 2
    assert slow.said("late") == []
    assert {message.text[:1] for message in slow.said("should be ready since")} == {"✓"}


async def test_bars_that_hang_hold_up_no_follow_up(slow: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every slot for bars in use, and one slot for notifications, every follow-up comes in time."""
    slow.hurry(bar_edit=5.0)
    monkeypatch.setattr("bot.worker.loop.STATUS_SLOTS", 1)
    monkeypatch.setattr("bot.worker.loop.NOTIFICATION_SLOTS", 1)
    await slow.reopen()
    slow.slack.fail("chat.update", Hang(), channel=MODELS, times=1)
    await slow.ask("sdxl", ADA, MODELS)
    await slow.wait_job("status")
    await slow.ask("flux", BEN, OPS)
    await slow.wait_said(READY, channel=MODELS)
    await slow.wait_said(READY, channel=OPS)

    assert slow.said("late") == []


async def test_a_bar_is_never_the_last_word(slow: Scenario) -> None:
    """An edit that Slack makes only after the follow-up is not the last one."""
    slow.hurry(bar_edit=5.0)
    await slow.reopen()
    held = asyncio.Event()
    slow.slack.fail("chat.update", Held(held), times=1)
    await slow.ask("sdxl")
    await slow.wait_said(READY)
    held.set()
    status = await slow.wait_said("✓ `sdxl`")
    await slow.wait_done()

    assert "is reloading" in status.edits[-1]
    assert status.text.startswith("✓")
    assert slow.log.of("lease_lost") == []


async def test_a_short_reload_has_no_bar(bot: Scenario) -> None:
    """Where there would be nothing to see before the end there is nothing to edit."""
    await bot.ask("sdxl")
    await bot.wait_done()

    assert ["░" in edit for edit in _edits(bot)] == [False]


async def test_a_closing_that_cannot_be_worded(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is let be after eight tries."""

    def poisoned(*_: object, **__: object) -> messages.Message:
        raise ArithmeticError("no words")

    monkeypatch.setattr("bot.ui.messages.closed", poisoned)
    await bot.ask("sdxl")
    await bot.wait_done()

    assert len(bot.log.of("job_crashed")) == 8
    assert len(bot.said(READY)) == 1
    bot.mishaps = True
