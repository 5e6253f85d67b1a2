"""The checks find what is broken, and name the fix."""

import errno
import re
import sqlite3
import sys
import time
from contextlib import closing
from email.utils import formatdate
from types import SimpleNamespace
from unittest.mock import AsyncMock, Mock

import aiohttp
import pytest

from bot.ops.doctor.results import Status
from bot.sandbox.modelslab import error
from bot.slack.client import GROUP_METHOD
from bot.storage import schema
from tests.answers import Json, Raw
from tests.ops.doctor.conftest import ADA, BEN, CREW, Change, Setup, given, group, person, slack_says, token, wallet
from tests.postgres import Postgres
from tests.test_settings import PEOPLE_FIX
from tests.usergroups import FakeOrganisation, FakeUserGroups

LOG_IN = Raw(200, b"<h1>Log in to the guest network</h1>")
ON_THE_PAGE = "on your app's page, OAuth & Permissions"
APP_TOKEN_FIX = "create one with the scope connections:write (Basic Information), and turn Socket Mode on"
CANNOT_SEE, INVITE = "the bot can't see this channel", "/invite the bot if it is private"
KEY_FIX = "copy the key from ModelsLab's dashboard to MODELSLAB_API_KEY again"
OTHER_FILE = "set DATABASE_URL to the bot's own database, or to a new file"
TOMORROW = Json(200, {"ok": True, "team_id": "T0"}, {"Date": formatdate(time.time() + 86_400, usegmt=True)})


def with_version(version: int) -> Change:
    """Make a database of this version without any other table."""

    def make(setup: Setup) -> None:
        with closing(sqlite3.connect(setup.file)) as file, file:
            file.execute(f"CREATE TABLE reload_model_schema AS SELECT {version} AS version")

    return make


def organisation(setup: Setup) -> None:
    """Install the app for a whole organisation. One of two allowed groups is in one of its workspaces."""
    teams = FakeOrganisation({"T0ART": FakeUserGroups({}), "T0OPS": FakeUserGroups({CREW: [ADA, BEN]})})
    token(team_id=None, enterprise_id="E0ORG", is_enterprise_install=True)(setup)
    setup.slack.fail("auth.teams.list", teams.listed)
    setup.slack.fail(GROUP_METHOD, teams)
    setup.env["ALLOWED_USERS"] = f"{CREW} S0NONE"


BROKEN: list[tuple[Change, str, str]] = [
    (lambda setup: setup.env.update(PORT=setup.slack.host.split(":")[1]), "PORT: can't listen on port ", "a free port"),
    (given(HOST="192.0.2.1", PORT="9", ADMIN_PORT="10"), "HOST: can't listen at 192.0.2.1 (Cannot assign", "address"),
    (given(HOST="2001:db8::", PORT="9"), "HOST: can't listen at 2001:db8:: (", "use an address of this machine"),
    # Slack
    (slack_says("auth.test", "token_revoked"), "bot token: Slack rejects it (token_revoked)", "copy it again: it is"),
    (slack_says("auth.test", "not_allowed_token_type"), "bot token: Slack rejects it (", ON_THE_PAGE),
    (token(team_id=None), "bot token: Slack names neither a workspace nor an organisation for it", "reinstall"),
    (slack_says("apps.connections.open", "missing_scope"), "app token: Slack rejects it (", "turn Socket Mode on"),
    (given(SLACK_API_URL="http://127.0.0.1:9/api/"), "Slack: no answer from 127.0.0.1:9", "check SLACK_API_URL"),
    (slack_says("auth.test", LOG_IN), "Slack: 127.0.0.1", "fix SLACK_API_URL"),
    (slack_says("auth.test", TOMORROW), "clock vs Slack: this machine is ", "turn on time sync (NTP)"),
    (
        slack_says("apps.connections.open", Json(200, {"ok": True, "url": "wss://127.0.0.1:9/link/?ticket=secret"})),
        "Socket Mode: no answer from 127.0.0.1:9 (",
        "network (DNS, firewall, HTTPS_PROXY)",
    ),
    # Who
    (person(is_bot=True), f"ALLOWED_USERS {ADA}: ada is a bot", "remove it from ALLOWED_USERS"),
    (person(team_id="T0OTHER"), f"ALLOWED_USERS {ADA}: ada belongs to another workspace", "remove it"),
    (group("plan_upgrade_required"), f"ALLOWED_USERS {CREW}: this workspace's plan has no user groups", "list people"),
    (
        organisation,
        "ALLOWED_USERS S0NONE: there is no such user group",
        "or add the app to the workspace of this group",
    ),
    (group("missing_scope"), f"ALLOWED_USERS {CREW}: needs the scope usergroups:read", "and reinstall"),
    # ModelsLab
    (wallet(error(402, "No.")), "ModelsLab account: the ModelsLab account is out of credits", "Add credits"),
    (wallet(LOG_IN), "ModelsLab: 127.0.0.1", "fix MODELSLAB_URL"),
    # The file
    (
        given(DATABASE_URL="sqlite:///not/there.db"),
        "database: can't write and lock files in /",
        "make the folder and the file writable for uid ",
    ),
    (
        lambda setup: setup.patch.setattr("fcntl.flock", Mock(side_effect=OSError(errno.ENOLCK, "No locks available"))),
        "database: can't write and lock files in /",
        "on a local disk",
    ),
    (
        lambda setup: setup.patch.setattr("fcntl.flock", Mock(side_effect=OSError(errno.ENOSPC, "No space left"))),
        "database: can't write and lock files in /",
        "make room on the disk",
    ),
    (lambda setup: setup.file.write_text("Dear diary, " * 500), "database: can't use /", OTHER_FILE),
    (with_version(99), "schema: the database has schema version 99", "run the newer version"),
    (with_version(schema.VERSION), "database: can't use /", "or to a new file"),
]


def by_texts(value: object) -> str:
    """A row's name."""
    return value[:40] if isinstance(value, str) else ""


@pytest.mark.parametrize(("how", "found", "fix"), BROKEN, ids=by_texts)
async def test_a_problem_is_found_and_its_fix_is_named(how: Change, found: str, fix: str, setup: Setup) -> None:
    """Whatever part of the set-up it is in."""
    how(setup)

    await setup.assert_found(found, fix)


async def test_all_problems_are_found_at_once(setup: Setup) -> None:
    """Nobody has to run the checks once per problem; some editors save .env in another encoding."""
    (setup.folder / ".env").write_bytes("PORT=3000".encode("utf-16"))
    setup.use_groups({"S0EMPTY": []}, S0OFF=[ADA])
    setup.env |= {"PORT": "http", "MODELSLAB_API_KEY": "another", "SLACK_APP_TOKEN": "xapp-other"}
    setup.env |= {"ALLOWED_USERS": f"ada {ADA} {BEN} U0NOBODY S0EMPTY S0OFF S0NONE", "ALLOWED_CHANNELS": "C0OLD C0GONE"}
    setup.env |= {"ADMIN_USERS": "U0NOBODY", "ADMIN_CHANNEL": "C0GONE"}
    setup.slack.add_channel("C0OLD", "old", archived=True)
    setup.slack.deactivated.add(BEN)
    setup.slack.scopes.discard("im:write")
    setup.file.mkdir()
    report = await setup.run()

    assert report.marked("✗") == [
        f"✗ {setup.folder}/.env: can't be read (it isn't UTF-8) → make it a readable text file in UTF-8",
        f"✗ ALLOWED_USERS: has 'ada', which isn't a Slack ID → {PEOPLE_FIX}",
        "✗ PORT: 'http' → use a whole number from 0 to 65535",
        f"✗ database: can't use {setup.file}: unable to open database file → {OTHER_FILE}",
        f"✗ bot scopes: missing: im:write (send direct messages) → add them {ON_THE_PAGE}, and reinstall the app",
        "✗ ALLOWED_USERS U0NOBODY: there is no such person → fix it in ALLOWED_USERS",
        f"✗ ALLOWED_USERS {BEN}: ben is deactivated → remove it from ALLOWED_USERS",
        "✗ ADMIN_USERS U0NOBODY: there is no such person → fix it in ADMIN_USERS",
        "✗ ALLOWED_USERS S0EMPTY: this user group is empty → add people to it, or remove it from ALLOWED_USERS",
        "✗ ALLOWED_USERS S0NONE: there is no such user group → fix it in ALLOWED_USERS",
        "✗ ALLOWED_USERS S0OFF: this user group is disabled → enable it in Slack, or remove it from ALLOWED_USERS",
        "✗ ALLOWED_CHANNELS C0OLD: #old is archived → remove it from ALLOWED_CHANNELS, or unarchive the channel",
        f"✗ ALLOWED_CHANNELS C0GONE: {CANNOT_SEE} → fix it in ALLOWED_CHANNELS, or {INVITE}",
        f"✗ ADMIN_CHANNEL C0GONE: {CANNOT_SEE} → fix it in ADMIN_CHANNEL, or {INVITE}",
        f"✗ app token: Slack rejects it (invalid_auth) → {APP_TOKEN_FIX}",
        f"✗ ModelsLab key: ModelsLab rejects it: Invalid API key → {KEY_FIX}",
    ]


async def test_a_certificate_that_is_not_trusted_is_named(setup: Setup) -> None:
    """With the setting that names the service, and the one for certificates."""
    untrusted = aiohttp.ClientConnectorCertificateError(Mock(), Exception("self-signed certificate"))
    setup.patch.setattr(aiohttp.TCPConnector, "connect", AsyncMock(side_effect=untrusted))
    report = await setup.run()

    for service, setting in (("Slack", "SLACK_API_URL"), ("ModelsLab", "MODELSLAB_URL")):
        line = report.line(service)
        assert line.startswith(f"✗ {service}: the certificate of 127.0.0.1:")
        assert f" isn't trusted → check {setting}, or point SSL_CERT_FILE at" in line


async def test_what_needs_a_wrong_setting_is_not_checked(setup: Setup) -> None:
    """The line says so, and nothing is sent anywhere."""
    setup.env |= {"SLACK_BOT_TOKEN": "", "SLACK_API_URL": "slack", "MODELSLAB_URL": "modelslab", "DATABASE_URL": "no"}
    setup.env["ADMIN_PORT"] = "x"
    report = await setup.run()

    assert [line[2:] for line in report.marked(Status.UNKNOWN.value)] == [
        "ports: not checked: fix ADMIN_PORT first",
        "database: not checked: fix DATABASE_URL first",
        "bot token: not checked: fix SLACK_BOT_TOKEN and SLACK_API_URL first",
        "app token: not checked: fix SLACK_API_URL first",
        "ModelsLab: not checked: fix MODELSLAB_URL first",
    ]
    assert setup.slack.calls == []


def mistyped(old: str, new: str) -> Change:
    """Mistype the URL of the database."""
    return lambda setup: setup.env.update({"DATABASE_URL": re.sub(old, new, setup.env["DATABASE_URL"])})


FAST = SimpleNamespace(time=lambda: time.time() + 5400)
CANNOT = "database: can't use PostgreSQL: "

POSTGRES: list[tuple[Change, str, str]] = [
    (mistyped("://postgres:", "://reader:"), f"{CANNOT}permission denied", "create tables and write"),
    (mistyped("$", "&options=-cdefault_transaction_read_only%3Don"), CANNOT, "not a standby"),
    (mistyped("/test_", "/nothing_"), CANNOT, "create that database"),
    (mistyped("://postgres:", "://nobody:"), CANNOT, "fix the user and the password"),
    (mistyped("host=", "host=/nowhere"), CANNOT, "check that the server is running"),
    (mistyped("$", "&schema=x"), f"{CANNOT}invalid", "-csearch_path%3D"),
    (
        lambda setup: setup.patch.setitem(sys.modules, "psycopg", None),
        "database: psycopg, the driver for PostgreSQL, isn't installed",
        "reload-model-bot[postgres]",
    ),
    (
        lambda setup: setup.patch.setattr("bot.ops.doctor.database.time", FAST),
        "clock vs database: this machine is 1.5 hours ahead",
        "(NTP)",
    ),
]


@pytest.mark.parametrize(("how", "found", "fix"), POSTGRES, ids=by_texts)
async def test_a_server_that_cannot_be_used_is_found(
    how: Change, found: str, fix: str, setup: Setup, postgres: Postgres, postgres_url: str
) -> None:
    """PostgreSQL says what is wrong, and the line says how to fix it."""
    setup.env["DATABASE_URL"] = postgres_url
    await setup.make_tables()
    postgres.execute("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader")
    how(setup)

    await setup.assert_found(found, fix)
