"""The checks find what is broken and name the fix: a table."""

import errno
import re
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from bot.sandbox.modelslab import error
from bot.slack.client import GROUP_METHOD
from bot.storage import schema
from tests.answers import Answer, Json, Raw
from tests.ops.doctor.conftest import ADA, BEN, CREW, MODELS, Setup
from tests.postgres import Postgres

Break = Callable[[Setup], object]

LOG_IN = Raw(200, b"<h1>Log in to the guest network</h1>")


def given(name: str, value: str) -> Break:
    """Set a setting."""
    return lambda setup: setup.env.update({name: value})


def slack_says(method: str, answer: Answer | str) -> Break:
    """Have Slack answer a method so."""
    return lambda setup: setup.slack.fail(method, answer)


def wallet(answer: Answer) -> Break:
    """Have ModelsLab answer a request for the balance so."""
    return lambda setup: setattr(setup.modelslab, "wallet", answer)


def only_ada(**fields: object) -> Break:
    """Allow one person, whom Slack describes so."""

    def allow(setup: Setup) -> None:
        setup.env["ALLOWED_USERS"] = ADA
        setup.slack.fail("users.info", Json(200, {"ok": True, "user": {"name": "ada", **fields}}))

    return allow


def groups(members: dict[str, list[str]], **disabled: list[str]) -> Break:
    """Have the workspace hold these user groups."""
    return lambda setup: setup.use_groups(members, **disabled)


def group_refused(code: str) -> Break:
    """Have Slack refuse to tell who is in a group."""

    def refuse(setup: Setup) -> None:
        setup.env["ALLOWED_USERS"] = CREW
        setup.slack.fail(GROUP_METHOD, code)

    return refuse


def slow_clock(setup: Setup) -> None:
    """Have Slack's clock be ahead of this machine's."""
    date = formatdate(time.time() + 3600, usegmt=True)
    setup.slack.fail("auth.test", Json(200, {"ok": True, "team_id": "T0"}, {"Date": date}))


def no_locks(setup: Setup) -> None:
    """Have the folder be on a network file system that can't lock."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    setup.patch.setattr("fcntl.flock", refuse)


def with_versions(*versions: int) -> Break:
    """Make a database with these versions and no other table."""

    def make(setup: Setup) -> None:
        with closing(sqlite3.connect(setup.file)) as file, file:
            file.execute("CREATE TABLE reload_model_schema (version INTEGER)")
            file.executemany("INSERT INTO reload_model_schema VALUES (?)", [[version] for version in versions])

    return make


BROKEN: dict[str, tuple[Break, str, str]] = {
    "a port of another program": (
        lambda setup: setup.env.update({"PORT": setup.slack.api_url.split(":")[2].split("/")[0]}),
        "PORT: can't listen on port ",
        "use a free port",
    ),
    "an address of another machine": (
        lambda setup: setup.env.update({"HOST": "192.0.2.1", "PORT": "9", "ADMIN_PORT": "10"}),
        "HOST: can't listen at 192.0.2.1 (Cannot assign requested address)",
        "use an address of this machine",
    ),
    # Slack
    "a revoked token": (
        slack_says("auth.test", "token_revoked"),
        "bot token: Slack rejects it (",
        "copy it again: it is",
    ),
    "a token of another kind": (
        slack_says("auth.test", "not_allowed_token_type"),
        "bot token: Slack rejects it (not_allowed_token_type)",
        "on your app's page, OAuth & Permissions",
    ),
    "a token of nowhere": (
        slack_says("auth.test", Json(200, {"ok": True, "team_id": None})),
        "bot token: Slack names neither a workspace nor an organisation for it",
        "reinstall the app",
    ),
    "a scope too few": (
        lambda setup: setup.slack.scopes.discard("im:write"),
        "bot scopes: missing: im:write (",
        "and reinstall the app",
    ),
    "an app token of another app": (
        given("SLACK_APP_TOKEN", "xapp-other"),
        "app token: Slack rejects it (invalid_auth)",
        "with the scope connections:write",
    ),
    "Socket Mode switched off": (
        slack_says("apps.connections.open", "not_allowed_token_type"),
        "app token: Slack rejects it (not_allowed_token_type)",
        "turn Socket Mode on",
    ),
    "nothing where Slack should be": (
        given("SLACK_API_URL", "http://127.0.0.1:9/api/"),
        "Slack: no answer from 127.0.0.1:9",
        "check SLACK_API_URL",
    ),
    "a login page before Slack": (slack_says("auth.test", LOG_IN), "Slack: 127.0.0.1", "fix SLACK_API_URL"),
    "no JSON before Slack": (slack_says("auth.test", Raw(200, b"[]")), "Slack: 127.0.0.1", "fix SLACK_API_URL"),
    "a proxy that Slack's certificate is not from": (
        lambda setup: setup.distrust(setup.slack.api_url),
        "Slack: the certificate of 127.0.0.1",
        "SSL_CERT_FILE",
    ),
    "a clock that is slow": (slow_clock, "clock vs Slack: this machine is ", "turn on time sync (NTP)"),
    "a WebSocket that can't be reached": (
        slack_says("apps.connections.open", Json(200, {"ok": True, "url": "wss://127.0.0.1:9/link/?ticket=secret"})),
        "Socket Mode: no answer from 127.0.0.1:9 (",
        "network (DNS, firewall, HTTPS_PROXY)",
    ),
    # Who, and where
    "an id of nobody": (
        given("ALLOWED_USERS", f"{ADA} U0NOBODY"),
        "ALLOWED_USERS U0NOBODY: there is no such person",
        "fix it in",
    ),
    "somebody who left": (
        lambda setup: setup.slack.deactivated.add(BEN),
        f"ALLOWED_USERS {BEN}: ben is deactivated",
        "remove it from ALLOWED_USERS",
    ),
    "a bot": (only_ada(is_bot=True), f"ALLOWED_USERS {ADA}: ada is a bot", "remove it from ALLOWED_USERS"),
    "somebody of another organisation": (
        only_ada(team_id="T0OTHER", enterprise_user={"enterprise_id": "E0OTHER"}),
        f"ALLOWED_USERS {ADA}: ada belongs to another workspace",
        "remove it",
    ),
    "no such channel": (
        given("ALLOWED_CHANNELS", f"{MODELS} C0GONE"),
        "ALLOWED_CHANNELS C0GONE: the bot can't see this channel",
        "/invite the bot",
    ),
    "an archived channel": (
        lambda setup: setup.slack.add_channel(MODELS, "models", archived=True),
        f"ALLOWED_CHANNELS {MODELS}: #models is archived",
        "unarchive the channel",
    ),
    "no such user group": (groups({}), f"ALLOWED_USERS {CREW}: there is no such user group", "fix it in"),
    "an empty user group": (groups({CREW: []}), f"ALLOWED_USERS {CREW}: this user group is empty", "add people to it"),
    "a disabled user group": (
        groups({}, S0CREW=[ADA]),
        f"ALLOWED_USERS {CREW}: this user group is disabled",
        "enable it in Slack, or remove it",
    ),
    "a plan without user groups": (
        group_refused("plan_upgrade_required"),
        f"ALLOWED_USERS {CREW}: this workspace's plan has no user groups",
        "list people in ALLOWED_USERS",
    ),
    "user groups without their scope": (
        group_refused("missing_scope"),
        f"ALLOWED_USERS {CREW}: needs the scope usergroups:read",
        "and reinstall",
    ),
    # ModelsLab
    "a wrong key": (
        given("MODELSLAB_API_KEY", "another"),
        "ModelsLab key: ModelsLab rejects it: Invalid API key",
        "copy the key from ModelsLab's dashboard to MODELSLAB_API_KEY again",
    ),
    "no credits": (
        wallet(error(402, "Insufficient credits.")),
        "ModelsLab account: the ModelsLab account is out of",
        "Add credits",
    ),
    "nothing where ModelsLab should be": (
        given("MODELSLAB_URL", "http://127.0.0.1:9"),
        "ModelsLab: no answer from 127.0.0.1:9 (no connection)",
        "check MODELSLAB_URL",
    ),
    "something else at ModelsLab's address": (wallet(LOG_IN), "ModelsLab: 127.0.0.1", "fix MODELSLAB_URL"),
    "a proxy that ModelsLab's certificate is not from": (
        lambda setup: setup.distrust(setup.modelslab.url),
        "ModelsLab: the certificate of 127.0.0.1",
        "SSL_CERT_FILE",
    ),
    # The file
    "no folder": (
        given("DATABASE_URL", "sqlite:///not/there.db"),
        "database: can't write and lock files in not (No such file or directory)",
        "make the folder and the file writable for uid ",
    ),
    "a disk that can't lock": (no_locks, "database: can't write and lock files in /", "on a local disk"),
    "another kind of file": (
        lambda setup: setup.file.write_text("Dear diary, " * 500),
        "database: can't use /",
        "set DATABASE_URL to the bot's own database, or to a new file",
    ),
    "a later version": (
        with_versions(99),
        "schema: the database has schema version 99, and this program only knows ",
        "run the newer version",
    ),
    "a database that lacks a table": (with_versions(schema.VERSION), "database: can't use /", "or to a new file"),
    "a database without a version": (with_versions(), "schema: the table reload_model_schema should have", "restore"),
}


@pytest.mark.parametrize(("how", "found", "fix"), BROKEN.values(), ids=BROKEN)
async def test_a_problem_is_found_and_its_fix_is_named(how: Break, found: str, fix: str, setup: Setup) -> None:
    """One line with ✗ per problem, the fix in it, exit code 1, and no trace of the secrets."""
    how(setup)
    report = await setup.run()
    (line,) = report.marked("✗")

    assert report.code == 1
    assert line.startswith(f"✗ {found}")
    assert fix in line.partition(" → ")[2]
    assert not any(secret in report.text for secret in (setup.slack.bot_token, setup.modelslab.key))


async def test_all_problems_are_found_at_once(setup: Setup) -> None:
    """Nobody has to run the checks once per problem; some editors save .env in another encoding."""
    (setup.folder / ".env").write_bytes("PORT=3000".encode("utf-16"))
    setup.env |= {"PORT": "http", "MODELSLAB_API_KEY": "another", "ALLOWED_USERS": f"ada {ADA} U0NOBODY"}
    setup.slack.scopes.discard("im:write")
    setup.file.mkdir()
    report = await setup.run()

    assert [line.split(":")[0][2:] for line in report.marked("✗")] == [
        f"{setup.folder}/.env",
        "ALLOWED_USERS",
        "PORT",
        "database",
        "bot scopes",
        "ALLOWED_USERS U0NOBODY",
        "ModelsLab key",
    ]


async def test_what_needs_a_wrong_setting_is_not_checked(setup: Setup) -> None:
    """The line says so, and nothing is sent anywhere."""
    setup.env |= {"SLACK_BOT_TOKEN": "", "SLACK_API_URL": "slack", "MODELSLAB_URL": "modelslab", "DATABASE_URL": "no"}
    setup.env["ADMIN_PORT"] = "x"
    report = await setup.run()

    assert [line[2:] for line in report.not_checked] == [
        "ports: not checked: fix ADMIN_PORT first",
        "database: not checked: fix DATABASE_URL first",
        "bot token: not checked: fix SLACK_BOT_TOKEN and SLACK_API_URL first",
        "app token: not checked: fix SLACK_API_URL first",
        "ModelsLab: not checked: fix MODELSLAB_URL first",
    ]
    assert setup.slack.calls == []


# PostgreSQL


def as_reader(setup: Setup) -> None:
    """Connect as somebody who may read, and write nothing."""
    setup.env["DATABASE_URL"] = setup.env["DATABASE_URL"].replace("://postgres:", "://reader:")


def mistyped(old: str, new: str) -> Break:
    """Mistype the URL."""
    return lambda setup: setup.env.update({"DATABASE_URL": re.sub(old, new, setup.env["DATABASE_URL"])})


def another_time(setup: Setup) -> None:
    """Have the machine's clock be fast."""
    setup.patch.setattr("bot.ops.doctor.database.time", SimpleNamespace(time=lambda: time.time() + 5400))


def no_driver(setup: Setup) -> None:
    """Have the program installed without its extra."""
    setup.patch.setitem(sys.modules, "psycopg", None)


CANNOT = "database: can't use PostgreSQL: "

POSTGRES: dict[str, tuple[Break, str, str]] = {
    "may only read": (as_reader, f"{CANNOT}permission denied", "create tables and write"),
    "takes no writes": (mistyped("$", "&options=-cdefault_transaction_read_only%3Don"), CANNOT, "not a standby"),
    "is not there": (mistyped("/test_", "/nothing_"), CANNOT, "create that database"),
    "knows no such user": (mistyped("://postgres:", "://nobody:"), CANNOT, "fix the user and the password"),
    "is at another address": (mistyped("host=", "host=/nowhere"), CANNOT, "check that the server is running"),
    "is given another driver's parameter": (mistyped("$", "&schema=x"), f"{CANNOT}invalid", "-csearch_path%3D"),
    "has no driver": (
        no_driver,
        "database: psycopg, the driver for PostgreSQL, isn't installed",
        "reload-model-bot[postgres]",
    ),
    "has another clock": (another_time, "clock vs database: this machine is 1.5 hours ahead", "(NTP)"),
}


@pytest.mark.parametrize(("how", "found", "fix"), POSTGRES.values(), ids=POSTGRES)
async def test_a_server_that_cannot_be_used_is_found(
    how: Break, found: str, fix: str, setup: Setup, postgres: Postgres, postgres_url: str
) -> None:
    """PostgreSQL says what is wrong, and the line says how to fix it."""
    setup.env["DATABASE_URL"] = postgres_url
    await setup.make_tables()
    postgres.execute("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader")
    how(setup)
    report = await setup.run()
    (line,) = report.marked("✗")

    assert report.code == 1
    assert line.startswith(f"✗ {found}")
    assert fix in line.partition(" → ")[2]
