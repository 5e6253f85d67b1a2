"""The Home tab, and the events that tell of it, in both modes."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Mapping

import aiohttp
import pytest
from aiohttp import web as routes
from slack_bolt.async_app import AsyncAck
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import Clock as SignatureClock
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.block_kit import Button
from bot.sandbox.loopback import Loopback
from bot.sandbox.slack import SandboxSlack
from bot.sandbox.wire import JsonObject
from tests.sandbox.app import App


def home(text: str) -> JsonObject:
    """A Home tab with these words and a button."""
    button: JsonObject = {
        "type": "button",
        "text": {"type": "plain_text", "text": "Reload a model"},
        "action_id": "reload",
    }
    return {
        "type": "home",
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": text}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": "as of now"}]},
            {"type": "actions", "elements": [button]},
        ],
    }


async def refusal(call: Awaitable[object]) -> str:
    """The code with which Slack refused a call."""
    with pytest.raises(SlackApiError) as raised:
        await call
    return str(raised.value.response["error"])


async def test_what_is_published_is_there(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """Each person has a Home tab of their own, which the app may publish anew."""
    seen = []
    slack.on_home = lambda shown: seen.append((shown.user, shown.texts))
    answer = await web.views_publish(user_id="U0ADA", view=home("Hello"))
    again = await web.views_publish(user_id="U0ADA", view=home("Again"), hash=answer["view"]["hash"])
    shown = await slack.wait_home("U0ADA", lambda shown: "Again" in shown.texts)

    assert shown.texts == ["Again", "as of now"]
    assert shown.buttons == [Button("Reload a model", "reload", "b2")]
    assert slack.homes == {"U0ADA": shown.view}
    assert again["view"]["id"] == answer["view"]["id"]
    assert seen == [("U0ADA", ["Hello", "as of now"]), ("U0ADA", ["Again", "as of now"])]


async def test_what_cannot_be_published(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """A modal; what is old; a tab of nobody; a tab that the app does not have."""
    modal: JsonObject = home("Hello") | {"type": "modal", "title": {"type": "plain_text", "text": "x"}}
    refusals = [
        await refusal(web.views_publish(user_id="U0ADA", view=modal)),
        await refusal(web.views_publish(user_id="U0ADA", view=home("Hello"), hash="old")),
        await refusal(web.views_publish(user_id="C0MODELS", view=home("Hello"))),
    ]
    slack.home_tab = False

    assert refusals == ["invalid_arguments", "hash_conflict", "invalid_arguments"]
    assert await refusal(web.views_publish(user_id="U0ADA", view=home("Hello"))) == "not_enabled"
    assert slack.homes == {}


async def test_waiting_in_vain(slack: SandboxSlack, web: AsyncWebClient) -> None:
    """The failure tells what the tab says instead."""
    with pytest.raises(TimeoutError, match="U0ADA has no Home tab"):
        await slack.wait_home("U0ADA", lambda _shown: True, within=0)
    await web.views_publish(user_id="U0ADA", view=home("Hello"))
    with pytest.raises(TimeoutError, match=r"the Home tab of U0ADA says \['Hello', 'as of now'\]"):
        await slack.wait_home("U0ADA", lambda _shown: False, within=0)


async def test_the_app_hears_of_its_opening(slack: SandboxSlack, web: AsyncWebClient, app: App) -> None:
    """The event is that of https://docs.slack.dev/reference/events/app_home_opened, in its envelope."""

    @app.bolt.event("app_home_opened")
    async def publish(event: Mapping[str, str]) -> None:
        await web.views_publish(user_id=event["user"], view=home("Hello"))

    await slack.open_home("U0ADA")
    await slack.wait_home("U0ADA", lambda shown: "Hello" in shown.texts)
    before = slack.homes["U0ADA"]
    await slack.open_home("U0ADA")
    first, second = app.payloads
    stamps = {name: first.pop(name) for name in ("event_id", "event_time")}

    opened, again = first["event"], second["event"]
    assert isinstance(opened, dict)
    assert isinstance(again, dict)
    assert opened == {
        "type": "app_home_opened",
        "user": "U0ADA",
        "channel": "DU0ADA",
        "tab": "home",
        "event_ts": opened["event_ts"],
    }
    assert again["view"] == before
    assert first | {"event": None} == {
        "token": "deprecated",
        "team_id": "T0TRYOUT",
        "api_app_id": "A0TRYOUT",
        "event": None,
        "type": "event_callback",
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": "T0TRYOUT",
                "user_id": "U0BOT",
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": False,
        "context_team_id": "T0TRYOUT",
        "context_enterprise_id": None,
    }
    assert stamps["event_id"] != second["event_id"]
    assert stamps["event_time"] == 1_700_000_000


async def test_without_a_home_tab_the_messages_open(slack: SandboxSlack, app: App) -> None:
    """The event says which tab it was."""

    @app.bolt.event("app_home_opened")
    async def ignore() -> None:
        pass

    slack.home_tab = False
    await slack.open_home("U0ADA")
    (event,) = [sent["event"] for sent in app.payloads]

    assert isinstance(event, dict)
    assert event["tab"] == "messages"


async def test_a_button_on_it(slack: SandboxSlack, web: AsyncWebClient, app: App) -> None:
    """A press has the view in a message's place; its trigger opens a modal where the person is nowhere."""

    @app.bolt.action("reload")
    async def take(ack: AsyncAck) -> None:
        await ack()

    await web.views_publish(user_id="U0ADA", view=home("Hello"))
    shown = await slack.wait_home("U0ADA", lambda _shown: True)
    ack = await slack.press_in(shown, "Reload a model", user="U0ADA")

    assert (ack.error, app.payload["container"]) == ("", {"type": "view", "view_id": shown.id})
    assert app.payload["view"] == slack.homes["U0ADA"]
    assert "channel" not in app.payload
    with pytest.raises(LookupError, match="no button 'Stop'"):
        await slack.press_in(shown, "Stop", user="U0ADA")


class Door:
    """Where an app is reached over HTTP: it gives the answers of `replies`, in this order, and then none."""

    def __init__(self) -> None:
        self.requests: list[tuple[bytes, dict[str, str]]] = []
        self.replies: list[routes.Response] = []
        self.server = Loopback([routes.post("/slack/events", self._serve)])

    async def _serve(self, request: routes.Request) -> routes.Response:
        self.requests.append((await request.read(), dict(request.headers)))
        if not self.replies:
            await asyncio.Event().wait()
        return self.replies.pop(0)

    @property
    def retries(self) -> list[tuple[str | None, str | None]]:
        """Which attempt each request said it was, and why it came again."""
        names = ("X-Slack-Retry-Num", "X-Slack-Retry-Reason")
        return [(headers.get(names[0]), headers.get(names[1])) for _, headers in self.requests]


@pytest.fixture
async def door(slack: SandboxSlack) -> AsyncIterator[Door]:
    """A door on which Slack knocks."""
    door = Door()
    await door.server.start()
    slack.request_url = f"http://{door.server.host}/slack/events"
    yield door
    await door.server.stop()


class TestOverHttp:
    """Events come as signed JSON, and come again where there is no ack. https://docs.slack.dev/apis/events-api."""

    async def test_json_that_is_signed(self, slack: SandboxSlack, door: Door, now: list[float]) -> None:
        """Slack's own verifier takes the signature; a first attempt says nothing of retries."""

        class Now(SignatureClock):
            def now(self) -> float:
                return now[0]

        door.replies.append(routes.Response())
        await slack.open_home("U0ADA")
        ((body, headers),) = door.requests

        assert SignatureVerifier(slack.signing_secret, Now()).is_valid_request(body, headers)
        assert headers["Content-Type"] == "application/json"
        assert json.loads(body)["event"]["user"] == "U0ADA"
        assert door.retries == [(None, None)]

    @pytest.mark.parametrize(("statuses", "reason"), [([], "http_timeout"), ([500, 200], "http_error")])
    async def test_an_event_without_an_ack_comes_again(
        self, slack: SandboxSlack, door: Door, statuses: list[int], reason: str
    ) -> None:
        """It is the same event, and says why it comes again."""
        slack.ack_seconds = 3.0 if statuses else 0.5
        door.replies += [routes.Response(status=status) for status in statuses]
        await slack.open_home("U0ADA")
        ids = {json.loads(body)["event_id"] for body, _ in door.requests}

        assert door.retries == [(None, None), ("1", reason)]
        assert len(ids) == 1

    async def test_an_app_that_is_away(self, slack: SandboxSlack, door: Door) -> None:
        """Nobody listens, which is no matter to whoever opens their Home tab."""
        await door.server.stop()
        await slack.open_home("U0ADA")

        assert door.requests == []

    async def test_any_event_can_be_sent_any_number_of_times(self, slack: SandboxSlack, door: Door) -> None:
        """A test says which attempt it is."""
        door.replies += [routes.Response(), routes.Response()]
        await slack.send_event({"type": "x"}, event_id="Ev1")
        ack = await slack.send_event({"type": "x"}, event_id="Ev1", retry=3, reason="connection_failed")

        assert ack.status == 200
        assert door.retries == [(None, None), ("3", "connection_failed")]

    @pytest.mark.parametrize("as_json", [False, True])
    async def test_the_url_is_verified(self, slack: SandboxSlack, door: Door, *, as_json: bool) -> None:
        """An app echoes the challenge, as text or in JSON."""

        async def echo(request: routes.Request) -> routes.Response:
            sent = await request.json()
            assert sent.keys() == {"token", "challenge", "type"}
            echoed.append(sent["challenge"])
            return routes.json_response({"challenge": echoed[-1]}) if as_json else routes.Response(text=echoed[-1])

        echoed: list[str] = []
        server = Loopback([routes.post("/verify", echo)])
        await server.start()
        slack.request_url = f"http://{server.host}/verify"
        answer = await slack.verify_url()
        await server.stop()

        assert [answer] == echoed
        assert door.requests == []

    async def test_without_a_url_there_is_none_to_verify(self, slack: SandboxSlack) -> None:
        """Socket Mode needs none."""
        with pytest.raises(LookupError, match="no request_url"):
            await slack.verify_url()


async def test_over_socket_mode_a_retry_is_told_in_the_envelope(
    slack: SandboxSlack, http: aiohttp.ClientSession
) -> None:
    """The envelope of an event counts the attempts, and takes no answer but the ack."""
    headers = {"Authorization": f"Bearer {slack.app_token}"}
    async with http.post(f"{slack.api_url}apps.connections.open", headers=headers) as response:
        link = await http.ws_connect((await response.json())["url"])
    await link.receive_json()
    await slack.wait_connected()
    slack.ack_seconds = 0.05
    await slack.open_home("U0ADA")
    first, second = await link.receive_json(), await link.receive_json()
    await link.close()

    assert {name: first[name] for name in first.keys() - {"envelope_id", "payload"}} == {
        "type": "events_api",
        "accepts_response_payload": False,
        "retry_attempt": 0,
        "retry_reason": "",
    }
    assert (second["retry_attempt"], second["retry_reason"]) == (1, "timeout")
    assert second["payload"] == first["payload"]
