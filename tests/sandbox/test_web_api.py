"""The Web API answers Slack's own client as Slack does."""

import json
from collections.abc import Awaitable, Mapping

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.sandbox.slack import SandboxSlack

SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "hello"}}


def section(text: object) -> dict[str, object]:
    """A section block with this text."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def buttons(label: str) -> dict[str, object]:
    """A block with one button."""
    button = {"type": "button", "text": {"type": "plain_text", "text": label}, "action_id": "again"}
    return {"type": "actions", "elements": [button]}


async def refusal(call: Awaitable[AsyncSlackResponse]) -> str:
    """The code with which Slack refused a call."""
    with pytest.raises(SlackApiError) as raised:
        await call
    return str(raised.value.response["error"])


async def post(http: aiohttp.ClientSession, slack: SandboxSlack, method: str, token: str) -> object:
    """The answer to a call without arguments."""
    headers = {"Authorization": token} if token else {}
    async with http.post(f"{slack.api_url}{method}", headers=headers) as response:
        return await response.json()


async def test_auth_test_tells_who_the_bot_is_and_what_it_may(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """auth.test names the workspace and the bot, and a header lists the scopes."""
    answer = await web.auth_test()

    assert (answer["team_id"], answer["user_id"], answer["bot_id"]) == ("T0TRYOUT", "U0BOT", "B0BOT")
    assert "enterprise_id" not in answer.data
    assert answer.headers["x-oauth-scopes"] == "chat:write,chat:write.public,commands,im:write"
    assert slack.calls[0].token_ok


async def test_an_organisation_is_named_where_there_is_one(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """On Enterprise Grid, auth.test names the organisation."""
    slack.enterprise_id = "E0ORG"

    assert (await web.auth_test())["enterprise_id"] == "E0ORG"


@pytest.mark.parametrize(
    ("method", "token", "error"),
    [
        ("auth.test", "", "not_authed"),
        ("auth.test", "Bearer xoxb-wrong", "invalid_auth"),
        ("apps.connections.open", "Bearer xapp-wrong", "invalid_auth"),
    ],
)
async def test_a_wrong_token_opens_nothing(
    slack: SandboxSlack, http: aiohttp.ClientSession, method: str, token: str, error: str
) -> None:
    """Without the right token there is no answer, and the call is recorded as such."""
    assert await post(http, slack, method, token) == {"ok": False, "error": error}
    assert [call.token_ok for call in slack.calls] == [False]


async def test_a_method_that_there_is_not(slack: SandboxSlack, http: aiohttp.ClientSession) -> None:
    """An unknown method says so."""
    answer = await post(http, slack, "chat.sing", f"Bearer {slack.bot_token}")

    assert answer == {"ok": False, "error": "unknown_method"}


async def test_a_missing_scope(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """A method whose scope was not granted says so."""
    slack.scopes.discard("im:write")

    assert await refusal(web.conversations_open(users="U0ADA")) == "missing_scope"


async def test_a_message_is_recorded_as_it_was_posted(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """What was posted is a message in its channel, and the answer tells its ts."""
    answer = await web.chat_postMessage(channel="C0MODELS", text="hello", blocks=[SECTION])
    message = await slack.wait_for(lambda message: message.ts == answer["ts"])

    assert (message.channel, message.text, message.blocks) == ("C0MODELS", "hello", [SECTION])
    assert (message.via, message.user, message.response_type) == ("api", None, "in_channel")
    assert slack.calls[0].args["text"] == "hello"


async def test_form_fields_and_blocks_as_a_string_are_taken_too(
    slack: SandboxSlack, http: aiohttp.ClientSession
) -> None:
    """The Web API takes forms, in which blocks are a string."""
    fields = {"channel": "C0MODELS", "text": "hi", "blocks": json.dumps([SECTION]), "reply_broadcast": "true"}
    headers = {"Authorization": f"Bearer {slack.bot_token}"}
    async with http.post(f"{slack.api_url}chat.postMessage", data=fields, headers=headers) as response:
        assert response.status == 200

    assert [(message.blocks, message.broadcast) for message in slack.messages] == [([SECTION], True)]


async def test_no_two_messages_share_a_ts(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """Each ts is greater than the one before, though the clock stands still."""
    first, second = [await web.chat_postMessage(channel="C0MODELS", text="hi") for _ in range(2)]

    assert first["ts"] == "1700000000.000000"
    assert second["ts"] == "1700000000.000001"
    assert len(slack.messages) == 2


async def test_a_reply_knows_its_thread(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """A reply carries its thread's ts, and whether the channel sees it too."""
    parent = await web.chat_postMessage(channel="C0MODELS", text="hello")
    answer = await web.chat_postMessage(channel="C0MODELS", text="reply", thread_ts=parent["ts"], reply_broadcast=True)

    assert (slack.messages[1].thread_ts, slack.messages[1].broadcast) == (parent["ts"], True)
    assert answer["message"]["thread_ts"] == parent["ts"]


async def test_where_the_bot_may_post(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """Membership, privacy and archiving decide; an unknown channel is as a private one."""
    slack.add_channel("C0PUBLIC", "public", bot_is_member=False)
    slack.add_channel("G0PRIVATE", "private", bot_is_member=False, private=True)
    slack.add_channel("C0OLD", "old", archived=True)

    assert (await web.chat_postMessage(channel="C0PUBLIC", text="hi"))["ok"]
    assert await refusal(web.chat_postMessage(channel="G0PRIVATE", text="hi")) == "channel_not_found"
    assert await refusal(web.chat_postMessage(channel="C0OLD", text="hi")) == "is_archived"
    assert await refusal(web.chat_postMessage(channel="D0BENEVE", text="hi")) == "channel_not_found"
    slack.scopes.discard("chat:write.public")
    assert await refusal(web.chat_postMessage(channel="C0PUBLIC", text="hi")) == "not_in_channel"


async def test_a_dm_is_opened_or_addressed_by_the_person(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """The bot writes to a person by the DM's id or by theirs; only they see it."""
    opened = await web.conversations_open(users=["U0ADA"])
    await web.chat_postMessage(channel=opened["channel"]["id"], text="by DM")
    await web.chat_postMessage(channel="U0ADA", text="by person")

    assert [(m.text, m.via, m.user) for m in slack.messages] == [
        ("by DM", "dm", "U0ADA"),
        ("by person", "dm", "U0ADA"),
    ]
    assert await refusal(web.conversations_open(users="C0MODELS")) == "user_not_found"


async def test_a_closed_messages_tab_takes_no_dm(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """Without its Messages tab, the app cannot write to people."""
    slack.messages_tab = False

    assert await refusal(web.chat_postMessage(channel="U0ADA", text="hi")) == "messages_tab_disabled"


async def test_people_and_channels_are_told_of_to_whoever_may_ask(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """users.info and conversations.info take scopes that the app does not have by itself."""
    assert await refusal(web.users_info(user="U0ADA")) == "missing_scope"
    assert await refusal(web.conversations_info(channel="C0OPS")) == "missing_scope"
    slack.scopes |= {"users:read", "channels:read"}
    slack.deactivated.add("U0ADA")
    slack.add_channel("G0PRIVATE", "private", bot_is_member=False, private=True)

    assert (await web.users_info(user="U0ADA"))["user"] == {"id": "U0ADA", "name": "ada", "deleted": True}
    assert (await web.conversations_info(channel="C0OPS"))["channel"] == {
        "id": "C0OPS",
        "name": "ops",
        "is_archived": False,
        "is_private": False,
        "is_member": True,
    }
    assert await refusal(web.users_info(user="U0NOBODY")) == "user_not_found"
    assert await refusal(web.conversations_info(channel="C0GONE")) == "channel_not_found"
    assert await refusal(web.conversations_info(channel="G0PRIVATE")) == "channel_not_found"


async def test_an_ephemeral_message_is_for_one_person(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """chat.postEphemeral reaches one person and cannot be edited."""
    answer = await web.chat_postEphemeral(channel="C0MODELS", user="U0ADA", text="psst")

    assert [(m.via, m.user, m.response_type) for m in slack.messages] == [("ephemeral", "U0ADA", "ephemeral")]
    call = web.chat_update(channel="C0MODELS", ts=answer["message_ts"], text="louder")
    assert await refusal(call) == "message_not_found"


async def test_an_edit_replaces_and_remembers(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """chat.update changes the message in place; what it said before is kept for the test."""
    posted = await web.chat_postMessage(channel="C0MODELS", text="before", blocks=[SECTION])
    await web.chat_update(channel="C0MODELS", ts=posted["ts"], text="after")

    assert [(m.text, m.blocks, m.edits) for m in slack.messages] == [("after", [], ["before"])]
    assert await refusal(web.chat_update(channel="C0MODELS", ts="1.2", text="x")) == "message_not_found"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"text": ""}, "no_text"),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"text": "x", "blocks": "[nonsense"}, "invalid_blocks_format"),
        ({"text": "x", "blocks": '{"type": "section"}'}, "invalid_blocks_format"),
        ({"text": "x", "blocks": [{"text": "of no type"}]}, "invalid_blocks"),
        ({"text": "x", "blocks": ["no block"]}, "invalid_blocks"),
        ({"text": "x", "blocks": [SECTION] * 51}, "invalid_blocks"),
        ({"text": "x", "blocks": [section("x" * 3001)]}, "invalid_blocks"),
        ({"text": "x", "blocks": [section("")]}, "invalid_blocks"),
        ({"text": "x", "blocks": [{"type": "header", "text": {"text": "x" * 151}}]}, "invalid_blocks"),
        ({"text": "x", "blocks": [buttons("x" * 76)]}, "invalid_blocks"),
        ({"text": "x", "blocks": [section("x" * 3000)] * 5}, "msg_blocks_too_long"),
    ],
)
async def test_faulty_content_is_refused(
    slack: SandboxSlack, web: AsyncWebClient, content: Mapping[str, object], error: str
) -> None:
    """Slack's limits on texts and blocks hold here too."""
    assert await refusal(web.api_call("chat.postMessage", json={"channel": "C0MODELS", **content})) == error
    assert slack.messages == []


async def test_content_within_the_limits_is_taken(web: AsyncWebClient) -> None:
    """The longest texts that Slack allows are allowed."""
    header: dict[str, object] = {"type": "header", "text": {"type": "plain_text", "text": "x" * 150}}
    divider: dict[str, object] = {"type": "divider"}
    blocks = [section("x" * 3000), header, divider, buttons("x" * 75)]

    assert (await web.chat_postMessage(channel="C0MODELS", text="x" * 40_000, blocks=blocks))["ok"]


async def test_whoever_waits_in_vain_is_told_what_was_there(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """A wait that fails lists the messages, so that a test's failure explains itself."""
    await web.chat_postMessage(channel="C0MODELS", text="hello")

    with pytest.raises(TimeoutError, match=r"(?s)1 messages were there.*api C0MODELS all: 'hello'"):
        await slack.wait_for(lambda message: message.text == "goodbye", within=0)


async def test_it_comes_back_at_the_same_address(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """After an outage the same URL works, and nothing was forgotten."""
    await web.chat_postMessage(channel="C0MODELS", text="before")
    await slack.stop()
    await slack.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await web.auth_test()
    await slack.start()
    await web.chat_postMessage(channel="C0MODELS", text="after")

    assert [message.text for message in slack.messages] == ["before", "after"]


async def test_user_groups_are_told_of_to_whoever_may_ask(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """usergroups.list names the groups, and on demand their people and those that are disabled."""
    slack.user_groups = {"S0TEAM": ["U0ADA", "U0BEN"], "S0OLD": []}
    slack.disabled_groups.add("S0OLD")
    denied = await refusal(web.usergroups_list())
    slack.scopes.add("usergroups:read")
    named = (await web.usergroups_list())["usergroups"]
    told = (await web.usergroups_list(include_users=True, include_disabled=True))["usergroups"]

    assert denied == "missing_scope"
    assert named == [
        {
            "id": "S0TEAM",
            "team_id": "T0TRYOUT",
            "is_usergroup": True,
            "name": "S0TEAM",
            "handle": "s0team",
            "date_delete": 0,
            "user_count": 2,
        }
    ]
    assert [(group["id"], group["users"], group["date_delete"] > 0) for group in told] == [
        ("S0TEAM", ["U0ADA", "U0BEN"], False),
        ("S0OLD", [], True),
    ]


async def test_the_people_of_a_user_group(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """usergroups.users.list needs a scope, and a group that is not disabled unless that is asked for."""
    slack.user_groups = {"S0TEAM": ["U0ADA", "U0BEN"], "S0OLD": ["U0EVE"]}
    slack.disabled_groups.add("S0OLD")
    denied = await refusal(web.usergroups_users_list(usergroup="S0TEAM"))
    slack.scopes.add("usergroups:read")

    assert denied == "missing_scope"
    assert (await web.usergroups_users_list(usergroup="S0TEAM"))["users"] == ["U0ADA", "U0BEN"]
    assert (await web.usergroups_users_list(usergroup="S0OLD", include_disabled=True))["users"] == ["U0EVE"]
    assert await refusal(web.usergroups_users_list(usergroup="S0OLD")) == "no_such_subteam"
    assert await refusal(web.usergroups_users_list(usergroup="S0GONE")) == "no_such_subteam"
