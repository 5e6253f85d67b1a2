"""Socket Mode: whatever comes over the connection, and whatever becomes of it, the next command is taken."""

import asyncio
import json
import sqlite3
from contextlib import closing, suppress

import pytest

from bot.core import command
from bot.core.command import Command
from bot.errors import CannotStart
from bot.sandbox.wire import JsonObject
from tests.answers import Hang, Json, Raw, Reset
from tests.scenarios.house import ADA, MODELS, READY, House, Stopwatch, eventually

MARK = "ThisIsNobodysBusiness"


@pytest.fixture
def mode() -> str:
    """What is not marked otherwise is about Socket Mode."""
    return "socket"


@pytest.fixture
async def impatient(house: House) -> House:
    """A house in which a broken connection is noticed within a fraction of a second."""
    house.hurry(socket_ping=0.2, socket_watch=0.0625, socket_away=0.125, socket_fresh=0.5)
    await house.open()
    return house


def invocation(**fields: object) -> JsonObject:
    """What a slash command carries, with these fields instead."""
    form: JsonObject = {
        "team_id": "T0SANDBOX",
        "channel_id": MODELS,
        "user_id": ADA,
        "command": "/reload-model",
        "text": MARK,
        "response_url": "https://hooks.slack.com/commands/T0SANDBOX/1/x",
        "trigger_id": "1.x",
    }
    return form | fields


# --- nonsense -------------------------------------------------------------------------------------------


NONSENSE: tuple[JsonObject, ...] = (
    {},
    {"type": "slash_commands"},
    {"type": "slash_commands", "payload": None},
    {"type": "slash_commands", "payload": [MARK]},
    {"type": "slash_commands", "payload": MARK},
    {"type": "slash_commands", "payload": {}},
    {"type": "slash_commands", "payload": invocation(command="other")},
    {"type": "slash_commands", "payload": invocation(command=None)},
    {"type": "slash_commands", "payload": invocation(user_id=MARK)},
    {"type": "slash_commands", "payload": invocation(user_id={"id": ADA})},
    {"type": "slash_commands", "payload": invocation(team_id=7)},
    {"type": "slash_commands", "payload": invocation(channel_id=[MODELS])},
    {"type": "slash_commands", "payload": invocation(enterprise_id=True)},
    {"type": "slash_commands", "payload": invocation(text=None)},
    {"type": "slash_commands", "payload": invocation(text=MARK * 50_000)},
    {"type": "slash_commands", "payload": invocation(trigger_id="")},
    {"type": "slash_commands", "payload": invocation(response_url=None)},
    {"type": "events_api", "payload": {"event": {"type": "message", "text": MARK}}},
    {"type": "events_api", "payload": {"type": "event_callback", "event": MARK}},
    {"type": "interactive", "payload": {"type": MARK}},
    {"type": "interactive", "payload": {"type": "shortcut", "callback_id": "reload_model", "user": MARK}},
    {"type": "interactive", "payload": {"type": "block_actions", "actions": [MARK]}},
    {"type": "interactive", "payload": {"type": "view_submission"}},
    {"type": MARK, "payload": invocation()},
    {"type": ["slash_commands"], "payload": invocation()},
    {"type": None, "payload": invocation()},
    {"type": "hello"},
    {"type": "slash_commands", "payload": {str(number): MARK for number in range(500)}},
)


async def test_an_envelope_without_sense(bot: House) -> None:
    """An envelope that is no command of ours is acknowledged, logged by its shape alone, and dropped."""
    for number, envelope in enumerate(NONSENSE, start=1):
        ack = await bot.slack.send_envelope({"envelope_id": f"e-{number}", **envelope})

        assert ack == {"envelope_id": f"e-{number}"}, ascii(envelope)[:80]
        assert len(bot.log.of("envelope_dropped")) == number
        shape = bot.log.of("envelope_dropped")[-1]["shape"]
        assert isinstance(shape, dict)
        assert shape["envelope_id"] == "str"
        assert set(shape.values()) <= {"str", "dict", "list", "NoneType"}
        assert MARK not in bot.log.text
    assert "Reloading" in (await bot.ask("afterwards")).text
    assert bot.sql("SELECT model_id FROM reload_model_reloads") == [("afterwards",)]


NO_ENVELOPE: tuple[str, ...] = (
    "",
    MARK,
    f'["{MARK}"]',
    f'"{MARK}"',
    "null",
    "{",
    f'{{"type": "slash_commands", "payload": "{MARK}"}}',
    f'{{"envelope_id": 7, "type": "slash_commands", "payload": {json.dumps(invocation())}}}',
    f'{{"envelope_id": null, "type": "{MARK}"}}',
    '{"type": "hello"}',
    '{"envelope_id": "e", "payload": ' + "[" * 100_000,
    '{"envelope_id": "e", "payload": ' + "[" * 100_000 + "]" * 100_000 + "}",
    '{"payload": "' + MARK * 50_000 + '"}',
    '{"envelope_id": "\\ud800"}',
    "\x00",
)


async def test_a_text_that_is_no_envelope(bot: House) -> None:
    """What cannot be acknowledged is dropped, and harms nothing that follows."""
    for number, text in enumerate(NO_ENVELOPE):
        await bot.slack.send_envelope(text)
        ack = await bot.ask(f"afterwards-{number}")

        assert "Reloading" in ack.text, ascii(text)[:80]
        assert MARK not in bot.log.text
    assert len(bot.reloads) == len(NO_ENVELOPE)


async def test_a_message_that_is_too_long(impatient: House) -> None:
    """Five megabytes end the connection; the bot makes it anew."""
    with suppress(ConnectionError):
        await impatient.slack.send_envelope(MARK * 250_000)
    await eventually(lambda: impatient.slack.connections == 0)
    await impatient.slack.wait_connected()

    assert "Reloading" in (await impatient.ask("afterwards")).text
    assert MARK not in impatient.log.text


async def test_nothing_secret_in_debug_logs(bot: House) -> None:
    """At LOG_LEVEL=DEBUG, too, neither Slack's library nor Bolt writes out what comes in."""
    await bot.ask(f"{MARK} {MARK}")
    await bot.ask("sdxl")
    await bot.wait_said(READY)

    assert MARK not in bot.log.text
    assert "ticket" not in bot.log.text


# --- the connection -------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["warning", "refresh_requested"])
async def test_a_refresh(bot: House, reason: str) -> None:
    """When Slack asks for a new connection, the bot makes one, and answers on it."""
    await bot.slack.refresh(reason=reason)
    await bot.slack.wait_connected()

    assert "Reloading" in (await bot.ask("sdxl")).text
    assert (await bot.health("/readyz"))[0] == 200
    assert bot.slack.connections == 1


async def test_a_broken_connection(impatient: House) -> None:
    """A connection that breaks is made anew, and /readyz tells the truth meanwhile."""
    impatient.slack.fail("apps.connections.open", Raw(500, b""))
    await impatient.slack.cut()
    parts = await impatient.wait_ready(503)
    await impatient.log.wait_for("socket_mode_away")
    tried = [call for call in impatient.slack.calls if call.method == "apps.connections.open"]
    await impatient.slack.wait_until(
        lambda: sum(call.method == "apps.connections.open" for call in impatient.slack.calls) > len(tried) + 6
    )
    impatient.slack.heal()
    await impatient.wait_ready()

    assert (
        parts["status"],
        parts["database"],
        parts["slack"],
        parts["token"],
    ) == ("unavailable", "ok", "not connected", "ok")
    assert "Reloading" in (await impatient.ask("sdxl")).text
    await impatient.log.wait_for("socket_mode_connected", 2)


async def test_a_silent_connection(impatient: House) -> None:
    """A connection on which nothing comes any more, not even a pong, is given up and made anew."""
    impatient.slack.silence()
    await impatient.wait_ready(503)
    await impatient.wait_ready()

    assert "Reloading" in (await impatient.ask("sdxl")).text


async def test_slack_goes_away(impatient: House) -> None:
    """While Slack is away the bot keeps trying, and what falls due meanwhile is told when it is back."""
    await impatient.reopen(RELOAD_SECONDS="1")
    await impatient.ask("sdxl")
    await impatient.wait_said("is reloading")
    await impatient.slack.stop()
    await impatient.wait_ready(503)
    await impatient.log.wait_for("job_failed")
    await impatient.log.wait_for("socket_mode_away")
    await impatient.slack.start()
    await impatient.wait_ready()
    await impatient.wait_said(READY)

    assert "Reloading" in (await impatient.ask("other")).text


async def test_a_stale_address(impatient: House) -> None:
    """An address that leads nowhere is not tried for ever: the bot asks for a fresh one."""
    nowhere = Json(200, {"ok": True, "url": "ws://127.0.0.1:1/link/?ticket=spent"})
    impatient.slack.fail("apps.connections.open", nowhere, times=1)
    await impatient.slack.cut()
    await impatient.wait_ready(503)
    await impatient.wait_ready()

    assert "Reloading" in (await impatient.ask("sdxl")).text


async def test_the_same_command_over_two_connections(impatient: House) -> None:
    """A command that Slack delivers again over a new connection is answered again and carried out once."""
    first = await impatient.ask("sdxl")
    await impatient.slack.cut()
    await impatient.slack.wait_connected()
    second = await impatient.ask("sdxl", trigger_id=first.trigger_id, response_url=first.response_url)
    await impatient.wait_done()

    assert first.text == second.text
    assert len(impatient.modelslab.calls) == 1
    assert len(impatient.said(READY)) == 1


async def test_an_ack_that_is_lost(impatient: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the connection breaks before the ack, the person gets no ack, and the follow-up all the same."""
    received = asyncio.Event()

    def parse(text: str) -> Command:
        received.set()
        return command.parse(text)

    monkeypatch.setattr("bot.handlers.commands.parse", parse)
    impatient.slack.ack_seconds = 1.0
    with closing(sqlite3.connect(impatient.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        asking = asyncio.create_task(impatient.slack.command("sdxl"))
        await received.wait()
        await impatient.slack.stop()
        other.execute("ROLLBACK")
    await impatient.log.wait_for("ack_lost")
    await impatient.slack.start()

    await impatient.wait_said(READY)
    assert (await asking).error
    assert len(impatient.modelslab.calls) == 1


# --- the start ------------------------------------------------------------------------------------------


async def test_a_refused_app_token(house: House) -> None:
    """An app token that Slack refuses ends the start, with the setting named and its value not."""
    house.slack.app_token = "xapp-another"
    with pytest.raises(CannotStart, match=r"SLACK_APP_TOKEN: Slack rejects it \(invalid_auth\)") as refused:
        await house.open()

    assert house.env["SLACK_APP_TOKEN"] not in str(refused.value)


async def test_a_token_of_the_wrong_type(house: House) -> None:
    """So does a token without the scope."""
    house.slack.fail("apps.connections.open", "not_allowed_token_type")
    with pytest.raises(CannotStart, match="connections:write"):
        await house.open()


@pytest.mark.parametrize("mode", ["socket", "http"])
@pytest.mark.parametrize("code", ["invalid_auth", "account_inactive", "token_revoked", "not_authed", "token_expired"])
async def test_a_refused_bot_token(house: House, code: str) -> None:
    """A bot token that Slack refuses ends the start, with the setting named and its value not."""
    house.slack.fail("auth.test", code)
    with pytest.raises(CannotStart, match=rf"SLACK_BOT_TOKEN: Slack rejects it \({code}\)") as refused:
        await house.open()

    assert house.slack.bot_token not in str(refused.value)


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_slack_is_away_at_the_start(house: House) -> None:
    """A Slack that is away at the start is waited for; the log says so, and /readyz too."""
    await house.slack.stop()
    starting = house.begin()
    await house.log.wait_for("slack_away", 2)
    status, parts = await house.health("/readyz")
    assert (status, parts["slack"], parts["token"]) == (503, "not connected", "not checked yet")
    assert (await house.health("/healthz"))[0] == 200
    await house.slack.start()
    await starting

    assert (await house.health("/readyz"))[0] == 200
    assert house.log.of("slack_away")[0]["host"] == house.slack.api_url.split("/")[2]


@pytest.mark.parametrize(
    "answer",
    [
        Raw(500, b""),
        Raw(200, b"hm"),
        Reset(),
        Json(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "1"}),
        Json(200, {"ok": True}),
        Json(200, {"ok": True, "url": "nonsense"}),
        Json(200, {"ok": True, "url": "ws://127.0.0.1:1/"}),
        Hang(),
    ],
    ids=str,
)
async def test_socket_mode_is_away_at_the_start(
    house: House, answer: Json | Raw | Reset | Hang, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is a Slack that gives no connection for now."""
    monkeypatch.setattr("bot.slack.client.CALL_SECONDS", 0.3)
    monkeypatch.setattr("bot.app.CALL_SECONDS", 0.3)
    house.hurry(socket_handshake=0.3)
    house.slack.fail("apps.connections.open", answer, times=2)
    await house.open()

    away = house.log.of("slack_away")
    assert {"socket_mode"} == {record["part"] for record in away}
    assert len(away) >= 2
    assert "Reloading" in (await house.ask("sdxl")).text


@pytest.mark.parametrize("mode", ["http"])
async def test_a_command_before_slack_has_said_who_we_are(house: House) -> None:
    """A command that comes before the bot's own workspace is known is refused honestly."""
    house.slack.fail("auth.test", Raw(500, b""))
    starting = house.begin()
    await house.log.wait_for("slack_away")
    house.slack.request_url = f"{house.url}/slack/events"
    ack = await house.ask("sdxl")
    house.slack.heal()
    await starting

    assert ack.text == "I'm still starting up. Try again in a minute."
    assert house.reloads == []


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_a_port_that_is_taken(house: House) -> None:
    """A port that another program has ends the start, with the setting named."""
    taken = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    async with taken:
        with pytest.raises(CannotStart, match=f"PORT: can't listen on port {port}"):
            await house.open(PORT=str(port))


@pytest.mark.parametrize("mode", ["http"])
@pytest.mark.parametrize(
    "fields", [{}, {"team_id": ""}, {"team_id": 7}, {"team_id": "T0SANDBOX", "enterprise_id": ["E"]}]
)
async def test_an_answer_that_names_no_workspace(house: House, fields: dict[str, object]) -> None:
    """The bot asks again: without a home it could tell nobody from a stranger."""
    house.slack.fail("auth.test", Json(200, {"ok": True, **fields}), times=1)
    await house.open()
    await house.wait_ready()
    ack = await house.ask("sdxl")

    assert house.log.of("slack_away")[0]["reason"] == "no_sense"
    assert "Reloading `sdxl`" in ack.text


@pytest.mark.parametrize("mode", ["http"])
@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "a..b", "x" * 64, "127.0.0.1 "])
async def test_a_host_that_is_not_this_machine(house: House, host: str) -> None:
    """An address where nobody can listen is told as such, and not as a fault of the port."""
    if host.endswith(" "):  # spaces around a setting do no harm
        await house.open(HOST=host)
        return
    with pytest.raises(CannotStart, match=f"HOST: can't listen at {host} .*: use an address of this machine"):
        await house.open(HOST=host)


@pytest.mark.parametrize("mode", ["socket", "http"])
@pytest.mark.parametrize("when", ["auth.test", "apps.connections.open"])
async def test_stopped_while_it_starts(house: House, when: str, mode: str) -> None:
    """A bot that is told to stop while it still starts stops at once."""
    house.slack.fail(when, Raw(500, b""))
    house.begin()
    if (when, mode) != ("apps.connections.open", "http"):
        await house.log.wait_for("slack_away")
    watch = Stopwatch()
    await house.shut()

    assert watch.seconds < 2.0
