"""HTTP mode: whatever Slack did not sign and send is refused at once, and no log has any of it."""

import asyncio
import gzip
import json
import re
import time
from collections.abc import Mapping
from urllib.parse import urlencode

from tests.scenarios.scenario import ADA, MARK, Scenario, http_mode, invocation
from tests.times import set_timing

FORM = "application/x-www-form-urlencoded"
JSON = {"Content-Type": "application/json"}

pytestmark = http_mode


def command(**fields: str | None) -> bytes:
    """The form of an invocation as Slack sends it, with these fields instead; None leaves one out."""
    form = invocation(team_domain=MARK, trigger_id=f"{MARK}.1") | fields
    return urlencode({name: value for name, value in form.items() if value is not None}).encode()


def interaction(kind: object, **fields: object) -> bytes:
    """The form of an interaction by Ada, with these fields besides or instead."""
    user = {"id": ADA, "team_id": "T0SANDBOX"}
    return urlencode({"payload": json.dumps({"type": kind, "user": user, "trigger_id": MARK} | fields)}).encode()


def event(**fields: object) -> bytes:
    """An event, with these fields besides or instead."""
    return json.dumps({"type": "event_callback", "team_id": "T0SANDBOX"} | fields).encode()


def request(body: bytes, headers: Mapping[str, str], *, method: str = "POST", path: str = "/slack/events") -> bytes:
    """An HTTP request, written out."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bot.example.com"]
    named = {"Content-Length": str(len(body))} if "Transfer-Encoding" not in headers else {}
    lines += [f"{name}: {value}" for name, value in (named | dict(headers)).items()]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


async def exchange(port: int, *parts: bytes) -> tuple[int, bytes]:
    """Send raw bytes to a port, and return the status and the whole of what came back, up to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(30.0):
            for part in parts:
                writer.write(part)
                await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1])) if length and not parts[0].startswith(b"HEAD") else b""
    finally:
        writer.close()
    return int(head.split(b" ", 2)[1]), head + body


async def send(bot: Scenario, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Send a signed body, with these headers besides or instead; return the status and the body of the answer."""
    status, answer = await exchange(bot.port, request(body, bot.slack.sign(body) | dict(headers or {})))
    return status, answer.partition(b"\r\n\r\n")[2]


async def refused(bot: Scenario, *parts: bytes) -> int:
    """Send it; see that it is answered, starts nothing, and leaves a mark in no log. Return the status."""
    status, answer = await exchange(bot.port, *parts)

    assert answer.startswith(b"HTTP/1.0") or MARK.encode() not in answer  # 1.0: what was sent was no HTTP
    assert MARK not in bot.log.text
    assert bot.reloads == []
    return status


async def test_a_request_with_a_wrong_timestamp_is_unauthorized(bot: Scenario) -> None:
    """A request whose timestamp is missing, no number, stale or to come is unauthorized, even if it is signed."""
    now = int(time.time())
    wrong = ("", "NaN", "1e9", "-1", "+1700000000", "0", " ", "9" * 400, "1_700_000_000", "²²²²²²²²²²", MARK)
    for timestamp in (None, *wrong, str(now - 301), str(now + 400)):
        headers = bot.slack.sign(command(), timestamp or "")
        if timestamp is None:
            del headers["X-Slack-Request-Timestamp"]
        assert await refused(bot, request(command(), headers)) == 401, ascii(timestamp)[:80]


SIGNATURES = ("", "v0=", MARK, "v0=" + "0" * 64, "v1=right", "right", "v0=right0", "V0=RIGHT", "v0=é", "v0=\udcff")


async def test_a_request_with_a_wrong_signature_is_unauthorized(bot: Scenario) -> None:
    """A request that is not signed with the secret, letter by letter, is unauthorized."""
    headers = bot.slack.sign(command())
    right = headers.pop("X-Slack-Signature").removeprefix("v0=")
    assert await refused(bot, request(command(), headers)) == 401
    for signature in SIGNATURES:
        wrong = signature.replace("right", right).replace("RIGHT", right.upper())
        signed = headers | {"X-Slack-Signature": wrong}
        assert await refused(bot, request(command(), signed)) == 401, ascii(signature)


async def test_a_signature_holds_for_its_own_body_and_secret(bot: Scenario) -> None:
    """Whatever the type of the body. Anybody can send such requests, so the log says it once."""
    headers = bot.slack.sign(command())
    assert await refused(bot, request(command(text="other"), headers)) == 401
    assert await refused(bot, request(event(event={"type": "app_home_opened", "user": ADA}), JSON)) == 401
    right, bot.slack.signing_secret = bot.slack.signing_secret, "another"
    headers, bot.slack.signing_secret = bot.slack.sign(command()), right
    assert await refused(bot, request(command(), headers)) == 401

    assert [record["status"] for record in bot.log.of("request_refused")] == [401]
    assert "Reloading" in (await bot.ask("afterwards")).text


NONSENSE: tuple[bytes, ...] = (
    b"",
    b"\xff\xfe" + MARK.encode(),
    f"text=%FF%FE{MARK}&".encode() + command(text=None),
    f"text=%ED%A0%80{MARK}&".encode() + command(text=None),
    MARK.encode(),
    b"=&=&=",
    command() + b"&text=again",
    command() + b"&" + b"&".join(f"f{number}={MARK}".encode() for number in range(100)),
    b"payload=[]",
    f"payload={MARK}".encode(),
    urlencode({"payload": "[" * 20_000}).encode(),
    b"ssl_check=1&" + command(command=None),
    *(
        command(**{name: None})
        for name in ("command", "user_id", "team_id", "channel_id", "trigger_id", "response_url")
    ),
    *(command(**{name: "<!channel>"}) for name in ("user_id", "team_id", "channel_id", "enterprise_id")),
    *(command(trigger_id=value) for value in ("", "x" * 2001, "x\0y")),
    command(response_url="https://hooks.slack.com/\r\nX: y"),
    command(command=""),
    interaction("block_actions", actions=[{"type": "button", "action_id": "again", "value": "C0MODELS|x"}], user=None),
    interaction("view_submission", view={"id": "V0", "callback_id": "reload_model", "state": "x"}),
    interaction("view_closed", user={"id": "<!here>", "team_id": "T0SANDBOX"}),
    interaction("view_closed", authorizations={"0": 1}),
    interaction("shortcut", callback_id="reload_model", trigger_id=None),
    interaction("block_suggestion", action_id="model"),
    interaction("dialog_submission"),
    interaction(["shortcut"]),
)

JSON_NONSENSE: tuple[bytes, ...] = (
    b"\xff",
    b"[]",
    b"[" * 20_000,
    b"7" * 5_000,
    command(),
    event(type=MARK),
    event(type="url_verification"),
    event(type="url_verification", challenge=["x"]),
    event(type="url_verification", challenge="x\r\nX: y"),
    event(event=MARK),
    event(event={"type": "app_home_opened", "user": MARK}),
    event(event={"type": "app_home_opened", "user": ADA}, team_id="<!here>"),
)


async def test_signed_nonsense_is_a_bad_request(bot: Scenario) -> None:
    """What is signed but not shaped as Slack shapes it is a bad request, and logged as such.

    A body that isn't text can't be checked, so anybody can send it: one a minute is logged.
    """
    for headers, bodies in (({}, NONSENSE), (JSON, JSON_NONSENSE)):
        for number, body in enumerate(bodies):
            signed = bot.slack.sign(body) | headers
            assert await refused(bot, request(body, signed)) == 400, (number, ascii(body)[:80])
    no_text = [body for body in (*NONSENSE, *JSON_NONSENSE) if "\ufffd" in body.decode(errors="replace")]
    logged = [record["reason"] for record in bot.log.of("request_refused")]
    assert len(logged) == len(NONSENSE) + len(JSON_NONSENSE) - len(no_text) + 1
    assert logged.count("a body that isn't UTF-8") == 1


OF_NO_USE: tuple[bytes, ...] = (
    interaction("view_closed", view={"id": "V0", "callback_id": "reload_model"}),
    interaction("view_submission", view={"id": "V0", "type": "modal", "callback_id": "other"}),
    interaction("shortcut", callback_id="other"),
    interaction("message_action", callback_id="other"),
    interaction("block_suggestion", action_id="other", value=""),
    *(
        interaction("block_actions", actions=[{"type": "button", "action_id": action_id, "value": value}])
        for action_id, value in (("again:0", "sdxl"), ("dance", "C0MODELS|sdxl"), ("join:0", "|"))
    ),
)


EVENTS_OF_NO_USE: tuple[bytes, ...] = (
    event(event={"type": "reaction_added"}),
    event(event={"type": "app_home_opened", "user": ADA, "tab": "messages"}),
    event(type="app_rate_limited", minute_rate_limited=1518467820),
)


async def test_what_is_of_no_use_is_acknowledged(bot: Scenario) -> None:
    """Messages outlive versions; and Slack stops sending events to an app that refuses many, as the log says."""
    used = [call.method for call in bot.slack.calls]
    for body in OF_NO_USE:
        assert await send(bot, body) == (200, b""), ascii(body)[:80]
    for body in EVENTS_OF_NO_USE:
        assert await send(bot, body, JSON) == (200, b""), ascii(body)[:80]

    assert [call.method for call in bot.slack.calls] == used
    assert (bot.log.of("command"), bot.reloads) == ([], [])
    assert [line["level"] for line in bot.log.of("events_rate_limited")] == ["warning"]


WRONG_TYPES = (
    *("text/json", "text/plain", "multipart/form-data; boundary=x", ""),
    *(f"{FORM}; charset=latin-1", f"{FORM}; charset=\udcff", f"{FORM}; charset=bogus-{MARK}"),
    "application/json; charset=utf-16",
)


async def test_only_forms_and_json_in_utf_8_are_read(bot: Scenario) -> None:
    """Only a form or JSON is read, and only in UTF-8, however that is written."""
    for content_type in WRONG_TYPES:
        headers = bot.slack.sign(command()) | {"Content-Type": content_type}
        assert await refused(bot, request(command(), headers)) == 415, ascii(content_type)[:80]
    for content_type in (f"{FORM}; charset=UTF-8", f'{FORM};charset="utf-8"', FORM.upper()):
        assert (await send(bot, command(), {"Content-Type": content_type}))[0] == 200


async def test_a_compressed_body_is_not_unpacked(bot: Scenario) -> None:
    """A compressed body is not unpacked: what is signed is what is read, and a bomb costs nothing."""
    for body in (gzip.compress(command()), gzip.compress(b"x" * 5_000_000)):
        for encoding in ("gzip", "deflate", "br", "bogus"):
            headers = bot.slack.sign(body) | {"Content-Encoding": encoding}
            assert await refused(bot, request(body, headers)) == 400, encoding


async def test_the_largest_body(bot: Scenario) -> None:
    """512 KiB are read. One byte more is refused before it has come, or in chunks as soon as it is too much."""
    fits = command(padding="x")
    fits += b"x" * (512 * 1024 - len(fits))

    assert await refused(bot, request(fits + b"x", bot.slack.sign(fits + b"x"))) == 413
    assert await refused(bot, request(b"", {"Content-Type": FORM, "Content-Length": "3000000"})) == 413
    chunk = b"%x\r\n%s\r\n" % (256 * 1024, b"x" * 256 * 1024)
    head = request(b"", {"Content-Type": FORM, "Transfer-Encoding": "chunked"})
    assert await refused(bot, head, *[chunk] * 5) == 413
    for broken in (b"zz\r\n" + MARK.encode(), b"5\r\nhelloMORE\r\n", b"-1\r\n\r\n"):
        assert await refused(bot, head + broken) == 400
    assert (await send(bot, fits))[0] == 200
    head = request(b"", bot.slack.sign(command()) | {"Transfer-Encoding": "chunked"})
    status, answer = await exchange(bot.port, head, b"%x\r\n%s\r\n0\r\n\r\n" % (len(command()), command()))
    assert (status, b"Reloading `sdxl`." in answer) == (200, True)


async def test_half_a_body_is_given_up(scenario: Scenario) -> None:
    """A client that stops in the middle is answered in time; nothing that it does keeps the port from closing."""
    set_timing(http_body=0.2)
    await scenario.open()
    half = request(command(), scenario.slack.sign(command()))[: -len(command()) // 2]
    reader, writer = await asyncio.open_connection("127.0.0.1", scenario.port)
    writer.write(half)
    answer = await asyncio.wait_for(reader.read(), 30.0)
    writer.close()
    _, gone = await asyncio.open_connection("127.0.0.1", scenario.port)
    gone.write(half)
    await gone.drain()
    gone.transport.abort()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert "Reloading" in (await scenario.ask("afterwards")).text
    assert MARK not in scenario.log.text
    set_timing(http_body=600.0)
    await scenario.reopen()
    _, writer = await asyncio.open_connection("127.0.0.1", scenario.port)
    writer.write(half)
    await writer.drain()
    async with asyncio.timeout(30.0):
        await scenario.shut()
    writer.close()


async def test_another_path_or_method_is_refused(bot: Scenario) -> None:
    """There is one path for Slack, which posts. The log has the wrong path, and nothing that can't be written out."""
    signed = bot.slack.sign(command())
    for path in ("/slack", "/", "/slack/events/", "/slack/install", "/slack/events/../events", "//"):
        assert await refused(bot, request(command(), signed, path=path)) == 404, path
    for method, status in {"GET": 405, "PUT": 405, "HEAD": 405, "BREW": 400}.items():
        assert await refused(bot, request(command(), signed, method=method)) == status, method
    for path in ("/slack/events", "/nowhere"):
        assert await refused(bot, request(command(), signed | {"Expect": "\udc80"}, path=path)) == 417
    record = bot.log.of("request_refused")[0]
    assert (record["status"], record["path"]) == (404, "/slack")


NO_HTTP: tuple[bytes, ...] = (
    f"{MARK}\r\n\r\n".encode(),
    f"GET {MARK}\r\n\r\n".encode(),
    f"POST /slack/events HTTP/9.9\r\nX: {MARK}\r\n\r\n".encode(),
    f"POST /slack/events HTTP/1.1\r\nno colon {MARK}\r\n\r\n".encode(),
    f"POST /slack/events HTTP/1.1\r\nContent-Length: {MARK}\r\n\r\n".encode(),
    b"POST /slack/events HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /slack/events HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + MARK.encode() + b"\r\n\r\n",
    request(b"", {f"X-{number}": MARK for number in range(65)}),
    request(b"", {"X": MARK * 300}),
)


async def test_what_is_not_http_is_a_bad_request(bot: Scenario) -> None:
    """What is no HTTP, or has too many or too long headers, is a bad request. The log doesn't say what was in it."""
    for raw in NO_HTTP:
        assert await refused(bot, raw) == 400, ascii(raw)[:80]
    assert "Reloading" in (await bot.ask("afterwards")).text


async def test_a_crowd_of_slow_clients_keeps_nobody_waiting(bot: Scenario) -> None:
    """Two hundred idle connections and two hundred halves of a head keep no honest request waiting."""
    head = b"POST /slack/events HTTP/1.1\r\nHost: bot.example.com\r\nX-Slow: "
    crowd = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", bot.port) for _ in range(400)))
    for _, writer in crowd[:200]:
        writer.write(head)
    ack = await bot.ask("sdxl")
    for _, writer in crowd:
        writer.close()

    assert "Reloading `sdxl`" in ack.text


async def test_slacks_own_probes_are_answered(bot: Scenario) -> None:
    """That of the address signed, that of the certificate unsigned. What only resembles one is refused."""
    body = json.dumps({"type": "url_verification", "challenge": "c0ffee", "token": "deprecated"}).encode()

    assert await send(bot, body, JSON) == (200, b"c0ffee")
    assert (await exchange(bot.port, request(body, JSON)))[0] == 401
    for body in (b"ssl_check=1", b"ssl_check=1&token=deprecated"):
        status, answer = await exchange(bot.port, request(body, {"Content-Type": FORM}))
        assert (status, answer.partition(b"\r\n\r\n")[2]) == (200, b"")
    for body in (b"ssl_check=0", b"ssl_check=1&ssl_check=1", b"ssl_check=1&text=sdxl", command(ssl_check="1")):
        assert await refused(bot, request(body, {"Content-Type": FORM})) == 401
