"""What other replicas, and the bot's own deaths, do to a step: as the rows tell it, on a database that is shared."""

import asyncio

import pytest

from bot.sandbox.modelslab import ACCEPTED
from bot.storage.database import CommitUncertain
from bot.storage.store import Ask, Asked, Store
from tests.answers import Held
from tests.scenarios.house import ADA, READY, House, Later


@pytest.fixture
def mode() -> str:
    """How a command came makes no difference here."""
    return "socket"


async def test_a_lease_that_was_lost(bot: House) -> None:
    """A step that another replica has taken meanwhile is left to it: nothing of the late result is recorded."""
    held = asyncio.Event()
    bot.modelslab.answer("sdxl", Held(held), ACCEPTED)
    await bot.ask("sdxl")
    await bot.modelslab.wait_for_calls(1)
    bot.sql("UPDATE step SET lease_owner = 'another', claims = claims + 1, due_at = due_at + 3600")
    held.set()
    await bot.log.wait_for("lease_lost")
    assert bot.reloads == [("sdxl", "requested", None)]
    bot.sql("UPDATE step SET due_at = 0")
    await bot.wait_done()

    assert len(bot.modelslab.calls) == 2
    assert len(bot.said(READY)) == 1


async def test_a_lease_that_was_lost_in_an_error(bot: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one that ends in an error of the bot's own."""
    taken = asyncio.Event()

    async def broken(_self: object, _model_id: str) -> None:
        await taken.wait()
        raise KeyError("of our own")

    monkeypatch.setattr("bot.modelslab.client.ModelsLab.reload", broken)
    await bot.ask("sdxl")
    await bot.wait_step("call")
    bot.sql("UPDATE step SET lease_owner = 'another', claims = claims + 1, due_at = due_at + 3600")
    taken.set()
    await bot.log.wait_for("step_crashed")
    bot.mishaps = True
    await bot.shut()

    assert bot.sql("SELECT lease_owner, crashes FROM step") == [("another", 0)]


async def test_a_lease_is_renewed(bot: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease of a step in hand is renewed for as long as the step takes."""
    monkeypatch.setattr("bot.worker.loop.RENEW_SECONDS", 0.05)
    await bot.reopen()
    held = asyncio.Event()
    bot.modelslab.answer("sdxl", Later(held, ACCEPTED))
    await bot.ask("sdxl")
    await bot.modelslab.wait_for_calls(1)
    bot.sql("UPDATE step SET due_at = due_at - 9")
    ends = "SELECT due_at - (SELECT asked_at FROM reload) > 9 FROM step"
    await bot.wait_sql(ends)
    held.set()
    await bot.wait_done()

    assert len(bot.modelslab.calls) == 1


async def test_another_replica_was_faster(bot: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that was due, and is another replica's by the time it is claimed, is looked at again soon."""
    claim, missed = Store.claim, asyncio.Event()

    async def too_late(store: Store, *arguments: object) -> object:
        if not missed.is_set():
            missed.set()
            return []
        return await claim(store, *arguments)  # type: ignore[arg-type] # as they came

    monkeypatch.setattr(Store, "claim", too_late)
    await bot.ask("sdxl")
    await bot.wait_said(READY)

    assert missed.is_set()


@pytest.mark.parametrize("kind", ["follow_up", "direct"])
async def test_whoever_has_been_told_is_not_told_again(bot: House, kind: str) -> None:
    """A step that finds everyone told has nothing to say."""
    channel = "C0MODELS" if kind == "follow_up" else "C0NOWHERE"
    if kind == "direct":
        bot.slack.fail("response_url", "used_url")
        bot.slack.fail("conversations.open", "internal_error")
        await bot.ask("sdxl", ADA, channel)
        await bot.log.wait_for("post_failed")
    else:
        await bot.open_slowly()
        await bot.ask("sdxl", ADA, channel)
        await bot.wait_said("is reloading")
    bot.sql("UPDATE watcher SET told_at = 1")
    await bot.wait_done()

    assert bot.said(READY) == []


@pytest.mark.parametrize("committed", [True, False])
async def test_a_commit_in_doubt(bot: House, committed: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    """Where nobody can tell whether a command was written down, its person is told that nothing was started.

    Then that is made true.
    """
    ask = Store.ask

    async def in_doubt(store: Store, asked: Ask) -> Asked:
        if committed:
            await ask(store, asked)
        raise CommitUncertain("the commit has not ended")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "ask", in_doubt)
        ack = await bot.ask("sdxl")
    record = await bot.log.wait_for("ask_withdrawn")
    await bot.ask("other")
    await bot.wait_done()

    assert "Nothing was started" in ack.text
    assert record["withdrawn"] == committed
    assert [call.model_id for call in bot.modelslab.calls] == ["other"]
    assert [row[0] for row in bot.reloads] == ["other"]
