"""A response_url works five times in thirty minutes, as Slack's does."""

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.slack import RESPONSE_URL, SandboxSlack


async def use(http: aiohttp.ClientSession, url: str, **content: object) -> tuple[int, str]:
    """Post to a response_url; return the status and the error, "" without one."""
    async with http.post(url, json=content) as response:
        answer = await response.json()
        return response.status, answer.get("error", "")


@pytest.fixture
async def url(slack: SandboxSlack) -> str:
    """The response_url of a command that ada invoked, to which nobody listened."""
    return (await slack.command("sdxl")).response_url


async def test_by_default_only_the_person_sees_it(slack: SandboxSlack, http: aiohttp.ClientSession, url: str) -> None:
    """Without a response_type the message is for whoever invoked the command."""
    assert await use(http, url, text="psst") == (200, "")
    assert [(m.channel, m.text, m.via, m.user) for m in slack.messages] == [
        ("C0MODELS", "psst", "response_url", "U0ADA")
    ]
    assert [call.method for call in slack.calls] == ["response_url"]


async def test_the_channel_sees_it_on_demand(slack: SandboxSlack, http: aiohttp.ClientSession, url: str) -> None:
    """In the channel, it is everyone's."""
    await use(http, url, text="hello", response_type="in_channel")

    assert [(m.user, m.response_type) for m in slack.messages] == [(None, "in_channel")]


async def test_it_cannot_be_edited(
    slack: SandboxSlack, http: aiohttp.ClientSession, web: AsyncWebClient, url: str
) -> None:
    """A message by response_url is not the bot's to update."""
    await use(http, url, text="hello", response_type="in_channel")

    with pytest.raises(SlackApiError, match="cant_update_message"):
        await web.chat_update(channel="C0MODELS", ts=slack.messages[0].ts, text="edited")


async def test_five_uses_are_all(http: aiohttp.ClientSession, url: str) -> None:
    """The sixth use is refused; one that was refused for its content counts for nothing."""
    assert await use(http, url) == (400, "no_text")
    uses = [await use(http, url, text="hello") for _ in range(6)]

    assert uses == [(200, "")] * 5 + [(404, "used_url")]


async def test_thirty_minutes_are_all(http: aiohttp.ClientSession, url: str, now: list[float]) -> None:
    """It works to the last second, and no longer."""
    now[0] += 1800
    last = await use(http, url, text="hello")
    now[0] += 1

    assert (last, await use(http, url, text="hello")) == ((200, ""), (404, "expired_url"))


async def test_it_can_be_spent_at_once(slack: SandboxSlack, http: aiohttp.ClientSession, url: str) -> None:
    """A test need not use it five times."""
    slack.spend(url)

    assert await use(http, url, text="hello") == (404, "used_url")


async def test_it_cannot_be_guessed(http: aiohttp.ClientSession, url: str) -> None:
    """Only the very URL works."""
    assert await use(http, f"{url}x", text="hello") == (404, "invalid_url")


async def test_it_takes_json_only(http: aiohttp.ClientSession, url: str) -> None:
    """Whatever is no JSON object is refused."""
    async with http.post(url, data=b"hello") as response:
        assert (response.status, await response.json()) == (400, {"ok": False, "error": "invalid_payload"})


async def test_it_can_fail_on_demand(slack: SandboxSlack, http: aiohttp.ClientSession, url: str) -> None:
    """An error code comes as Slack sends those of a response_url, with 404."""
    slack.fail(RESPONSE_URL, "no_service", times=1)

    assert [await use(http, url, text="hello") for _ in range(2)] == [(404, "no_service"), (200, "")]
