"""Socket Mode, and the start: whatever comes over the connection, and whatever becomes of it, the bot goes on."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from unittest.mock import AsyncMock

import pytest
from aiohttp import web

from bot.core import command
from bot.core.command import Command
from bot.errors import CannotStart
from bot.sandbox.server import Server
from bot.sandbox.wire import JsonObject
from tests.answers import Answer, Hang, Held, Json, RateLimited, Raw, Reset
from tests.scenarios.scenario import MARK, READY, Scenario, both_modes, eventually, http_mode, invocation
from tests.times import set_timing

NONSENSE: tuple[JsonObject, ...] = (
    {"type": "slash_commands"},
    {"type": "slash_commands", "payload": [MARK]},
    {"type": "slash_commands", "payload": invocation(text=MARK, user_id=MARK)},
    {"type": "events_api", "payload": {"type": "event_callback", "event": MARK}},
    {"type": "interactive", "payload": {"type": "shortcut", "callback_id": "reload_model", "user": MARK}},
    {"type": "interactive", "payload": {"type": "block_actions", "actions": [MARK]}},
    {"type": MARK, "payload": invocation(text=MARK)},
    {"type": ["slash_commands"], "payload": invocation(text=MARK)},
    {"type": "hello"},
    {"type": "slash_commands", "payload": {str(number): MARK for number in range(500)}},
)


async def test_an_envelope_without_sense_is_dropped(bot: Scenario) -> None:
    """It is acknowledged. The log has its shape alone, even at DEBUG, and not how the bot connects."""
    await bot.ask(f"{MARK} _{MARK}")
    for number, envelope in enumerate(NONSENSE, start=1):
        async with asyncio.timeout(30.0):
            ack = await bot.slack.socket_mode.deliver({"envelope_id": f"e-{number}", **envelope})

        assert ack == {"envelope_id": f"e-{number}"}, ascii(envelope)[:80]
    shapes = [record["shape"] for record in bot.log.of("envelope_dropped")]
    assert len(shapes) == len(NONSENSE)
    for shape in shapes:
        assert isinstance(shape, dict)
        assert shape["envelope_id"] == "str"
        assert set(shape.values()) <= {"str", "dict", "list"}
    assert MARK not in bot.log.text
    assert "ticket" not in bot.log.text
    assert "Reloading" in (await bot.ask("afterwards")).text
    assert bot.sql("SELECT model_id FROM reload_model_reloads") == [("afterwards",)]


NO_ENVELOPE: tuple[str, ...] = (
    MARK,
    f'["{MARK}"]',
    f'{{"type": "slash_commands", "payload": "{MARK}"}}',
    f'{{"envelope_id": 7, "type": "slash_commands", "payload": {json.dumps(invocation(text=MARK))}}}',
    '{"envelope_id": "e", "payload": ' + "[" * 100_000 + "]" * 100_000 + "}",
    '{"payload": "' + MARK * 50_000 + '"}',
    '{"envelope_id": "\\ud800"}',
)


async def test_a_text_that_is_no_envelope_is_dropped(bot: Scenario) -> None:
    """It harms nothing that follows. Five megabytes end the connection, and the bot makes it anew."""
    for number, text in enumerate(NO_ENVELOPE):
        await bot.slack.socket_mode.send(text)
        assert "Reloading" in (await bot.ask(f"afterwards-{number}")).text, ascii(text)[:80]
    with suppress(ConnectionError):
        await bot.slack.socket_mode.send(MARK * 250_000)
    await bot.log.wait_for("socket_mode_connected", 2)
    assert "Reloading" in (await bot.ask("after-all")).text

    assert MARK not in bot.log.text
    assert len(bot.reloads) == len(NO_ENVELOPE) + 1


async def test_a_refresh_loses_no_command(scenario: Scenario) -> None:
    """What still comes over the old connection is answered. It is closed even where Slack leaves it open."""
    set_timing(slack_retry=60.0, slack_retry_most=0.0)  # any connection has lasted
    await scenario.open()
    released = asyncio.Event()
    scenario.slack.fail("apps.connections.open", Held(released), times=1)
    refreshing = asyncio.create_task(scenario.slack.socket_mode.refresh())
    await scenario.log.wait_for("socket_mode_disconnected")
    over_the_old_one = await scenario.ask("sdxl")
    released.set()
    await refreshing
    await scenario.log.wait_for("socket_mode_connected", 2)

    assert "Reloading" in over_the_old_one.text
    assert "Reloading" in (await scenario.ask("other")).text
    assert (await scenario.health("/readyz"))[0] == 200
    assert scenario.slack.connections == 1
    set_timing(socket_handshake=0.3)
    await scenario.slack.socket_mode.send(json.dumps({"type": "disconnect", "reason": "warning"}))
    await scenario.log.wait_for("socket_mode_connected", 3)
    await eventually(lambda: scenario.slack.connections == 1)
    assert "Reloading" in (await scenario.ask("flux")).text


async def test_a_broken_connection_is_made_anew(bot: Scenario) -> None:
    """And /readyz tells the truth meanwhile. A bot that is connecting can be stopped at once."""
    bot.slack.fail("apps.connections.open", Raw(500, b""))
    await bot.slack.socket_mode.cut()
    parts = await bot.wait_ready(503)
    await bot.log.wait_for("slack_unavailable", 3)
    bot.slack.heal()
    await bot.wait_ready()

    assert (parts["database"], parts["slack"], parts["token"]) == ("ok", "not connected", "ok")
    assert str(bot.log.of("socket_mode_disconnected")[0]["reason"]).startswith("closed_")
    assert "Reloading" in (await bot.ask("sdxl")).text
    await bot.shut()
    bot.slack.fail("apps.connections.open", Raw(500, b""))
    bot.begin()
    await bot.log.wait_for("slack_unavailable", len(bot.log.of("slack_unavailable")) + 1)
    async with asyncio.timeout(30.0):
        await bot.shut()


async def test_a_silent_connection_is_made_anew(scenario: Scenario) -> None:
    """A connection on which nothing comes any more, not even a pong, is given up and made anew."""
    set_timing(socket_ping=0.5)
    await scenario.open()
    scenario.slack.socket_mode.silence()
    await scenario.log.wait_for("socket_mode_connected", 2)

    assert "Reloading" in (await scenario.ask("sdxl")).text


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

    async with Server([web.get("/", serve)]) as server:
        scenario.slack.fail("apps.connections.open", Json(200, {"ok": True, "url": f"ws://{server.host}/"}))
        yield opened
        scenario.slack.heal()


@pytest.mark.parametrize(
    ("messages", "reason"),
    [((TOO_MANY,), "too_many_websockets"), ((HELLO, TOO_MANY), "too_many_websockets"), ((), "no_hello")],
    ids=["greeting", "after hello", "no greeting"],
)
async def test_a_connection_that_slack_does_not_want_is_tried_again(
    scenario: Scenario, messages: Sequence[JsonObject], reason: str
) -> None:
    """The bot tries again after growing pauses, and the log has the reason."""
    set_timing(slack_retry=0.05, slack_retry_most=0.2, socket_handshake=0.3)
    async with websockets(scenario, *messages) as opened:
        starting = scenario.begin()
        await eventually(lambda: len(opened) >= 3)
        ready, _ = await scenario.health("/readyz")
    gaps = [later - earlier for earlier, later in pairwise(opened)]
    await starting
    await scenario.wait_ready()

    assert ready == 503
    assert all(gap >= pause for gap, pause in zip(gaps, [0.05, 0.1], strict=False))
    assert reason in scenario.log.text
    assert "Reloading" in (await scenario.ask("sdxl")).text


async def test_a_redirect_is_not_followed(scenario: Scenario) -> None:
    """Slack doesn't redirect: what does is something in between that wants the commands."""
    set_timing(slack_retry=0.05)
    async with Server([web.get("/", AsyncMock(side_effect=web.HTTPFound("/elsewhere")))]) as server:
        scenario.slack.fail("apps.connections.open", Json(200, {"ok": True, "url": f"ws://{server.host}/"}), times=1)
        await scenario.open()

    assert [record["reason"] for record in scenario.log.of("slack_unavailable")] == ["redirected"]


async def test_an_ack_that_is_lost(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the connection breaks before the ack, the person gets no ack, and the follow-up all the same."""
    received = asyncio.Event()

    def parse(*typed: str) -> Command:
        received.set()
        return command.parse(*typed)

    monkeypatch.setattr("bot.handlers.commands.parse", parse)
    scenario.slack.ack_seconds = 1.0
    set_timing(sqlite_busy=30.0)
    await scenario.open()
    with scenario.locked():
        command_ = asyncio.create_task(scenario.slack.command("sdxl"))
        await received.wait()
        await scenario.slack.stop()
    await scenario.log.wait_for("ack_lost")
    await scenario.slack.start()

    await scenario.wait_said(READY)
    assert (await command_).error
    assert len(scenario.modelslab.calls) == 1


async def test_a_token_that_slack_refuses_ends_the_start(scenario: Scenario) -> None:
    """With the setting named and its value not."""
    for method, code, words in (
        ("apps.connections.open", "invalid_auth", r"SLACK_APP_TOKEN: Slack rejects it \(invalid_auth\)"),
        ("apps.connections.open", "missing_scope", "connections:write"),
        ("auth.test", "token_revoked", r"SLACK_BOT_TOKEN: Slack rejects it \(token_revoked\)"),
    ):
        scenario.slack.fail(method, code)
        with pytest.raises(CannotStart, match=words) as refused:
            await scenario.reopen()
        assert not any(secret in str(refused.value) for secret in scenario.secrets)


@both_modes
async def test_a_slack_that_is_away_at_the_start_is_waited_for(scenario: Scenario) -> None:
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


async def test_a_connection_that_fails_is_tried_again(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is a Slack that gives no connection for now. A pause that it asks for is kept."""
    monkeypatch.setattr("bot.slack.client.CALL_SECONDS", 1.0)
    monkeypatch.setattr("bot.app.CALL_SECONDS", 1.0)
    answers: tuple[Answer, ...] = (
        Raw(500, b""),
        Raw(200, b"hm"),
        Reset(),
        Json(200, {"ok": True}),
        Json(200, {"ok": True, "url": "nonsense"}),
        Json(200, {"ok": True, "url": "wss://[::1"}),
        Json(200, {"ok": True, "url": "//127.0.0.1/ws"}),
        Json(200, {"ok": True, "url": "ws://127.0.0.1:1/"}),
        Hang(),
    )
    methods = ("auth.test", "apps.connections.open")
    for method in methods:
        scenario.slack.fail(method, RateLimited(1), times=1)
    for answer in answers:
        scenario.slack.fail("apps.connections.open", answer, times=1)
    await scenario.open()

    parts = [record.get("part") for record in scenario.log.of("slack_unavailable")]
    assert parts.count("socket_mode") > len(answers)
    assert "Reloading" in (await scenario.ask("sdxl")).text
    for method in methods:
        limited, then, *_ = (call.at for call in scenario.slack.calls if call.method == method)
        assert then - limited >= 1.0


@http_mode
async def test_a_command_before_the_bot_knows_its_workspace_is_refused(scenario: Scenario) -> None:
    """It is refused honestly. The bot asks Slack again while the answer names no workspace: it would know nobody."""
    for fields in ({}, {"team_id": ""}, {"team_id": 7}, {"team_id": "T0SANDBOX", "enterprise_id": ["E"]}):
        scenario.slack.fail("auth.test", Json(200, {"ok": True, **fields}), times=1)
    scenario.slack.fail("auth.test", Raw(500, b""))
    starting = scenario.begin()
    await scenario.log.wait_for("slack_unavailable", 5)
    scenario.slack.request_url = f"{scenario.url}/slack/events"
    ack = await scenario.ask("sdxl")
    scenario.slack.heal()
    await starting

    assert ack.text == "I'm still starting up. Try again in a minute."
    assert scenario.reloads == []
    assert [record["reason"] for record in scenario.log.of("slack_unavailable")][:5] == ["no_sense"] * 4 + ["http_500"]
    assert "Reloading `sdxl`" in (await scenario.ask("sdxl")).text


@http_mode
async def test_an_address_where_the_bot_cannot_listen_ends_the_start(scenario: Scenario) -> None:
    """The error names the port's setting if another program has the port, and else HOST."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for ports in ({"PORT": port}, {"PORT": "0", "ADMIN_PORT": port}):
            with pytest.raises(CannotStart, match=f"^{[*ports][-1]}: can't listen on port {port} .* use a free port"):
                await scenario.reopen(**ports)
    for host in ("192.0.2.1", "no-such-host.invalid", "a..b", "x" * 64, "fe80::1"):
        with pytest.raises(CannotStart, match=f"HOST: can't listen at {host} .*: use an address of this machine"):
            await scenario.reopen(HOST=host, ADMIN_PORT="")
    await scenario.reopen(HOST="127.0.0.1 ")  # spaces around a setting do no harm
