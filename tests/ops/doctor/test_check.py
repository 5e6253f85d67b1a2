"""The checks accept what is right, say what they can't check, and change nothing."""
# ruff: noqa: RUF001 - the mark is a dash

import asyncio
import json
import re
import socket
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from bot.core.timing import Timing
from bot.ops.doctor import check
from bot.ops.doctor.results import CheckResult, clock, in_time, ok, problem, unknown
from bot.ops.health import add_health
from bot.sandbox.modelslab import BALANCE, error
from bot.slack.client import GROUP_METHOD
from bot.slack.server import WebServer
from bot.storage import grants, schema
from bot.storage.database import Database
from bot.storage.history import Note
from tests.answers import Answer, HalfAnswer, Hang, Json, RateLimited, Raw, Reset
from tests.ops.doctor.conftest import ADA, BEN, CAN_LOOK_UP, CREW, MODELS, Setup
from tests.usergroups import FakeOrganisation, FakeUserGroups

SIGNING_SECRET = "– signing secret: not checked: the first command from Slack shows whether it is right"

LOOK_LIKE = "a person's ID looks like U012AB3CD (in Slack: profile, ⋮, Copy member ID), a user group's like S012AB3CD"

NEITHER = "can't reload models: ALLOWED_USERS has neither this ID nor a user group of theirs"

SETTINGS = f"""\
✓ SLACK_BOT_TOKEN: set
✓ SLACK_APP_TOKEN: set
✓ SLACK_API_URL: {{slack}}
✓ SLASH_COMMAND: /reload-model
✓ MODELSLAB_API_KEY: set
✓ MODELSLAB_URL: {{modelslab}}
✓ MODELSLAB_CONCURRENCY: 4
✓ ALLOWED_USERS: {ADA}, {BEN}
✓ ALLOWED_CHANNELS: {MODELS}
✓ COMMANDS_PER_PERSON: 30
✓ MAX_IN_FLIGHT: 100
✓ FOLLOW_UP: channel
✓ RELOAD_SECONDS: 120
✓ DATABASE_URL: sqlite:///{{file}}
✓ HOST: 127.0.0.1
✓ PORT: {{port}}
✓ LOG_LEVEL: INFO
✓ LOG_FORMAT: json
✓ HISTORY_DAYS: 90
"""

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


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, and what is in it."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def free_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


# How the results are printed


async def test_what_is_right_is_listed_with_one_line_for_the_settings(setup: Setup, free_port: int) -> None:
    """With its mark, no value of a secret, and exit code 0. --verbose lists each setting that is set."""
    await setup.make_tables()
    setup.env["PORT"] = str(free_port)
    brief, verbose = await setup.run(), await setup.run(form="verbose")
    shown = {
        "slack": setup.slack.api_url,
        "modelslab": setup.modelslab.url,
        "file": setup.file,
        "port": free_port,
        "slack_host": setup.slack.api_url.split("/")[2],
        "modelslab_host": setup.modelslab.url.split("/")[2],
    }

    assert brief.text == "✓ 19 settings (--verbose lists them)\n" + OTHERS.format(**shown)
    assert verbose.text == (SETTINGS + OTHERS).format(**shown)
    assert (brief.code, verbose.code) == (0, 0)


async def test_problems_come_first_then_what_could_not_be_checked(setup: Setup) -> None:
    """What needs attention isn't buried in what is right."""
    setup.slack.deactivated.add(BEN)
    setup.slack.fail("conversations.info", "fatal_error")
    setup.env["HISTORY_DAYS"] = "no"
    report = await setup.run()

    assert [line[0] for line in report.lines] == [*"✗✗–", *"✓" * (len(report.lines) - 3)]
    assert re.fullmatch(r"✓ \d+ settings \(--verbose lists them\)", report.lines[3])


async def test_programs_get_json(setup: Setup) -> None:
    """The same results, and whether any is a problem."""
    setup.slack.deactivated.add(BEN)
    setup.use_http_mode()
    report = await setup.run(form="json")
    found = json.loads(report.text)

    assert report.text.isascii()
    assert (report.code, found["ok"]) == (1, False)
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


def repeats(setup: Setup) -> str:
    """Have everybody repeat the secrets that they are sent, with what a terminal would obey."""
    secrets = f"{setup.slack.bot_token} {setup.slack.app_token} {setup.modelslab.key}"
    said = f"\x1b[2J\r\n{secrets}\u202e" + "!" * 1000
    setup.slack.fail("apps.connections.open", said)
    setup.slack.fail("conversations.info", said)
    setup.slack.fail("users.info", Json(200, {"ok": True, "user": {"name": said}}))
    setup.modelslab.wallet = Json(200, {**BALANCE.body, "data": {"balance": said}})  # type: ignore[dict-item]
    return secrets


@pytest.mark.parametrize("form", ["verbose", "json"])
async def test_nobody_can_make_it_show_a_secret_or_a_control_character(form: str, setup: Setup) -> None:
    """What services say is shown redacted, harmless and short."""
    secrets = repeats(setup)
    setup.env["DATABASE_URL"] = "postgresql://reload:hunter2@127.0.0.1:9/hunter2"
    report = await setup.run(balance=True, form=form)

    assert not any(secret in report.text for secret in [*secrets.split(), "hunter2"])
    assert not any(sign in report.text for sign in "\x1b\r\u202e")
    assert report.text.count("[redacted]") >= 10
    assert max(map(len, report.lines)) < 900


# Ports


@pytest.mark.parametrize("admin", [False, True])
async def test_a_port_of_a_running_bot_is_in_use_rightly(setup: Setup, free_port: int, *, admin: bool) -> None:
    """The check can be run beside it, wherever its health is served."""
    server = WebServer("127.0.0.1", free_port, Timing(http_stop=0.1))

    async def healthy() -> dict[str, str]:
        return {"worker": "ok"}

    add_health(server.app, "/healthz", healthy)
    await server.start()
    setup.env["ADMIN_PORT" if admin else "PORT"] = str(free_port)
    report = await setup.run()
    await server.stop()

    assert report.code == 0
    assert report.line(f"port {free_port}") == f"✓ port {free_port}: in use by a running bot"


# The database


async def test_nothing_is_changed(setup: Setup) -> None:
    """Nothing is posted, reloaded, connected or written."""
    await setup.make_tables()
    before = contents(setup.folder)
    await setup.run()

    assert contents(setup.folder) == before
    assert (setup.slack.messages, setup.slack.connections, setup.modelslab.calls) == ([], 0, [])


async def test_everything_is_right_in_http_mode_too(setup: Setup) -> None:
    """Only the signing secret can't be checked. The app's token is not needed."""
    setup.use_http_mode()
    report = await setup.run()

    assert (report.code, report.marked("✗"), report.not_checked) == (0, [], [SIGNING_SECRET])
    assert {call.method for call in setup.slack.calls} == {"auth.test", "users.info", "conversations.info"}


async def test_a_database_on_postgresql_is_written_and_nothing_kept(setup: Setup, postgres_url: str) -> None:
    """Tables that are there are written without a row, tables to come are made and unmade; clocks are compared."""
    setup.env["DATABASE_URL"] = postgres_url
    fresh = await setup.run()
    again = await setup.run()
    await setup.make_tables()
    made = await setup.run()

    assert fresh.line("schema") == "✓ schema: no tables yet; the bot creates them when it starts"
    assert again.line("schema") == fresh.line("schema")
    assert made.line("schema") == f"✓ schema: version {schema.VERSION}, writable"
    assert made.line("database").startswith("✓ database: PostgreSQL 1")
    assert made.line("clock vs database") == "✓ clock vs database: in sync"


@pytest.mark.parametrize("exists", [False, True])
async def test_a_new_or_empty_file_stays_as_it_is(setup: Setup, *, exists: bool) -> None:
    """The tables that the bot will make are made to see that they can be, and unmade."""
    if exists:
        setup.file.touch()
    before = contents(setup.folder)
    report = await setup.run()

    can = "is writable" if exists else "doesn't exist yet and can be created"
    assert report.line("database") == f"✓ database: {setup.file} {can}"
    assert exists == ("✓ schema: no tables yet; the bot creates them when it starts" in report.lines)
    assert contents(setup.folder) == before


async def test_an_earlier_version_is_left_to_the_bot(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it will do is said, and not done."""
    await setup.make_tables()
    monkeypatch.setattr("bot.storage.schema.VERSION", schema.VERSION + 1)
    report = await setup.run()

    assert report.line("schema").endswith(f"; the bot updates it to {schema.VERSION} when it starts")


@pytest.mark.parametrize("tables", [False, True])
async def test_a_running_bot_keeps_its_file(setup: Setup, *, tables: bool) -> None:
    """The file is read beside it, and neither its lock nor its right to write is taken, even before its first table."""
    if tables:
        database = await setup.hold_database()
        await database.run(lambda tx: tx.exec_driver_sql("DELETE FROM reload_model_reloads"))
    else:
        setup.file.touch()
        database = Database(setup.env["DATABASE_URL"], lambda: 0.0)
        await database.start()
    report = await setup.run()
    await database.stop()

    state = f"version {schema.VERSION}" if tables else "no tables yet; the bot creates them when it starts"
    assert report.line("database") == f"✓ database: {setup.file} is in use by a running bot"
    assert report.line("schema") == f"✓ schema: {state}"


async def test_a_file_that_another_program_writes_to_is_left_alone(setup: Setup) -> None:
    """It will be let go of."""
    setup.patch.setattr("bot.ops.doctor.database.BUSY_SECONDS", 0.05)
    await setup.make_tables()
    with closing(sqlite3.connect(setup.file)) as other:
        other.execute("BEGIN IMMEDIATE")
        report = await setup.run()

    assert (report.code, report.line("database")) == (0, f"– database: another program is writing to {setup.file}")
    assert report.line("schema") == "– schema: not checked"


# Slack


async def test_people_of_the_organisation_are_at_home(setup: Setup) -> None:
    """On Enterprise Grid, people of a sister workspace may too."""
    setup.slack.enterprise_id = "E0ORG"
    user = {"name": "ada", "team_id": "T0OTHER", "enterprise_user": {"enterprise_id": "E0ORG"}}
    setup.slack.fail("users.info", Json(200, {"ok": True, "user": user}))

    assert (await setup.run()).line(f"ALLOWED_USERS {ADA}") == f"✓ ALLOWED_USERS {ADA}: ada, active"


async def test_ids_need_optional_scopes(setup: Setup) -> None:
    """The bot itself works without them, so their lack isn't a problem; without IDs none is needed."""
    setup.slack.scopes -= CAN_LOOK_UP
    setup.env["ALLOWED_USERS"] = " ".join(f"U0{number}" for number in range(7))
    report = await setup.run()

    assert report.code == 0
    assert report.not_checked == [
        "– ALLOWED_USERS: not checked (needs the optional scope users:read)",
        "– ALLOWED_CHANNELS: not checked (needs the optional scope channels:read)",
    ]
    assert {call.method for call in setup.slack.calls} == {"auth.test", "apps.connections.open"}
    setup.env |= {"ALLOWED_USERS": "*", "ALLOWED_CHANNELS": ""}
    assert (await setup.run()).not_checked == []


@pytest.mark.parametrize(
    ("method", "answer", "lines"),
    [
        ("auth.test", RateLimited(9), ["Slack: {host} currently answers ratelimited", "{rest}"]),
        ("auth.test", Json(503, {}), ["Slack: {host} currently answers http_503", "{rest}"]),
        ("apps.connections.open", "internal_error", ["app token: not checked (internal_error)"]),
        ("apps.connections.open", Json(200, {"ok": True, "url": "x"}), ["Socket Mode: not checked ({bad_url})"]),
        ("apps.connections.open", Json(200, {"ok": True}), ["Socket Mode: not checked ({bad_url})"]),
        ("users.info", "missing_scope", [f"ALLOWED_USERS {user}: not checked (missing_scope)" for user in (ADA, BEN)]),
        ("users.info", RateLimited(9), [f"ALLOWED_USERS {user}: not checked (ratelimited)" for user in (ADA, BEN)]),
        ("conversations.info", "fatal_error", [f"ALLOWED_CHANNELS {MODELS}: not checked (fatal_error)"]),
    ],
)
async def test_what_slack_does_not_answer_now_is_not_a_problem(
    method: str, answer: Answer | str, lines: list[str], setup: Setup
) -> None:
    """A limit or an outage says nothing about the set-up."""
    setup.slack.fail(method, answer)
    report = await setup.run()

    host, rest = setup.slack.api_url.split("/")[2], "bot token, scopes, people and channels: not checked"
    expected = [f"– {line.format(host=host, rest=rest, bad_url='InvalidUrlClientError')}" for line in lines]
    assert (report.code, report.not_checked) == (0, expected)


async def test_answers_without_scopes_date_or_names_are_taken_as_they_are(setup: Setup) -> None:
    """A proxy may drop or mangle headers, and what is not said is not held against anybody."""
    setup.slack.fail("auth.test", Json(200, {"ok": True, "team_id": "T0SANDBOX"}, {"Date": "soon"}))
    for method in ("users.info", "conversations.info"):
        setup.slack.fail(method, Json(200, {"ok": True, "user": [], "channel": None}))
    report = await setup.run()

    assert report.not_checked == ["– clock vs Slack: unknown", "– bot scopes: not checked (Slack didn't list them)"]
    assert report.line(f"ALLOWED_USERS {ADA}") == f"✓ ALLOWED_USERS {ADA}: no name, active"
    assert report.line(f"ALLOWED_CHANNELS {MODELS}") == f"✓ ALLOWED_CHANNELS {MODELS}: #{MODELS}, active"


async def test_an_app_of_a_whole_organisation_is_at_home_there(setup: Setup) -> None:
    """Its token is for no workspace."""
    named = {"team_id": None, "team": "Acme", "enterprise_id": "E0ORG", "user": "bot", "user_id": "U0BOT"}
    setup.slack.fail("auth.test", Json(200, {"ok": True, **named}))

    assert (await setup.run()).line("bot token") == "✓ bot token: organisation Acme (E0ORG), as bot (U0BOT)"


async def test_user_groups_are_looked_up(setup: Setup) -> None:
    """With the number of their members. A limit says nothing about a group."""
    setup.use_groups({CREW: [ADA, BEN], "S0TEAM": [BEN]})
    setup.env["ALLOWED_USERS"] = f"S0TEAM {CREW}"
    read = await setup.run()
    setup.slack.heal(GROUP_METHOD)
    setup.slack.fail(GROUP_METHOD, RateLimited(9))
    setup.env["ALLOWED_USERS"] = CREW
    limited = await setup.run()

    assert read.line(f"ALLOWED_USERS {CREW}") == f"✓ ALLOWED_USERS {CREW}: a user group of 2"
    assert read.line("ALLOWED_USERS S0TEAM") == "✓ ALLOWED_USERS S0TEAM: a user group of 1"
    assert (limited.code, limited.not_checked) == (0, [f"– ALLOWED_USERS {CREW}: not checked (ratelimited)"])


# ModelsLab


async def test_the_balance_is_shown_only_on_request(setup: Setup) -> None:
    """It is nobody's business who reads the output of a check."""
    silent, shown = await setup.run(), await setup.run(balance=True)
    setup.modelslab.wallet = Json(200, {"status": "success"})
    unknown = await setup.run(balance=True)

    assert "43.6" not in silent.text
    assert shown.line("ModelsLab balance") == "✓ ModelsLab balance: 43.6 USD"
    assert unknown.line("ModelsLab balance") == "✓ ModelsLab balance: unknown"


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (Raw(503), "ModelsLab is having problems: HTTP 503"),
        (error(200, "Not today"), "ModelsLab refused the request: Not today"),
    ],
)
async def test_what_modelslab_does_not_answer_now_is_not_a_problem(answer: Answer, line: str, setup: Setup) -> None:
    """A limit, an outage or a riddle says nothing about the key."""
    setup.modelslab.wallet = answer
    report = await setup.run()

    assert (report.code, report.not_checked) == (0, [f"– ModelsLab key: {line}"])


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (error(403, "This feature requires a premium subscription"), "plan doesn't include it: This feature requires"),
        (Json(200, {"status": "success"}), "sent a reply I couldn't understand: no list"),
        (Hang(), "no answer within 0.5 s"),
    ],
    ids=["refused", "no list", "hangs"],
)
async def test_a_list_of_models_that_cannot_be_read_is_not_a_problem(
    answer: Answer, why: str, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bot works without; the other list is shown all the same."""
    monkeypatch.setattr("bot.ops.doctor.modelslab.LIST_SECONDS", 0.5 if isinstance(answer, Hang) else 10.0)
    setup.modelslab.lists["own"] = answer
    report = await setup.run()

    assert report.code == 0
    assert report.line("account's models").startswith("– account's models: the picker can't suggest them: ")
    assert why in report.line("account's models")
    if not isinstance(answer, Hang):
        assert report.line("public models") == "✓ public models: listed"


async def test_all_of_a_short_list_is_counted(setup: Setup) -> None:
    """Nothing but the beginning of a long one is read."""
    setup.modelslab.own_models = [f"m{number}" for number in range(6000)]
    setup.modelslab.lists["public"] = Json(200, [{"model_id": "sdxl"}])
    report = await setup.run()

    assert report.line("account's models") == "✓ account's models: listed"
    assert report.line("public models") == "✓ public models: 1 listed"


# Time


@pytest.mark.parametrize(
    ("ahead", "text"),
    [
        (-45.0, "this machine is 45 seconds behind"),
        (200.0, "this machine is 3.3 minutes ahead"),
        (3600.0, "this machine is 1 hour ahead"),
        (91_694_318.0, "this machine is 2.9 years ahead"),
    ],
)
def test_clocks_that_differ_are_compared_in_readable_units(ahead: float, text: str) -> None:
    """Nobody counts in millions of seconds."""
    assert clock("clock", ahead).text == text
    assert clock("clock", 29.0) == ok("clock", "in sync")


async def test_a_check_that_gets_no_answer_hides_no_other(setup: Setup) -> None:
    """Neither a service nor an ID."""
    setup.modelslab.wallet = Reset()
    setup.slack.fail("users.info", HalfAnswer(), times=1)
    report = await setup.run()

    assert [line.split(":")[0] for line in report.marked("✗")] == ["✗ ModelsLab"]
    assert len(report.not_checked) == 2
    assert report.line(f"ALLOWED_CHANNELS {MODELS}").startswith("✓")


async def test_a_check_that_hangs_or_breaks_hides_no_other() -> None:
    """That is a result like any other."""

    async def hangs() -> list[CheckResult]:
        await asyncio.Event().wait()
        return []

    async def breaks() -> list[CheckResult]:
        raise KeyError("what")

    assert await in_time("the weather", 0.01, hangs()) == [unknown("the weather", "no answer within 0.01 s")]
    bug = "this is a bug in the check; please report it"
    assert await in_time("the weather", 1.0, breaks()) == [problem("the weather", "KeyError: 'what'", bug)]


def test_a_slow_dns_lookup_does_not_delay_the_exit() -> None:
    """Threads can't be stopped, but they can be left behind. One that fails says so."""
    release, before = threading.Event(), threading.enumerate()

    async def wait() -> None:
        asyncio.get_running_loop().set_default_executor(check.DaemonThreads())
        with pytest.raises(socket.gaierror):
            await asyncio.get_running_loop().getaddrinfo("x", 1, flags=socket.AI_NUMERICHOST)
        waiting = asyncio.ensure_future(asyncio.to_thread(release.wait, 60))
        await asyncio.wait([waiting], timeout=0.01)

    asyncio.run(wait())
    running = [thread for thread in threading.enumerate() if thread not in before]
    release.set()

    assert [thread.daemon for thread in running] == [True]


# Whether one person is allowed


@pytest.mark.parametrize(
    ("env", "code", "line"),
    [
        ({}, 0, f"✓ {ADA}: can reload models in {MODELS} (ALLOWED_CHANNELS), because ALLOWED_USERS has {ADA}"),
        (
            {"ALLOWED_USERS": "*", "ALLOWED_CHANNELS": ""},
            0,
            f"✓ {ADA}: can reload models in any channel, because ALLOWED_USERS has * (everyone in this workspace)",
        ),
        ({"ALLOWED_USERS": BEN}, 1, f"✗ {ADA}: can't reload models: not in ALLOWED_USERS → add {ADA} to ALLOWED_USERS"),
        ({"ALLOWED_USERS": "ada"}, 1, f"✗ ALLOWED_USERS: has 'ada', which isn't a Slack ID → {LOOK_LIKE}"),
        ({"ALLOWED_CHANNEL": MODELS}, 1, "✗ ALLOWED_CHANNEL: isn't a setting → did you mean ALLOWED_CHANNELS?"),
        (
            {"ALLOWED_USERS": CREW, "ADMIN_USERS": ADA, "DATABASE_URL": "no"},
            0,
            f"✓ {ADA}: can reload models in {MODELS} (ALLOWED_CHANNELS), because ADMIN_USERS has this ID",
        ),
    ],
)
async def test_whether_a_person_is_allowed(env: dict[str, str], code: int, line: str, setup: Setup) -> None:
    """One line, with the rule, and no request is sent: the token isn't needed."""
    setup.env |= {"SLACK_BOT_TOKEN": "", **env}
    report = await setup.run(who=ADA)

    assert (report.code, report.lines, setup.slack.calls) == (code, [line], [])


@pytest.mark.parametrize(
    ("users", "crew", "code", "lines"),
    [
        (CREW, [ADA], 0, [f"✓ {ADA}: can reload models in any channel, because ALLOWED_USERS has {CREW}"]),
        (CREW, [BEN], 1, [f"✗ {ADA}: {NEITHER} → add {ADA} to ALLOWED_USERS, or to {CREW} in Slack"]),
        (
            f"{CREW} S0NONE",
            [BEN],
            1,
            [
                "✗ ALLOWED_USERS S0NONE: there is no such user group → fix it in ALLOWED_USERS",
                f"– {ADA}: depends on S0NONE, which can't be read",
            ],
        ),
        (f"{CREW} S0NONE", [ADA], 0, [f"✓ {ADA}: can reload models in any channel, because ALLOWED_USERS has {CREW}"]),
    ],
)
async def test_whether_a_person_is_allowed_by_a_user_group(
    users: str, crew: list[str], code: int, lines: list[str], setup: Setup
) -> None:
    """Only the groups are read. Neither the database nor ModelsLab is needed."""
    setup.use_groups({CREW: crew})
    setup.env |= {"ALLOWED_USERS": users, "ALLOWED_CHANNELS": "", "MODELSLAB_API_KEY": "", "DATABASE_URL": "no"}
    report = await setup.run(who=ADA)

    assert (report.code, report.lines) == (code, lines)
    assert {call.method for call in setup.slack.calls} == {GROUP_METHOD}


async def test_whether_a_person_is_allowed_by_an_admin(setup: Setup) -> None:
    """The access that admins gave is in the database."""
    setup.env |= {"ALLOWED_USERS": "", "ADMIN_USERS": BEN, "ALLOWED_CHANNELS": ""}
    (line,) = (await setup.run(who=ADA)).lines
    assert line.startswith(f"– {ADA}: depends on the access that admins gave. DATABASE_URL: there is no file")
    database = await setup.hold_database()
    (line,) = (await setup.run(who=ADA)).lines
    fix = f"add {ADA} to ALLOWED_USERS, or have an admin give them access in Slack"
    assert line == f"✗ {ADA}: can't reload models: not in ALLOWED_USERS → {fix}"

    await database.run(grants.add_people, Note(BEN, "T0HOME", "", "", "access_granted", "ADMIN_USERS"), [ADA])
    report = await setup.run(who=ADA)
    await database.stop()

    assert report.lines == [f"✓ {ADA}: can reload models in any channel, because {BEN} gave them access on 1970-01-01"]
    setup.env["DATABASE_URL"] = "no"
    assert [line.split(":")[0] for line in (await setup.run(who=ADA)).lines] == ["✗ DATABASE_URL"]


async def test_admins_and_their_channel_are_looked_up(setup: Setup) -> None:
    """As other people and channels are."""
    setup.env |= {"ADMIN_USERS": "U0GONE", "ADMIN_CHANNEL": "C0GONE"}
    report = await setup.run()

    assert report.line("ADMIN_USERS U0GONE").endswith("there is no such person → fix it in ADMIN_USERS")
    assert report.line("ADMIN_CHANNEL C0GONE").endswith(
        "→ fix it in ADMIN_CHANNEL, or /invite the bot if it is private"
    )


async def test_a_group_needs_a_token_to_read(setup: Setup) -> None:
    """Its problem is the answer."""
    setup.env |= {"ALLOWED_USERS": CREW, "SLACK_BOT_TOKEN": ""}
    report = await setup.run(who=ADA)

    assert (report.code, [line.split(":")[0] for line in report.lines]) == (1, ["✗ SLACK_BOT_TOKEN"])


async def test_user_groups_of_an_organisation_are_looked_up(setup: Setup) -> None:
    """In each workspace that the app was added to. Groups of others can't be seen."""
    organisation = FakeOrganisation({"T0ART": FakeUserGroups({}), "T0OPS": FakeUserGroups({CREW: [ADA, BEN]})})
    named = {"team_id": None, "team": "Acme", "enterprise_id": "E0ORG", "is_enterprise_install": True}
    setup.slack.fail("auth.test", Json(200, {"ok": True, **named}))
    setup.slack.fail("auth.teams.list", organisation.listed)
    setup.slack.fail(GROUP_METHOD, organisation)
    setup.env["ALLOWED_USERS"] = f"{CREW} S0NONE"
    report = await setup.run()

    assert report.line(f"ALLOWED_USERS {CREW}") == f"✓ ALLOWED_USERS {CREW}: a user group of 2"
    assert report.line("ALLOWED_USERS S0NONE").endswith(
        "there is no such user group → fix it in ALLOWED_USERS, or add the app to the workspace of this group"
    )
