"""The checks accept what is right, say what they can't check, and change nothing."""
# ruff: noqa: RUF001 - the mark is a dash

import asyncio
import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from bot.ops.doctor import check
from bot.ops.doctor.results import CheckResult, Status, clock, in_time, ok
from bot.sandbox.modelslab import BALANCE, error
from bot.slack.client import BoundedResponse
from bot.storage import schema
from bot.storage.database import Database
from tests.answers import Answer, Hang, Json, RateLimited, Raw
from tests.ops.doctor.conftest import ADA, BEN, CAN_LOOK_UP, CREW, GROUPS, GROUPS_LIST, MODELS, Setup

SIGNING_SECRET = "– signing secret: not checked: the first command from Slack shows whether it is right"

LOOK_LIKE = "people's IDs look like U012AB3CD (in Slack: profile, ⋮, Copy member ID), user groups' IDs like S012AB3CD"

NEITHER = "can't reload models: ALLOWED_USERS lists neither them nor a user group with them"

RIGHT = f"""\
✓ SLACK_BOT_TOKEN: set
✓ SLACK_APP_TOKEN: set
– SLACK_SIGNING_SECRET: not needed in Socket Mode
✓ SLACK_API_URL: {{slack}}
✓ MODELSLAB_API_KEY: set
✓ MODELSLAB_URL: {{modelslab}}
✓ MODELSLAB_CONCURRENCY: 4
✓ ALLOWED_USERS: {ADA}, {BEN}
✓ ALLOWED_CHANNELS: {MODELS}
✓ COMMANDS_PER_PERSON: 30
✓ MAX_IN_FLIGHT: 100
✓ RELOAD_SECONDS: 120
✓ DATABASE_URL: sqlite:///{{file}}
✓ HOST: 0.0.0.0
✓ PORT: 3000
✓ ADMIN_PORT: not set
✓ HTTPS_PROXY: not set
✓ HTTP_PROXY: not set
✓ NO_PROXY: not set
✓ LOG_LEVEL: INFO
✓ LOG_FORMAT: json
✓ HISTORY_DAYS: 90
✓ database: {{file}} is writable
✓ schema: version {schema.VERSION}, writable
✓ Slack: {{slack_host}} answers
✓ bot token: workspace Sandbox (T0SANDBOX), as reload-model (U0BOT)
✓ clock vs Slack: in sync
✓ bot scopes: commands, chat:write, chat:write.public, im:write
✓ ALLOWED_USERS {ADA}: ada, active
✓ ALLOWED_USERS {BEN}: ben, active
✓ ALLOWED_CHANNELS {MODELS}: #models, active
✓ app token: accepted
✓ Socket Mode: {{slack_host}} answers
✓ ModelsLab: {{modelslab_host}} answers
✓ ModelsLab key: accepted
"""


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, and what is in it."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_there_is_a_line_for_everything(setup: Setup) -> None:
    """With its mark, no value of a secret, and exit code 0."""
    await setup.make_tables()
    report = await setup.run()

    expected = RIGHT.format(
        slack=setup.slack.api_url,
        modelslab=setup.modelslab.url,
        file=setup.file,
        slack_host=setup.slack.api_url.split("/")[2],
        modelslab_host=setup.modelslab.url.split("/")[2],
    )
    assert report.text == expected
    assert report.code == 0


async def test_nothing_is_changed(setup: Setup) -> None:
    """Nothing is posted, reloaded, connected or written."""
    await setup.make_tables()
    before = contents(setup.folder)
    await setup.run()

    assert contents(setup.folder) == before
    assert (setup.slack.messages, setup.slack.connections, setup.modelslab.calls) == ([], 0, [])


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_everything_is_right_in_http_mode_too(
    database: str, setup: Setup, request: pytest.FixtureRequest
) -> None:
    """Only the signing secret can't be checked. The app's token is not needed."""
    setup.use_http_mode()
    if database == "postgresql":
        setup.env["DATABASE_URL"] = request.getfixturevalue("postgres_url")
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


async def test_a_file_that_is_not_there_yet_is_not_made(setup: Setup) -> None:
    """Its folder can be written, and that is enough."""
    report = await setup.run()

    assert report.line("database") == f"✓ database: {setup.file} doesn't exist yet and can be created"
    assert report.line("schema") == "✓ schema: no tables yet; the bot creates them when it starts"
    assert contents(setup.folder) == {}


async def test_an_empty_file_stays_empty(setup: Setup) -> None:
    """The tables that the bot will make are made to see that they can be, and unmade."""
    setup.file.touch()
    report = await setup.run()

    assert report.line("schema") == "✓ schema: no tables yet; the bot creates them when it starts"
    assert contents(setup.folder) == {"reload-model.db": b""}


async def test_an_earlier_version_is_left_to_the_bot(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it will do is said, and not done."""
    await setup.make_tables()
    monkeypatch.setattr("bot.storage.schema.VERSION", schema.VERSION + 1)
    report = await setup.run()

    assert report.line("schema").endswith(f"; the bot updates it to {schema.VERSION} when it starts")


async def test_a_running_bot_keeps_its_file(setup: Setup) -> None:
    """The file is read beside it, and neither its lock nor its right to write is taken, whatever it does."""
    database = await setup.hold_database()
    await database.run(lambda tx: tx.exec_driver_sql("DELETE FROM reload_model_reloads"))
    report = await setup.run()
    await database.run(lambda tx: tx.exec_driver_sql("DELETE FROM reload_model_reloads"))
    await database.stop()

    assert report.line("database") == f"✓ database: {setup.file} is in use by a running bot"
    assert report.line("schema") == f"✓ schema: version {schema.VERSION}"


async def test_a_bot_that_has_just_begun_keeps_its_file_too(setup: Setup) -> None:
    """Its tables are not made by anybody else, not even to be unmade."""
    setup.file.touch()
    database = Database(setup.env["DATABASE_URL"], lambda: 0.0)
    await database.start()
    report = await setup.run()
    await database.stop()

    assert report.line("database") == f"✓ database: {setup.file} is in use by a running bot"
    assert report.line("schema") == "✓ schema: no tables yet; the bot creates them when it starts"


async def test_the_balance_is_shown_only_on_request(setup: Setup) -> None:
    """It is nobody's business who reads the output of a check."""
    silent, shown = await setup.run(), await setup.run(balance=True)
    setup.modelslab.wallet = Json(200, {"status": "success"})
    unknown = await setup.run(balance=True)

    assert "43.6" not in silent.text
    assert shown.line("ModelsLab balance") == "✓ ModelsLab balance: 43.6 USD"
    assert unknown.line("ModelsLab balance") == "✓ ModelsLab balance: unknown"


@pytest.mark.parametrize(("team", "organisation"), [("T0SANDBOX", None), ("T0OTHER", "E0ORG")])
async def test_people_of_the_workspace_or_its_organisation_are_at_home(
    setup: Setup, team: str, organisation: str | None
) -> None:
    """On Enterprise Grid, people of a sister workspace may too."""
    setup.slack.enterprise_id = organisation
    user = {"name": "ada", "team_id": team, "enterprise_user": {"enterprise_id": organisation}}
    setup.slack.fail("users.info", Json(200, {"ok": True, "user": user}))

    assert (await setup.run()).line(f"ALLOWED_USERS {ADA}") == f"✓ ALLOWED_USERS {ADA}: ada, active"


async def test_everyone_and_everywhere_is_nothing_to_look_up(setup: Setup) -> None:
    """There are no ids to ask for."""
    setup.env |= {"ALLOWED_USERS": "*", "ALLOWED_CHANNELS": ""}
    setup.slack.scopes -= CAN_LOOK_UP
    report = await setup.run()

    assert [report.line("ALLOWED_USERS"), report.line("ALLOWED_CHANNELS")] == [
        "✓ ALLOWED_USERS: *",
        "✓ ALLOWED_CHANNELS: any",
    ]
    assert (report.marked("✗"), report.not_checked) == ([], [])


async def test_ids_need_optional_scopes(setup: Setup) -> None:
    """The bot itself works without them, so their lack isn't a problem."""
    setup.slack.scopes -= CAN_LOOK_UP
    setup.env["ALLOWED_USERS"] = " ".join(f"U0{number}" for number in range(7))
    report = await setup.run()

    assert (report.code, report.not_checked) == (
        0,
        [
            "– ALLOWED_USERS: not checked (needs the optional scope users:read)",
            "– ALLOWED_CHANNELS: not checked (needs the optional scope channels:read)",
        ],
    )
    assert {call.method for call in setup.slack.calls} == {"auth.test", "apps.connections.open"}


@pytest.mark.parametrize(
    ("method", "answer", "lines"),
    [
        (
            "auth.test",
            RateLimited(9),
            [
                "Slack: {host} answers ratelimited at the moment",
                "bot token: not checked",
                "bot scopes: not checked",
                "ALLOWED_USERS: not checked",
                "ALLOWED_CHANNELS: not checked",
            ],
        ),
        (
            "auth.test",
            Json(503, {}, {"Date": "soon"}),
            [
                "Slack: {host} answers http_503 at the moment",
                "bot token: not checked",
                "bot scopes: not checked",
                "ALLOWED_USERS: not checked",
                "ALLOWED_CHANNELS: not checked",
            ],
        ),
        ("apps.connections.open", "internal_error", ["app token: not checked (internal_error)"]),
        (
            "users.info",
            "missing_scope",
            [f"ALLOWED_USERS {user}: not checked (missing_scope)" for user in (ADA, BEN)],
        ),
        (
            "users.info",
            RateLimited(9),
            [f"ALLOWED_USERS {user}: not checked (ratelimited)" for user in (ADA, BEN)],
        ),
        ("conversations.info", "fatal_error", [f"ALLOWED_CHANNELS {MODELS}: not checked (fatal_error)"]),
    ],
)
async def test_what_slack_does_not_answer_now_is_not_a_problem(
    method: str, answer: Answer | str, lines: list[str], setup: Setup
) -> None:
    """A limit or an outage says nothing about the set-up."""
    setup.slack.fail(method, answer)
    report = await setup.run()

    host = setup.slack.api_url.split("/")[2]
    assert (report.code, report.not_checked) == (0, [f"– {line.format(host=host)}" for line in lines])


async def test_without_ids_there_is_nothing_that_could_not_be_checked(setup: Setup) -> None:
    """Everyone is allowed, everywhere."""
    setup.env |= {"ALLOWED_USERS": "*", "ALLOWED_CHANNELS": "", "SLACK_BOT_TOKEN": "xoxb-other"}

    assert (await setup.run()).not_checked == ["– bot scopes: not checked"]


async def test_an_answer_can_be_read_twice(setup: Setup) -> None:
    """As any answer of aiohttp's."""
    async with (
        aiohttp.ClientSession(response_class=BoundedResponse) as session,
        session.get(f"{setup.slack.api_url}auth.test") as answer,
    ):
        assert await answer.read() == await answer.read() == b'{"ok": false, "error": "not_authed"}'


async def test_without_scopes_in_the_answer_ids_are_tried(setup: Setup) -> None:
    """A proxy may drop headers."""
    answer = {"ok": True, "team_id": "T0SANDBOX"}
    setup.slack.fail("auth.test", Json(200, answer))
    report = await setup.run()

    assert report.not_checked == ["– bot scopes: Slack didn't name them"]
    assert report.line(f"ALLOWED_USERS {ADA}") == f"✓ ALLOWED_USERS {ADA}: ada, active"


async def test_an_answer_of_another_shape_is_taken_as_it_is(setup: Setup) -> None:
    """What is not said is not held against anybody."""
    for method in ("users.info", "conversations.info"):
        setup.slack.fail(method, Json(200, {"ok": True, "user": [], "channel": None}))
    report = await setup.run()

    assert report.line(f"ALLOWED_USERS {ADA}") == f"✓ ALLOWED_USERS {ADA}: no name, active"
    assert report.line(f"ALLOWED_CHANNELS {MODELS}") == f"✓ ALLOWED_CHANNELS {MODELS}: #{MODELS}, active"


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (
            error(429, "Rate limit exceeded."),
            "ModelsLab kept rate-limiting us: Rate limit exceeded.",
        ),
        (Raw(503), "ModelsLab is having problems: HTTP 503"),
        (error(200, "Not today"), "ModelsLab refused the request: Not today"),
    ],
)
async def test_what_modelslab_does_not_answer_now_is_not_a_problem(answer: Answer, line: str, setup: Setup) -> None:
    """A limit, an outage or a riddle says nothing about the key."""
    setup.modelslab.wallet = answer
    report = await setup.run()

    assert (report.code, report.not_checked) == (0, [f"– ModelsLab key: {line}"])


async def test_a_file_that_another_program_writes_to_is_left_alone(setup: Setup) -> None:
    """It will be let go of."""
    await setup.make_tables()
    with closing(sqlite3.connect(setup.file)) as other:
        other.execute("BEGIN IMMEDIATE")
        report = await setup.run()

    assert (report.code, report.line("database")) == (0, f"– database: another program is writing to {setup.file}")
    assert report.line("schema") == "– schema: not checked"


async def test_an_answer_without_a_date_leaves_the_clock_unknown(setup: Setup) -> None:
    """A proxy may drop or mangle headers."""
    setup.slack.fail("auth.test", Json(200, {"ok": True, "team_id": "T0SANDBOX"}, {"Date": "soon"}))

    assert (await setup.run()).line("clock vs Slack") == "– clock vs Slack: unknown"


@pytest.mark.parametrize(
    ("ahead", "text"),
    [
        (-45.0, "this machine is 45.0 seconds behind"),
        (200.0, "this machine is 3.3 minutes ahead"),
        (-7300.0, "this machine is 2.0 hours behind"),
        (200_000.0, "this machine is 2.3 days ahead"),
        (91_694_318.0, "this machine is 2.9 years ahead"),
    ],
)
def test_clocks_that_differ_are_compared_in_readable_units(ahead: float, text: str) -> None:
    """Nobody counts in millions of seconds."""
    assert clock("clock", ahead).text == text
    assert clock("clock", 29.0) == ok("clock", "in sync")


@pytest.mark.parametrize(("url", "why"), [("nonsense", "InvalidUrlClientError"), (None, "InvalidUrlClientError")])
async def test_a_websocket_without_an_address_is_not_checked(url: str | None, why: str, setup: Setup) -> None:
    """What Slack answers may make no sense."""
    setup.slack.fail("apps.connections.open", Json(200, {"ok": True, "url": url}))

    assert (await setup.run()).not_checked == [f"– Socket Mode: not checked ({why})"]


async def test_a_check_that_gets_no_answer_gives_up(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are told all the same."""
    monkeypatch.setattr("bot.ops.doctor.check.SECONDS", 0.5)
    setup.modelslab.wallet = Hang()
    report = await setup.run()

    assert report.not_checked == ["– ModelsLab: no answer within 0.5 s"]
    assert report.line("bot token").startswith("✓")


async def test_an_id_that_gets_no_answer_hides_no_other(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its own time."""
    monkeypatch.setattr("bot.ops.doctor.slack.ANSWER_SECONDS", 0.5)
    setup.slack.fail("users.info", Hang(), times=1)
    report = await setup.run()

    assert len(report.not_checked) == 1
    assert report.not_checked[0].endswith(": not checked (TimeoutError)")
    assert report.line(f"ALLOWED_CHANNELS {MODELS}").startswith("✓")


async def test_a_check_that_breaks_hides_no_other() -> None:
    """Its error is a result like any other."""

    async def breaks() -> list[CheckResult]:
        raise KeyError("what")

    (found,) = await in_time("the weather", 1.0, breaks())

    assert (found.status, found.text) == (Status.PROBLEM, "KeyError: 'what'")
    assert found.fix == "this is a bug in the check; please report it"


def test_a_slow_dns_lookup_does_not_delay_the_exit() -> None:
    """Threads can't be stopped, but they can be left behind."""
    release, before = threading.Event(), threading.enumerate()

    async def wait() -> None:
        asyncio.get_running_loop().set_default_executor(check.DaemonThreads())
        waiting = asyncio.ensure_future(asyncio.to_thread(release.wait, 60))
        await asyncio.wait([waiting], timeout=0.01)

    asyncio.run(wait())
    running = [thread for thread in threading.enumerate() if thread not in before]
    release.set()

    assert [thread.daemon for thread in running] == [True]


async def test_an_error_in_a_thread_reaches_its_owner() -> None:
    """A DNS lookup can fail."""

    def no() -> None:
        raise OSError("no such host")

    with pytest.raises(OSError, match="no such host"):
        await asyncio.get_running_loop().run_in_executor(check.DaemonThreads(), no)


async def test_programs_get_json(setup: Setup) -> None:
    """The same results, and whether any is a problem."""
    setup.slack.deactivated.add(BEN)
    setup.use_http_mode()
    report = await setup.run(as_json=True)
    told = json.loads(report.text)
    odd = {found["about"]: found for found in told["results"] if found["status"] != "ok"}

    assert report.text.isascii()
    assert (report.code, told["ok"]) == (1, False)
    assert odd == {
        f"ALLOWED_USERS {BEN}": {
            "about": f"ALLOWED_USERS {BEN}",
            "status": "problem",
            "text": "ben is deactivated",
            "fix": "remove it from ALLOWED_USERS",
        },
        "signing secret": {
            "about": "signing secret",
            "status": "unknown",
            "text": "not checked: the first command from Slack shows whether it is right",
            "fix": "",
        },
        "SLACK_APP_TOKEN": {
            "about": "SLACK_APP_TOKEN",
            "status": "unknown",
            "text": "not needed in HTTP mode",
            "fix": "",
        },
    }


def repeats(setup: Setup) -> str:
    """Have everybody repeat the secrets that they are sent, with what a terminal would obey."""
    secrets = f"{setup.slack.bot_token} {setup.slack.app_token} {setup.modelslab.key}"
    said = f"\x1b[2J\r\n{secrets}\u202e" + "!" * 1000
    setup.slack.fail("apps.connections.open", said)
    setup.slack.fail("conversations.info", said)
    setup.slack.fail("users.info", Json(200, {"ok": True, "user": {"name": said}}))
    setup.modelslab.wallet = Json(200, {**BALANCE.body, "data": {"balance": said}})  # type: ignore[dict-item]
    return secrets


@pytest.mark.parametrize("as_json", [False, True])
async def test_nobody_can_make_it_show_a_secret_or_a_control_character(*, as_json: bool, setup: Setup) -> None:
    """What services say is shown redacted, harmless and short."""
    secrets = repeats(setup)
    setup.env["DATABASE_URL"] = "postgresql://reload:hunter2@127.0.0.1:9/hunter2"
    report = await setup.run(balance=True, as_json=as_json)

    assert not any(secret in report.text for secret in [*secrets.split(), "hunter2"])
    assert not any(sign in report.text for sign in "\x1b\r\u202e")
    assert report.text.count("[redacted]") >= 10
    assert max(map(len, report.lines)) < 900


@pytest.mark.parametrize(
    ("env", "code", "line"),
    [
        ({}, 0, f"✓ {ADA}: can reload models in {MODELS} (ALLOWED_CHANNELS), by ALLOWED_USERS with {ADA}"),
        (
            {"ALLOWED_USERS": "*", "ALLOWED_CHANNELS": ""},
            0,
            f"✓ {ADA}: can reload models in any channel, by ALLOWED_USERS with * (everyone in this workspace)",
        ),
        (
            {"ALLOWED_USERS": BEN},
            1,
            f"✗ {ADA}: can't reload models: not in ALLOWED_USERS → add {ADA} to ALLOWED_USERS",
        ),
        (
            {"ALLOWED_USERS": "ada"},
            1,
            f"✗ ALLOWED_USERS: has 'ada', which isn't a Slack ID → {LOOK_LIKE}",
        ),
        (
            {"ALLOWED_CHANNEL": MODELS},
            1,
            "✗ ALLOWED_CHANNEL: isn't a setting → did you mean ALLOWED_CHANNELS?",
        ),
    ],
)
async def test_whether_a_person_is_allowed(env: dict[str, str], code: int, line: str, setup: Setup) -> None:
    """One line, with the rule, and no request is sent."""
    setup.env |= {"SLACK_BOT_TOKEN": "", **env}
    report = await setup.run(who=ADA)

    assert (report.code, report.lines, setup.slack.calls) == (code, [line], [])


@pytest.mark.parametrize(
    ("users", "crew", "code", "lines"),
    [
        (CREW, [ADA], 0, [f"✓ {ADA}: can reload models in any channel, by ALLOWED_USERS with {CREW}"]),
        (
            CREW,
            [BEN],
            1,
            [f"✗ {ADA}: {NEITHER} → add {ADA} to ALLOWED_USERS, or to {CREW} in Slack"],
        ),
        (
            f"{CREW} S0NONE",
            [BEN],
            1,
            [
                "✗ ALLOWED_USERS S0NONE: there is no such user group → fix it in ALLOWED_USERS",
                f"– {ADA}: depends on S0NONE, which can't be read",
            ],
        ),
        (f"{CREW} S0NONE", [ADA], 0, [f"✓ {ADA}: can reload models in any channel, by ALLOWED_USERS with {CREW}"]),
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
    assert {call.method for call in setup.slack.calls} == {GROUPS_LIST}


async def test_a_person_who_is_listed_needs_no_group(setup: Setup) -> None:
    """So no request is sent."""
    setup.env |= {"ALLOWED_USERS": f"{CREW} {ADA}", "SLACK_BOT_TOKEN": ""}
    report = await setup.run(who=ADA)

    assert (report.code, setup.slack.calls) == (0, [])


async def test_a_group_needs_a_token_to_read(setup: Setup) -> None:
    """Its problem is the answer."""
    setup.env |= {"ALLOWED_USERS": CREW, "SLACK_BOT_TOKEN": ""}
    report = await setup.run(who=ADA)

    assert report.code == 1
    assert [line.split(":")[0] for line in report.lines] == ["✗ SLACK_BOT_TOKEN"]


async def test_user_groups_are_looked_up(setup: Setup) -> None:
    """With the number of their members."""
    setup.use_groups({CREW: [ADA, BEN], "S0TEAM": [BEN]})
    setup.env["ALLOWED_USERS"] = f"S0TEAM {CREW}"
    report = await setup.run()

    assert (report.code, report.not_checked) == (0, [])
    assert report.line(f"ALLOWED_USERS {CREW}") == f"✓ ALLOWED_USERS {CREW}: a user group of 2"
    assert report.line("ALLOWED_USERS S0TEAM") == "✓ ALLOWED_USERS S0TEAM: a user group of 1"


async def test_a_group_that_slack_does_not_answer_for_now(setup: Setup) -> None:
    """A limit says nothing about the group."""
    setup.use_groups(GROUPS)
    setup.slack.heal(GROUPS_LIST)
    setup.slack.fail(GROUPS_LIST, RateLimited(9))
    setup.env["ALLOWED_USERS"] = CREW
    report = await setup.run()

    assert (report.code, report.not_checked) == (0, [f"– ALLOWED_USERS {CREW}: not checked (ratelimited)"])
