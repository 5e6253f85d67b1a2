"""Every failure of a call to Slack is one of two errors: it may be tried again, or it is final."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from bot.errors import SlackError, SlackPermanentError, SlackRetryableError
from bot.sandbox.slack.service import SandboxSlack
from bot.slack.client import TOKEN_FAULTS, SlackClient
from tests.answers import AWAY, BIG, DEEP, AcceptThenReset, Answer, HalfAnswer, Hang, Json, RateLimited, Raw, Reset
from tests.samples import client_of

POST = "chat.postMessage"


@pytest.fixture
async def slack() -> AsyncIterator[SandboxSlack]:
    """A Slack with one channel."""
    async with SandboxSlack() as slack:
        slack.add_channel("C0MODELS", "models")
        yield slack


@pytest.fixture
async def api(slack: SandboxSlack) -> AsyncIterator[SlackClient]:
    """The Web API under test, with a session that waits less long for an answer than the bot's does."""
    timeout = aiohttp.ClientTimeout(total=3.0)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield client_of(slack, session)


async def failure(api: SlackClient) -> SlackError:
    """How a post fails."""
    with pytest.raises(SlackError) as raised:
        await api.call(POST, channel="C0MODELS", text="between us")
    return raised.value


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
        (Json(200, {}), "no_sense", None),
        (Raw(502, b"<h1>Bad Gateway</h1>"), "http_502", None),
        (AWAY, "http_307", None),  # is not followed: its host would read the message
        # A code goes to the log, so it is one short word. What answers anything else isn't Slack.
        *(
            (Json(200, {"ok": False, "error": code}), "http_200", None)
            for code in (None, "x" * 81, "x" * 200_000, "two words", "line\n", "<!channel>", "\u202e", ["a"])
        ),
        (Raw(200, b"<h1>Log in to the guest network</h1>"), "no_sense", None),
        *((Raw(200, body, "application/json"), "no_sense", None) for body in (b"", b"{", b"null", b"[]", b'"ok"')),
        (Raw(500, b"ok", "text/plain"), "http_500", None),
        (Raw(200, b"\x1f\x8b", "application/gzip"), "no_sense", None),
        (Raw(200, b'{"ok": "\xff"}', "application/json; charset=utf-8"), "http_200", None),
        (DEEP, "no_sense", None),
        (BIG, "too_long", None),
        (Reset(), "ServerDisconnectedError", None),
        (AcceptThenReset(), "ServerDisconnectedError", None),
        (HalfAnswer(), "ClientPayloadError", None),
        (Hang(), "TimeoutError", None),
    ],
    ids=lambda value: repr(value)[:60],
)
async def test_a_failure_that_may_pass_is_tried_again(
    slack: SandboxSlack, api: SlackClient, answer: Answer, code: str, wait: float | None
) -> None:
    """Limits, outages, and answers that make no sense or never come."""
    slack.fail(POST, answer)
    found = await failure(api)

    assert isinstance(found, SlackRetryableError)
    # A reset reaches aiohttp as one error or the other.
    same = found.code.replace("ClientOSError", "ServerDisconnectedError").replace("SocketTimeoutError", "TimeoutError")
    assert (same, found.wait) == (code, wait)


@pytest.mark.parametrize(
    ("codes", "final", "refused"),
    [
        (["not_in_channel", "is_archived", "user_disabled", "messages_tab_disabled", "msg_too_long"], True, False),
        ([*sorted(TOKEN_FAULTS), "missing_scope", "team_added_to_org", "what_is_this"], False, True),
        (["ratelimited", "internal_error", "fatal_error", "request_timeout"], False, False),
    ],
)
async def test_a_failure_of_the_place_the_person_or_the_message_is_final(
    slack: SandboxSlack, api: SlackClient, codes: list[str], *, final: bool, refused: bool
) -> None:
    """Others pass: a token can be fixed, a workspace moves. Unless Slack is down, another way may work at once."""
    for code in codes:
        slack.heal()
        slack.fail(POST, code)
        found = await failure(api)

        assert (found.code, isinstance(found, SlackPermanentError)) == (code, final)
        assert getattr(found, "refused", False) == refused


async def test_a_rejected_token_is_remembered_until_slack_accepts_it_again(
    slack: SandboxSlack, api: SlackClient
) -> None:
    """Or refuses for another reason. Nothing is tried again here."""
    faults = []
    for answer in ("token_revoked", "fatal_error", Reset(), "is_archived", "account_inactive"):
        slack.fail(POST, answer, times=1)
        await failure(api)
        faults.append(api.token_fault)
    assert faults == ["token_revoked", "token_revoked", "token_revoked", "", "account_inactive"]
    assert len(slack.calls) == len(faults)

    await api.call(POST, channel="C0MODELS", text="hello")

    assert api.token_fault == ""
