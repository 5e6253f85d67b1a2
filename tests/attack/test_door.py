"""Anybody who finds the port can send anything, and so can a thief of the signing secret."""

import asyncio
import json
import re
from dataclasses import dataclass
from urllib.parse import quote_from_bytes, urlencode

import pytest
from hypothesis import strategies as st

from bot.sandbox.delivery import Kind
from tests.attack.conftest import Attack, all_harmless, silent, unmoved
from tests.attack.junk import Json, Sound, deep_json, json_values, spoilt_of, texts
from tests.scenarios.scenario import Scenario

ANSWER_LIMIT = 16 * 1024
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
FORM = "application/x-www-form-urlencoded"

_token = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)
_latin = st.text(st.characters(max_codepoint=255), max_size=200)
_names = st.sampled_from(
    [
        *("Content-Length", "Transfer-Encoding", "Content-Encoding", "Content-Type", "Connection", "Expect"),
        *("Upgrade", "Host", "X-Slack-Signature", "X-Slack-Request-Timestamp", "Cookie", "Range", "Trailer"),
    ]
)
_values = st.sampled_from(
    [
        *("0", "1", "-1", "9" * 30, "chunked", "gzip", "identity"),
        *("close", "keep-alive", "100-continue", "websocket", FORM),
    ]
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request that may be none; signed: whether Slack's headers for that are among its own, usual: those of HTTP."""

    method: str
    path: str
    version: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    signed: bool
    usual: bool

    def written(self, bot: Scenario) -> bytes:
        """As it goes over the line."""
        named = [*self.headers]
        if self.signed:
            named += bot.slack.sign(self.body).items()
        if self.usual:
            named += [("Content-Length", str(len(self.body))), ("Host", "bot.example.com")]
        lines = [f"{self.method} {self.path} {self.version}", *(f"{name}: {value}" for name, value in named)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + self.body


requests = st.builds(
    Request,
    method=st.one_of(st.sampled_from(["POST", "POST", "GET", "HEAD", "OPTIONS", "PUT", "CONNECT", "PRI"]), _token),
    path=st.one_of(st.sampled_from(["/slack/events", "/healthz", "/readyz", "/metrics", "*", "http://x/"]), _latin),
    version=st.one_of(st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0"]), _token),
    headers=st.lists(st.tuples(_names | _token, _values | _latin), max_size=6).map(tuple),
    body=st.one_of(st.binary(max_size=500), json_values.map(lambda value: json.dumps(value).encode())),
    signed=st.booleans(),
    usual=st.sampled_from([True, True, True, False]),
)


async def status_of(bot: Scenario, raw: bytes, *, hang_up_after: float = 5.0) -> int:
    """Send this, and return the status of the first answer; 0 where the bot hung up without one.

    After hang_up_after seconds the client sends no more: where the end of a head is missing, the bot waits for it for
    as long as the proxy in front of it does.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", bot.port)
    answer = b""
    hanging_up = asyncio.get_running_loop().call_later(hang_up_after, writer.write_eof)
    try:
        writer.write(raw)
        async with asyncio.timeout(30.0):
            while (chunk := await reader.read(65536)) and not _whole(
                answer := (answer + chunk).removeprefix(GO_ON), raw
            ):
                assert len(answer) < ANSWER_LIMIT
    except ConnectionError:
        pass
    finally:
        hanging_up.cancel()
        writer.close()
    silent(bot, answer.decode("latin-1"))
    if not answer:
        return 0
    found = re.match(rb"HTTP/\d\.\d (\d{3}) ", answer)
    assert found is not None, answer
    return int(found[1])


def _whole(answer: bytes, asked: bytes) -> bool:
    """Whether an answer has come: that to a HEAD has no body, whatever length it tells."""
    head, ended, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    return bool(ended) and length is not None and (asked.startswith(b"HEAD ") or len(body) >= int(length[1]))


def signed(bot: Scenario, body: bytes, content_type: str = FORM) -> bytes:
    """A request as Slack sends it, but for its body."""
    headers = bot.slack.sign(body) | {"Content-Type": content_type}
    request = Request("POST", "/slack/events", "HTTP/1.1", tuple(headers.items()), body, signed=False, usual=True)
    return request.written(bot)


def _form(fields: dict[str, Json]) -> bytes:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    return urlencode(texts, errors="replace").encode()


@st.composite
def _spoilt_bytes(draw: st.DrawFn, body: bytes) -> bytes:
    """With some bytes of it escaped for others, which need not be text."""
    place = draw(st.integers(0, len(body)))
    return body[:place] + quote_from_bytes(draw(st.binary(max_size=4))).encode() + body[place:]


pytestmark = pytest.mark.parametrize("mode", ["http"])


async def test_any_bytes(bot: Scenario, attack: Attack) -> None:
    """Bytes that are no HTTP get a 400, or none at all."""

    async def holds(raw: bytes) -> None:
        assert await status_of(bot, raw, hang_up_after=0.05) in (0, 400)
        unmoved(bot)

    await attack(st.one_of(st.binary(max_size=2000), st.binary(max_size=200).map(lambda raw: raw + b"\r\n\r\n")), holds)


async def test_any_request(bot: Scenario, attack: Attack) -> None:
    """Whatever its method, path, headers and body are, signed or not: it gets a 2xx, a 4xx, or no answer."""

    async def holds(request: Request) -> None:
        status = await status_of(bot, request.written(bot), hang_up_after=1.0)
        assert status == 0 or 200 <= status < 300 or 400 <= status < 500, status
        unmoved(bot)
        seen.add(status)

    seen: set[int] = set()
    await attack(requests, holds)
    assert seen - {0, 400}


async def test_any_signed_form(bot: Scenario, attack: Attack, sound: Sound) -> None:
    """A command with parts of it gone, changed or added is a command, or a bad request."""

    async def holds(body: bytes) -> None:
        seen.add(status := await status_of(bot, signed(bot, body)))
        assert status in (200, 400, 413)
        assert "request_refused" in unmoved(bot) or status != 400

    seen: set[int] = set()
    forms = spoilt_of(sound["slash_commands"]).map(_form)
    forms = st.one_of(forms, forms.flatmap(_spoilt_bytes))
    await attack(
        st.one_of(forms, forms, st.binary(max_size=200), st.tuples(forms, st.binary()).map(b"&x=".join)), holds
    )
    assert seen >= {200, 400}
    all_harmless(bot)


@pytest.mark.parametrize("kind", ["interactive", "events_api"])
async def test_any_signed_payload(bot: Scenario, attack: Attack, sound: Sound, kind: Kind) -> None:
    """An interaction in a form, or an event in JSON, is answered, or a bad request, whatever is wrong with it."""

    async def holds(payload: dict[str, Json] | str) -> None:
        text = payload if isinstance(payload, str) else json.dumps(payload)
        in_form = kind == "interactive"
        body = urlencode({"payload": text}) if in_form else text
        status = await status_of(bot, signed(bot, body.encode(), FORM if in_form else "application/json"))
        assert status in (200, 400, 413, 415)
        assert "request_refused" in unmoved(bot) or status != 400

    payloads = spoilt_of(sound[kind])
    await attack(st.one_of(payloads, payloads, deep_json, texts), holds)
