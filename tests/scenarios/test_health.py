"""What the bot says of its own health, and what it does while its database is away."""

from collections.abc import Collection
from pathlib import Path

import pytest

from bot.app import Service
from bot.core.models import JobKind, Work
from bot.errors import CannotStart, DatabaseUnavailable
from bot.storage.store import Store
from tests.answers import Raw
from tests.scenarios.house import ADA, READY, House, Stopwatch, eventually_answered, locked


async def test_all_is_well(bot: House) -> None:
    """Both answers name each part, and say 200 while all of them are well."""
    assert await bot.health("/healthz") == (200, {"status": "ok", "loop": "ok"})
    assert await bot.health("/readyz") == (200, {"status": "ok", "database": "ok", "slack": "ok", "token": "ok"})


async def test_a_loop_that_is_stuck(bot: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that has not turned for a while is unhealthy."""
    monkeypatch.setattr("bot.app.STUCK_SECONDS", -1.0)
    status, parts = await bot.health("/healthz")

    assert (status, parts["status"]) == (503, "unavailable")
    assert parts["loop"].startswith("has not turned for ")


@pytest.mark.parametrize("mode", ["socket"])
async def test_the_loop_turns(bot: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop with nothing to do turns about once a second."""
    monkeypatch.setattr("bot.app.STUCK_SECONDS", 0.0)

    async def look() -> bool:
        return (await bot.health("/healthz"))[0] == 503

    assert await eventually_answered(look)
    monkeypatch.setattr("bot.app.STUCK_SECONDS", 2.0)
    assert (await bot.health("/healthz"))[0] == 200


@pytest.mark.parametrize("mode", ["http"])
async def test_a_loop_whose_every_turn_fails(bot: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that turns and gets nowhere, by an error of the bot's own, is unhealthy until it gets somewhere."""
    monkeypatch.setattr("bot.worker.loop.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("bot.app.STUCK_SECONDS", 0.5)
    await bot.reopen()

    async def broken(_self: object, _kinds: object) -> float:
        raise KeyError("of our own")

    async def unhealthy() -> bool:
        return (await bot.health("/healthz"))[0] == 503

    with monkeypatch.context() as patched:
        patched.setattr("bot.storage.store.Store.next_due", broken)
        assert await eventually_answered(unhealthy)
        assert bot.log.of("turn_failed")
    bot.mishaps = True
    await bot.ask("sdxl")
    await bot.wait_said(READY)

    assert not await unhealthy()


@pytest.mark.parametrize("mode", ["http"])
async def test_one_of_two_claims_fails(bot: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a turn has claimed is begun at once, even where its other claim got no answer."""
    claim = Store.claim
    failed: list[object] = []

    async def half(store: Store, kinds: Collection[JobKind], limit: int) -> list[Work]:
        if JobKind.CALL not in kinds and not failed:
            failed.append(kinds)
            raise DatabaseUnavailable("no answer")
        return await claim(store, kinds, limit)

    monkeypatch.setattr("bot.storage.store.Store.claim", half)
    await bot.ask("sdxl")
    await bot.wait_said(READY)

    assert failed
    assert len(bot.modelslab.calls) == 1


@pytest.mark.parametrize("mode", ["http"])
async def test_the_database_is_away(bot: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that cannot be written down is refused in time, honestly, and not begun later; /readyz says why."""
    monkeypatch.setattr("bot.storage.database._SQLITE_BUSY", 1.0)
    await bot.reopen()
    watch = Stopwatch()
    with locked(bot.database):
        ack = await bot.ask("sdxl", ADA)
        assert watch.seconds < 3.0
        status, parts = await bot.health("/readyz")
    await bot.wait_ready()
    again = await bot.ask("other", ADA)
    await bot.wait_done()

    assert "I cannot write down what you ask for right now" in ack.text
    assert "Nothing was started" in ack.text
    assert status == 503
    assert parts["database"] in ("OperationalError", "no answer")
    assert "Reloading" in again.text
    assert [call.model_id for call in bot.modelslab.calls] == ["other"]
    (refused, *_) = bot.log.of("command")
    assert (refused["outcome"], refused["rule"]) == ("not_recorded", ADA)


@pytest.mark.parametrize("mode", ["socket"])
async def test_readiness_before_anybody_asks(bot: House) -> None:
    """A database that is away makes the bot unready, even if nobody has asked for anything; then it is ready again."""
    with locked(bot.database):
        await bot.wait_ready(503)
    await bot.wait_ready()


@pytest.mark.parametrize("mode", ["socket"])
async def test_the_database_goes_away_in_the_middle(bot: House) -> None:
    """What is in hand when the database goes away is recorded when it is back, and told once."""
    await bot.open_slowly()
    await bot.ask("sdxl")
    await bot.wait_said("is reloading")
    with locked(bot.database):
        await bot.log.wait_for("database_away", 2)
    await bot.wait_done()

    assert len(bot.said(READY)) == 1
    assert len(bot.modelslab.calls) == 1


@pytest.mark.parametrize("mode", ["socket"])
async def test_lists_while_the_database_is_away(bot: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database does not answer, the lists say so."""

    async def away(_self: object, _limit: int) -> None:
        raise DatabaseUnavailable("no answer within 2 s")

    monkeypatch.setattr("bot.storage.store.Store.in_flight", away)
    monkeypatch.setattr("bot.storage.store.Store.history", away)
    acks = [await bot.ask(word) for word in ("status", "history")]

    assert [ack.text for ack in acks] == [
        "My database does not answer right now, so I cannot list anything; ask again in a minute."
    ] * 2
    assert [record["outcome"] for record in bot.log.of("command")[-2:]] == ["not_listed", "not_listed"]


async def test_an_error_of_our_own(bot: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the bot's own in a command is told honestly, and logged with its traceback."""

    async def broken(_self: object, _limit: int) -> None:
        raise KeyError("of our own")

    monkeypatch.setattr("bot.storage.store.Store.history", broken)
    ack = await bot.ask("history")
    (record,) = bot.log.of("command_stumbled")

    assert "Something went wrong inside me, and I cannot tell whether anything was begun." in ack.text
    assert "KeyError" in str(record["exception"])
    bot.mishaps = True


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_step_that_crashes(bot: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that ends in an error of the bot's own is tried again, and given up after some times, honestly."""

    async def broken(_self: object, _model_id: str) -> None:
        raise KeyError("of our own")

    monkeypatch.setattr("bot.modelslab.client.ModelsLab.reload", broken)
    await bot.ask("sdxl")
    told = await bot.wait_said("was not reloaded")
    await bot.wait_done()

    assert "something went wrong inside this bot" in told.text
    assert "may already be reloading" in told.text
    assert len(bot.log.of("step_crashed")) == 8
    bot.mishaps = True


@pytest.mark.parametrize("mode", ["socket"])
@pytest.mark.parametrize("method", ["announce", "direct"])
async def test_a_message_that_crashes(bot: House, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that cannot even be made is given up after some times, loudly."""

    async def broken(*_arguments: object, **_more: object) -> None:
        raise KeyError("of our own")

    monkeypatch.setattr(f"bot.worker.delivery.Delivery.{method}", broken)
    await bot.ask("sdxl", ADA, "C0NOWHERE", response_url="https://elsewhere.example/")
    lost = await bot.log.wait_for("undeliverable")
    await bot.wait_done()

    assert (lost["code"], lost["users"]) == ("crashes", [ADA])
    assert "(not everyone could be told)" in (await bot.ask("history")).text
    bot.mishaps = True


@pytest.mark.parametrize("mode", ["socket"])
async def test_the_database_is_away_at_the_start(house: House) -> None:
    """A database that is locked at the start is waited for; the log and /readyz say so."""
    await house.open()
    await house.shut()
    with locked(house.database):
        starting = house.begin()
        await house.log.wait_for("database_away")
        status, parts = await house.health("/readyz")
    await starting

    assert status == 503
    assert parts["database"] != "ok"
    await house.wait_ready()


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_file_that_is_no_database(house: House) -> None:
    """A file that is no SQLite database ends the start, with the setting named."""
    house.database.write_bytes(b"no database at all" * 1000)
    with pytest.raises(CannotStart, match="DATABASE_URL: the SQLite file cannot be used: file is not a database"):
        await house.open()


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_file_of_another_process(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second bot on the same SQLite file waits for the first to go, and says why it cannot start."""
    monkeypatch.setattr("bot.storage.database.LOCK_WAIT", 0.3)
    await house.open()
    first = house.service
    with pytest.raises(CannotStart, match="another process holds"):
        await house.begin()
    await house.shut()
    assert isinstance(first, Service)
    await first.stop()
    await house.open()

    assert (await house.health("/readyz"))[0] == 200


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_folder_that_is_not_there(house: House, tmp_path: Path) -> None:
    """A folder that is not there ends the start, with what to do."""
    with pytest.raises(CannotStart, match=r"DATABASE_URL: cannot write .* make the folder"):
        await house.open(DATABASE_URL=f"sqlite:///{tmp_path}/nowhere/bot.db")


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_database_of_a_newer_bot(house: House) -> None:
    """A database that a newer bot has made ends the start, with what to do."""
    await house.open()
    await house.shut()
    house.sql("UPDATE schema_version SET version = 999")
    with pytest.raises(CannotStart, match="run the newer program"):
        await house.open()


@pytest.mark.parametrize("mode", ["http"])
async def test_health_is_for_get(bot: House) -> None:
    """A health path that does not exist is not found."""
    bot.slack.fail("auth.test", Raw(500, b""))

    assert (await bot.health("/healthz"))[0] == 200
