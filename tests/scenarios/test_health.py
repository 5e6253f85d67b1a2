"""What the bot says of its own health, and what it does while its database is away."""

import asyncio
import errno
from pathlib import Path
from unittest.mock import create_autospec, patch

import aiohttp
import pytest

from bot.app import App
from bot.errors import CannotStart, Refused
from bot.handlers import bolt
from bot.handlers.access import Access
from bot.sandbox.modelslab import ACCEPTED
from bot.storage import grants, history
from bot.storage.database import Database
from bot.storage.engines import sqlite
from tests.answers import Held
from tests.scenarios.scenario import ADA, BEN, READY, Scenario, both_modes, http_mode
from tests.times import set_timing


@both_modes
async def test_health_is_that_of_each_part(bot: Scenario) -> None:
    """Both answers name each part, and say 200 while all of them are well. A worker that is stuck isn't."""
    assert await bot.health("/healthz") == (200, {"status": "ok", "worker": "ok"})
    parts = dict.fromkeys(("status", "database", "worker", "slack", "token"), "ok")
    assert await bot.health("/readyz") == (200, parts)

    set_timing(stuck=-1.0)
    await bot.reopen()
    status, found = await bot.health("/healthz")
    assert (status, found["status"]) == (503, "unavailable")
    assert found["worker"].startswith("stuck for ")


async def test_a_worker_whose_turns_fail_is_unhealthy(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """It turns and gets nowhere because of an internal error, until that is over."""
    scenario.internal_errors = True
    set_timing(look=0.05, stuck=0.5)
    await scenario.open()

    def broken(*_: object) -> None:
        raise KeyError("of our own")

    with monkeypatch.context() as patched:
        patched.setattr("bot.storage.jobs.claim", broken)
        assert (await scenario.wait_ready(503))["worker"] == "failing: KeyError"
        await scenario.wait_ready(503, "/healthz")
        assert scenario.log.of("worker_failed")
    await scenario.ask("sdxl")
    await scenario.wait_said(READY)

    await scenario.wait_ready()


@both_modes
async def test_in_socket_mode_it_listens_on_this_machine_only(scenario: Scenario) -> None:
    """For health alone: it takes nothing else, however well it is signed. 127.0.0.2 stands for other addresses."""
    await scenario.open(HOST="")
    url, headers = f"{scenario.url}/slack/events", scenario.slack.sign(b"ssl_check=1")
    async with aiohttp.request("POST", url, data=b"ssl_check=1", headers=headers) as answer:
        assert answer.status == (404 if scenario.mode == "socket" else 200)
    try:
        _, writer = await asyncio.open_connection("127.0.0.2", scenario.port)
    except ConnectionRefusedError:
        assert scenario.mode == "socket"
    else:
        writer.close()
        assert scenario.mode == "http"


async def test_commands_are_refused_while_the_database_is_away(bot: Scenario) -> None:
    """Nothing is begun later. /readyz says why even before anybody asks, and the log has one line, however many do."""
    with bot.locked():
        parts = await bot.wait_ready(503)
        acks = [await bot.ask("sdxl", user) for user in (ADA, BEN)]
    await bot.wait_ready()
    await bot.ask("other")
    await bot.wait_done()

    assert {ack.text for ack in acks} == {
        "My database isn't responding, so I didn't start anything. Try again in a minute."
    }
    assert parts["database"] == "database is locked"
    assert [call.model_id for call in bot.modelslab.calls] == ["other"]
    assert len(bot.log.of("database_unavailable")) == 1
    outcomes = [(record["outcome"], record["rule"]) for record in bot.log.of("command")]
    assert outcomes == [("not_recorded", ADA), ("not_recorded", BEN), ("requested", ADA)]


async def test_a_crowd_of_probes_is_one(bot: Scenario) -> None:
    """People who reach the port can't keep the database from commands."""
    with bot.locked(), patch.object(Database, "run", autospec=True, side_effect=Database.run) as run:
        answers = await asyncio.gather(*(bot.health("/readyz") for _ in range(20)))

    assert {status for status, _ in answers} == {503}
    assert [call.args[1] for call in run.call_args_list].count(history.touch) < 5


async def test_jobs_outlast_a_database_that_goes_away(bot: Scenario) -> None:
    """Even for longer than a lease: what runs is recorded when the database is back, and not done again."""
    set_timing(lease=0.4, renew=0.1, sqlite_busy=0.05)
    await bot.reopen()
    held = asyncio.Event()
    bot.modelslab.answer("sdxl", Held(held), ACCEPTED)
    await bot.ask("sdxl")
    await bot.modelslab.wait_for_calls(1)
    with bot.locked():
        held.set()
        await bot.log.wait_for("database_unavailable")
        await bot.wait_sql("SELECT due_at < (julianday('now') - 2440587.5) * 86400 FROM reload_model_jobs")
    await bot.wait_done()

    assert len(bot.said(READY)) == len(bot.modelslab.calls) == 1
    assert not bot.log.of("lease_lost")


async def test_the_transactions_of_a_request_have_one_deadline(scenario: Scenario) -> None:
    """A file that another program has locked costs the first one all the time, so the second one isn't begun."""
    set_timing(sqlite_busy=30.0, answer=0.3)
    await scenario.open()
    store = scenario.store
    app = bolt.new_app(create_autospec(Access), "/reload-model")

    @app.event("app_home_opened")
    async def ask() -> None:
        with scenario.locked(), pytest.raises(Refused, match="not_readable"):
            await store.is_known(ADA)
        with pytest.raises(Refused, match="not_changed"):
            await store.change(grants.remember, ADA)
        store.remember(BEN)

    response = await bolt.dispatch(app, {"type": "event_callback", "event": {"type": "app_home_opened"}})
    known = "SELECT user_id FROM reload_model_people"
    await scenario.wait_sql(known)

    assert response.status == 200
    assert scenario.sql(known) == [(BEN,)]


@http_mode
async def test_a_database_that_is_away_at_the_start_is_waited_for(bot: Scenario) -> None:
    """The log and /readyz say so, and so does the answer to a command. A disk that is full is waited for, too."""
    await bot.shut()
    with bot.locked():
        starting = bot.begin()
        await bot.log.wait_for("database_unavailable")
        status, parts = await bot.health("/readyz")
        bot.slack.request_url = f"{bot.url}/slack/events"
        ack = await bot.ask("sdxl")
    await starting

    assert status == 503
    assert parts["database"] != "ok"
    assert "I'm still starting up." in ack.text
    assert bot.log.of("command")[-1]["outcome"] == "not_ready"
    await bot.wait_ready()
    assert [sqlite.fix_for(bot.database, why) for why in ("database or disk is full", "disk I/O error")] == [None, None]


async def test_a_file_that_cannot_be_used_ends_the_start(scenario: Scenario, tmp_path: Path) -> None:
    """With what to do: one that another bot holds, in the end; of a newer version; no database, folder or locks."""
    set_timing(sqlite_owner_wait=0.3)
    await scenario.open()
    first = scenario.app
    starting = scenario.begin()
    assert (await scenario.log.wait_for("waiting_for_other_process"))["seconds"] == 0.3
    with pytest.raises(CannotStart, match="another process holds"):
        await starting
    await scenario.shut()
    assert isinstance(first, App)
    await first.stop()
    scenario.sql("UPDATE reload_model_schema SET version = 999")
    (tmp_path / "text").write_bytes(b"no database at all" * 1000)
    for path, why in (
        (scenario.database, "run the newer version"),
        (tmp_path / "text", r"can't use the SQLite file \(file is not a database\): set DATABASE_URL to"),
        (tmp_path / "nowhere" / "bot.db", r"DATABASE_URL: can't write .* create the folder"),
    ):
        with pytest.raises(CannotStart, match=why):
            await scenario.reopen(DATABASE_URL=f"sqlite:///{path}")
    with patch("os.access", return_value=False), pytest.raises(CannotStart, match="writable for uid"):
        await scenario.reopen(DATABASE_URL=f"sqlite:///{tmp_path}/text")
    full = OSError(errno.ENOSPC, "No space left on device")
    with patch("pathlib.Path.open", side_effect=full), pytest.raises(CannotStart, match="make room on the disk"):
        await scenario.reopen(DATABASE_URL=f"sqlite:///{tmp_path}/other.db")
    no_locks = OSError(errno.ENOLCK, "No locks available")
    why = r"can't lock .* \(No locks available\): put the SQLite file on a local"
    with patch("fcntl.flock", side_effect=no_locks), pytest.raises(CannotStart, match=why):
        await scenario.reopen(DATABASE_URL=f"sqlite:///{tmp_path}/other.db")
