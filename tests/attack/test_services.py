"""Random answers of ModelsLab and Slack, or of a proxy in their place."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web
from hypothesis import strategies as st

from tests.answers import Exchange
from tests.attack.conftest import Attack, all_harmless, harmless, unharmed
from tests.attack.junk import MARKUP, Json, deep_json, json_values, texts
from tests.scenarios.scenario import FAILED, READY, Scenario, eventually, http_mode


@dataclass(frozen=True, slots=True)
class Bytes:
    """An answer of these bytes, whether they are HTTP or not. Then the connection ends."""

    raw: bytes

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Write it, and hang up."""
        transport = exchange.request.transport
        if transport is not None:
            transport.write(self.raw)
            exchange.request.protocol.force_close()
        return web.Response()


_said = st.one_of(texts, st.sampled_from(MARKUP), json_values)
_modelslab = st.fixed_dictionaries(
    {"status": st.sampled_from(["success", "processing", "error", "failed"]) | _said},
    optional={"retry_after": st.just(0) | _said, **dict.fromkeys(("message", "messege", "tip", "tips", "data"), _said)},
)
_slack = st.fixed_dictionaries(
    {"ok": st.booleans() | _said},
    optional={
        "error": st.sampled_from(["not_in_channel", "channel_not_found", "internal_error", "invalid_blocks"]) | _said,
        **dict.fromkeys(("ts", "channel", "users", "team_id", "response_metadata"), _said),
    },
)
_headers = st.dictionaries(
    st.sampled_from(
        ["Retry-After", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Location", "Set-Cookie", "Date", "X"]
    ),
    st.one_of(
        st.sampled_from(["0", "-1", "nan", "1e999", "Wed, 21 Oct 2015 07:28:00 GMT", "gzip", "chunked", "text/html"]),
        st.text(st.characters(max_codepoint=255), max_size=60),
    ),
    max_size=3,
)


def answers(fields: st.SearchStrategy[dict[str, Json]]) -> st.SearchStrategy[Bytes]:
    """HTTP answers of any status, some valid, some that break off, and bytes that are no HTTP."""
    bodies = st.one_of(
        fields.map(json.dumps), fields.map(json.dumps), json_values.map(json.dumps), deep_json, texts
    ).map(lambda text: text.encode("utf-8", "replace"))
    statuses = st.one_of(
        st.sampled_from([200, 200, 200, 201, 400, 401, 403, 404, 429, 500, 502, 503]), st.integers(0, 999)
    )
    lengths = st.sampled_from([0, 0, 0, 0, 1, -1, 10**9])
    likely = st.sampled_from([200, 200, 200, 400, 403, 500])
    return st.one_of(
        st.builds(_written, likely, st.just({}), fields.map(json.dumps).map(str.encode), st.just(0)),
        st.builds(_written, likely, st.just({}), bodies, st.just(0)),
        st.builds(_written, statuses, _headers, bodies, lengths),
        st.binary(max_size=300).map(Bytes),
    )


def _written(status: int, headers: Mapping[str, str], body: bytes, beyond: int) -> Bytes:
    named = {"Content-Type": "application/json", **headers, "Content-Length": str(max(len(body) + beyond, 0))}
    lines = [f"HTTP/1.1 {status:03} Whatever", *(f"{name}: {value}" for name, value in named.items())]
    return Bytes("\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body)


pytestmark = http_mode


async def test_any_answer_of_modelslab(bot: Scenario, attack: Attack) -> None:
    """The requester is notified how it ended, and the message mentions nobody else."""
    numbers = itertools.count()

    async def holds(answer: Bytes) -> None:
        model = f"m{next(numbers)}"
        bot.modelslab.answer(model, answer, Bytes(b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"status":"success"}'))
        begin = len(bot.slack.messages)
        harmless((await bot.ask(model)).text)
        told = await eventually(
            lambda: bot.said(f"`{model}`", READY, since=begin) + bot.said(f"`{model}`", FAILED, since=begin)
        )
        harmless(told[-1].text)
        unharmed(bot)

    await attack(answers(_modelslab), holds, at_once=20)
    await bot.wait_done()
    harmless((await bot.ask("history")).text)
    all_harmless(bot)


async def test_any_answer_of_slack(bot: Scenario, attack: Attack) -> None:
    """The message is tried again, or goes another way: every reload ends."""
    numbers = itertools.count()
    methods = st.sampled_from(["chat.postMessage", "chat.postMessage", "chat.update", "response_url"])

    async def holds(fault: tuple[str, Bytes]) -> None:
        number, (method, answer) = next(numbers), fault
        channel = f"C{number:03}"
        bot.slack.add_channel(channel, channel.lower())
        bot.slack.fail(method, answer, times=1, channel=channel)
        await bot.ask(f"m{number}", channel=channel)
        over = "SELECT 1 FROM reload_model_reloads WHERE model_id = ? AND state = 'done'"
        await eventually(lambda: bot.sql(over, f"m{number}"))
        unharmed(bot)

    await attack(st.tuples(methods, answers(_slack)), holds, at_once=20)
    bot.slack.heal()
    await bot.wait_done()
    all_harmless(bot)
