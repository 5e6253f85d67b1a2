"""Socket Mode: whatever comes over the connection, and whatever becomes of it, the next command is taken."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import pytest
from aiohttp import web

from bot.core import command
from bot.core.command import Command
from bot.errors import CannotStart
from bot.sandbox.wire import JsonObject
from tests.answers import Answer, Hang, Held, Json, RateLimited, Raw, Reset
from tests.scenarios.scenario import ADA, MODELS, READY, Scenario, eventually, locked

MARK = "ThisIsNobodysBusiness"


@pytest.fixture
def mode() -> str:
    """What is not marked otherwise is about Socket Mode."""
    return "socket"


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


# What comes over it


NONSENSE: tuple[JsonObject, ...] = (
    {},
    {"type": "slash_commands"},
    {"type": "slash_commands", "payload": [MARK]},
    {"type": "slash_commands", "payload": {}},
    {"type": "slash_commands", "payload": invocation(user_id=MARK)},
    {"type": "slash_commands", "payload": invocation(user_id={"id": ADA})},
    {"type": "slash_commands", "payload": invocation(response_url=None)},
    {"type": "events_api", "payload": {"type": "event_callback", "event": MARK}},
    {"type": "interactive", "payload": {"type": "shortcut", "callback_id": "reload_model", "user": MARK}},
    {"type": "interactive", "payload": {"type": "block_actions", "actions": [MARK]}},
    {"type": MARK, "payload": invocation()},
    {"type": ["slash_commands"], "payload": invocation()},
    {"type": "hello"},
    {"type": "slash_commands", "payload": {str(number): MARK for number in range(500)}},
)


async def test_an_envelope_without_sense(bot: Scenario) -> None:
    """An envelope that is no request of ours is acknowledged, logged by its shape alone, and dropped."""
    for number, envelope in enumerate(NONSENSE, start=1):
        async with asyncio.timeout(3.0):
            ack = await bot.slack.socket_mode.deliver({"envelope_id": f"e-{number}", **envelope})

        assert ack == {"envelope_id": f"e-{number}"}, ascii(envelope)[:80]
        assert len(bot.log.of("envelope_dropped")) == number
        shape = bot.log.of("envelope_dropped")[-1]["shape"]
        assert isinstance(shape, dict)
        assert shape["envelope_id"] == "str"
        assert set(shape.values()) <= {"str", "dict", "list"}
        assert MARK not in bot.log.text
    assert "Reloading" in (await bot.ask("afterwards")).text
    assert bot.sql("SELECT model_id FROM reload_model_reloads") == [("afterwards",)]


NO_ENVELOPE: tuple[str, ...] = (
    "",
    MARK,
    f'["{MARK}"]',
    "{",
    f'{{"type": "slash_commands", "payload": "{MARK}"}}',
    f'{{"envelope_id": 7, "type": "slash_commands", "payload": {json.dumps(invocation())}}}',
    '{"envelope_id": "e", "payload": ' + "[" * 100_000 + "]" * 100_000 + "}",
    '{"payload": "' + MARK * 50_000 + '"}',
    '{"envelope_id": "\\ud800"}',
)


async def test_a_text_that_is_no_envelope(bot: Scenario) -> None:
    """What cannot be acknowledged is dropped, and harms nothing that follows."""
    for number, text in enumerate(NO_ENVELOPE):
        await bot.slack.socket_mode.send(text)
        ack = await bot.ask(f"afterwards-{number}")

        assert "Reloading" in ack.text, ascii(text)[:80]
        assert MARK not in bot.log.text
    assert len(bot.reloads) == len(NO_ENVELOPE)


async def test_a_message_that_is_too_long(bot: Scenario) -> None:
    """Five megabytes end the connection; the bot makes it anew."""
    with suppress(ConnectionError):
        await bot.slack.socket_mode.send(MARK * 250_000)
    await bot.log.wait_for("socket_mode_connected", 2)

    assert "Reloading" in (await bot.ask("afterwards")).text
    assert MARK not in bot.log.text


async def test_nothing_secret_in_debug_logs(bot: Scenario) -> None:
    """At LOG_LEVEL=DEBUG, too, neither Slack's library nor Bolt writes out what comes in."""
    await bot.ask(f"{MARK} _{MARK}")
    await bot.ask("sdxl")
    await bot.wait_said(READY)

    assert MARK not in bot.log.text
    assert "ticket" not in bot.log.text


# The connection


@pytest.mark.parametrize("reason", ["warning", "refresh_requested"])
async def test_a_refresh(scenario: Scenario, reason: str) -> None:
    """When Slack asks for a new connection, one is made at once; what still comes over the old one is answered."""
    scenario.hurry(slack_retry=60.0, slack_retry_most=0.0)  # any connection has lasted
    await scenario.open()
    released = asyncio.Event()
    scenario.slack.fail("apps.connections.open", Held(released), times=1)
    refreshing = asyncio.create_task(scenario.slack.socket_mode.refresh(reason))
    await scenario.log.wait_for("socket_mode_disconnected")
    over_the_old_one = await scenario.ask("sdxl")
    released.set()
    await refreshing
    await scenario.log.wait_for("socket_mode_connected", 2)

    assert "Reloading" in over_the_old_one.text
    assert "Reloading" in (await scenario.ask("other")).text
    assert (await scenario.health("/readyz"))[0] == 200
    assert scenario.slack.connections == 1


async def test_a_broken_connection(bot: Scenario) -> None:
    """A connection that breaks is made anew, and /readyz tells the truth meanwhile."""
    bot.slack.fail("apps.connections.open", Raw(500, b""))
    await bot.slack.socket_mode.cut()
    parts = await bot.wait_ready(503)
    await bot.log.wait_for("slack_unavailable", 3)
    bot.slack.heal()
    await bot.wait_ready()

    assert (parts["database"], parts["slack"], parts["token"]) == ("ok", "not connected", "ok")
    assert str(bot.log.of("socket_mode_disconnected")[0]["reason"]).startswith("closed_")
    assert "Reloading" in (await bot.ask("sdxl")).text


async def test_a_silent_connection(scenario: Scenario) -> None:
    """A connection on which nothing comes any more, not even a pong, is given up and made anew."""
    scenario.hurry(socket_ping=0.2)
    await scenario.open()
    scenario.slack.socket_mode.silence()
    await scenario.log.wait_for("socket_mode_connected", 2)

    assert "Reloading" in (await scenario.ask("sdxl")).text


async def test_slack_goes_away(bot: Scenario) -> None:
    """While Slack is unavailable the bot keeps trying. Follow-ups that fall due meanwhile come when it is back."""
    await bot.reopen(RELOAD_SECONDS="1")
    await bot.ask("sdxl")
    await bot.wait_said("is reloading")
    await bot.slack.stop()
    await bot.wait_ready(503)
    await bot.log.wait_for("job_failed")
    await bot.slack.start()
    await bot.wait_ready()
    await bot.wait_said(READY)

    assert "Reloading" in (await bot.ask("other")).text


HELLO: JsonObject = {"type": "hello"}
TOO_MANY: JsonObject = {"type": "disconnect", "reason": "too_many_websockets"}


@asynccontextmanager
async def websockets(scenario: Scenario, *messages: JsonObject) -> AsyncIterator[list[float]]:
    """Let Slack's WebSockets send these messages, and then nothing. Yields when each was opened."""
    opened: list[float] = []

    async def serve(request: web.Request) -> web.WebSocketResponse:
        opened.append(time.monotonic())
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        for message in messages:
            await socket.send_json(message)
        async for _ in socket:
            pass
        return socket

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"ws://127.0.0.1:{runner.addresses[0][1]}/"
    scenario.slack.fail("apps.connections.open", Json(200, {"ok": True, "url": address}))
    yield opened
    scenario.slack.heal()
    await runner.cleanup()


@pytest.mark.parametrize("messages", [(TOO_MANY,), (HELLO, TOO_MANY)], ids=["greeting", "after hello"])
async def test_too_many_websockets(scenario: Scenario, messages: Sequence[JsonObject]) -> None:
    """A Slack that wants no connection just now is tried again after growing pauses, and the log has its reason."""
    scenario.hurry(slack_retry=0.1, slack_retry_most=0.4, socket_handshake=0.05)
    async with websockets(scenario, *messages) as opened:
        starting = scenario.begin()
        await eventually(lambda: len(opened) >= 4)
        ready, _ = await scenario.health("/readyz")
    gaps = [later - earlier for earlier, later in pairwise(opened)]
    await starting
    await scenario.wait_ready()

    assert ready == 503
    assert all(gap >= pause for gap, pause in zip(gaps, [0.1, 0.2, 0.4], strict=False))
    assert "too_many_websockets" in scenario.log.text
    assert "Reloading" in (await scenario.ask("sdxl")).text


async def test_a_connection_that_slack_does_not_greet(scenario: Scenario) -> None:
    """It is of no use, and another one is made."""
    scenario.hurry(socket_handshake=0.1)
    async with websockets(scenario) as opened:
        starting = scenario.begin()
        await eventually(lambda: len(opened) >= 2)
    await starting

    assert scenario.log.of("slack_unavailable")[0]["reason"] == "no_hello"
    assert "Reloading" in (await scenario.ask("sdxl")).text


async def test_a_connection_that_was_replaced_is_closed(scenario: Scenario) -> None:
    """Even where Slack leaves it open: it allows ten of them."""
    scenario.hurry(socket_handshake=0.1)
    await scenario.open()
    await scenario.slack.socket_mode.send(json.dumps({"type": "disconnect", "reason": "warning"}))
    await scenario.log.wait_for("socket_mode_connected", 2)
    await eventually(lambda: scenario.slack.connections == 1)

    assert "Reloading" in (await scenario.ask("sdxl")).text


async def test_the_same_command_over_two_connections(bot: Scenario) -> None:
    """A command that Slack delivers again over a new connection is answered again and carried out once."""
    first = await bot.ask("sdxl")
    await bot.slack.socket_mode.cut()
    await bot.log.wait_for("socket_mode_connected", 2)
    second = await bot.ask("sdxl", trigger_id=first.trigger_id, response_url=first.response_url)
    await bot.wait_done()

    assert first.text.startswith("Reloading `sdxl`.")
    assert second.text.startswith("Reloading `sdxl`.")
    assert len(bot.modelslab.calls) == 1
    assert len(bot.said(READY)) == 1


async def test_an_ack_that_is_lost(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the connection breaks before the ack, the person gets no ack, and the follow-up all the same."""
    received = asyncio.Event()

    def parse(text: str) -> Command:
        received.set()
        return command.parse(text)

    monkeypatch.setattr("bot.handlers.commands.parse", parse)
    bot.slack.ack_seconds = 1.0
    with locked(bot.database):
        command_ = asyncio.create_task(bot.slack.command("sdxl"))
        await received.wait()
        await bot.slack.stop()
    await bot.log.wait_for("ack_lost")
    await bot.slack.start()

    await bot.wait_said(READY)
    assert (await command_).error
    assert len(bot.modelslab.calls) == 1


# The start


@pytest.mark.parametrize(
    ("method", "code", "words"),
    [
        ("apps.connections.open", "invalid_auth", r"SLACK_APP_TOKEN: Slack rejects it \(invalid_auth\)"),
        ("apps.connections.open", "not_allowed_token_type", "connections:write"),
        *(
            ("auth.test", code, rf"SLACK_BOT_TOKEN: Slack rejects it \({code}\)")
            for code in ("invalid_auth", "account_inactive", "token_revoked", "not_authed", "token_expired")
        ),
    ],
)
async def test_a_token_that_slack_refuses(scenario: Scenario, method: str, code: str, words: str) -> None:
    """It ends the start, with the setting named and its value not."""
    scenario.slack.fail(method, code)
    with pytest.raises(CannotStart, match=words) as refused:
        await scenario.open()

    assert not any(secret in str(refused.value) for secret in scenario.secrets)


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_slack_is_away_at_the_start(scenario: Scenario) -> None:
    """A Slack that is away at the start is waited for; the log says so, and /readyz too."""
    await scenario.slack.stop()
    starting = scenario.begin()
    await scenario.log.wait_for("slack_unavailable", 2)
    status, parts = await scenario.health("/readyz")
    assert (status, parts["slack"], parts["token"]) == (503, "not connected", "not checked yet")
    assert (await scenario.health("/healthz"))[0] == 200
    await scenario.slack.start()
    await starting

    assert (await scenario.health("/readyz"))[0] == 200
    assert scenario.log.of("slack_unavailable")[0]["host"] == scenario.slack.api_url.split("/")[2]


@pytest.mark.parametrize(
    "answer",
    [
        Raw(500, b""),
        Raw(200, b"hm"),
        Reset(),
        Json(200, {"ok": True}),
        Json(200, {"ok": True, "url": "nonsense"}),
        Json(200, {"ok": True, "url": "ws://127.0.0.1:1/"}),
        Hang(),
    ],
    ids=str,
)
async def test_socket_mode_is_away_at_the_start(
    scenario: Scenario, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is a Slack that gives no connection for now."""
    monkeypatch.setattr("bot.slack.client.CALL_SECONDS", 0.3)
    monkeypatch.setattr("bot.app.CALL_SECONDS", 0.3)
    scenario.slack.fail("apps.connections.open", answer, times=2)
    await scenario.open()

    assert [record["part"] for record in scenario.log.of("slack_unavailable")] == ["socket_mode"] * 2
    assert "Reloading" in (await scenario.ask("sdxl")).text


@pytest.mark.parametrize("method", ["auth.test", "apps.connections.open"])
async def test_slack_asks_for_a_pause_at_the_start(scenario: Scenario, method: str) -> None:
    """It gets it."""
    scenario.slack.fail(method, RateLimited(1), times=1)
    await scenario.open()
    first, second = (call.at for call in scenario.slack.calls if call.method == method)

    assert second - first >= 1.0
    assert scenario.log.of("slack_unavailable")[0]["reason"] == "ratelimited"


@pytest.mark.parametrize("mode", ["http"])
async def test_a_command_before_slack_has_said_who_we_are(scenario: Scenario) -> None:
    """A command that comes before the bot's own workspace is known is refused honestly."""
    scenario.slack.fail("auth.test", Raw(500, b""))
    starting = scenario.begin()
    await scenario.log.wait_for("slack_unavailable")
    scenario.slack.request_url = f"{scenario.url}/slack/events"
    ack = await scenario.ask("sdxl")
    scenario.slack.heal()
    await starting

    assert ack.text == "I'm still starting up. Try again in a minute."
    assert scenario.reloads == []


@pytest.mark.parametrize("mode", ["http"])
@pytest.mark.parametrize(
    "fields", [{}, {"team_id": ""}, {"team_id": 7}, {"team_id": "T0SANDBOX", "enterprise_id": ["E"]}]
)
async def test_an_answer_that_names_no_workspace(scenario: Scenario, fields: dict[str, object]) -> None:
    """The bot asks again: without a home it could tell nobody from a stranger."""
    scenario.slack.fail("auth.test", Json(200, {"ok": True, **fields}), times=1)
    await scenario.open()

    assert scenario.log.of("slack_unavailable")[0]["reason"] == "no_sense"
    assert "Reloading `sdxl`" in (await scenario.ask("sdxl")).text


@pytest.mark.parametrize("mode", ["http"])
async def test_a_port_that_is_taken(scenario: Scenario) -> None:
    """A port that another program has ends the start, with the setting named."""
    taken = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    async with taken:
        with pytest.raises(CannotStart, match=f"PORT: can't listen on port {port}"):
            await scenario.open(PORT=str(port))


@pytest.mark.parametrize("mode", ["http"])
@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "a..b", "x" * 64, "127.0.0.1 "])
async def test_a_host_that_is_not_this_machine(scenario: Scenario, host: str) -> None:
    """For an address where the bot can't listen, the error blames HOST, not the port."""
    if host.endswith(" "):  # spaces around a setting do no harm
        await scenario.open(HOST=host)
        return
    with pytest.raises(CannotStart, match=f"HOST: can't listen at {host} .*: use an address of this machine"):
        await scenario.open(HOST=host)


@pytest.mark.parametrize("when", ["auth.test", "apps.connections.open"])
async def test_stopped_while_it_starts(scenario: Scenario, when: str) -> None:
    """A bot that gets the signal to stop while it is starting stops at once."""
    scenario.slack.fail(when, Raw(500, b""))
    scenario.begin()
    await scenario.log.wait_for("slack_unavailable")
    async with asyncio.timeout(30.0):
        await scenario.shut()
