"""A job that fails every time is given up, reported and logged, and holds up no other."""

from collections.abc import Sequence
from typing import Any

import pytest

from bot.core.models import Reload
from bot.storage import jobs
from bot.ui import messages
from tests.scenarios.scenario import ADA, BEN, OPS, READY, Scenario


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_follow_up_that_cannot_be_worded(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the message fails every time, the requester reads so once, and another reload isn't affected."""
    wording = messages.follow_up

    def poisoned(reloads: Sequence[Reload], *rest: object, **more: bool) -> messages.Message:
        if reloads[0].model_id == "poison":
            raise ArithmeticError("no words")
        return wording(reloads, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("bot.ui.messages.follow_up", poisoned)
    await bot.ask("poison", ADA)
    await bot.ask("sdxl", BEN, OPS)
    await bot.wait_said(READY, channel=OPS)
    told = await bot.wait_said("I don't know whether `poison` was reloaded")
    await bot.wait_done(2)

    assert told.text.startswith(f"<@{ADA}>")
    assert len(bot.log.of("job_crashed")) == 7
    assert [record["level"] for record in bot.log.of("message_broken")] == ["error"]
    assert bot.sql("SELECT model_id FROM reload_model_reloads WHERE undeliverable") == [("poison",)]
    assert bot.said("✗ `poison`", "couldn't notify everyone")
    bot.mishaps = True


@pytest.mark.parametrize("mode", ["socket"])
async def test_an_error_in_the_loop_itself(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the bot's own while it looks for what is due is logged, and the loop turns on."""
    claim = jobs.claim
    failed: list[int] = []

    def broken_once(*arguments: Any) -> object:  # noqa: ANN401 - as they come
        if not failed:
            failed.append(1)
            raise ArithmeticError("of our own")
        return claim(*arguments)

    monkeypatch.setattr("bot.storage.jobs.claim", broken_once)
    await bot.ask("sdxl")
    await bot.wait_said(READY)

    assert len(bot.log.of("worker_failed")) == 1
    bot.mishaps = True


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_failure_of_a_later_version(bot: Scenario) -> None:
    """A failure that only a later version knows is reported as an internal one."""
    await bot.ask("no-such-model")
    await bot.wait_done()
    bot.sql("UPDATE reload_model_reloads SET failure = 'OF_A_LATER_VERSION'")

    assert "something broke inside this bot" in (await bot.ask("history")).text
