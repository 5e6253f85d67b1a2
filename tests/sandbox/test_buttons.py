"""A person presses a button in a message, and the app gets what Slack documents, in both modes."""

import aiohttp
import pytest
from slack_bolt.async_app import AsyncAck, AsyncRespond
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.block_kit import Button
from bot.sandbox.slack import SandboxSlack
from bot.sandbox.wire import JsonObject
from bot.sandbox.workspace import Message
from tests.sandbox.app import App

AGAIN: JsonObject = {"type": "button", "text": {"type": "plain_text", "text": "Try again"}, "action_id": "again"}
OTHER: JsonObject = {
    "type": "button",
    "text": {"type": "plain_text", "text": "Reload another"},
    "action_id": "other",
    "value": "sdxl",
    "style": "primary",
}
BLOCKS: list[JsonObject] = [
    {"type": "section", "text": {"type": "mrkdwn", "text": "hello"}, "accessory": AGAIN},
    {"type": "actions", "block_id": "more", "elements": [OTHER]},
]


async def posted(slack: SandboxSlack, web: AsyncWebClient, **more: str) -> Message:
    """A message with two buttons, posted by the app."""
    arguments: JsonObject = {"channel": "C0MODELS", "text": "hello", "blocks": [*BLOCKS], **more}
    await web.api_call("chat.postMessage", json=arguments)
    return slack.messages[-1]


class TestWhatIsThere:
    """Buttons are found in actions blocks and beside sections."""

    async def test_of_a_message(self, slack: SandboxSlack, web: AsyncWebClient) -> None:
        """From top to bottom; a block without an id gets one."""
        message = await posted(slack, web)

        assert message.buttons == [
            Button("Try again", "again", "b0"),
            Button("Reload another", "other", "more", "sdxl", "primary"),
        ]

    async def test_of_an_ephemeral_message(self, slack: SandboxSlack, web: AsyncWebClient) -> None:
        """One person's message has buttons too."""
        arguments: JsonObject = {"channel": "C0MODELS", "user": "U0ADA", "blocks": [*BLOCKS]}
        await web.api_call("chat.postEphemeral", json=arguments)

        assert [button.text for button in slack.messages[-1].buttons] == ["Try again", "Reload another"]

    async def test_of_an_ack(self, slack: SandboxSlack, app: App) -> None:
        """The answer to a command has buttons, and is the message in which they are pressed."""

        @app.bolt.command("/reload-model")
        async def answer(ack: AsyncAck) -> None:
            await ack(text="hello", blocks=[{**block} for block in BLOCKS])

        @app.bolt.action("again")
        async def again(ack: AsyncAck) -> None:
            await ack()

        answered = await slack.command("sdxl")
        pressed = await slack.press(answered, "Try again", user="U0ADA")

        assert [button.text for button in answered.buttons] == ["Try again", "Reload another"]
        assert (pressed.status, pressed.error) == (200, "")
        assert answered.message is slack.messages[0]

    async def test_none_of_that_text(self, slack: SandboxSlack, web: AsyncWebClient) -> None:
        """Whoever looks for another button is told which there are."""
        message = await posted(slack, web)

        with pytest.raises(LookupError, match=r"no button 'Stop': there are \['Try again', 'Reload another'\]"):
            await slack.press(message, "Stop", user="U0ADA")

    async def test_none_in_an_ack_without_a_message(self, slack: SandboxSlack) -> None:
        """An ack that says nothing has no buttons."""
        with pytest.raises(LookupError, match=r"there are \[\]"):
            await slack.press(await slack.command("sdxl"), "Stop", user="U0ADA")


class TestWhatTheAppGets:
    """The payload is that of https://docs.slack.dev/reference/interaction-payloads/block_actions-payload."""

    @pytest.fixture(autouse=True)
    def listener(self, app: App) -> None:
        """The app knows its buttons."""

        @app.bolt.action("again")
        @app.bolt.action("other")
        async def take(ack: AsyncAck) -> None:
            await ack()

    async def test_all_fields(self, slack: SandboxSlack, app: App, web: AsyncWebClient) -> None:
        """Who pressed what, where, and how to answer."""
        message = await posted(slack, web, thread_ts="1.0")
        ack = await slack.press(message, "Reload another", user="U0ADA")
        sent = app.payload
        (action,) = action_of(sent)
        stamp = action.pop("action_ts")
        shown = sent.pop("message")

        assert sent == {
            "type": "block_actions",
            "user": {"id": "U0ADA", "username": "ada", "name": "ada", "team_id": "T0TRYOUT"},
            "api_app_id": "A0TRYOUT",
            "token": "deprecated",
            "container": {
                "type": "message",
                "message_ts": message.ts,
                "channel_id": "C0MODELS",
                "is_ephemeral": False,
            },
            "trigger_id": ack.trigger_id,
            "team": {"id": "T0TRYOUT", "domain": "sandbox"},
            "enterprise": None,
            "is_enterprise_install": False,
            "channel": {"id": "C0MODELS", "name": "models"},
            "state": {"values": {}},
            "response_url": ack.response_url,
            "actions": [
                {
                    "type": "button",
                    "action_id": "other",
                    "block_id": "more",
                    "text": {"type": "plain_text", "text": "Reload another", "emoji": True},
                    "value": "sdxl",
                    "style": "primary",
                }
            ],
        }
        assert isinstance(stamp, str)
        assert stamp > message.ts
        assert shown == {
            "type": "message",
            "text": "hello",
            "ts": message.ts,
            "user": "U0BOT",
            "bot_id": "B0BOT",
            "app_id": "A0TRYOUT",
            "team": "T0TRYOUT",
            "thread_ts": "1.0",
            "blocks": [{**BLOCKS[0], "block_id": "b0"}, BLOCKS[1]],
        }

    async def test_an_ephemeral_message_is_not_shown_to_the_app(
        self, slack: SandboxSlack, app: App, web: AsyncWebClient
    ) -> None:
        """Slack tells where such a message is, but not what it says."""
        arguments: JsonObject = {"channel": "C0MODELS", "user": "U0ADA", "blocks": [*BLOCKS]}
        await web.api_call("chat.postEphemeral", json=arguments)
        await slack.press(slack.messages[-1], "Try again", user="U0ADA")
        container = app.payload["container"]

        assert "message" not in app.payload
        assert isinstance(container, dict)
        assert container["is_ephemeral"] is True

    async def test_a_dm_is_no_ephemeral_message(self, slack: SandboxSlack, app: App, web: AsyncWebClient) -> None:
        """A DM is one person's, but stays."""
        message = await posted(slack, web, channel="U0ADA")
        await slack.press(message, "Try again", user="U0ADA")

        assert not message.is_ephemeral
        assert app.payload["channel"] == {"id": "DU0ADA", "name": "directmessage"}

    async def test_somebody_from_elsewhere(self, slack: SandboxSlack, app: App, web: AsyncWebClient) -> None:
        """In a channel that is shared with another workspace, its people can press buttons too."""
        await slack.press(await posted(slack, web), "Try again", user="U0EXT", user_team="T0OTHER")
        user, team = app.payload["user"], app.payload["team"]

        assert user == {"id": "U0EXT", "username": "u0ext", "name": "u0ext", "team_id": "T0OTHER"}
        assert team == {"id": "T0TRYOUT", "domain": "sandbox"}

    async def test_an_organisation(self, slack: SandboxSlack, app: App, web: AsyncWebClient) -> None:
        """On Enterprise Grid, the organisation is named."""
        slack.enterprise_id = "E0ORG"
        await slack.press(await posted(slack, web), "Try again", user="U0ADA")

        assert app.payload["enterprise"] == {"id": "E0ORG", "name": "sandbox"}
        assert app.payload["team"] == {
            "id": "T0TRYOUT",
            "domain": "sandbox",
            "enterprise_id": "E0ORG",
            "enterprise_name": "sandbox",
        }

    async def test_any_field_can_be_another(self, slack: SandboxSlack, app: App, web: AsyncWebClient) -> None:
        """A test says what is different about its press, and can press a second time the same way."""
        message = await posted(slack, web)
        first = await slack.press(message, "Try again", user={"id": "U0EVE"}, team={"id": "T0EVIL"})
        again = await slack.press(
            message, "Try again", user="U0ADA", trigger_id=first.trigger_id, response_url=first.response_url
        )

        assert app.payloads[0]["user"] == {"id": "U0EVE"}
        assert app.payloads[0]["team"] == {"id": "T0EVIL"}
        assert (again.trigger_id, again.response_url) == (first.trigger_id, first.response_url)

    async def test_an_ack_with_words_shows_nothing(self, slack: SandboxSlack, app: App, web: AsyncWebClient) -> None:
        """Slack takes no message in the ack of a button."""

        @app.bolt.action("wordy")
        async def wordy(ack: AsyncAck) -> None:
            await ack("hello")

        await web.chat_postMessage(
            channel="C0MODELS", text="x", blocks=[{"type": "actions", "elements": [AGAIN | {"action_id": "wordy"}]}]
        )
        await slack.press(slack.messages[-1], "Try again", user="U0ADA")

        assert len(slack.messages) == 1


class TestAnswering:
    """The response_url of a press adds to the conversation, or changes the message that was pressed."""

    @pytest.fixture
    async def url(self, slack: SandboxSlack, web: AsyncWebClient) -> str:
        """The response_url of a button that ada pressed, to which nobody listened."""
        return (await slack.press(await posted(slack, web), "Try again", user="U0ADA")).response_url

    @pytest.mark.parametrize(("response_type", "user"), [(None, "U0ADA"), ("ephemeral", "U0ADA"), ("in_channel", None)])
    async def test_a_new_message(
        self, slack: SandboxSlack, http: aiohttp.ClientSession, url: str, response_type: str | None, user: str | None
    ) -> None:
        """By default only the person who pressed sees it."""
        await http.post(url, json={"text": "more", "response_type": response_type, "replace_original": False})

        assert [(m.text, m.user) for m in slack.messages] == [("hello", None), ("more", user)]

    @pytest.mark.parametrize("yes", [True, "true"])
    async def test_another_message_in_its_place(
        self, slack: SandboxSlack, http: aiohttp.ClientSession, url: str, *, yes: bool | str
    ) -> None:
        """The original gives way, for everyone who saw it."""
        await http.post(url, json={"text": "instead", "replace_original": yes})

        assert [(m.text, m.blocks, m.user, m.edits) for m in slack.messages] == [("instead", [], None, ["hello"])]

    async def test_nothing_in_its_place(self, slack: SandboxSlack, http: aiohttp.ClientSession, url: str) -> None:
        """The original goes, and going twice is no matter."""
        statuses = [(await http.post(url, json={"delete_original": True})).status for _ in range(2)]

        assert (statuses, slack.messages) == ([200, 200], [])

    async def test_what_replaces_must_be_sound(
        self, slack: SandboxSlack, http: aiohttp.ClientSession, url: str
    ) -> None:
        """What Slack would not show changes nothing."""
        response = await http.post(url, json={"replace_original": True})

        assert (response.status, await response.json()) == (400, {"ok": False, "error": "no_text"})
        assert [m.text for m in slack.messages] == ["hello"]

    async def test_a_command_has_no_original(self, slack: SandboxSlack, http: aiohttp.ClientSession) -> None:
        """Where nothing was pressed, there is nothing to replace. https://github.com/slackapi/bolt-js/issues/2287."""
        url = (await slack.command("sdxl")).response_url
        for name in ("replace_original", "delete_original"):
            await http.post(url, json={"text": name, name: True})

        assert [m.text for m in slack.messages] == ["replace_original", "delete_original"]

    async def test_bolt_answers_so(self, slack: SandboxSlack, app: App, web: AsyncWebClient) -> None:
        """Bolt's own respond() uses it."""

        @app.bolt.action("again")
        async def again(ack: AsyncAck, respond: AsyncRespond) -> None:
            await respond("instead", replace_original=True)
            await ack()

        await slack.press(await posted(slack, web), "Try again", user="U0ADA")

        assert [m.text for m in slack.messages] == ["instead"]


def action_of(payload: JsonObject) -> list[JsonObject]:
    """The actions of a payload."""
    actions = payload["actions"]
    assert isinstance(actions, list)
    return [action for action in actions if isinstance(action, dict)]
