"""Invocations come over HTTP as Slack sends them: signed, and with all their fields."""

from collections.abc import AsyncIterator
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from slack_sdk.signature import Clock as SignatureClock
from slack_sdk.signature import SignatureVerifier

from bot.sandbox.loopback import Loopback
from bot.sandbox.slack import SandboxSlack


class App:
    """An app that keeps what it is sent, and answers with `reply`."""

    def __init__(self) -> None:
        self.requests: list[tuple[bytes, dict[str, str]]] = []
        self.reply = web.Response(text="")
        self.server = Loopback([web.post("/slack/events", self._serve)])

    async def _serve(self, request: web.Request) -> web.Response:
        self.requests.append((await request.read(), dict(request.headers)))
        return self.reply

    @property
    def fields(self) -> dict[str, str]:
        """The fields of the last request."""
        body, _ = self.requests[-1]
        return {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}


@pytest.fixture
async def app(slack: SandboxSlack) -> AsyncIterator[App]:
    """An app to which Slack delivers."""
    app = App()
    await app.server.start()
    slack.request_url = f"http://{app.server.host}/slack/events"
    yield app
    await app.server.stop()


async def test_a_command_carries_all_its_fields(slack: SandboxSlack, app: App) -> None:
    """Every field that Slack documents is there."""
    ack = await slack.command("sdxl")

    assert app.fields == {
        "token": "deprecated",
        "team_id": "T0TRYOUT",
        "team_domain": "sandbox",
        "channel_id": "C0MODELS",
        "channel_name": "models",
        "user_id": "U0ADA",
        "user_name": "ada",
        "command": "/reload-model",
        "text": "sdxl",
        "api_app_id": "A0TRYOUT",
        "is_enterprise_install": "false",
        "response_url": ack.response_url,
        "trigger_id": ack.trigger_id,
    }


async def test_a_command_is_signed(slack: SandboxSlack, app: App, now: list[float]) -> None:
    """Slack's own verifier takes the signature, and no other body."""

    class Now(SignatureClock):
        def now(self) -> float:
            return now[0]

    await slack.command("sdxl")
    body, headers = app.requests[0]
    verifier = SignatureVerifier(slack.signing_secret, Now())

    assert verifier.is_valid_request(body, headers)
    assert not verifier.is_valid_request(body + b"x", headers)
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_the_time_of_a_signature_can_be_chosen() -> None:
    """A request can be older than Slack would send it."""
    assert SandboxSlack().sign(b"", "1")["X-Slack-Request-Timestamp"] == "1"


async def test_fields_can_be_changed_and_added(slack: SandboxSlack, app: App) -> None:
    """A test says what is different about its invocation."""
    slack.enterprise_id = "E0ORG"
    await slack.command("sdxl", user="U0BEN", channel="C0OPS", team_id="T0OTHER", user_name="ben")

    assert (app.fields["user_id"], app.fields["user_name"]) == ("U0BEN", "ben")
    assert (app.fields["channel_id"], app.fields["team_id"]) == ("C0OPS", "T0OTHER")
    assert app.fields["enterprise_id"] == "E0ORG"


async def test_an_invocation_can_come_twice(slack: SandboxSlack, app: App) -> None:
    """With the trigger_id and the response_url of the first, the second is the same invocation."""
    first = await slack.command("sdxl")
    second = await slack.command("sdxl", trigger_id=first.trigger_id, response_url=first.response_url)
    (one, _), (other, _) = app.requests

    assert sorted(one.split(b"&")) == sorted(other.split(b"&"))
    assert (second.trigger_id, second.response_url) == (first.trigger_id, first.response_url)


@pytest.mark.parametrize(
    ("channel", "name"), [("D0SOME", "directmessage"), ("G0SECRET", "privategroup"), ("C0UNKNOWN", "privategroup")]
)
async def test_private_conversations_keep_their_names(slack: SandboxSlack, app: App, channel: str, name: str) -> None:
    """Slack names private conversations by their kind only."""
    slack.add_channel("G0SECRET", "secret", private=True)
    await slack.command("sdxl", channel=channel)

    assert app.fields["channel_name"] == name


async def test_an_interaction_is_a_form_with_a_payload(slack: SandboxSlack, app: App) -> None:
    """A payload comes as JSON in a form field."""
    await slack.interaction({"type": "block_actions"})

    assert app.fields == {"payload": '{"type": "block_actions"}'}


@pytest.mark.parametrize(
    ("reply", "text", "blocks"),
    [
        (web.Response(text="hello"), "hello", []),
        (web.json_response({"text": "hello", "blocks": [{"type": "divider"}]}), "hello", [{"type": "divider"}]),
        (web.Response(text="nonsense", content_type="application/json"), "", []),
        (web.Response(status=500, text="boom"), "dispatch_failed", []),
        (web.Response(status=302, headers={"Location": "/slack/events"}), "dispatch_failed", []),
    ],
)
async def test_what_the_person_sees(
    slack: SandboxSlack, app: App, reply: web.Response, text: str, blocks: list[object]
) -> None:
    """Text, JSON, and Slack's own words where the app fails."""
    app.reply = reply
    ack = await slack.command("sdxl")

    assert (ack.text, ack.blocks, ack.status) == (text, blocks, reply.status)


async def test_an_app_that_is_away(slack: SandboxSlack, app: App) -> None:
    """Nobody listens, and the person is told so."""
    await app.server.stop()

    assert (await slack.command("sdxl")).text == "dispatch_failed"


async def test_one_invocation_may_go_elsewhere(slack: SandboxSlack, app: App) -> None:
    """A request_url of its own goes before the usual one."""
    ack = await slack.command("sdxl", request_url=f"http://{app.server.host}/elsewhere")

    assert (ack.status, app.requests) == (404, [])
