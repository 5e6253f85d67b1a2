"""The door that Slack knocks at in HTTP mode: whatever Slack did not sign and send is turned away at once."""

import asyncio
import gzip
import json
import time
from collections.abc import Mapping
from urllib.parse import urlencode

import pytest

from tests.scenarios.house import ADA, MODELS, READY, House, Stopwatch, exchange

MARK = "ThisIsNobodysBusiness"
"""Stands in every faulty request, and must stand in no log."""

FORM = "application/x-www-form-urlencoded"
LIMIT = 64 * 1024


@pytest.fixture
def mode() -> str:
    """What is not marked otherwise is about HTTP mode."""
    return "http"


def command(**fields: str | None) -> dict[str, str]:
    """An invocation as Slack sends it, with these fields instead; None leaves one out."""
    form: dict[str, str | None] = {
        "token": "deprecated",
        "team_id": "T0SANDBOX",
        "team_domain": MARK,
        "channel_id": MODELS,
        "user_id": ADA,
        "command": "/reload-model",
        "text": "sdxl",
        "response_url": "https://hooks.slack.com/commands/T0SANDBOX/1/x",
        "trigger_id": f"{MARK}.1",
    }
    return {name: value for name, value in (form | fields).items() if value is not None}


def request(body: bytes, headers: Mapping[str, str], *, method: str = "POST", path: str = "/slack/events") -> bytes:
    """An HTTP request, written out."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bot.example.com"]
    named = {"Content-Length": str(len(body))} if "Transfer-Encoding" not in headers else {}
    lines += [f"{name}: {value}" for name, value in (named | dict(headers)).items()]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


async def refused(bot: House, *parts: bytes) -> int:
    """Send it; see that it is answered at once, starts nothing, and leaves a mark in no log. Return the status."""
    watch = Stopwatch()
    status, answer = await exchange(bot.port, *parts)

    assert watch.seconds < 1.0
    assert answer.startswith(b"HTTP/1.0") or MARK.encode() not in answer  # 1.0: what was sent was no HTTP
    assert MARK not in bot.log.text
    assert bot.reloads == []
    return status


async def still_serves(bot: House) -> None:
    """The next command is taken."""
    assert "Reloading" in (await bot.ask("afterwards")).text


# --- signatures -----------------------------------------------------------------------------------------


TIMESTAMPS: tuple[str | None, ...] = (
    None,
    "",
    "NaN",
    "inf",
    "1e9",
    "-1",
    "+1700000000",
    "0",
    "1.5",
    "0x5f5e100",
    " ",
    "9" * 400,
    "1_700_000_000",
    "\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669\u0660",
    "²²²²²²²²²²",
    "stale",
    "future",
    MARK,
)


async def test_a_timestamp(bot: House) -> None:
    """A request whose timestamp is missing, no number, stale or to come is unauthorized, even if it is signed."""
    for timestamp in TIMESTAMPS:
        moved = {"stale": int(time.time()) - 301, "future": int(time.time()) + 302}
        stamp = str(moved.get(timestamp or "", timestamp or ""))
        body = urlencode(command()).encode()
        headers = bot.slack.sign(body, stamp)
        if timestamp is None:
            del headers["X-Slack-Request-Timestamp"]
        assert await refused(bot, request(body, headers)) == 401, ascii(timestamp)[:80]


@pytest.mark.parametrize(
    "signature",
    [None, "", "v0=", "v0", MARK, "v0=" + "0" * 64, "v1=right", "right", "v0=right0", "V0=RIGHT", "v0=é", "v0=\udcff"],
    ids=ascii,
)
async def test_a_signature(bot: House, signature: str | None) -> None:
    """A request that is not signed with the secret, letter by letter, is unauthorized."""
    body = urlencode(command()).encode()
    headers = bot.slack.sign(body)
    right = headers.pop("X-Slack-Signature").removeprefix("v0=")
    if signature is not None:
        headers["X-Slack-Signature"] = signature.replace("right", right).replace("RIGHT", right.upper())

    assert await refused(bot, request(body, headers)) == 401


async def test_a_body_changed_on_the_way(bot: House) -> None:
    """The signature holds for the body that was signed, and for no other."""
    headers = bot.slack.sign(urlencode(command()).encode())
    body = urlencode(command(text="other")).encode()

    assert await refused(bot, request(body, headers)) == 401


async def test_another_secret(bot: House) -> None:
    """A request that another app's secret signed is unauthorized."""
    right, bot.slack.signing_secret = bot.slack.signing_secret, "another"
    body = urlencode(command()).encode()
    headers, bot.slack.signing_secret = bot.slack.sign(body), right

    assert await refused(bot, request(body, headers)) == 401
    await still_serves(bot)


# --- signed, but not what Slack sends -------------------------------------------------------------------


NONSENSE: tuple[bytes, ...] = (
    b"",
    b"\xff\xfe" + MARK.encode(),
    f"text=%FF%FE{MARK}&{urlencode(command(text=None))}".encode(),
    f"text=%ED%A0%80{MARK}&{urlencode(command(text=None))}".encode(),
    MARK.encode(),
    b"=&=&=",
    b"&&&&",
    json.dumps(command()).encode(),
    f"{urlencode(command())}&text=again".encode(),
    f"{urlencode(command())}&{'&'.join(f'f{n}={MARK}' for n in range(100))}".encode(),
    b"payload={" + MARK.encode(),
    b"payload=[]",
    b"payload=null",
    f"payload={MARK}".encode(),
    urlencode({"payload": "[" * 20_000}).encode(),
    urlencode({"payload": json.dumps({"type": "block_actions", "user": {"id": ADA}, "mark": MARK})}).encode(),
    urlencode({"payload": json.dumps({"type": "view_submission", "view": None})}).encode(),
    b"ssl_check=1&" + urlencode(command(command=None)).encode(),
    *(urlencode(command(**{name: None})).encode() for name in ("command", "user_id", "team_id", "channel_id")),
    *(urlencode(command(**{name: None})).encode() for name in ("trigger_id", "response_url")),
    *(
        urlencode(command(**{name: value})).encode()
        for name in ("user_id", "team_id", "channel_id", "enterprise_id")
        for value in ("<!channel>", "u0ada", "U0ADA ", "U", "U" * 65, "Ü0ADA", "U0ADA\n", "U0ADA\0")
    ),
    urlencode(command(user_id="")).encode(),
    urlencode(command(trigger_id="")).encode(),
    urlencode(command(trigger_id="x" * 2001)).encode(),
    urlencode(command(trigger_id="x\0y")).encode(),
    urlencode(command(response_url="https://hooks.slack.com/é")).encode(),
    urlencode(command(response_url="https://hooks.slack.com/\r\nX: y")).encode(),
    urlencode(command(text="x" * 8001)).encode(),
    *(urlencode(command(command=name)).encode() for name in ("/other one", "/reload-model ", "other", "")),
)


async def test_signed_nonsense(bot: House) -> None:
    """What is signed but not shaped as Slack's invocation of this command is a bad request."""
    for body in NONSENSE:
        assert await refused(bot, request(body, bot.slack.sign(body))) == 400, ascii(body)[:80]
        assert bot.log.of("request_refused")


CONTENT_TYPES: tuple[str, ...] = (
    "application/json; charset=utf-16",
    "text/json",
    "text/plain",
    "multipart/form-data; boundary=x",
    "",
    "nonsense",
    f"{FORM}; charset=bogus-{MARK}",
    f"{FORM}; charset=utf-16",
    f"{FORM}; charset=latin-1",
    f"{FORM}; charset=\udcff",
)


async def test_a_content_type(bot: House) -> None:
    """Only a form or JSON is read, and only in UTF-8."""
    for content_type in CONTENT_TYPES:
        body = urlencode(command()).encode()
        headers = bot.slack.sign(body) | {"Content-Type": content_type}
        assert await refused(bot, request(body, headers)) == 415, ascii(content_type)[:80]


@pytest.mark.parametrize("content_type", [f"{FORM}; charset=UTF-8", f'{FORM};charset="utf-8"', FORM.upper()])
async def test_a_content_type_that_will_do(bot: House, content_type: str) -> None:
    """However the form's type is written, it is a form."""
    body = urlencode(command()).encode()
    status, answer = await exchange(bot.port, request(body, bot.slack.sign(body) | {"Content-Type": content_type}))

    assert status == 200
    assert b"Reloading `sdxl`" in answer


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "bogus"])
async def test_a_content_encoding(bot: House, encoding: str) -> None:
    """A compressed body is not unpacked: what is signed is what is read."""
    body = gzip.compress(urlencode(command()).encode())
    headers = bot.slack.sign(body) | {"Content-Encoding": encoding}

    assert await refused(bot, request(body, headers)) == 400


async def test_a_bomb(bot: House) -> None:
    """A small body that would unpack to a gigabyte costs nothing."""
    body = gzip.compress(b"x" * 50_000_000)

    assert await refused(bot, request(body, bot.slack.sign(body) | {"Content-Encoding": "gzip"})) == 400


# --- sizes and patience ---------------------------------------------------------------------------------


async def test_the_largest_body(bot: House) -> None:
    """64 KiB are read, one byte more is not."""
    fits = urlencode(command(padding="x")).encode()
    fits += b"x" * (LIMIT - len(fits))
    too_long = fits + b"x"

    assert await refused(bot, request(too_long, bot.slack.sign(too_long))) == 413
    assert (await exchange(bot.port, request(fits, bot.slack.sign(fits))))[0] == 200


async def test_three_megabytes(bot: House) -> None:
    """A body that announces its three megabytes is refused before it has come."""
    headers = {"Content-Type": FORM, "Content-Length": "3000000"}

    assert await refused(bot, request(b"", headers)) == 413
    await still_serves(bot)


async def test_three_megabytes_in_chunks(bot: House) -> None:
    """A body that announces nothing is refused as soon as it is too long."""
    chunk = b"%x\r\n%s\r\n" % (16 * 1024, b"x" * 16 * 1024)
    head = request(b"", {"Content-Type": FORM, "Transfer-Encoding": "chunked"})

    assert await refused(bot, head, *[chunk] * 5) == 413
    await still_serves(bot)


@pytest.mark.parametrize("chunks", [b"zz\r\n" + MARK.encode(), b"5\r\nhelloMORE\r\n", b"-1\r\n\r\n"])
async def test_broken_chunks(bot: House, chunks: bytes) -> None:
    """Chunks that make no sense are a bad request."""
    head = request(b"", {"Content-Type": FORM, "Transfer-Encoding": "chunked"})

    assert await refused(bot, head + chunks) == 400


async def test_half_a_body(house: House) -> None:
    """A client that stops in the middle is answered when its time is over, and the connection is closed."""
    house.hurry(http_body=0.2)
    await house.open()
    bot = house
    body = urlencode(command()).encode()
    half = request(body, bot.slack.sign(body))[: -len(body) // 2]
    reader, writer = await asyncio.open_connection("127.0.0.1", bot.port)
    writer.write(half)
    answer = await asyncio.wait_for(reader.read(), 3.0)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert MARK not in bot.log.text
    await still_serves(bot)


async def test_a_client_that_goes_away(bot: House) -> None:
    """A client that hangs up in the middle leaves nothing behind."""
    body = urlencode(command()).encode()
    _, writer = await asyncio.open_connection("127.0.0.1", bot.port)
    writer.write(request(body, bot.slack.sign(body))[: -len(body) // 2])
    await writer.drain()
    writer.transport.abort()

    await still_serves(bot)
    assert MARK not in bot.log.text


async def test_a_body_in_two_parts(bot: House) -> None:
    """A body that comes in parts, or in chunks, is as good as any."""
    body = urlencode(command()).encode()
    whole = request(body, bot.slack.sign(body))
    first = await exchange(bot.port, whole[:-10], whole[-10:])
    chunked = request(b"", bot.slack.sign(body) | {"Transfer-Encoding": "chunked"})
    second = await exchange(bot.port, chunked, b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    assert [first[0], second[0]] == [200, 200]
    assert first[1].partition(b"\r\n\r\n")[2] == second[1].partition(b"\r\n\r\n")[2]


# --- not even a request ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 405), ("PUT", 405), ("DELETE", 405), ("HEAD", 405), ("BREW", 400)]
)
async def test_a_method(bot: House, method: str, status: int) -> None:
    """Slack posts, and does nothing else."""
    body = urlencode(command()).encode()

    assert status == await refused(bot, request(body, bot.slack.sign(body), method=method))


@pytest.mark.parametrize("path", ["/", "/slack", "/slack/events/", "/slack/install", "/slack/events/../events", "//"])
async def test_a_path(bot: House, path: str) -> None:
    """There is one path for Slack."""
    body = urlencode(command()).encode()

    assert await refused(bot, request(body, bot.slack.sign(body), path=path)) == 404


NO_HTTP: tuple[bytes, ...] = (
    f"{MARK}\r\n\r\n".encode(),
    f"GET {MARK}\r\n\r\n".encode(),
    f"POST /slack/events HTTP/9.9\r\nX: {MARK}\r\n\r\n".encode(),
    f"POST /slack/events HTTP/1.1\r\nno colon {MARK}\r\n\r\n".encode(),
    f"POST /slack/events HTTP/1.1\r\nContent-Length: {MARK}\r\n\r\n".encode(),
    b"POST /slack/events HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /slack/events HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + MARK.encode() + b"\r\n\r\n",
    f"POST /slack/events HTTP/1.1\r\nX: {'x' * 20_000}{MARK}\r\n\r\n".encode(),
)


async def test_bad_http(bot: House) -> None:
    """What is no HTTP is a bad request, and nobody reads in the log what it was."""
    for raw in NO_HTTP:
        assert await refused(bot, raw) == 400, ascii(raw)[:80]
    await still_serves(bot)


async def test_many_headers(bot: House) -> None:
    """Headers are neither many nor logged."""
    body = urlencode(command()).encode()
    many = {f"X-{number}": MARK for number in range(50)}

    assert await refused(bot, request(body, many | {"Content-Type": FORM})) == 401
    for count in (65, 10_000):
        assert await refused(bot, request(body, {f"X-{number}": MARK for number in range(count)})) == 400
    assert await refused(bot, request(body, {"X": MARK * 300})) == 400


async def test_many_at_once(bot: House) -> None:
    """A crowd of forgers keeps no real command waiting."""
    body = urlencode(command()).encode()
    forged = request(body, bot.slack.sign(body) | {"X-Slack-Signature": "v0=" + "0" * 64})
    crowd = asyncio.gather(*(exchange(bot.port, forged) for _ in range(100)))
    ack = await bot.ask("sdxl")

    assert ack.seconds < 2.0
    assert {401} == {status for status, _ in await crowd}
    await bot.wait_said(READY)


async def test_a_crowd_that_dawdles(bot: House) -> None:
    """Two hundred idle connections and two hundred halves of a head keep no honest request waiting."""
    head = b"POST /slack/events HTTP/1.1\r\nHost: bot.example.com\r\nX-Slow: "
    crowd = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", bot.port) for _ in range(400)))
    for _, writer in crowd[:200]:
        writer.write(head)
    ack = await bot.ask("sdxl")
    for _, writer in crowd:
        writer.close()

    assert "Reloading `sdxl`" in ack.text


# --- events, which are JSON -----------------------------------------------------------------------------

OPENED = {"type": "app_home_opened", "user": ADA, "tab": "home"}

JSON_NONSENSE: tuple[bytes, ...] = (
    b"",
    b"\xff",
    MARK.encode(),
    b"[]",
    b"null",
    b"[" * 20_000,
    b"7" * 5_000,
    urlencode(command()).encode(),
    *(
        json.dumps(body).encode()
        for body in (
            {},
            {"type": MARK},
            {"type": "url_verification"},
            {"type": "url_verification", "challenge": ["x"]},
            {"type": "url_verification", "challenge": "x\r\nX: y"},
            {"type": "event_callback", "team_id": "T0SANDBOX"},
            {"type": "event_callback", "team_id": "T0SANDBOX", "event": {"type": "app_home_opened", "user": MARK}},
            {"type": "event_callback", "team_id": "<!here>", "event": OPENED},
        )
    ),
)


async def test_signed_json_nonsense(bot: House) -> None:
    """What is signed JSON but no event as Slack sends it is a bad request."""
    for body in JSON_NONSENSE:
        headers = bot.slack.sign(body) | {"Content-Type": "application/json"}
        assert await refused(bot, request(body, headers)) == 400, ascii(body)[:80]


async def test_an_event_that_is_not_signed(bot: House) -> None:
    """JSON is signed like all else."""
    body = json.dumps({"type": "event_callback", "team_id": "T0SANDBOX", "event": OPENED}).encode()

    assert await refused(bot, request(body, {"Content-Type": "application/json"})) == 401


async def test_an_event_of_no_use_is_acknowledged(bot: House) -> None:
    """Slack sends again what is refused, and stops sending to an app that refuses much."""
    body = json.dumps({"type": "event_callback", "team_id": "T0SANDBOX", "event": {"type": "reaction_added"}}).encode()
    headers = bot.slack.sign(body) | {"Content-Type": "application/json"}

    assert (await exchange(bot.port, request(body, headers)))[0] == 200


async def test_the_address_of_events_is_verified(bot: House) -> None:
    """Slack asks once, when it is entered on the app's page; a forger gets no echo."""
    body = json.dumps({"type": "url_verification", "challenge": "c0ffee", "token": "deprecated"}).encode()
    status, answer = await exchange(
        bot.port, request(body, bot.slack.sign(body) | {"Content-Type": "application/json"})
    )

    assert (status, answer.partition(b"\r\n\r\n")[2]) == (200, b"c0ffee")
    assert (await exchange(bot.port, request(body, {"Content-Type": "application/json"})))[0] == 401


@pytest.mark.parametrize("path", ["/slack/events", "/nowhere", "*"])
async def test_an_expectation_that_is_no_text(bot: House, path: str) -> None:
    """Wherever it is sent to, what cannot be written out again is refused in other words."""
    body = urlencode(command()).encode()
    method = "OPTIONS" if path == "*" else "POST"
    headers = bot.slack.sign(body) | {"Expect": "\udc80"}

    assert await refused(bot, request(body, headers, method=method, path=path)) == 417


# --- Slack's certificate probe --------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"ssl_check=1", b"ssl_check=1&token=deprecated"])
async def test_ssl_check(bot: House, body: bytes) -> None:
    """Slack's certificate probe comes unsigned, and is answered with nothing."""
    status, answer = await exchange(bot.port, request(body, {"Content-Type": FORM}))

    assert (status, answer.partition(b"\r\n\r\n")[2]) == (200, b"")
    assert bot.reloads == []


@pytest.mark.parametrize("body", [b"ssl_check=0", b"ssl_check=", b"ssl_check=1&ssl_check=1", b"ssl_check=1&text=sdxl"])
async def test_no_ssl_check(bot: House, body: bytes) -> None:
    """What only resembles the probe is a request like any other."""
    assert await refused(bot, request(body, {"Content-Type": FORM})) == 401


async def test_a_command_dressed_as_ssl_check(bot: House) -> None:
    """A command is no probe, whatever it says of itself: unsigned, it is unauthorized."""
    body = urlencode(command(ssl_check="1")).encode()

    assert await refused(bot, request(body, {"Content-Type": FORM})) == 401


# --- Socket Mode ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["socket"])
async def test_no_door_in_socket_mode(bot: House) -> None:
    """In Socket Mode there is no way in over HTTP, however well it is signed."""
    body = urlencode(command()).encode()

    assert await refused(bot, request(body, bot.slack.sign(body))) == 404


async def test_no_answer_is_worse_than_a_4xx(bot: House) -> None:
    """Nothing that was sent above may keep the port from closing in time."""
    _, writer = await asyncio.open_connection("127.0.0.1", bot.port)
    writer.write(b"POST /slack/events HTTP/1.1\r\nContent-Length: 10\r\n\r\n")
    await writer.drain()
    watch = Stopwatch()
    await bot.shut()
    writer.close()

    assert watch.seconds < 2.0
