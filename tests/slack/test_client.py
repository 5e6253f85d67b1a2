"""Every way in which a call of Slack's Web API can fail ends in one of two errors: may be tried again, or not here."""

import json
import logging
from collections.abc import AsyncIterator

import aiohttp
import pytest

from bot.errors import SlackError, SlackPermanentError, SlackRetryableError
from bot.sandbox.slack import SandboxSlack
from bot.slack.client import TOKEN_FAULTS, BoundedResponse, SlackClient
from tests.answers import AcceptThenReset, Answer, Big, DeepJson, HalfAnswer, Hang, Json, RateLimited, Raw, Reset

POST = "chat.postMessage"


@pytest.fixture
async def slack() -> AsyncIterator[SandboxSlack]:
    """A Slack with one channel."""
    async with SandboxSlack() as slack:
        slack.add_channel("C0MODELS", "models")
        yield slack


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session that waits less long for an answer than the bot's does."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.5)) as session:
        yield session


@pytest.fixture
def api(slack: SandboxSlack, session: aiohttp.ClientSession) -> SlackClient:
    """The Web API under test."""
    return SlackClient(session, slack.bot_token, slack.api_url)


async def failure(api: SlackClient) -> SlackError:
    """How a post fails."""
    with pytest.raises(SlackError) as raised:
        await api.call(POST, channel="C0MODELS", text="hello")
    return raised.value


def shape(failed: SlackError) -> tuple[type[SlackError], str, float | None]:
    """Again or not, the code, and the wait."""
    return type(failed), failed.code, failed.wait if isinstance(failed, SlackRetryableError) else None


async def test_a_call_returns_the_fields_of_the_answer(slack: SandboxSlack, api: SlackClient) -> None:
    """Its arguments go as JSON, with the bot's token in a header."""
    answer = await api.call(POST, channel="C0MODELS", text="hello", unfurl_links=False)

    assert answer["ts"] == slack.messages[0].ts
    assert [(call.method, call.args, call.token_ok) for call in slack.calls] == [
        (POST, {"channel": "C0MODELS", "text": "hello", "unfurl_links": False}, True)
    ]


@pytest.mark.parametrize(
    ("answer", "code", "wait"),
    [
        (RateLimited(7), "ratelimited", 7.0),
        (RateLimited(None), "ratelimited", None),
        (Json(429, {"ok": False, "error": "odd"}, {"Retry-After": "soon"}), "ratelimited", None),
        (Raw(429, b"<h1>Slow down</h1>", headers={"Retry-After": "5"}), "ratelimited", 5.0),
        (Json(200, {"ok": False, "error": "ratelimited"}, {"Retry-After": "9"}), "ratelimited", 9.0),
        (Json(503, {"ok": False, "error": "channel_not_found"}), "http_503", None),
        (Json(500, {"ok": True}), "http_500", None),
        (Json(200, {}), "http_200", None),
        (Json(200, {"ok": False}), "http_200", None),
        (Json(200, {"ok": False, "error": None}), "http_200", None),
        (Raw(502, b"<h1>Bad Gateway</h1>"), "http_502", None),
        (Raw(200, b"<h1>Log in to the guest network</h1>"), "http_200", None),
        (Raw(200, b"", "application/json"), "no_sense", None),
        (Raw(200, b"{", "application/json"), "no_sense", None),
        (Raw(200, b"null", "application/json"), "no_sense", None),
        (Raw(200, b"[]", "application/json"), "no_sense", None),
        (Raw(200, b'["ok"]', "application/json"), "no_sense", None),
        (Raw(200, b'"ok"', "application/json"), "no_sense", None),
        (Raw(200, b"ok", "text/plain"), "no_sense", None),
        (Raw(500, b"ok", "text/plain"), "no_sense", None),
        (Raw(200, b"\x1f\x8b", "application/gzip"), "no_sense", None),
        (Raw(200, b'{"ok": "\xff"}', "application/json; charset=utf-8"), "UnicodeDecodeError", None),
        (DeepJson(100_000), "RecursionError", None),
        (Reset(), "ServerDisconnectedError", None),
        (AcceptThenReset(), "ServerDisconnectedError", None),
        (HalfAnswer(), "ClientPayloadError", None),
        (Hang(), "TimeoutError", None),
    ],
    ids=lambda value: repr(value)[:60],
)
async def test_what_may_pass_may_be_tried_again(
    slack: SandboxSlack, api: SlackClient, answer: Answer | str, code: str, wait: float | None
) -> None:
    """Limits, outages, and answers that make no sense or do not come."""
    slack.fail(POST, answer)
    found = await failure(api)

    # A reset reaches aiohttp as one error or the other.
    same = found.code.replace("ClientOSError", "ServerDisconnectedError").replace("SocketTimeoutError", "TimeoutError")
    assert (type(found), same, shape(found)[2]) == (SlackRetryableError, code, wait)


@pytest.mark.parametrize(
    "code",
    ["not_in_channel", "is_archived", "restricted_action", "user_disabled", "messages_tab_disabled", "msg_too_long"],
)
async def test_what_is_about_the_place_the_person_or_the_message_is_final(
    slack: SandboxSlack, api: SlackClient, code: str
) -> None:
    """Another way must be found."""
    slack.fail(POST, code)

    assert shape(await failure(api)) == (SlackPermanentError, code, None)


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        *((code, True) for code in sorted(TOKEN_FAULTS)),
        *((code, True) for code in ("missing_scope", "team_added_to_org", "org_login_required", "ekm_access_denied")),
        *((code, True) for code in ("message_limit_exceeded", "what_is_this")),
        *((code, False) for code in ("ratelimited", "internal_error", "fatal_error", "request_timeout")),
    ],
)
async def test_all_else_passes(slack: SandboxSlack, api: SlackClient, code: str, *, refused: bool) -> None:
    """The token can be fixed, a workspace moves to an organisation. Unless Slack is down, another way may work now."""
    slack.fail(POST, code)
    found = await failure(api)

    assert isinstance(found, SlackRetryableError)
    assert (found.code, found.refused) == (code, refused)


@pytest.mark.parametrize(("megabytes", "code"), [(0, "http_200"), (1, "AnswerTooLongError")])
async def test_an_answer_is_bounded(slack: SandboxSlack, megabytes: int, code: str) -> None:
    """And the reason is told when it is too long."""
    slack.fail(POST, Big(megabytes))
    async with aiohttp.ClientSession(response_class=BoundedResponse) as session:
        found = await failure(SlackClient(session, slack.bot_token, slack.api_url))

    assert shape(found) == (SlackRetryableError, code, None)


async def test_a_slack_that_is_away_may_come_back(slack: SandboxSlack, api: SlackClient) -> None:
    """Without a connection there is a word for that in place of Slack's code."""
    await slack.stop()

    assert shape(await failure(api)) == (SlackRetryableError, "ClientConnectorError", None)


async def test_no_call_is_repeated_by_the_sdk(slack: SandboxSlack, api: SlackClient) -> None:
    """Retries are rows, so the SDK makes none of its own."""
    for answer in (Reset(), RateLimited(0), Json(500, {})):
        slack.fail(POST, answer, times=1)
        await failure(api)

    assert len(slack.calls) == 3


async def test_a_fault_of_the_token_is_remembered_until_slack_takes_it_again(
    slack: SandboxSlack, api: SlackClient
) -> None:
    """A success clears it, and so does a refusal on other grounds: Slack looks at the token before all else."""
    faults = []
    for answer in ("token_revoked", "fatal_error", Reset(), "is_archived", "account_inactive"):
        slack.fail(POST, answer, times=1)
        await failure(api)
        faults.append(api.token_fault)
    await api.call(POST, channel="C0MODELS", text="hello")

    assert faults == ["token_revoked", "token_revoked", "token_revoked", "", "account_inactive"]
    assert api.token_fault == ""


async def test_a_wrong_token_is_found_out(slack: SandboxSlack, session: aiohttp.ClientSession) -> None:
    """As Slack words it, without the token."""
    api = SlackClient(session, "xoxb-of-somebody-else", slack.api_url)

    assert shape(await failure(api)) == (SlackRetryableError, "invalid_auth", None)
    assert api.token_fault == "invalid_auth"


async def test_proxies_are_the_sessions_business(
    slack: SandboxSlack, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK would send everything through HTTPS_PROXY and ignore NO_PROXY."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    api = SlackClient(session, slack.bot_token, slack.api_url)

    assert (await api.call("auth.test"))["ok"] is True


async def test_the_sdk_writes_no_request_to_the_log(
    slack: SandboxSlack, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """At DEBUG it would write out what is posted, and to whom."""
    caplog.set_level(logging.DEBUG)
    api = SlackClient(session, slack.bot_token, slack.api_url)
    await api.call(POST, channel="C0MODELS", text="between us")

    assert "between us" not in json.dumps([record.getMessage() for record in caplog.records])
