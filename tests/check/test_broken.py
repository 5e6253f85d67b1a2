"""The checks find what is broken, and name its mend: a table."""
# ruff: noqa: RUF001 - the dash is what it looks like

import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from bot.sandbox.modelslab import BALANCE, error
from bot.storage import schema
from tests.answers import Big, Hang, Json, Raw, Reset
from tests.check.conftest import ADA, BEN, CREW, GROUPS, GROUPS_LIST, MODELS, Setup
from tests.postgres import Postgres

LOG_IN = Raw(200, b"<h1>Log in to the guest network</h1>")


@dataclass(frozen=True, slots=True)
class Broken:
    """A way to break a set-up; what must be found, from the start of its line, and words of the mend beside it."""

    how: Callable[[Setup], object]
    found: str
    mend: str


def unset(name: str) -> Callable[[Setup], object]:
    """Leave a setting out."""
    return lambda setup: setup.env.update({name: ""})


def given(name: str, value: str) -> Callable[[Setup], object]:
    """Set a setting."""
    return lambda setup: setup.env.update({name: value})


def slack_says(method: str, answer: Json | Raw | Big | Hang | Reset | str) -> Callable[[Setup], object]:
    """Have Slack answer a method so."""
    return lambda setup: setup.slack.fail(method, answer)


def person(**fields: object) -> Callable[[Setup], object]:
    """Have Slack describe the one person who may so."""
    return only_ada(Json(200, {"ok": True, "user": {"name": "ada", **fields}}))


def only_ada(answer: Json | str) -> Callable[[Setup], object]:
    """Allow one person, of whom Slack says this."""

    def allow(setup: Setup) -> None:
        setup.env["ALLOWED_USERS"] = ADA
        setup.slack.fail("users.info", answer)

    return allow


def wallet(answer: Json | Raw | Reset) -> Callable[[Setup], object]:
    """Have ModelsLab answer a request for the balance so."""
    return lambda setup: setattr(setup.modelslab, "wallet", answer)


def at(seconds: float) -> dict[str, str]:
    """The header of a service whose clock is so many seconds ahead."""
    return {"Date": formatdate(time.time() + seconds, usegmt=True)}


def group_refused(code: str) -> Callable[[Setup], object]:
    """Have Slack refuse to tell who is in a group."""

    def refuse(setup: Setup) -> None:
        setup.use_groups(GROUPS)
        setup.slack.heal(GROUPS_LIST)
        setup.slack.fail(GROUPS_LIST, code)

    return refuse


def dotenv_in_another_encoding(setup: Setup) -> None:
    """Write .env as some editors do."""
    (setup.folder / ".env").write_bytes("PORT=3000".encode("utf-16"))


def lock_is_a_folder(setup: Setup) -> None:
    """Put something where the lock should be."""
    setup.file.touch()
    setup.file.with_name("reload-model.db.lock").mkdir()


def later_version(setup: Setup) -> None:
    """Make a database such as a program of the future might leave."""
    with closing(sqlite3.connect(setup.file)) as file:
        file.executescript("CREATE TABLE schema_version (version INTEGER); INSERT INTO schema_version VALUES (99)")


def without_a_table(setup: Setup) -> None:
    """Make a database that says more than it holds."""
    with closing(sqlite3.connect(setup.file)) as file:
        file.executescript(
            f"CREATE TABLE schema_version (version INTEGER); INSERT INTO schema_version VALUES ({schema.VERSION})"  # noqa: S608 - a number of ours
        )


def without_a_version(setup: Setup) -> None:
    """Make a database whose schema has no version."""
    with closing(sqlite3.connect(setup.file)) as file:
        file.executescript("CREATE TABLE schema_version (version INTEGER)")


BROKEN = {
    # The settings
    "no bot token": Broken(unset("SLACK_BOT_TOKEN"), "SLACK_BOT_TOKEN: is not set", "it begins with xoxb-"),
    "another kind of token": Broken(
        given("SLACK_BOT_TOKEN", "xoxp-1"), "SLACK_BOT_TOKEN: does not begin with xoxb-", "copy the right token"
    ),
    "no way in for Slack": Broken(
        unset("SLACK_APP_TOKEN"), "SLACK_SIGNING_SECRET: is not set", "or SLACK_APP_TOKEN for Socket Mode"
    ),
    "no key": Broken(unset("MODELSLAB_API_KEY"), "MODELSLAB_API_KEY: is not set", "copy it from ModelsLab's dashboard"),
    "nobody allowed": Broken(unset("ALLOWED_USERS"), "ALLOWED_USERS: is not set", "or * for everyone"),
    "a name for an id": Broken(
        given("ALLOWED_USERS", f"ada {ADA}"), "ALLOWED_USERS: has 'ada', which is no person's id", "Copy member ID"
    ),
    "a name for a channel": Broken(
        given("ALLOWED_CHANNELS", "#models"), "ALLOWED_CHANNELS: has '#models'", "those look like C012AB3CD"
    ),
    "secrets in the clear": Broken(
        given("MODELSLAB_URL", "http://modelslab.com"), "MODELSLAB_URL: would send secrets", "use https://"
    ),
    "no number": Broken(given("PORT", "http"), "PORT: is 'http'", "give a whole number from 0 to 65535"),
    "no database": Broken(given("DATABASE_URL", "mysql://db"), "DATABASE_URL: names no database", "begin it with"),
    "a strange .env": Broken(dotenv_in_another_encoding, ".env: cannot be read", "make it a readable text in UTF-8"),
    # Slack
    "a revoked token": Broken(
        slack_says("auth.test", "token_revoked"),
        "bot token: Slack refuses it (token_revoked)",
        "copy it again from the app's page, OAuth & Permissions",
    ),
    "the token of another app": Broken(
        given("SLACK_BOT_TOKEN", "xoxb-other"), "bot token: Slack refuses it (invalid_auth)", "copy it again"
    ),
    "a workspace that asks for more": Broken(
        slack_says("auth.test", "ekm_access_denied"), "bot token: Slack refuses it (ekm_access_denied)", "copy it again"
    ),
    "a scope too few": Broken(
        lambda setup: setup.slack.scopes.discard("im:write"),
        "bot scopes: missing: im:write (direct messages)",
        "and reinstall the app",
    ),
    "an app token of another app": Broken(
        given("SLACK_APP_TOKEN", "xapp-other"),
        "app token: Slack refuses it (invalid_auth)",
        "with the scope connections:write",
    ),
    "Socket Mode switched off": Broken(
        slack_says("apps.connections.open", "not_allowed_token_type"),
        "app token: Slack refuses it (not_allowed_token_type)",
        "switch Socket Mode on",
    ),
    "nothing where Slack should be": Broken(
        given("SLACK_API_URL", "http://127.0.0.1:9/api/"), "Slack: no answer from 127.0.0.1:9", "mend SLACK_API_URL"
    ),
    "a login page before Slack": Broken(
        slack_says("auth.test", LOG_IN), "Slack: what answers at 127.0.0.1", "mend SLACK_API_URL"
    ),
    "another path": Broken(
        lambda setup: setup.env.update({"SLACK_API_URL": setup.slack.api_url.replace("/api/", "/web/")}),
        "Slack: what answers at 127.0.0.1",
        "mend SLACK_API_URL",
    ),
    "a torrent in place of Slack": Broken(
        slack_says("auth.test", Big(1)), "Slack: no answer from 127.0.0.1", "mend SLACK_API_URL"
    ),
    "a proxy that Slack's certificate is not from": Broken(
        lambda setup: setup.distrust(setup.slack.api_url), "Slack: the certificate of 127.0.0.1", "SSL_CERT_FILE"
    ),
    "a clock that is slow": Broken(
        lambda setup: setup.slack.fail("auth.test", Json(200, {"ok": True}, at(100))),  # from when the test begins
        "clock, by Slack: this machine's clock is ",
        "set the clocks by NTP",
    ),
    # Who, and where
    "an id of nobody": Broken(
        given("ALLOWED_USERS", f"{ADA} U0NOBODY"), "ALLOWED_USERS U0NOBODY: there is no such person", "mend it in"
    ),
    "somebody out of sight": Broken(
        only_ada("user_not_visible"),
        f"ALLOWED_USERS {ADA}: there is no such person in this workspace",
        "mend it in ALLOWED_USERS",
    ),
    "somebody who left": Broken(
        lambda setup: setup.slack.deactivated.add(BEN),
        f"ALLOWED_USERS {BEN}: ben is deactivated",
        "take it out of ALLOWED_USERS",
    ),
    "a bot": Broken(person(is_bot=True), f"ALLOWED_USERS {ADA}: ada is a bot", "take it out of ALLOWED_USERS"),
    "somebody of another workspace": Broken(
        person(team_id="T0OTHER"), f"ALLOWED_USERS {ADA}: ada belongs to another workspace", "take it out"
    ),
    "somebody of another organisation": Broken(
        person(team_id="T0OTHER", enterprise_user={"enterprise_id": "E0OTHER"}),
        f"ALLOWED_USERS {ADA}: ada belongs to another workspace",
        "take it out",
    ),
    "no such channel": Broken(
        given("ALLOWED_CHANNELS", f"{MODELS} C0GONE"),
        "ALLOWED_CHANNELS C0GONE: the bot sees no such channel",
        "/invite the bot",
    ),
    "an archived channel": Broken(
        lambda setup: setup.slack.add_channel(MODELS, "models", archived=True),
        f"ALLOWED_CHANNELS {MODELS}: #models is archived",
        "unarchive the channel",
    ),
    "a user group that there is not": Broken(
        lambda setup: setup.use_groups({}), f"ALLOWED_USERS {CREW}: there is no such user group", "mend it in"
    ),
    "a user group of nobody": Broken(
        lambda setup: setup.use_groups({CREW: []}),
        f"ALLOWED_USERS {CREW}: nobody is in this user group",
        "add people to it",
    ),
    "a disabled user group": Broken(
        lambda setup: setup.use_groups({}, S0CREW=[ADA]),
        f"ALLOWED_USERS {CREW}: this user group is disabled",
        "enable it in Slack, or take it out",
    ),
    "a disabled user group that looks empty": Broken(
        lambda setup: setup.use_groups({CREW: []}, S0CREW=[ADA]),
        f"ALLOWED_USERS {CREW}: this user group is disabled",
        "enable it in Slack, or take it out",
    ),
    "a plan without user groups": Broken(
        group_refused("plan_upgrade_required"),
        f"ALLOWED_USERS {CREW}: this workspace's plan has no user groups",
        "name people in ALLOWED_USERS",
    ),
    "a group that may not be read after all": Broken(
        group_refused("missing_scope"), f"ALLOWED_USERS {CREW}: takes the scope usergroups:read", "and reinstall"
    ),
    "user groups without their scope": Broken(
        given("ALLOWED_USERS", CREW),
        "bot scopes: missing: usergroups:read (who is in the user groups of ALLOWED_USERS)",
        "and reinstall the app",
    ),
    # ModelsLab
    "a wrong key": Broken(
        given("MODELSLAB_API_KEY", "another"),
        "ModelsLab key: ModelsLab refuses it: Invalid API key",
        "copy it again from ModelsLab's dashboard into MODELSLAB_API_KEY",
    ),
    "a wrong key, in older words": Broken(
        wallet(error(200, "Invalid Api Key", tip="Make sure…")), "ModelsLab key: ModelsLab refuses it", "copy it again"
    ),
    "no credits": Broken(
        wallet(error(402, "Insufficient credits.")), "ModelsLab account: the ModelsLab account is out of", "Add credits"
    ),
    "another plan": Broken(
        wallet(error(403, "This feature requires a premium subscription")),
        "ModelsLab account: the ModelsLab account's plan does not",
        "can change its plan",
    ),
    "nothing where ModelsLab should be": Broken(
        given("MODELSLAB_URL", "http://127.0.0.1:9"),
        "ModelsLab: no answer from 127.0.0.1:9: no connection",
        "mend MODELSLAB_URL",
    ),
    "a line that breaks": Broken(wallet(Reset()), "ModelsLab: no answer from 127.0.0.1", "HTTPS_PROXY"),
    "something else at ModelsLab's address": Broken(
        wallet(LOG_IN), "ModelsLab: what answers at 127.0.0.1", "mend MODELSLAB_URL"
    ),
    "a proxy that ModelsLab's certificate is not from": Broken(
        lambda setup: setup.distrust(setup.modelslab.url),
        "ModelsLab: no answer from 127.0.0.1",
        "SSL_CERT_FILE",
    ),
    "a clock that is fast": Broken(
        wallet(Json(200, BALANCE.body, at(-100))),
        "clock, by ModelsLab: this machine's clock is 1",
        "set the clocks by NTP",
    ),
    # The file
    "no folder": Broken(
        given("DATABASE_URL", "sqlite:///not/there.db"), "database: not cannot be written (No such", "make the folder"
    ),
    "a folder for a file": Broken(
        lambda setup: setup.file.mkdir(), "database: /", "let DATABASE_URL name a new file, or the bot's own"
    ),
    "another kind of file": Broken(
        lambda setup: setup.file.write_text("Dear diary, " * 500), "database: /", "let DATABASE_URL name a new file"
    ),
    "a lock that cannot be opened": Broken(
        lock_is_a_folder,
        "database: /",
        "write it and all files of that name",
    ),
    "a database of a later version": Broken(
        later_version, "schema: version 99, and this program knows ", "run the newer program"
    ),
    "a database that lacks a table": Broken(without_a_table, "database: /", "name a new file"),
    "a database without a version": Broken(
        without_a_version, "schema: the table schema_version has 0 rows", "restore the database from a backup"
    ),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
async def test_what_is_broken_is_found_and_its_mend_is_named(broken: Broken, setup: Setup) -> None:
    """One line with ✗ for one fault, the mend in it, and exit code 1; and no trace of the secrets."""
    broken.how(setup)
    report = await setup.run()
    (line,) = report.marked("✗")
    found, _, mend = line.partition(" → ")

    assert report.code == 1
    assert found.startswith(f"✗ {broken.found}")
    assert broken.mend in mend
    assert not any(secret in report.text for secret in (setup.slack.bot_token, setup.modelslab.key))


@pytest.mark.parametrize("name", ["a revoked token", "a scope too few", "a wrong key", "an archived channel"])
async def test_it_is_found_in_http_mode_too(name: str, setup: Setup) -> None:
    """Nothing but the app's token is a matter of Socket Mode."""
    setup.use_http_mode()
    BROKEN[name].how(setup)
    (line,) = (await setup.run()).marked("✗")

    assert line.startswith(f"✗ {BROKEN[name].found}")


async def test_all_faults_are_found_at_once(setup: Setup) -> None:
    """Nobody has to run the checks once for each."""
    setup.env |= {"PORT": "http", "MODELSLAB_API_KEY": "another", "ALLOWED_USERS": f"ada {ADA} U0NOBODY"}
    setup.slack.scopes.discard("im:write")
    setup.file.mkdir()
    report = await setup.run()

    assert [line.split(":")[0][2:] for line in report.marked("✗")] == [
        "ALLOWED_USERS",
        "PORT",
        "database",
        "bot scopes",
        "ALLOWED_USERS U0NOBODY",
        "ModelsLab key",
    ]


async def test_what_takes_a_faulty_setting_is_not_looked_at(setup: Setup) -> None:
    """It is said to be left out, and nothing is sent anywhere."""
    setup.env |= {"SLACK_BOT_TOKEN": "", "SLACK_API_URL": "slack", "MODELSLAB_URL": "modelslab", "DATABASE_URL": "no"}
    report = await setup.run()

    assert report.marked("–") == [
        "– database: not looked at: mend DATABASE_URL first",
        "– bot token: not looked at: mend SLACK_BOT_TOKEN and SLACK_API_URL first",
        "– app token: not looked at: mend SLACK_API_URL first",
        "– ModelsLab: not looked at: mend MODELSLAB_URL first",
    ]
    assert setup.slack.calls == []


# --- PostgreSQL -----------------------------------------------------------------------------------------


def as_reader(setup: Setup, postgres: Postgres) -> None:
    """Connect as somebody who may read, and write nothing."""
    url = setup.env["DATABASE_URL"]
    postgres.execute("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN")
    postgres.execute("GRANT pg_read_all_data TO reader")
    setup.env["DATABASE_URL"] = url.replace("://postgres:", "://reader:")


def read_only(setup: Setup, _postgres: Postgres) -> None:
    """Use a database that takes no writes, as a standby does not."""
    setup.env["DATABASE_URL"] += "&options=-c%20default_transaction_read_only%3Don"


def version_99(setup: Setup, postgres: Postgres) -> None:
    """Have had a later program use the database."""
    postgres.execute("UPDATE schema_version SET version = 99", setup.env["DATABASE_URL"])


def elsewhere(old: str, new: str) -> Callable[[Setup, Postgres], None]:
    """Mistype the URL."""

    def mistype(setup: Setup, _postgres: Postgres) -> None:
        assert old in setup.env["DATABASE_URL"]
        setup.env["DATABASE_URL"] = setup.env["DATABASE_URL"].replace(old, new)

    return mistype


def another_time(setup: Setup, _postgres: Postgres) -> None:
    """Have the machine's clock be an hour fast."""
    setup.patch.setattr("bot.ops.doctor.database.time", SimpleNamespace(time=lambda: time.time() + 3600))


def no_driver(setup: Setup, _postgres: Postgres) -> None:
    """Have the program installed without its extra."""
    setup.patch.setitem(sys.modules, "psycopg", None)


def no_rows(setup: Setup, postgres: Postgres) -> None:
    """Have somebody tidy up the database."""
    postgres.execute("DELETE FROM schema_version", setup.env["DATABASE_URL"])


POSTGRES = {
    "may only read": (as_reader, "database: PostgreSQL cannot be used: permission denied", "write in this database"),
    "takes no writes": (read_only, "database: PostgreSQL cannot be used: cannot execute", "not a standby"),
    "is of a later version": (version_99, "schema: version 99, and this program knows", "run the newer program"),
    "has no version": (no_rows, "schema: the table schema_version has 0 rows", "restore the database from a backup"),
    "is not there": (elsewhere("/test_", "/nothing_"), "database: PostgreSQL cannot be used: ", "make that database"),
    "knows no such user": (
        elsewhere("://postgres:", "://nobody:"),
        "database: PostgreSQL cannot be used: ",
        "mend the user in DATABASE_URL",
    ),
    "is at another address": (
        elsewhere("host=", "host=/nowhere"),
        "database: PostgreSQL cannot be used: ",
        "see that the server runs",
    ),
    "has no driver": (
        no_driver,
        "database: psycopg, PostgreSQL's driver, is not",
        "install reload-model-bot[postgres]",
    ),
    "has another clock": (another_time, "clock, by the database: this machine's clock is 3600 s ahead", "by NTP"),
}


@pytest.mark.parametrize(("how", "found", "mend"), POSTGRES.values(), ids=POSTGRES)
async def test_a_server_that_cannot_be_used_is_found(
    how: Callable[[Setup, Postgres], None],
    found: str,
    mend: str,
    setup: Setup,
    postgres: Postgres,
    postgres_url: str,
) -> None:
    """PostgreSQL says what is wrong, and the line says what to do about it."""
    setup.env["DATABASE_URL"] = postgres_url
    await setup.make_tables()
    how(setup, postgres)
    report = await setup.run()
    (line,) = report.marked("✗")

    assert report.code == 1
    assert line.startswith(f"✗ {found}")
    assert mend in line.partition(" → ")[2]
