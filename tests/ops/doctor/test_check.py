"""The checks accept what is right, say what they can't check, and change nothing."""
# ruff: noqa: RUF001 - the mark is a dash

import asyncio
import json
import sqlite3
from contextlib import closing
from functools import partial
from unittest.mock import AsyncMock

import pytest

from bot.app import answer_health
from bot.ops.doctor.results import CheckResult, clock, in_time, ok, problem, unknown
from bot.sandbox.modelslab import BALANCE, error
from bot.slack.client import GROUP_METHOD
from bot.slack.http import WebServer
from bot.storage import grants, schema
from bot.storage.database import Database
from bot.storage.history import Note
from tests.answers import Answer, Hang, Json, RateLimited, Raw
from tests.bench.processes import free_port
from tests.ops.doctor.conftest import ADA, BEN, CREW, MODELS, Change, Setup, person, slack_says, token, wallet
from tests.test_settings import PEOPLE_FIX
from tests.times import set_timing
from tests.usergroups import FakeUserGroups

NO_TABLES = "✓ schema: no tables yet; the bot creates them when it starts"
SIGNING_SECRET = "– signing secret: not checked: the first command from Slack shows whether it is right"
NEITHER = "ALLOWED_USERS has neither this ID nor a user group of theirs"
NO_GROUP = "✗ ALLOWED_USERS S0NONE: there is no such user group → fix it in ALLOWED_USERS"
ALLOWED = f"✓ {ADA}: can reload models in any channel, because"
ONLY_IN_MODELS = f"✓ {ADA}: can reload models in {MODELS} (ALLOWED_CHANNELS), because"
REFUSED = f"✗ {ADA}: can't reload models"
WITH_ADA, UNREAD = FakeUserGroups({CREW: [ADA]}), f"– ALLOWED_USERS {CREW}: not checked (ratelimited)"

OTHERS = f"""\
✓ port {{port}}: free
✓ database: {{file}} is writable
✓ schema: version {schema.VERSION}, writable
✓ bot token: workspace Sandbox (T0SANDBOX), as reload-model (U0BOT)
✓ clock vs Slack: in sync
✓ bot scopes: commands, chat:write, chat:write.public, im:write, app_mentions:read, im:history
✓ ALLOWED_USERS {ADA}: ada, active
✓ ALLOWED_USERS {BEN}: ben, active
✓ ALLOWED_CHANNELS {MODELS}: #models, active
✓ app token: accepted
✓ Socket Mode: {{slack_host}} can be reached
✓ ModelsLab key: accepted by {{modelslab_host}}
✓ account's models: 2 listed
✓ public models: listed
"""


async def test_what_is_right_is_listed_and_nothing_is_changed(setup: Setup) -> None:
    """One line for the settings, unless --verbose asks for each, and no secret. Nothing is posted or written."""
    await setup.make_tables()
    setup.env["PORT"] = str(free_port())
    before = {path: path.read_bytes() for path in setup.folder.iterdir()}
    brief, verbose = await setup.run(), await setup.run(form="verbose")
    shown = {
        "file": setup.file,
        "port": setup.env["PORT"],
        "slack_host": setup.slack.api_url.split("/")[2],
        "modelslab_host": setup.modelslab.url.split("/")[2],
    }

    count = len(verbose.lines) - len(brief.lines) + 1
    assert brief.text == f"✓ {count} settings (--verbose lists them)\n" + OTHERS.format(**shown)
    assert verbose.lines[count:] == brief.lines[1:]
    assert verbose.lines[:3] == [
        "✓ SLACK_BOT_TOKEN: set",
        "✓ SLACK_APP_TOKEN: set",
        f"✓ SLACK_API_URL: {setup.slack.api_url}",
    ]
    assert f"✓ ALLOWED_USERS: {ADA}, {BEN}" in verbose.lines
    assert (brief.code, verbose.code) == (0, 0)
    assert {path: path.read_bytes() for path in setup.folder.iterdir()} == before
    assert (setup.slack.messages, setup.slack.connections, setup.modelslab.calls) == ([], 0, [])


async def test_problems_come_first_then_what_could_not_be_checked(setup: Setup) -> None:
    """What needs attention isn't lost among what is right. Programs get the same as JSON, in ASCII."""
    setup.slack.deactivated.add(BEN)
    setup.use_http_mode()
    report, in_json = await setup.run(), await setup.run(form="json")
    found = json.loads(in_json.text)

    assert [line[0] for line in report.lines] == [*"✗–", *"✓" * (len(report.lines) - 2)]
    assert (in_json.text.isascii(), in_json.code, found["ok"]) == (True, 1, False)
    assert found["results"][:2] == [
        {
            "about": f"ALLOWED_USERS {BEN}",
            "status": "problem",
            "text": "ben is deactivated",
            "fix": "remove it from ALLOWED_USERS",
        },
        {"about": "signing secret", "status": "unknown", "text": SIGNING_SECRET.partition(": ")[2], "fix": ""},
    ]
    assert {result["status"] for result in found["results"][2:]} == {"ok"}


@pytest.mark.parametrize("form", ["verbose", "json"])
async def test_services_cannot_make_it_show_a_secret_or_a_control_character(form: str, setup: Setup) -> None:
    """What they say is shown redacted, harmless and short."""
    secrets = f"{setup.slack.bot_token} {setup.slack.app_token} {setup.modelslab.key}"
    said = f"\x1b[2J\r\n{secrets}\u202e" + "!" * 1000
    setup.slack.fail("apps.connections.open", said)
    setup.slack.fail("conversations.info", said)
    setup.slack.fail("users.info", Json(200, {"ok": True, "user": {"name": said}}))
    setup.modelslab.wallet = Json(200, {**BALANCE.body, "data": {"balance": said}})  # type: ignore[dict-item]
    setup.env["DATABASE_URL"] = "postgresql://reload:hunter2@127.0.0.1:9/hunter2"
    report = await setup.run(balance=True, form=form)

    assert not any(secret in report.text for secret in [*secrets.split(), "hunter2"])
    assert not any(sign in report.text for sign in "\x1b\r\u202e")
    assert report.text.count("[redacted]") >= 10
    assert max(map(len, report.lines)) < 900


def nothing_listed(setup: Setup) -> None:
    """Have Slack leave out what it may leave out, and a proxy mangle a header."""
    setup.slack.fail("auth.test", Json(200, {"ok": True, "team_id": "T0SANDBOX"}, {"Date": "soon"}))
    for method in ("users.info", "conversations.info"):
        setup.slack.fail(method, Json(200, {"ok": True, "user": [], "channel": None}))


def sister_workspace(setup: Setup) -> None:
    """Have people be in another workspace of the organisation."""
    setup.slack.enterprise_id = "E0ORG"
    person(team_id="T0OTHER", enterprise_user={"enterprise_id": "E0ORG"})(setup)


def silent_list(setup: Setup) -> None:
    """Have ModelsLab never answer for one of its lists."""
    setup.patch.setattr("bot.ops.doctor.modelslab.LIST_SECONDS", 0.3)
    setup.modelslab.lists["own"] = Hang()


CANNOT_SUGGEST = "– account's models: the picker can't suggest them"
NO_SCOPES = "– bot scopes: not checked (Slack didn't list them)"

NO_PROBLEM: dict[str, tuple[Change, list[str]]] = {
    "HTTP mode": (Setup.use_http_mode, [SIGNING_SECRET]),
    # On Enterprise Grid, people of a sister workspace are at home, too.
    "a person of the organisation": (sister_workspace, [f"✓ ALLOWED_USERS {ADA}: ada, active"]),
    "an app of an organisation": (
        token(team_id=None, team="Acme", enterprise_id="E0ORG", user="bot", user_id="U0BOT"),
        ["✓ bot token: organisation Acme (E0ORG), as bot (U0BOT)", NO_SCOPES],
    ),
    "user groups": (
        lambda setup: setup.use_groups({CREW: [ADA, BEN], "S0TEAM": [BEN]}),
        [f"✓ ALLOWED_USERS {CREW}: user group, members: 2", "✓ ALLOWED_USERS S0TEAM: user group, members: 1"],
    ),
    # Slack may leave things out, and the bot works without the optional scopes.
    "no optional scopes": (
        lambda setup: setup.slack.scopes.difference_update({"users:read", "channels:read"}),
        [
            "– ALLOWED_USERS: not checked (needs the optional scope users:read)",
            "– ALLOWED_CHANNELS: not checked (needs the optional scope channels:read)",
        ],
    ),
    "no names, no date, no scopes": (
        nothing_listed,
        [
            "– clock vs Slack: unknown",
            NO_SCOPES,
            f"✓ ALLOWED_USERS {ADA}: no name, active",
            f"✓ ALLOWED_CHANNELS {MODELS}: #{MODELS}, active",
        ],
    ),
    # A limit or an outage says nothing about the set-up.
    "Slack limits": (
        slack_says("auth.test", RateLimited(9)),
        ["– Slack: {slack} currently answers ratelimited", "– bot token, scopes, people and channels: not checked"],
    ),
    "Socket Mode fails": (
        slack_says("apps.connections.open", "internal_error"),
        ["– app token: not checked (internal_error)"],
    ),
    "Socket Mode at no URL": (
        slack_says("apps.connections.open", Json(200, {"ok": True, "url": "x"})),
        ["– Socket Mode: not checked (InvalidUrlClientError)"],
    ),
    "people limited": (
        slack_says("users.info", RateLimited(9)),
        [f"– ALLOWED_USERS {user}: not checked (ratelimited)" for user in (ADA, BEN)],
    ),
    "ModelsLab fails": (wallet(Raw(503)), ["– ModelsLab key: ModelsLab is having problems: HTTP 503"]),
    "models not on the plan": (
        lambda setup: setup.modelslab.lists.update(own=error(403, "Not on this plan")),
        [f"{CANNOT_SUGGEST}: the ModelsLab account's plan doesn't include it: Not on this plan"],
    ),
    "models that do not come": (silent_list, [f"{CANNOT_SUGGEST}: no answer within 0.3 s"]),
}


@pytest.mark.parametrize(("how", "lines"), NO_PROBLEM.values(), ids=NO_PROBLEM)
async def test_what_is_no_problem(how: Change, lines: list[str], setup: Setup) -> None:
    """The exit code is 0, and nothing else is left unchecked."""
    how(setup)
    report = await setup.run(form="verbose")
    expected = [line.format(slack=setup.slack.api_url.split("/")[2]) for line in lines]

    assert (report.code, report.marked("✗")) == (0, [])
    assert [line for line in expected if line not in report.lines] == []
    assert [line for line in report.marked("–") if line not in expected] == []


async def test_the_balance_is_shown_only_on_request(setup: Setup) -> None:
    """Not everybody who reads the output of a check should see it."""
    silent, shown = await setup.run(), await setup.run(balance=True)
    setup.modelslab.wallet = Json(200, {"status": "success"})
    unknown = await setup.run(balance=True)

    assert "43.6" not in silent.text
    assert shown.line("ModelsLab balance") == "✓ ModelsLab balance: 43.6 USD"
    assert unknown.line("ModelsLab balance") == "✓ ModelsLab balance: unknown"


@pytest.mark.parametrize("admin", [False, True])
async def test_a_port_of_a_running_bot_can_be_in_use(setup: Setup, *, admin: bool) -> None:
    """The check can be run beside it, wherever its health is served."""
    set_timing(http_stop=0.1)
    server = WebServer("127.0.0.1", 0)
    server.app.router.add_get("/healthz", partial(answer_health, AsyncMock(return_value={"worker": "ok"})))
    await server.start()
    setup.env["ADMIN_PORT" if admin else "PORT"] = str(server.port)
    report = await setup.run()
    await server.stop()

    assert report.code == 0
    assert report.line(f"port {server.port}") == f"✓ port {server.port}: in use by a running bot"


async def test_a_database_on_postgresql_is_written_and_nothing_kept(setup: Setup, postgres_url: str) -> None:
    """Tables that exist are written without a row, others are made and unmade. Clocks are compared."""
    setup.env["DATABASE_URL"] = postgres_url
    fresh, again = await setup.run(), await setup.run()
    await setup.make_tables()
    made = await setup.run()

    assert fresh.line("schema") == again.line("schema") == NO_TABLES
    assert made.line("schema") == f"✓ schema: version {schema.VERSION}, writable"
    assert made.line("database").startswith("✓ database: PostgreSQL 1")
    assert made.line("clock vs database") == "✓ clock vs database: in sync"


@pytest.mark.parametrize("exists", [False, True])
async def test_a_new_or_empty_file_stays_as_it_is(setup: Setup, *, exists: bool) -> None:
    """The bot's tables are made to see that they can be, and unmade."""
    if exists:
        setup.file.touch()
    report = await setup.run()

    can = "is writable" if exists else "doesn't exist yet and can be created"
    assert report.line("database") == f"✓ database: {setup.file} {can}"
    assert exists == (NO_TABLES in report.lines)
    assert [path.read_bytes() for path in setup.folder.iterdir()] == [b""] * exists


@pytest.mark.parametrize("tables", [False, True])
async def test_a_running_bot_keeps_its_file(setup: Setup, *, tables: bool) -> None:
    """The file is only read beside it. Its lock is not taken, nor its right to write, even before its first table."""
    database = Database(setup.env["DATABASE_URL"], lambda: 0.0)
    setup.file.touch()
    await database.start()
    if tables:
        await database.run(schema.migrate)
    report = await setup.run()
    await database.stop()

    assert report.line("database") == f"✓ database: {setup.file} is in use by a running bot"
    assert report.line("schema") == (f"✓ schema: version {schema.VERSION}" if tables else NO_TABLES)


async def test_a_file_that_another_program_writes_to_is_left_alone(setup: Setup) -> None:
    """It won't do so for long. One of an earlier version is left to the bot."""
    setup.patch.setattr("bot.ops.doctor.database.BUSY_SECONDS", 0.05)
    await setup.make_tables()
    with closing(sqlite3.connect(setup.file)) as other:
        other.execute("BEGIN IMMEDIATE")
        report = await setup.run()

    assert (report.code, report.line("database")) == (0, f"– database: another program is writing to {setup.file}")
    assert report.line("schema") == "– schema: not checked"
    setup.patch.setattr("bot.storage.schema.VERSION", schema.VERSION + 1)
    later = (await setup.run()).line("schema")
    assert later.endswith(f"; the bot updates it to {schema.VERSION} when it starts")


def test_clocks_that_differ_are_compared_in_readable_units() -> None:
    """Not in millions of seconds."""
    assert clock("clock", 29.0) == ok("clock", "in sync")
    assert [clock("clock", ahead).text for ahead in (-45.0, 200.0, 3600.0, 91_694_318.0)] == [
        "this machine is 45 seconds behind",
        "this machine is 3.3 minutes ahead",
        "this machine is 1 hour ahead",
        "this machine is 2.9 years ahead",
    ]


async def test_a_check_that_hangs_or_breaks_hides_no_other() -> None:
    """That is a result like any other."""
    hangs, breaks = (asyncio.Future[list[CheckResult]]() for _ in range(2))
    breaks.set_exception(KeyError("what"))

    assert await in_time("the weather", 0.01, hangs) == [unknown("the weather", "no answer within 0.01 s")]
    bug = "this is a bug in the check; please report it"
    assert await in_time("the weather", 1.0, breaks) == [problem("the weather", "KeyError: 'what'", bug)]


@pytest.mark.parametrize(
    ("env", "groups", "lines"),
    [
        ({"ALLOWED_CHANNELS": MODELS}, None, [f"{ONLY_IN_MODELS} ALLOWED_USERS has {ADA}"]),
        ({"ALLOWED_USERS": "*"}, None, [f"{ALLOWED} ALLOWED_USERS has * (everyone in this workspace)"]),
        ({"ALLOWED_USERS": CREW, "ADMIN_USERS": ADA}, None, [f"{ALLOWED} ADMIN_USERS has this ID"]),
        ({"ALLOWED_USERS": BEN}, None, [f"{REFUSED}: not in ALLOWED_USERS → add {ADA} to ALLOWED_USERS"]),
        ({"ALLOWED_USERS": "ada"}, None, [f"✗ ALLOWED_USERS: has 'ada', which isn't a Slack ID → {PEOPLE_FIX}"]),
        ({"ALLOWED_CHANNEL": MODELS}, None, ["✗ ALLOWED_CHANNEL: isn't a setting → did you mean ALLOWED_CHANNELS?"]),
        # By a user group, and only the groups are read. In one that can't be read, the person may be.
        ({"ALLOWED_USERS": CREW}, WITH_ADA, [f"{ALLOWED} ALLOWED_USERS has {CREW}"]),
        ({"ALLOWED_USERS": f"{CREW} S0NONE"}, WITH_ADA, [f"{ALLOWED} ALLOWED_USERS has {CREW}"]),
        (
            {"ALLOWED_USERS": f"{CREW} S0NONE"},
            FakeUserGroups({CREW: [BEN]}),
            [NO_GROUP, f"{REFUSED}: {NEITHER} → add {ADA} to ALLOWED_USERS, or to {CREW} or S0NONE in Slack"],
        ),
        ({"ALLOWED_USERS": CREW}, RateLimited(9), [UNREAD, f"– {ADA}: depends on {CREW}, which can't be read"]),
    ],
)
async def test_whether_a_person_is_allowed(
    env: dict[str, str], groups: Answer | None, lines: list[str], setup: Setup
) -> None:
    """With the rule that decides. Neither the database nor ModelsLab is needed, nor a token to read no user group."""
    setup.env |= {"ALLOWED_CHANNELS": "", "MODELSLAB_API_KEY": "", "DATABASE_URL": "no"}
    if groups is None:
        setup.env["SLACK_BOT_TOKEN"] = ""
    else:
        setup.slack.fail(GROUP_METHOD, groups)
    setup.env |= env
    report = await setup.run(who=ADA)

    assert (report.code, report.lines) == (int(lines[0].startswith("✗")), lines)
    assert {call.method for call in setup.slack.calls} == (set() if groups is None else {GROUP_METHOD})


async def test_whether_a_person_is_allowed_by_an_admin(setup: Setup) -> None:
    """The access that admins gave is in the database."""
    setup.env |= {"ALLOWED_USERS": "", "ADMIN_USERS": BEN, "ALLOWED_CHANNELS": ""}
    (line,) = (await setup.run(who=ADA)).lines
    assert line.startswith(f"– {ADA}: depends on the access that admins gave. DATABASE_URL: there is no file")
    database = await setup.hold_database()
    (line,) = (await setup.run(who=ADA)).lines
    fix = f"add {ADA} to ALLOWED_USERS, or have an admin give them access in Slack"
    assert line == f"{REFUSED}: not in ALLOWED_USERS → {fix}"

    await database.run(grants.add_people, Note(BEN, "T0HOME", "", "", "access_granted", "ADMIN_USERS"), [ADA])
    report = await setup.run(who=ADA)
    await database.stop()

    assert report.lines == [f"{ALLOWED} {BEN} gave them access on 1970-01-01"]
    for env, name in (({"DATABASE_URL": "no"}, "DATABASE_URL"), ({"ALLOWED_USERS": CREW}, "SLACK_BOT_TOKEN")):
        setup.env |= {"SLACK_BOT_TOKEN": "", **env}
        assert name in [line.split(":")[0][2:] for line in (await setup.run(who=ADA)).lines]
