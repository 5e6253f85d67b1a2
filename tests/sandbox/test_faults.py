"""What goes wrong on demand goes wrong on the wire."""

import asyncio

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.answers import AcceptThenReset, Hang, Held, RateLimited, Raw, Reset
from bot.sandbox.slack import SandboxSlack

POST = "chat.postMessage"


async def post(web: AsyncWebClient, channel: str = "C0MODELS") -> str:
    """Post, and return how that went: "ok" or Slack's code."""
    try:
        await web.chat_postMessage(channel=channel, text="hello")
    except SlackApiError as error:
        return str(error.response["error"])
    return "ok"


async def test_an_error_code_strikes_until_it_is_healed(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """A fault stays until it is healed, and one of another method is no matter."""
    slack.fail(POST, "token_revoked")
    slack.fail("chat.update", "is_archived")
    results = [await post(web), await post(web)]
    slack.heal(POST)

    assert [*results, await post(web)] == ["token_revoked", "token_revoked", "ok"]
    assert len(slack.calls) == 3


async def test_faults_queue_up_and_run_out(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """Faults for some times strike in their order."""
    slack.fail(POST, "not_in_channel", times=1)
    slack.fail(POST, "fatal_error", times=1)

    assert [await post(web) for _ in range(3)] == ["not_in_channel", "fatal_error", "ok"]


async def test_a_fault_may_be_of_one_channel(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """A fault of one channel leaves the others alone, and heal() heals everything."""
    slack.fail(POST, "restricted_action", channel="C0OPS")
    results = [await post(web, "C0MODELS"), await post(web, "C0OPS")]
    slack.heal()

    assert [*results, await post(web, "C0OPS")] == ["ok", "restricted_action", "ok"]


@pytest.mark.parametrize(("seconds", "header"), [(7, "7"), (None, None)])
async def test_a_rate_limit_says_when_to_come_again_or_not(
    slack: SandboxSlack, web: AsyncWebClient, seconds: int | None, header: str | None
) -> None:
    """429 comes with Retry-After, or without."""
    slack.fail(POST, RateLimited(seconds))

    with pytest.raises(SlackApiError) as raised:
        await web.chat_postMessage(channel="C0MODELS", text="hello")
    assert raised.value.response.status_code == 429
    assert raised.value.response["error"] == "ratelimited"
    assert raised.value.response.headers.get("Retry-After") == header


async def test_slacks_own_rate_can_be_enforced(slack: SandboxSlack, web: AsyncWebClient, now: list[float]) -> None:
    """A second post in a channel within the second is one too many; other channels and methods are free."""
    slack.enforce_rate()
    results = [await post(web), await post(web), await post(web, "C0OPS")]
    await web.chat_update(channel="C0MODELS", ts=slack.messages[0].ts, text="edited")
    now[0] += 1

    assert [*results, await post(web)] == ["ok", "ratelimited", "ok", "ok"]


async def test_any_bytes_can_be_the_answer(slack: SandboxSlack, http: aiohttp.ClientSession) -> None:
    """An error page comes with its status and type."""
    slack.fail(POST, Raw(503, b"<h1>Down</h1>", headers={"X-Cache": "MISS"}))

    async with http.post(f"{slack.api_url}{POST}") as response:
        assert (response.status, response.content_type) == (503, "text/html")
        assert (await response.read(), response.headers["X-Cache"]) == (b"<h1>Down</h1>", "MISS")


async def test_a_reset_comes_before_anything_is_done(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """The connection breaks, and there is no message."""
    slack.fail(POST, Reset(), times=1)

    with pytest.raises(aiohttp.ClientError):
        await web.chat_postMessage(channel="C0MODELS", text="hello")
    assert (len(slack.calls), slack.messages) == (1, [])
    assert await post(web) == "ok"


async def test_a_lost_answer_leaves_its_message(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """The connection breaks, and the message is there all the same."""
    slack.fail(POST, AcceptThenReset())

    with pytest.raises(aiohttp.ClientError):
        await web.chat_postMessage(channel="C0MODELS", text="hello")
    assert [message.text for message in slack.messages] == ["hello"]


async def test_an_answer_can_be_held_back(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """A held call is done only once it is released."""
    released = asyncio.Event()
    slack.fail(POST, Held(released), times=1)
    posting = asyncio.create_task(post(web))
    await slack.wait_until(lambda: len(slack.calls) == 1)
    before = list(slack.messages)
    released.set()

    assert (await posting, before, len(slack.messages)) == ("ok", [], 1)


async def test_a_hanging_call_ends_with_the_server(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """A call that is never answered does not keep the server from stopping."""
    slack.fail(POST, Hang())
    posting = asyncio.create_task(post(web))
    await slack.wait_until(lambda: len(slack.calls) == 1)
    await slack.stop()

    with pytest.raises(aiohttp.ClientError):
        await posting
