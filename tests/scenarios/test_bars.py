"""The status message while a reload is under way: it shows how far that is, and never delays a follow-up."""

import asyncio
import json

import pytest

from bot.worker.loop import SLOTS
from tests.answers import Answer, Hang, Held, RateLimited, Raw
from tests.scenarios.scenario import ADA, BEN, MODELS, OPS, READY, Scenario
from tests.times import set_timing


@pytest.fixture
async def moving(scenario: Scenario) -> Scenario:
    """A bot whose bars move several times a second, until pass_reloads() ends the reloads."""
    set_timing(bar_pause_most=0.1, bar_pause_least=0.1, bar_edit=2.0)
    await scenario.open(RELOAD_SECONDS="60")
    return scenario


def _edits(scenario: Scenario, model: str = "") -> list[str]:
    """The blocks of each edit that was requested for a model, in order."""
    edits = [call.args["blocks"] for call in scenario.slack.calls if call.method == "chat.update"]
    return [text for blocks in edits if model in (text := json.dumps(blocks, ensure_ascii=False))]


async def _moved(scenario: Scenario, model: str, times: int = 1) -> None:
    """Wait until a bar has moved so often."""
    await scenario.slack.wait_until(lambda: len(_edits(scenario, model)) >= times, within=30.0)


async def test_a_bar_moves(moving: Scenario) -> None:
    """The status message shows how far the reload is, and in the end that it is over. A short one has no bar."""
    await moving.ask("sdxl")
    await _moved(moving, "sdxl", 2)
    await moving.finish_reloads()

    *moved, closed = _edits(moving)
    assert all("░" in edit and " left)" in edit for edit in moved)
    assert "░" not in closed
    assert moving.said()[0].text.startswith("✓ `sdxl`")

    await moving.reopen(RELOAD_SECONDS="0.2")
    await moving.ask("flux")
    await moving.wait_done(2)
    assert not [edit for edit in _edits(moving, "flux") if "░" in edit]


async def test_a_bar_that_slack_does_not_take_is_dropped(moving: Scenario) -> None:
    """It is the first thing that is dropped: not tried again, and nothing else waits for it."""
    faults: dict[str, Answer] = {"limited": RateLimited(30), "failing": Raw(500, b""), "silent": Hang()}
    for model, fault in faults.items():
        moving.slack.add_channel(f"C0{model.upper()}", model)
        moving.slack.fail("chat.update", fault, times=1, channel=f"C0{model.upper()}")
        await moving.ask(model, ADA, f"C0{model.upper()}")
    await moving.log.wait_for("bar_dropped", len(faults))
    await moving.ask("flux", BEN, OPS)
    await _moved(moving, "flux", 2)
    await moving.finish_reloads(4)

    for model in faults:
        assert ["░" in edit for edit in _edits(moving, model)] == [True, False]
    assert len(moving.said("✓")) == 4


async def test_bars_that_hang_hold_up_no_follow_up(moving: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every slot for bars in use, and one slot for follow-ups, every follow-up comes."""
    set_timing(bar_edit=60.0)
    monkeypatch.setattr("bot.worker.loop.SLOTS", dict.fromkeys(SLOTS, 1))
    await moving.reopen()
    await moving.ask("flux", BEN, OPS)
    await moving.wait_said("is reloading `flux`")
    moving.slack.fail("chat.update", Hang(), channel=MODELS)
    await moving.ask("sdxl", ADA, MODELS)
    await _moved(moving, "sdxl")
    moving.end_reloads()

    await moving.wait_said(READY, channel=MODELS)
    await moving.wait_said(READY, channel=OPS)


async def test_a_bar_is_never_the_last_word(moving: Scenario) -> None:
    """An edit that Slack makes only after the follow-up is not the last one."""
    set_timing(bar_edit=60.0)
    await moving.reopen()
    held = asyncio.Event()
    moving.slack.fail("chat.update", Held(held), times=1)
    await moving.ask("sdxl")
    await _moved(moving, "sdxl")
    moving.end_reloads()
    await moving.wait_said(READY)
    held.set()
    status = await moving.wait_said("✓ `sdxl`")
    await moving.wait_done()

    assert "is reloading" in status.edits[-1]
    assert status.text.startswith("✓")
    assert moving.log.of("lease_lost") == []
