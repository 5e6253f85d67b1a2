"""Random HTTP requests, as anybody could send who finds the port, or who has stolen the signing secret."""

import asyncio
import json
import re
from urllib.parse import quote_from_bytes, urlencode

import aiohttp
import pytest
from hypothesis import strategies as st

from bot.sandbox.slack.delivery import Kind
from tests.attack.conftest import Attack, all_harmless, unharmed
from tests.attack.junk import Json, Payloads, broken_of, deep_json, json_values, texts
from tests.scenarios.scenario import Scenario, http_mode
from tests.secrecy import scan

ANSWER_LIMIT = 16 * 1024
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
_first_lines = st.tuples(
    st.sampled_from(["POST", "POST", "GET", "HEAD", "OPTIONS", "PUT", "CONNECT", "PRI"]) | _token,
    st.sampled_from(["/slack/events", "/healthz", "/readyz", "/metrics", "*", "http://x/"]) | _latin,
    st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0"]) | _token,
).map(" ".join)
_headers = st.lists(st.tuples(_names | _token, _values | _latin).map(": ".join), max_size=6)
_bodies = st.binary(max_size=500) | json_values.map(lambda value: json.dumps(value).encode())

pytestmark = http_mode


async def answered(bot: Scenario, raw: bytes) -> int:
    """Send this, and return the status of the first answer; 0 if the bot hung up without one.

    After a second the client sends no more: the bot waits for the end of a head for as long as the proxy in front does.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", bot.port)
    answer = b""
    hanging_up = asyncio.get_running_loop().call_later(1.0, writer.write_eof)
    try:
        writer.write(raw)
        async with asyncio.timeout(30.0):
            while (chunk := await reader.read(65536)) and not _is_whole(answer := answer + chunk, raw):
                assert len(answer) < ANSWER_LIMIT
    except ConnectionError:
        pass
    finally:
        hanging_up.cancel()
        writer.close()
    scan("an answer", answer.decode("latin-1"))
    found = re.match(rb"(?:HTTP/1.1 100 Continue\r\n\r\n)?HTTP/\d\.\d (\d{3}) ", answer)
    assert found or not answer, answer
    return int(found[1]) if found else 0


def _is_whole(answer: bytes, asked: bytes) -> bool:
    """Whether an answer has come. That to a HEAD has no body, whatever its length says."""
    head, ended, body = answer.rpartition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    return bool(ended) and length is not None and (asked.startswith(b"HEAD ") or len(body) >= int(length[1]))


async def test_any_request(bot: Scenario, attack: Attack) -> None:
    """Whatever its method, path, headers and body are, signed or not: it gets a 2xx, a 4xx, or no answer."""

    async def holds(request: tuple[str, list[str], bytes, bool, bool]) -> None:
        first, lines, body, signed, usual = request
        named = bot.slack.sign(body) if signed else {}
        named |= {"Content-Length": str(len(body)), "Host": "bot.example.com"} if usual else {}
        head = [first, *lines, *(f"{name}: {value}" for name, value in named.items()), "", ""]
        status = await answered(bot, "\r\n".join(head).encode("latin-1", "replace") + body)
        assert status == 0 or 200 <= status < 300 or 400 <= status < 500, status
        unharmed(bot)
        seen.add(status)

    seen: set[int] = set()
    await attack(
        st.tuples(_first_lines, _headers, _bodies, st.booleans(), st.sampled_from([True] * 3 + [False])), holds
    )
    assert seen - {0, 400}


async def post(bot: Scenario, body: bytes, content_type: str = FORM) -> int:
    """Send a body that is signed, and return the status. A bad request is logged, unless it isn't text."""
    headers = bot.slack.sign(body) | {"Content-Type": content_type}
    async with aiohttp.request("POST", f"{bot.url}/slack/events", data=body, headers=headers) as answer:
        scan("an answer", await answer.text())
        assert "request_refused" in unharmed(bot) or answer.status != 400 or answer.reason == "a body that isn't UTF-8"
        return answer.status


def _form(fields: dict[str, Json]) -> bytes:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    return urlencode(texts, errors="replace").encode()


@st.composite
def _broken_bytes(draw: st.DrawFn, body: bytes) -> bytes:
    """With some bytes added, which need not be text."""
    place = draw(st.integers(0, len(body)))
    return body[:place] + quote_from_bytes(draw(st.binary(max_size=4))).encode() + body[place:]


async def test_any_signed_form(bot: Scenario, attack: Attack, payloads: Payloads) -> None:
    """A command with parts of it gone, changed or added is a command, or a bad request."""

    async def holds(body: bytes) -> None:
        seen.add(status := await post(bot, body))
        assert status in (200, 400, 413)

    seen: set[int] = set()
    forms = broken_of(payloads["slash_commands"]).map(_form)
    forms = st.one_of(forms, forms.flatmap(_broken_bytes))
    await attack(
        st.one_of(forms, forms, st.binary(max_size=200), st.tuples(forms, st.binary()).map(b"&x=".join)), holds
    )
    assert seen >= {200, 400}
    all_harmless(bot)


@pytest.mark.parametrize("kind", ["interactive", "events_api"])
async def test_any_signed_payload(bot: Scenario, attack: Attack, payloads: Payloads, kind: Kind) -> None:
    """An interaction in a form, or an event in JSON, is answered, or a bad request, whatever is wrong with it."""

    async def holds(payload: dict[str, Json] | str) -> None:
        text = payload if isinstance(payload, str) else json.dumps(payload)
        in_form = kind == "interactive"
        body = urlencode({"payload": text}) if in_form else text
        assert await post(bot, body.encode(), FORM if in_form else "application/json") in (200, 400, 413, 415)

    broken = broken_of(payloads[kind])
    await attack(st.one_of(broken, broken, deep_json, texts), holds)
