"""The checks find a sound set-up sound, say so where they cannot tell, and leave everything as it was."""
# ruff: noqa: RUF001 - the dash is what it looks like

import asyncio
import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from bot.ops.doctor import check
from bot.ops.doctor import result as finding
from bot.ops.doctor.result import Mark, in_time
from bot.ops.doctor.services import Heard
from bot.sandbox.modelslab import BALANCE, error
from bot.slack.client import BoundedResponse
from bot.storage import schema
from bot.storage.database import Database
from tests.answers import Answer, Hang, Json, RateLimited, Raw
from tests.check.conftest import ADA, BEN, CAN_LOOK_UP, CREW, GROUPS, GROUPS_LIST, MODELS, Setup
from tests.usergroups import FakeUserGroups

NEVER_TOLD = "– signing secret: whether it is right shows when Slack sends the first command"

LOOK_LIKE = "those look like U012AB3CD (in Slack: profile, ⋮, Copy member ID), and those of user groups like S012AB3CD"

NEITHER = "may not reload models: ALLOWED_USERS names neither them nor a user group that they are in"

SOUND = f"""\
✓ SLACK_BOT_TOKEN: set
✓ SLACK_APP_TOKEN: set
✓ SLACK_SIGNING_SECRET: not set
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
✓ LOG_LEVEL: INFO
✓ LOG_FORMAT: json
✓ HISTORY_DAYS: 90
✓ database: {{file}} can be written
✓ schema: version {schema.VERSION}, can be written
✓ Slack: {{slack_host}} answers
✓ bot token: workspace Sandbox (T0SANDBOX), as reload-model (U0BOT)
✓ clock, by Slack: 0.5 s apart
✓ bot scopes: commands, chat:write, chat:write.public, im:write
✓ ALLOWED_USERS {ADA}: ada, active
✓ ALLOWED_USERS {BEN}: ben, active
✓ ALLOWED_CHANNELS {MODELS}: #models, active
✓ app token: opens Socket Mode connections
✓ ModelsLab: {{modelslab_host}} answers
✓ ModelsLab key: accepted
✓ clock, by ModelsLab: 0.5 s apart
"""


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clocks that agree to the second, so that what is said of them is the same each time."""
    monkeypatch.setattr(Heard, "ahead", lambda _heard, _where: 0.5)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, and what is in it."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- all is well ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("still")
async def test_a_sound_set_up_has_a_line_for_everything(setup: Setup) -> None:
    """With ✓ before each, no value of a secret, and exit code 0."""
    await setup.make_tables()
    report = await setup.run()

    expected = SOUND.format(
        slack=setup.slack.api_url,
        modelslab=setup.modelslab.url,
        file=setup.file,
        slack_host=setup.slack.api_url.split("/")[2],
        modelslab_host=setup.modelslab.url.split("/")[2],
    )
    assert report.text == expected
    assert report.code == 0


async def test_what_is_looked_at_stays_as_it_was(setup: Setup) -> None:
    """Nothing is posted, reloaded, connected or written."""
    await setup.make_tables()
    before = contents(setup.folder)
    await setup.run()

    assert contents(setup.folder) == before
    assert (setup.slack.messages, setup.slack.connections, setup.modelslab.calls) == ([], 0, [])


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_it_is_sound_in_http_mode_too(database: str, setup: Setup, request: pytest.FixtureRequest) -> None:
    """Only the signing secret is out of sight; the app's token is not asked for."""
    setup.use_http_mode()
    if database == "postgresql":
        setup.env["DATABASE_URL"] = request.getfixturevalue("postgres_url")
    report = await setup.run()

    assert (report.code, report.marked("✗"), report.marked("–")) == (0, [], [NEVER_TOLD])
    assert {call.method for call in setup.slack.calls} == {"auth.test", "users.info", "conversations.info"}


async def test_a_database_on_postgresql_is_written_and_nothing_kept(setup: Setup, postgres_url: str) -> None:
    """Tables that are there are written without a row, tables to come are made and unmade; clocks are compared."""
    setup.env["DATABASE_URL"] = postgres_url
    fresh = await setup.run()
    again = await setup.run()
    await setup.make_tables()
    made = await setup.run()

    assert fresh.line("schema") == "✓ schema: no tables yet; the bot makes them when it starts"
    assert again.line("schema") == fresh.line("schema")
    assert made.line("schema") == f"✓ schema: version {schema.VERSION}, can be written"
    assert made.line("database").startswith("✓ database: PostgreSQL 1")
    assert made.line("clock, by the database").startswith("✓")


async def test_a_file_that_is_not_there_yet_is_not_made(setup: Setup) -> None:
    """Its folder can be written, and that is enough."""
    report = await setup.run()

    assert report.line("database") == f"✓ database: {setup.file} is not there yet, and can be made"
    assert report.line("schema") == "✓ schema: no tables yet; the bot makes them when it starts"
    assert contents(setup.folder) == {}


async def test_an_empty_file_stays_empty(setup: Setup) -> None:
    """The tables that the bot will make are made to see that they can be, and unmade."""
    setup.file.touch()
    report = await setup.run()

    assert report.line("schema") == "✓ schema: no tables yet; the bot makes them when it starts"
    assert contents(setup.folder) == {"reload-model.db": b""}


async def test_an_earlier_version_is_left_to_the_bot(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it will do is said, and not done."""
    await setup.make_tables()
    monkeypatch.setattr("bot.storage.schema.VERSION", schema.VERSION + 1)
    report = await setup.run()

    assert report.line("schema").endswith(f"; the bot makes it {schema.VERSION} when it starts")


async def test_a_running_bot_keeps_its_file(setup: Setup) -> None:
    """The file is read beside it, and neither its lock nor its right to write is taken, whatever it does."""
    database = await setup.hold_database()
    await database.run(lambda tx: tx.connection.exec_driver_sql("DELETE FROM reload"))
    report = await setup.run()
    await database.run(lambda tx: tx.connection.exec_driver_sql("DELETE FROM reload"))
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
    assert report.line("schema") == "✓ schema: no tables yet; the bot makes them when it starts"


async def test_the_balance_is_shown_only_on_request(setup: Setup) -> None:
    """It is nobody's business who reads the output of a check."""
    silent, shown = await setup.run(), await setup.run(balance=True)
    setup.modelslab.wallet = Json(200, {"status": "success"})
    untold = await setup.run(balance=True)

    assert "43.6" not in silent.text
    assert shown.line("ModelsLab balance") == "✓ ModelsLab balance: 43.6 USD"
    assert untold.line("ModelsLab balance") == "✓ ModelsLab balance: not told"


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
    assert len(report.marked("✓")) == len(report.lines)


# --- nobody can tell ------------------------------------------------------------------------------------


async def test_ids_that_may_not_be_looked_up_are_not(setup: Setup) -> None:
    """The bot does without the scopes that it takes, so that no set-up is unsound for the lack of them."""
    setup.slack.scopes -= CAN_LOOK_UP
    setup.env["ALLOWED_USERS"] = " ".join(f"U0{number}" for number in range(7))
    report = await setup.run()

    without = ", which the bot does without"
    assert (report.code, report.marked("–")) == (
        0,
        [
            f"– ALLOWED_USERS: whether U00, U01, U02, U03, U04 and 2 more exist takes the scope users:read{without}",
            f"– ALLOWED_CHANNELS: whether {MODELS} exist takes the scope channels:read{without}",
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
                "Slack: {host} answers ratelimited for now",
                "bot token: could not be asked for",
                "bot scopes: could not be asked for",
                "ALLOWED_USERS: could not be asked for",
                "ALLOWED_CHANNELS: could not be asked for",
            ],
        ),
        (
            "auth.test",
            Json(503, {}, {"Date": "soon"}),
            [
                "Slack: {host} answers http_503 for now",
                "bot token: could not be asked for",
                "clock, by Slack: it told no time",
                "bot scopes: could not be asked for",
                "ALLOWED_USERS: could not be asked for",
                "ALLOWED_CHANNELS: could not be asked for",
            ],
        ),
        ("apps.connections.open", "internal_error", ["app token: could not be asked for (internal_error)"]),
        (
            "users.info",
            "missing_scope",
            [f"ALLOWED_USERS {user}: Slack does not tell (missing_scope)" for user in (ADA, BEN)],
        ),
        (
            "users.info",
            RateLimited(9),
            [f"ALLOWED_USERS {user}: Slack does not tell (ratelimited)" for user in (ADA, BEN)],
        ),
        ("conversations.info", "fatal_error", [f"ALLOWED_CHANNELS {MODELS}: Slack does not tell (fatal_error)"]),
    ],
)
async def test_what_slack_does_not_tell_now_is_not_taken_for_a_fault(
    method: str, answer: Answer | str, lines: list[str], setup: Setup
) -> None:
    """A limit or an outage says nothing of the set-up."""
    setup.slack.fail(method, answer)
    report = await setup.run()

    host = setup.slack.api_url.split("/")[2]
    assert (report.code, report.marked("–")) == (0, [f"– {line.format(host=host)}" for line in lines])


async def test_ids_are_out_of_sight_without_a_token_and_none_are_missed(setup: Setup) -> None:
    """Where everyone may, everywhere, there is nothing that could not be asked for."""
    setup.env |= {"ALLOWED_USERS": "*", "ALLOWED_CHANNELS": "", "SLACK_BOT_TOKEN": "xoxb-other"}

    assert (await setup.run()).marked("–") == ["– bot scopes: could not be asked for"]


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

    assert report.marked("–") == ["– bot scopes: Slack did not tell them"]
    assert report.line(f"ALLOWED_USERS {ADA}") == f"✓ ALLOWED_USERS {ADA}: ada, active"


async def test_an_answer_of_another_shape_is_taken_as_it_is(setup: Setup) -> None:
    """What is not said is not held against anybody."""
    for method in ("users.info", "conversations.info"):
        setup.slack.fail(method, Json(200, {"ok": True, "user": [], "channel": None}))
    report = await setup.run()

    assert report.line(f"ALLOWED_USERS {ADA}") == f"✓ ALLOWED_USERS {ADA}: without a name, active"
    assert report.line(f"ALLOWED_CHANNELS {MODELS}") == f"✓ ALLOWED_CHANNELS {MODELS}: #{MODELS}, active"


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (
            error(429, "Rate limit exceeded."),
            "ModelsLab kept answering that it is asked too often: Rate limit exceeded.",
        ),
        (Raw(503), "ModelsLab's service is failing: HTTP 503"),
        (error(200, "Not today"), "ModelsLab refused: Not today"),
    ],
)
async def test_what_modelslab_does_not_tell_now_is_not_taken_for_a_fault(
    answer: Answer, line: str, setup: Setup
) -> None:
    """A limit, an outage or a riddle says nothing of the key."""
    setup.modelslab.wallet = answer
    report = await setup.run()

    assert (report.code, report.marked("–")) == (0, [f"– ModelsLab key: {line}"])


async def test_a_file_that_another_program_writes_to_is_left_alone(setup: Setup) -> None:
    """It will be let go of."""
    await setup.make_tables()
    with closing(sqlite3.connect(setup.file)) as other:
        other.execute("BEGIN IMMEDIATE")
        report = await setup.run()

    assert (report.code, report.line("database")) == (0, f"– database: another program is writing to {setup.file}")
    assert report.line("schema") == "– schema: could not be looked at"


async def test_a_check_that_gets_no_answer_gives_up(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are told all the same."""
    monkeypatch.setattr("bot.ops.doctor.check.SECONDS", 0.5)
    setup.modelslab.wallet = Hang()
    report = await setup.run()

    assert report.marked("–") == ["– ModelsLab: no answer within 0.5 s"]
    assert report.line("bot token").startswith("✓")


async def test_ids_that_get_no_answer_are_given_up_one_by_one(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """One slow answer hides no other."""
    monkeypatch.setattr("bot.ops.doctor.services.LOOK_UP_SECONDS", 0.5)
    setup.slack.fail("users.info", Hang(), times=1)
    report = await setup.run()

    assert len(report.marked("–")) == 1
    assert report.marked("–")[0].endswith(": no answer within 0.5 s")
    assert report.line(f"ALLOWED_CHANNELS {MODELS}").startswith("✓")


async def test_a_check_that_breaks_is_told_and_hides_no_other() -> None:
    """An error of the checks' own is a finding like any other."""

    async def breaks() -> list[finding.CheckResult]:
        raise KeyError("what")

    (found,) = await in_time("the weather", 1.0, breaks())

    assert (found.mark, found.text) == (Mark.FAULT, "the check itself broke: KeyError: 'what'")
    assert found.mend == "tell whoever looks after this program"


def test_a_name_server_that_hangs_does_not_hold_up_the_end() -> None:
    """Threads cannot be stopped, but they can be left behind."""
    release = threading.Event()

    async def wait() -> None:
        asyncio.get_running_loop().set_default_executor(check.UnawaitedThreads())
        waiting = asyncio.ensure_future(asyncio.to_thread(release.wait, 60))
        await asyncio.wait([waiting], timeout=0.01)

    asyncio.run(wait())
    left = threading.enumerate()
    release.set()

    assert any(thread.daemon and thread.name.startswith("unawaited") for thread in left)


async def test_a_name_server_that_says_no_is_heard() -> None:
    """What a thread raises reaches whoever waits for it."""

    def no() -> None:
        raise OSError("no such host")

    with pytest.raises(OSError, match="no such host"):
        await asyncio.get_running_loop().run_in_executor(check.UnawaitedThreads(), no)


# --- how it is told -------------------------------------------------------------------------------------


async def test_programs_get_json(setup: Setup) -> None:
    """The same findings, and whether any is a fault."""
    setup.slack.deactivated.add(BEN)
    setup.use_http_mode()
    report = await setup.run(as_json=True)
    told = json.loads(report.text)
    odd = {found["about"]: found for found in told["findings"] if found["result"] != "ok"}

    assert (report.code, told["ok"], len(told["findings"])) == (1, False, len(SOUND.splitlines()))
    assert odd == {
        f"ALLOWED_USERS {BEN}": {
            "about": f"ALLOWED_USERS {BEN}",
            "result": "fault",
            "text": "ben is deactivated",
            "mend": "take it out of ALLOWED_USERS",
        },
        "signing secret": {
            "about": "signing secret",
            "result": "unknown",
            "text": "whether it is right shows when Slack sends the first command",
            "mend": "",
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


# --- who may --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "code", "line"),
    [
        ({}, 0, f"✓ {ADA}: may reload models in {MODELS} (ALLOWED_CHANNELS), by ALLOWED_USERS with {ADA}"),
        (
            {"ALLOWED_USERS": "*", "ALLOWED_CHANNELS": ""},
            0,
            f"✓ {ADA}: may reload models in any channel, by ALLOWED_USERS with *, which is everyone of this workspace",
        ),
        (
            {"ALLOWED_USERS": BEN},
            1,
            f"✗ {ADA}: may not reload models: ALLOWED_USERS does not name them → add {ADA} to ALLOWED_USERS",
        ),
        (
            {"ALLOWED_USERS": "ada"},
            1,
            f"✗ ALLOWED_USERS: has 'ada', which is no person's id → {LOOK_LIKE}",
        ),
    ],
)
async def test_who_may_and_by_which_rule(env: dict[str, str], code: int, line: str, setup: Setup) -> None:
    """One line, and nobody is asked."""
    setup.env |= {"SLACK_BOT_TOKEN": "", **env}
    report = await setup.run(who=ADA)

    assert (report.code, report.lines, setup.slack.calls) == (code, [line], [])


@pytest.mark.parametrize(
    ("users", "crew", "code", "lines"),
    [
        (CREW, [ADA], 0, [f"✓ {ADA}: may reload models in any channel, by ALLOWED_USERS with {CREW}"]),
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
                "✗ ALLOWED_USERS S0NONE: there is no such user group → mend it in ALLOWED_USERS",
                f"– {ADA}: whether they may reload models depends on S0NONE, which cannot be read",
            ],
        ),
        (f"{CREW} S0NONE", [ADA], 0, [f"✓ {ADA}: may reload models in any channel, by ALLOWED_USERS with {CREW}"]),
    ],
)
async def test_who_may_by_a_user_group(users: str, crew: list[str], code: int, lines: list[str], setup: Setup) -> None:
    """Slack is asked who is in the groups, and nothing else; neither database nor ModelsLab is needed."""
    setup.use_groups({CREW: crew})
    setup.env |= {"ALLOWED_USERS": users, "ALLOWED_CHANNELS": "", "MODELSLAB_API_KEY": "", "DATABASE_URL": "no"}
    report = await setup.run(who=ADA)

    assert (report.code, report.lines) == (code, lines)
    assert {call.method for call in setup.slack.calls} == {GROUPS_LIST}


async def test_whoever_is_named_needs_no_group(setup: Setup) -> None:
    """So Slack is not asked."""
    setup.env |= {"ALLOWED_USERS": f"{CREW} {ADA}", "SLACK_BOT_TOKEN": ""}
    report = await setup.run(who=ADA)

    assert (report.code, setup.slack.calls) == (0, [])


async def test_a_group_takes_a_token_to_read(setup: Setup) -> None:
    """Its fault is told in place of an answer."""
    setup.env |= {"ALLOWED_USERS": CREW, "SLACK_BOT_TOKEN": ""}
    report = await setup.run(who=ADA)

    assert report.code == 1
    assert [line.split(":")[0] for line in report.lines] == ["✗ SLACK_BOT_TOKEN"]


# --- user groups ----------------------------------------------------------------------------------------


async def test_user_groups_are_looked_up(setup: Setup) -> None:
    """How many are in each is told, and the scope that they take is among those of the token."""
    setup.use_groups({CREW: [ADA, BEN], "S0TEAM": [BEN]})
    setup.env["ALLOWED_USERS"] = f"S0TEAM {CREW}"
    report = await setup.run()

    assert (report.code, report.marked("–")) == (0, [])
    assert report.line(f"ALLOWED_USERS {CREW}") == f"✓ ALLOWED_USERS {CREW}: a user group of 2"
    assert report.line("ALLOWED_USERS S0TEAM") == "✓ ALLOWED_USERS S0TEAM: a user group of 1"
    assert report.line("bot scopes").endswith(", im:write, usergroups:read")


async def test_groups_that_may_not_be_read_are_not(setup: Setup) -> None:
    """The scope is what is wrong, and it is said once."""
    setup.slack.fail(GROUPS_LIST, FakeUserGroups(GROUPS))
    setup.env["ALLOWED_USERS"] = CREW
    report = await setup.run()

    assert len(report.marked("✗")) == 1
    assert report.marked("–") == [f"– ALLOWED_USERS: whether {CREW} exist takes the scope usergroups:read"]
    assert GROUPS_LIST not in {call.method for call in setup.slack.calls}


async def test_a_group_that_slack_does_not_tell_of_now(setup: Setup) -> None:
    """A limit says nothing of the group."""
    setup.use_groups(GROUPS)
    setup.slack.heal(GROUPS_LIST)
    setup.slack.fail(GROUPS_LIST, RateLimited(9))
    setup.env["ALLOWED_USERS"] = CREW
    report = await setup.run()

    assert (report.code, report.marked("–")) == (0, [f"– ALLOWED_USERS {CREW}: Slack does not tell (ratelimited)"])
