"""The checks find what is broken and name the fix: a table."""
# ruff: noqa: RUF001 - the dash is what it looks like

import errno
import re
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from bot.sandbox.modelslab import error
from bot.storage import schema
from tests.answers import Big, Hang, Json, Raw, Reset
from tests.ops.doctor.conftest import ADA, BEN, CREW, GROUPS, GROUPS_LIST, MODELS, Setup
from tests.postgres import Postgres

LOG_IN = Raw(200, b"<h1>Log in to the guest network</h1>")


@dataclass(frozen=True, slots=True)
class Broken:
    """A way to break a set-up; what must be found, from the start of its line, and words of the fix beside it."""

    how: Callable[[Setup], object]
    found: str
    fix: str


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


def lock_is_a_folder(setup: Setup) -> None:
    """Put something where the lock should be."""
    setup.file.touch()
    setup.file.with_name("reload-model.db.lock").mkdir()


def no_locks(setup: Setup) -> None:
    """Have the folder be on a network file system that can't lock."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    setup.patch.setattr("fcntl.flock", refuse)


def later_version(setup: Setup) -> None:
    """Make a database such as a program of the future might leave."""
    with closing(sqlite3.connect(setup.file)) as file:
        file.executescript(
            "CREATE TABLE reload_model_schema (version INTEGER); INSERT INTO reload_model_schema VALUES (99)"
        )


def without_a_table(setup: Setup) -> None:
    """Make a database that says more than it holds."""
    with closing(sqlite3.connect(setup.file)) as file:
        file.execute("CREATE TABLE reload_model_schema (version INTEGER)")
        file.execute("INSERT INTO reload_model_schema VALUES (?)", [schema.VERSION])
        file.commit()


def without_a_version(setup: Setup) -> None:
    """Make a database whose schema has no version."""
    with closing(sqlite3.connect(setup.file)) as file:
        file.executescript("CREATE TABLE reload_model_schema (version INTEGER)")


BROKEN = {
    # The settings and the ports
    "no bot token": Broken(unset("SLACK_BOT_TOKEN"), "SLACK_BOT_TOKEN: missing", "copy the Bot User OAuth Token"),
    "no number": Broken(given("PORT", "http"), "PORT: 'http'", "use a whole number from 0 to 65535"),
    "a misspelled name": Broken(
        given("ALLOWED_CHANNEL", MODELS), "ALLOWED_CHANNEL: isn't a setting", "did you mean ALLOWED_CHANNELS?"
    ),
    "a port of another program": Broken(
        lambda setup: setup.env.update({"PORT": setup.slack.api_url.split(":")[2].split("/")[0]}),
        "PORT: can't listen on port ",
        "use a free port",
    ),
    "an address of another machine": Broken(
        lambda setup: setup.env.update({"HOST": "192.0.2.1", "PORT": "9", "ADMIN_PORT": "10"}),
        "HOST: can't listen at 192.0.2.1 (Cannot assign requested address)",
        "use an address of this machine",
    ),
    # Slack
    "a revoked token": Broken(
        slack_says("auth.test", "token_revoked"),
        "bot token: Slack rejects it (token_revoked)",
        "copy it again: it is on your app's page, OAuth & Permissions",
    ),
    "the token of another app": Broken(
        given("SLACK_BOT_TOKEN", "xoxb-other"), "bot token: Slack rejects it (invalid_auth)", "copy it again"
    ),
    "a token of another kind": Broken(
        slack_says("auth.test", "not_allowed_token_type"),
        "bot token: Slack rejects it (not_allowed_token_type)",
        "copy it again",
    ),
    "a token of nowhere": Broken(
        slack_says("auth.test", Json(200, {"ok": True, "team_id": None})),
        "bot token: Slack names neither a workspace nor an organisation for it",
        "reinstall the app",
    ),
    "a scope too few": Broken(
        lambda setup: setup.slack.scopes.discard("im:write"),
        "bot scopes: missing: im:write (",
        "and reinstall the app",
    ),
    "an app token of another app": Broken(
        given("SLACK_APP_TOKEN", "xapp-other"),
        "app token: Slack rejects it (invalid_auth)",
        "with the scope connections:write",
    ),
    "Socket Mode switched off": Broken(
        slack_says("apps.connections.open", "not_allowed_token_type"),
        "app token: Slack rejects it (not_allowed_token_type)",
        "turn Socket Mode on",
    ),
    "nothing where Slack should be": Broken(
        given("SLACK_API_URL", "http://127.0.0.1:9/api/"), "Slack: no answer from 127.0.0.1:9", "check SLACK_API_URL"
    ),
    "a login page before Slack": Broken(slack_says("auth.test", LOG_IN), "Slack: 127.0.0.1", "fix SLACK_API_URL"),
    "another path": Broken(
        lambda setup: setup.env.update({"SLACK_API_URL": setup.slack.api_url.replace("/api/", "/web/")}),
        "Slack: 127.0.0.1",
        "fix SLACK_API_URL",
    ),
    "a torrent in place of Slack": Broken(
        slack_says("auth.test", Big(1)), "Slack: no answer from 127.0.0.1", "check SLACK_API_URL"
    ),
    "a proxy that Slack's certificate is not from": Broken(
        lambda setup: setup.distrust(setup.slack.api_url), "Slack: the certificate of 127.0.0.1", "SSL_CERT_FILE"
    ),
    "a clock that is slow": Broken(
        lambda setup: setup.slack.fail(
            "auth.test", Json(200, {"ok": True, "team_id": "T0"}, at(100))
        ),  # from when the test begins
        "clock vs Slack: this machine is ",
        "turn on time sync (NTP)",
    ),
    "a WebSocket that can't be reached": Broken(
        slack_says("apps.connections.open", Json(200, {"ok": True, "url": "wss://127.0.0.1:9/link/?ticket=secret"})),
        "Socket Mode: no answer from 127.0.0.1:9 (",
        "network (DNS, firewall, HTTPS_PROXY)",
    ),
    # Who, and where
    "an id of nobody": Broken(
        given("ALLOWED_USERS", f"{ADA} U0NOBODY"), "ALLOWED_USERS U0NOBODY: there is no such person", "fix it in"
    ),
    "somebody out of sight": Broken(
        only_ada("user_not_visible"),
        f"ALLOWED_USERS {ADA}: there is no such person in this workspace",
        "fix it in ALLOWED_USERS",
    ),
    "somebody who left": Broken(
        lambda setup: setup.slack.deactivated.add(BEN),
        f"ALLOWED_USERS {BEN}: ben is deactivated",
        "remove it from ALLOWED_USERS",
    ),
    "a bot": Broken(person(is_bot=True), f"ALLOWED_USERS {ADA}: ada is a bot", "remove it from ALLOWED_USERS"),
    "somebody of another workspace": Broken(
        person(team_id="T0OTHER"), f"ALLOWED_USERS {ADA}: ada belongs to another workspace", "remove it"
    ),
    "somebody of another organisation": Broken(
        person(team_id="T0OTHER", enterprise_user={"enterprise_id": "E0OTHER"}),
        f"ALLOWED_USERS {ADA}: ada belongs to another workspace",
        "remove it",
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
        lambda setup: setup.use_groups({}), f"ALLOWED_USERS {CREW}: there is no such user group", "fix it in"
    ),
    "a user group of nobody": Broken(
        lambda setup: setup.use_groups({CREW: []}),
        f"ALLOWED_USERS {CREW}: this user group is empty",
        "add people to it",
    ),
    "a disabled user group": Broken(
        lambda setup: setup.use_groups({}, S0CREW=[ADA]),
        f"ALLOWED_USERS {CREW}: this user group is disabled",
        "enable it in Slack, or remove it",
    ),
    "a disabled user group that looks empty": Broken(
        lambda setup: setup.use_groups({CREW: []}, S0CREW=[ADA]),
        f"ALLOWED_USERS {CREW}: this user group is disabled",
        "enable it in Slack, or remove it",
    ),
    "a plan without user groups": Broken(
        group_refused("plan_upgrade_required"),
        f"ALLOWED_USERS {CREW}: this workspace's plan has no user groups",
        "list people in ALLOWED_USERS",
    ),
    "user groups without their scope": Broken(
        group_refused("missing_scope"), f"ALLOWED_USERS {CREW}: needs the scope usergroups:read", "and reinstall"
    ),
    # ModelsLab
    "a wrong key": Broken(
        given("MODELSLAB_API_KEY", "another"),
        "ModelsLab key: ModelsLab rejects it: Invalid API key",
        "copy the key from ModelsLab's dashboard to MODELSLAB_API_KEY again",
    ),
    "a wrong key, in older words": Broken(
        wallet(error(200, "Invalid Api Key", tip="Make sure…")), "ModelsLab key: ModelsLab rejects it", "copy the key"
    ),
    "no credits": Broken(
        wallet(error(402, "Insufficient credits.")), "ModelsLab account: the ModelsLab account is out of", "Add credits"
    ),
    "another plan": Broken(
        wallet(error(403, "This feature requires a premium subscription")),
        "ModelsLab account: the ModelsLab account's plan doesn't",
        "Upgrade the ModelsLab plan",
    ),
    "nothing where ModelsLab should be": Broken(
        given("MODELSLAB_URL", "http://127.0.0.1:9"),
        "ModelsLab: no answer from 127.0.0.1:9 (no connection)",
        "check MODELSLAB_URL",
    ),
    "a line that breaks": Broken(wallet(Reset()), "ModelsLab: no answer from 127.0.0.1", "HTTPS_PROXY"),
    "something else at ModelsLab's address": Broken(wallet(LOG_IN), "ModelsLab: 127.0.0.1", "fix MODELSLAB_URL"),
    "a proxy that ModelsLab's certificate is not from": Broken(
        lambda setup: setup.distrust(setup.modelslab.url),
        "ModelsLab: the certificate of 127.0.0.1",
        "SSL_CERT_FILE",
    ),
    # The file
    "no folder": Broken(
        given("DATABASE_URL", "sqlite:///not/there.db"),
        "database: can't write and lock files in not (No such file or directory)",
        "make the folder and the file writable for uid ",
    ),
    "a disk that can't lock": Broken(no_locks, "database: can't write and lock files in /", "on a local disk"),
    "a folder for a file": Broken(
        lambda setup: setup.file.mkdir(), "database: can't use /", "name a new file in DATABASE_URL, or the bot's own"
    ),
    "another kind of file": Broken(
        lambda setup: setup.file.write_text("Dear diary, " * 500),
        "database: can't use /",
        "name a new file in DATABASE_URL",
    ),
    "a lock that cannot be opened": Broken(
        lock_is_a_folder,
        "database: can't write and lock files in /",
        "make the folder and the file writable",
    ),
    "a database of a later version": Broken(
        later_version, "schema: the database has schema version 99, this program knows ", "run the newer program"
    ),
    "a database that lacks a table": Broken(without_a_table, "database: can't use /", "name a new file"),
    "a database without a version": Broken(
        without_a_version,
        "schema: the table reload_model_schema should have one row",
        "restore the database from a backup",
    ),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
async def test_a_problem_is_found_and_its_fix_is_named(broken: Broken, setup: Setup) -> None:
    """One line with ✗ per problem, the fix in it, exit code 1, and no trace of the secrets."""
    broken.how(setup)
    report = await setup.run()
    (line,) = report.marked("✗")
    found, _, fix = line.partition(" → ")

    assert report.code == 1
    assert found.startswith(f"✗ {broken.found}")
    assert broken.fix in fix
    assert not any(secret in report.text for secret in (setup.slack.bot_token, setup.modelslab.key))


async def test_all_problems_are_found_at_once(setup: Setup) -> None:
    """Nobody has to run the checks once per problem."""
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


async def test_a_strange_env_file_is_found(setup: Setup) -> None:
    """Some editors save it in another encoding."""
    (setup.folder / ".env").write_bytes("PORT=3000".encode("utf-16"))
    (line,) = (await setup.run()).marked("✗")

    assert line.startswith(f"✗ {setup.folder}/.env: can't be read (it isn't UTF-8) → make it")


async def test_what_needs_a_wrong_setting_is_not_checked(setup: Setup) -> None:
    """The line says so, and nothing is sent anywhere."""
    setup.env |= {"SLACK_BOT_TOKEN": "", "SLACK_API_URL": "slack", "MODELSLAB_URL": "modelslab", "DATABASE_URL": "no"}
    setup.env["ADMIN_PORT"] = "x"
    report = await setup.run()

    assert report.not_checked == [
        "– ports: not checked: fix ADMIN_PORT first",
        "– database: not checked: fix DATABASE_URL first",
        "– bot token: not checked: fix SLACK_BOT_TOKEN and SLACK_API_URL first",
        "– app token: not checked: fix SLACK_API_URL first",
        "– ModelsLab: not checked: fix MODELSLAB_URL first",
    ]
    assert setup.slack.calls == []


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
    postgres.execute("UPDATE reload_model_schema SET version = 99", setup.env["DATABASE_URL"])


def elsewhere(old: str, new: str) -> Callable[[Setup, Postgres], None]:
    """Mistype the URL."""

    def mistype(setup: Setup, _postgres: Postgres) -> None:
        setup.env["DATABASE_URL"] = re.sub(old, new, setup.env["DATABASE_URL"])

    return mistype


def another_time(setup: Setup, _postgres: Postgres) -> None:
    """Have the machine's clock be fast."""
    setup.patch.setattr("bot.ops.doctor.database.time", SimpleNamespace(time=lambda: time.time() + 5400))


def no_driver(setup: Setup, _postgres: Postgres) -> None:
    """Have the program installed without its extra."""
    setup.patch.setitem(sys.modules, "psycopg", None)


def no_rows(setup: Setup, postgres: Postgres) -> None:
    """Have somebody tidy up the database."""
    postgres.execute("DELETE FROM reload_model_schema", setup.env["DATABASE_URL"])


CANNOT = "database: can't use PostgreSQL: "

POSTGRES = {
    "may only read": (as_reader, f"{CANNOT}permission denied", "write in this database"),
    "takes no writes": (read_only, CANNOT, "not a standby"),
    "is of a later version": (
        version_99,
        "schema: the database has schema version 99, this program knows",
        "run the newer program",
    ),
    "has no version": (
        no_rows,
        "schema: the table reload_model_schema should have one row",
        "restore the database from a backup",
    ),
    "is not there": (elsewhere("/test_", "/nothing_"), CANNOT, "create that database"),
    "knows no such user": (elsewhere("://postgres:", "://nobody:"), CANNOT, "fix the user and the password"),
    "is at another address": (elsewhere("host=", "host=/nowhere"), CANNOT, "check that the server is running"),
    "is given another driver's parameter": (elsewhere("$", "&schema=x"), f"{CANNOT}invalid", "-csearch_path%3D"),
    "is used with a schema that it lacks": (elsewhere("$", "&options=-csearch_path%3Dx"), CANNOT, "create that schema"),
    "speaks no TLS": (
        elsewhere("@/.*", "@127.0.0.1:9/x?sslmode=x"),
        f"{CANNOT}connection is bad: invalid",
        "fix or remove",
    ),
    "has no driver": (
        no_driver,
        "database: psycopg, PostgreSQL's driver, is not installed",
        "install reload-model-bot[postgres]",
    ),
    "has another clock": (another_time, "clock vs database: this machine is 1.5 hours ahead", "(NTP)"),
}


@pytest.mark.parametrize(("how", "found", "fix"), POSTGRES.values(), ids=POSTGRES)
async def test_a_server_that_cannot_be_used_is_found(
    how: Callable[[Setup, Postgres], None],
    found: str,
    fix: str,
    setup: Setup,
    postgres: Postgres,
    postgres_url: str,
) -> None:
    """PostgreSQL says what is wrong, and the line says how to fix it."""
    setup.env["DATABASE_URL"] = postgres_url
    await setup.make_tables()
    how(setup, postgres)
    report = await setup.run()
    (line,) = report.marked("✗")

    assert report.code == 1
    assert line.startswith(f"✗ {found}")
    assert fix in line.partition(" → ")[2]
