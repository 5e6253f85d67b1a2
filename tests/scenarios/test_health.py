"""What the bot says of its own health, and what it does while its database is away."""

import asyncio
import re
from pathlib import Path

import pytest

from bot.app import App
from bot.errors import CannotStart, DatabaseUnavailable
from bot.sandbox.modelslab import ACCEPTED
from tests.answers import Held, Raw
from tests.scenarios.scenario import ADA, READY, Scenario, eventually, eventually_answered, locked


async def test_all_is_well(bot: Scenario) -> None:
    """Both answers name each part, and say 200 while all of them are well."""
    assert await bot.health("/healthz") == (200, {"status": "ok", "worker": "ok"})
    parts = dict.fromkeys(("status", "database", "worker", "slack", "token"), "ok")
    assert await bot.health("/readyz") == (200, parts)


async def test_a_worker_that_is_stuck_is_unhealthy(scenario: Scenario) -> None:
    """It has been stuck for a while."""
    scenario.hurry(stuck=-1.0)
    await scenario.open()
    bot = scenario
    status, parts = await bot.health("/healthz")

    assert (status, parts["status"]) == (503, "unavailable")
    assert parts["worker"].startswith("stuck for ")


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_worker_with_nothing_to_do_turns(bot: Scenario) -> None:
    """About once a second."""
    await eventually(lambda: bot.worker.idle_seconds > 0.1)
    await eventually(lambda: bot.worker.idle_seconds < 0.1)


@pytest.mark.parametrize("mode", ["http"])
async def test_a_worker_whose_every_turn_fails_is_unhealthy(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """It turns and gets nowhere, by an error of the bot's own; then no command would be carried out, either."""
    bot.hurry(look=0.05, stuck=0.5)
    await bot.reopen()

    def broken(*_: object) -> None:
        raise KeyError("of our own")

    async def unhealthy() -> bool:
        return (await bot.health("/healthz"))[0] == 503

    with monkeypatch.context() as patched:
        patched.setattr("bot.storage.jobs.claim", broken)
        assert (await bot.wait_ready(503))["worker"] == "failing: KeyError"
        assert await eventually_answered(unhealthy)
        assert bot.log.of("worker_failed")
    bot.mishaps = True
    await bot.ask("sdxl")
    await bot.wait_said(READY)

    assert not await unhealthy()


@pytest.mark.parametrize("mode", ["http"])
async def test_the_database_is_away(bot: Scenario) -> None:
    """A command that cannot be written down is refused in time, honestly, and not begun later; /readyz says why."""
    bot.hurry(sqlite_busy=1.0)
    await bot.reopen()
    with locked(bot.database):
        ack = await bot.ask("sdxl", ADA)
        status, parts = await bot.health("/readyz")
    await bot.wait_ready()
    again = await bot.ask("other", ADA)
    await bot.wait_done()

    assert ack.text == "My database isn't responding, so I didn't start anything. Try again in a minute."
    assert status == 503
    assert parts["database"] in ("database is locked", "no answer within 2 s", "no answer within 1 s")
    assert "Reloading" in again.text
    assert [call.model_id for call in bot.modelslab.calls] == ["other"]
    (refused, *_) = bot.log.of("command")
    assert (refused["outcome"], refused["rule"]) == ("not_recorded", ADA)


@pytest.mark.parametrize("mode", ["socket"])
async def test_readiness_before_anybody_asks(bot: Scenario) -> None:
    """A database that is away makes the bot unready, even if nobody has asked for anything; then it is ready again."""
    with locked(bot.database):
        await bot.wait_ready(503)
    await bot.wait_ready()


@pytest.mark.parametrize("mode", ["socket"])
async def test_the_database_goes_away_in_the_middle(bot: Scenario) -> None:
    """Jobs that run when the database goes away are recorded when it is back, and people are notified once."""
    await bot.open_slowly()
    await bot.ask("sdxl")
    await bot.wait_said("is reloading")
    with locked(bot.database):
        await bot.log.wait_for("database_unavailable")
    await bot.wait_done()

    assert len(bot.said(READY)) == 1
    assert len(bot.modelslab.calls) == 1


@pytest.mark.parametrize("mode", ["socket"])
async def test_the_database_goes_away_for_longer_than_a_lease(bot: Scenario) -> None:
    """What is running is the bot's own all the same: it is recorded, and not done again."""
    bot.hurry(lease=0.4, renew=0.1)
    await bot.reopen()
    held = asyncio.Event()
    bot.modelslab.answer("sdxl", Held(held), ACCEPTED)
    await bot.ask("sdxl")
    await bot.modelslab.wait_for_calls(1)
    with locked(bot.database):
        held.set()
        await bot.log.wait_for("database_unavailable")
        await bot.wait_sql("SELECT due_at < (julianday('now') - 2440587.5) * 86400 FROM reload_model_jobs")
    await bot.wait_done()

    assert len(bot.said(READY)) == len(bot.modelslab.calls) == 1
    assert not bot.log.of("lease_lost")


@pytest.mark.parametrize("mode", ["socket"])
async def test_lists_while_the_database_is_away(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database does not answer, the lists say so."""

    def away(*_: object) -> None:
        raise DatabaseUnavailable("no answer within 2 s")

    monkeypatch.setattr("bot.storage.history.running", away)
    monkeypatch.setattr("bot.storage.history.recent", away)
    acks = [await bot.ask(word) for word in ("status", "history")]

    assert [ack.text for ack in acks] == ["My database isn't responding. Try again in a minute."] * 2
    assert [record["outcome"] for record in bot.log.of("command")[-2:]] == ["not_listed", "not_listed"]


async def test_an_error_of_our_own(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to a command that hits a bug says so, and the log has the traceback."""

    def broken(*_: object) -> None:
        raise KeyError("of our own")

    monkeypatch.setattr("bot.storage.history.recent", broken)
    ack = await bot.ask("history")
    (record,) = bot.log.of("internal_error")

    assert "Something broke on my side. Check `/reload-model status` before you try again" in ack.text
    assert "KeyError" in str(record["exception"])
    bot.mishaps = True


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_step_that_crashes(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that ends in an error of the bot's own is tried again, and given up after some times, honestly."""

    async def broken(_self: object, _model_id: str) -> None:
        raise KeyError("of our own")

    monkeypatch.setattr("bot.modelslab.client.ModelsLab.reload", broken)
    await bot.ask("sdxl")
    told = await bot.wait_said("was not reloaded")
    await bot.wait_done()

    assert "something broke inside this bot" in told.text
    assert "may already be reloading" in told.text
    assert len(bot.log.of("job_crashed")) == 8
    bot.mishaps = True


@pytest.mark.parametrize("mode", ["socket"])
@pytest.mark.parametrize("method", ["to_channel", "to_person"])
async def test_a_message_that_crashes(bot: Scenario, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that cannot even be made is given up after some times, loudly."""

    async def broken(*_arguments: object, **_more: object) -> None:
        raise KeyError("of our own")

    monkeypatch.setattr(f"bot.worker.delivery.Delivery.{method}", broken)
    await bot.ask("sdxl", ADA, "C0NOWHERE", response_url="https://elsewhere.example/")
    lost = await bot.log.wait_for("undeliverable")
    await bot.wait_done()

    assert (lost["reason"], lost["users"]) == ("crashes", [ADA])
    assert "couldn't notify everyone" in (await bot.ask("history")).text
    bot.mishaps = True


@pytest.mark.parametrize("mode", ["socket"])
async def test_the_database_is_away_at_the_start(scenario: Scenario) -> None:
    """A database that is locked at the start is waited for; the log and /readyz say so."""
    await scenario.open()
    await scenario.shut()
    with locked(scenario.database):
        starting = scenario.begin()
        await scenario.log.wait_for("database_unavailable")
        status, parts = await scenario.health("/readyz")
    await starting

    assert status == 503
    assert parts["database"] != "ok"
    await scenario.wait_ready()


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_file_that_is_no_database(scenario: Scenario) -> None:
    """A file that is no SQLite database ends the start, with the setting named."""
    scenario.database.write_bytes(b"no database at all" * 1000)
    with pytest.raises(CannotStart, match="DATABASE_URL: can't use the SQLite file: file is not a database"):
        await scenario.open()


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_file_of_another_process(scenario: Scenario) -> None:
    """A second bot on the same SQLite file says at once that it waits for the first, and then why it cannot start."""
    scenario.hurry(sqlite_owner_wait=0.3)
    await scenario.open()
    first = scenario.app
    starting = scenario.begin()
    assert (await scenario.log.wait_for("waiting_for_other_process"))["seconds"] == 0.3
    with pytest.raises(CannotStart, match="another process holds"):
        await starting
    await scenario.shut()
    assert isinstance(first, App)
    await first.stop()
    await scenario.open()

    assert (await scenario.health("/readyz"))[0] == 200


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_folder_that_is_not_there(scenario: Scenario, tmp_path: Path) -> None:
    """A folder that is not there ends the start, with what to do."""
    with pytest.raises(CannotStart, match=r"DATABASE_URL: can't write .* create the folder"):
        await scenario.open(DATABASE_URL=f"sqlite:///{tmp_path}/nowhere/bot.db")


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_database_of_a_newer_bot(scenario: Scenario) -> None:
    """A database that a newer bot has made ends the start, with what to do."""
    await scenario.open()
    await scenario.shut()
    scenario.sql("UPDATE reload_model_schema SET version = 999")
    with pytest.raises(CannotStart, match="run the newer version"):
        await scenario.open()


async def test_where_it_listens(scenario: Scenario) -> None:
    """In Socket Mode only this machine needs to ask for health; 127.0.0.2 stands for its other addresses."""
    await scenario.open(HOST="")
    try:
        _, writer = await asyncio.open_connection("127.0.0.2", scenario.port)
    except ConnectionRefusedError:
        assert scenario.mode == "socket"
    else:
        writer.close()
        assert scenario.mode == "http"


def test_the_image_listens_on_all_its_addresses() -> None:
    """In a container, loopback would keep the probes of an orchestrator out."""
    dockerfile = (Path(__file__).parents[2] / "Dockerfile").read_text(encoding="utf-8")

    assert re.search(r"^ENV .*(\\\n.*)*HOST=0\.0\.0\.0", dockerfile, re.MULTILINE)


@pytest.mark.parametrize("mode", ["http"])
async def test_health_is_for_get(bot: Scenario) -> None:
    """A health path that does not exist is not found."""
    bot.slack.fail("auth.test", Raw(500, b""))

    assert (await bot.health("/healthz"))[0] == 200
