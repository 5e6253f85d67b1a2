"""People in the terminal press, choose and open what the app shows, and what they are promised is kept account of."""

import json
from collections.abc import Mapping
from typing import TypedDict

import pytest
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox import playing
from bot.sandbox.lines import Cast, Person, Place
from bot.sandbox.playing import Tryout
from bot.sandbox.screen import Screen
from bot.sandbox.slack import SandboxSlack
from bot.sandbox.wire import JsonObject, JsonValue
from tests.sandbox.app import App

CAST = Cast(
    people={"ada": Person("U0ADA", "models"), "ben": Person("U0BEN", "ops")},
    channels={"models": "C0MODELS", "ops": "C0OPS"},
)

PROMISE = "Reloading `sdxl` (reload `abc123`)."
KEPT = "<@{}> `sdxl` should be ready now. (reload `abc123`)"
MISSING = "missing: {} was not told in #{} what became of sdxl (reload abc123)"


def plain(text: str) -> JsonObject:
    """A text object."""
    return {"type": "plain_text", "text": text}


def buttons(*names: str) -> JsonObject:
    """A row of buttons that are called as they are."""
    row: list[JsonValue] = [{"type": "button", "text": plain(name), "action_id": name} for name in names]
    return {"type": "actions", "elements": row}


def asks(label: str, type_: str, **more: JsonValue) -> JsonObject:
    """An input block."""
    return {"type": "input", "label": plain(label), "element": {"type": type_, "action_id": label, **more}}


def modal(*blocks: JsonObject, submit: str | None = "Reload") -> JsonObject:
    """A modal with these blocks."""
    view: JsonObject = {"type": "modal", "callback_id": "form", "title": plain("Reload a model"), "blocks": [*blocks]}
    return view | ({"submit": plain(submit)} if submit else {})


WHERE = asks("Where", "conversations_select", response_url_enabled=True)
FORM = modal(asks("Model", "external_select", min_query_length=0), WHERE)


HELLO: JsonObject = {"type": "section", "text": plain("Hello")}


class Answer(TypedDict):
    """What was chosen in a field."""

    selected_option: Mapping[str, str]
    selected_conversation: str


class State(TypedDict):
    """What was chosen in all fields."""

    values: Mapping[str, Mapping[str, Answer]]


class View(TypedDict):
    """A modal that was filled in."""

    blocks: list[Mapping[str, str]]
    state: State


class Submission(TypedDict):
    """What there is to read in a view_submission here."""

    user: Mapping[str, str]
    view: View


class Bot:
    """An app whose command and buttons do what their names say."""

    def __init__(self, bolt: AsyncApp, web: AsyncWebClient) -> None:
        self._web = web
        self.form = FORM
        self.answer: JsonObject = {}
        self.chosen: list[tuple[str, str]] = []
        self.home: JsonObject | None = {"type": "home", "blocks": [HELLO, buttons("open")]}
        bolt.command("/reload-model")(self._command)
        bolt.action("promise")(self._promise)
        bolt.action("announce")(self._announce)
        bolt.action("open")(self._open)
        bolt.action("nothing")(self._nothing)
        bolt.shortcut("reload")(self._open)
        bolt.options("Model")(self._options)
        bolt.view("form")(self._submit)
        bolt.event("app_home_opened")(self._home)

    async def _command(self, ack: AsyncAck, command: Mapping[str, str]) -> None:
        if command["text"] == "":
            await self._open(ack, command)
        elif command["text"] == "public":
            await ack(response_type="in_channel", text=PROMISE)
        elif command["text"] == "silent":
            await ack()
        elif command["text"] == "announce":
            await ack(text="Failed.", blocks=[{**buttons("announce")}])
        elif command["text"] == "private":
            await ack(text="Failed.", blocks=[{**buttons("promise", "nothing")}])
        else:
            await ack("Wait.")
            await self._web.chat_postMessage(
                channel=command["channel_id"], text="Failed.", blocks=[{**buttons("promise", "nothing")}]
            )

    async def _promise(self, ack: AsyncAck, respond: AsyncRespond) -> None:
        await ack()
        await respond(PROMISE)

    async def _announce(self, ack: AsyncAck, respond: AsyncRespond) -> None:
        await ack()
        await respond("Hello", response_type="in_channel")

    async def _nothing(self, ack: AsyncAck) -> None:
        await ack()

    async def _open(self, ack: AsyncAck, body: Mapping[str, str]) -> None:
        await ack()
        await self._web.views_open(trigger_id=body["trigger_id"], view=self.form)

    async def _options(self, ack: AsyncAck, payload: Mapping[str, str]) -> None:
        found = [name for name in ("flux", "sdxl") if payload["value"] in name]
        await ack(options=[{"text": plain(name), "value": name} for name in found])

    async def _submit(self, ack: AsyncAck, body: Submission) -> None:
        values = {name: said for block in body["view"]["state"]["values"].values() for name, said in block.items()}
        model, channel = values["Model"]["selected_option"]["value"], values["Where"]["selected_conversation"]
        self.chosen.append((model, channel))
        if self.answer.get("response_action") == "errors":
            await ack(
                response_action="errors", errors={body["view"]["blocks"][0]["block_id"]: "There is no such model."}
            )
        elif self.answer:
            ack.response = BoltResponse(status=200, body=json.dumps(self.answer))
        else:
            await ack()
            await self._web.chat_postEphemeral(channel=channel, user=body["user"]["id"], text=PROMISE)

    async def _home(self, event: Mapping[str, str]) -> None:
        if self.home is not None:
            await self._web.views_publish(user_id=event["user"], view=self.home)


class Play:
    """A sandbox in play, with what was printed of it."""

    def __init__(self, slack: SandboxSlack, web: AsyncWebClient) -> None:
        self.printed: list[str] = []
        self.web = web
        screen = Screen(slack, self.printed.append, colour=False)
        self.sandbox = Tryout(slack, screen, CAST, Place("ada", "models"), "help yourself")

    async def __call__(self, *lines: str) -> list[str]:
        """Play lines, and return what the last one printed."""
        begun = 0
        for line in lines:
            begun = len(self.printed)
            await self.sandbox.play(line)
        return self.printed[begun:]

    async def end(self) -> list[str]:
        """End, and return what is printed of promises that are broken."""
        begun = len(self.printed)
        await self.sandbox.settle(0)
        return self.printed[begun:]

    async def keep(self, user: str = "U0ADA", channel: str = "C0MODELS") -> None:
        """Post what was promised."""
        await self.web.chat_postMessage(channel=channel, text=KEPT.format(user))


@pytest.fixture
def bot(app: App, web: AsyncWebClient) -> Bot:
    """The app, with the bot in it."""
    return Bot(app.bolt, web)


@pytest.fixture
def play(slack: SandboxSlack, web: AsyncWebClient) -> Play:
    """A sandbox that has not begun."""
    slack.add_user("U0BEN", "ben")
    return Play(slack, web)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not show is not waited for long."""
    monkeypatch.setattr(playing, "_PATIENCE", 0.2)


pytestmark = pytest.mark.usefixtures("bot")


class TestMessages:
    """Buttons of messages have numbers."""

    async def test_they_stand_under_the_message(self, play: Play) -> None:
        """Each number is given once."""
        first = await play("ada: /reload-model private")
        second = await play("ada: /reload-model private")

        assert first[1:] == ["#models  (only ada sees) Failed.\n             [1] promise  [2] nothing"]
        assert second[1:] == ["#models  (only ada sees) Failed.\n             [3] promise  [4] nothing"]

    async def test_a_press_may_promise(self, play: Play) -> None:
        """What a press promises in private is a promise to whoever pressed."""
        await play("ada: /reload-model sdxl")
        pressed = await play("ben: 1")
        broken = await play.end()
        well = play.sandbox.went_well
        await play.keep("U0BEN", "C0MODELS")

        assert pressed == [
            "#ops     ben> [1] promise",
            "#models  (only ben sees) Reloading `sdxl` (reload `abc123`).",
        ]
        assert (broken, well) == ([MISSING.format("ben", "models")], False)
        assert await play.end() == []

    async def test_a_public_promise_is_to_whoever_acted_there(self, play: Play) -> None:
        """An answer for everyone counts too, and twice the same promise is one."""
        await play("ada: /reload-model public", "ada: /reload-model public")

        assert await play.end() == [MISSING.format("ada", "models")]

    @pytest.mark.usefixtures("impatient")
    async def test_a_press_may_be_answered_in_public(self, play: Play) -> None:
        """Where nothing shows to the person alone, something that shows to everyone is enough."""
        told = await play("ada: /reload-model announce", "1")

        assert told == ["#models  ada> [1] announce", "#models  reload-model> Hello"]
        assert play.sandbox.went_well

    async def test_what_cannot_be_pressed(self, play: Play, slack: SandboxSlack) -> None:
        """What is somebody else's, what there is not, and what is gone."""
        await play("ada: /reload-model private")
        told = [await play("ben: 1"), await play("3"), await play("0")]
        slack.delete(slack.messages[0])
        told.append((await play("ada: 1"))[1:])

        assert told == [
            ["ben cannot do that: [1] is for somebody else"],
            ["ben cannot do that: there is no [3]"],
            ["ben cannot do that: there is no [0]"],
            ["ada cannot do that: that message is gone"],
        ]
        assert not play.sandbox.went_well

    @pytest.mark.usefixtures("impatient")
    @pytest.mark.parametrize(
        ("lines", "what"),
        [(["/reload-model silent"], "/reload-model silent"), (["/reload-model private", "2"], "[2] nothing")],
    )
    async def test_nothing_comes_of_it(self, play: Play, lines: list[str], what: str) -> None:
        """Whoever does something and sees nothing of it is not served well."""
        assert (await play(*lines))[1:] == [f"nothing came of what ada did: {what}"]
        assert not play.sandbox.went_well


class TestModals:
    """A modal is shown with what it offers, and what is taken is submitted."""

    async def test_a_modal_is_shown(self, play: Play) -> None:
        """Its title, its fields, and what the typeahead offers."""
        shown = ["Model", "Where", "[1] flux  [2] sdxl"]

        assert await play("ada: /reload-model") == [
            "#models  ada> /reload-model",
            "modal    (only ada sees) Reload a model\n" + "\n".join(f"{'':13}{each}" for each in shown),
        ]

    @pytest.mark.parametrize(
        ("lines", "channel"),
        [
            (["ada #ops: /reload-model", "ada: 2"], "C0OPS"),
            (["ada: shortcut reload", "2"], "C0MODELS"),
            (["ben: home", "1", "3"], "C0OPS"),
        ],
    )
    async def test_a_choice_is_submitted(self, play: Play, bot: Bot, lines: list[str], channel: str) -> None:
        """It goes to where the modal was opened, or else to where the person is, and may promise something there."""
        await play(*lines)
        user = "U0BEN" if channel == "C0OPS" and lines[0] == "ben: home" else "U0ADA"
        name = {"U0BEN": "ben", "U0ADA": "ada"}[user]

        assert bot.chosen == [("sdxl", channel)]
        assert await play.end() == [MISSING.format(name, "ops" if channel == "C0OPS" else "models")]
        assert [line for line in play.printed if "nothing came" in line] == []

    async def test_errors_are_shown(self, play: Play, bot: Bot) -> None:
        """They stand beside their fields, and the modal can be submitted again."""
        bot.answer = {"response_action": "errors"}
        told = await play("ada: /reload-model", "1")
        bot.answer = {}
        await play("2")

        assert told == ["#models  ada> [1] flux", "modal    (only ada sees) Model: There is no such model."]
        assert bot.chosen == [("flux", "C0MODELS"), ("sdxl", "C0MODELS")]

    async def test_an_update_may_promise(self, play: Play, bot: Bot) -> None:
        """A modal that changes is shown again, and what it says counts."""
        section: JsonObject = {"type": "section", "text": {"type": "mrkdwn", "text": PROMISE}}
        bot.answer = {"response_action": "update", "view": {**modal(section, submit=None)}}
        told = await play("ada #ops: /reload-model", "2")

        assert told[1:] == [f"modal    (only ada sees) Reload a model\n             {PROMISE}"]
        assert await play.end() == [MISSING.format("ada", "ops")]

    async def test_an_answer_that_slack_does_not_understand(self, play: Play, bot: Bot) -> None:
        """Slack's word for it is told."""
        bot.answer = {"response_action": "shrug"}

        assert (await play("/reload-model", "1"))[1:] == [
            '#models  (only ada sees) [1] flux failed with the error "invalid_response_action"'
        ]

    async def test_typing(self, play: Play) -> None:
        """What is typed is asked for, and what is found has numbers."""
        assert await play("ada: /reload-model", "type sd") == [
            "#models  ada> types sd",
            "modal    (only ada sees) Model: sd\n             [3] sdxl",
        ]

    async def test_nothing_to_type_into(self, play: Play, bot: Bot) -> None:
        """There must be a modal, and a typeahead in it."""
        bot.form = modal(WHERE)
        told = [(await play("type sd"))[1:], (await play("/reload-model", "type sd"))[1:]]

        assert told == [
            ["ada cannot do that: there is no modal to type into"],
            ["ada cannot do that: there is no field '': there are []"],
        ]

    async def test_a_modal_without_choices(self, play: Play, bot: Bot) -> None:
        """It can be submitted as it is, and its buttons can be pressed."""
        bot.form = modal(WHERE, buttons("open"))

        assert (await play("ada: /reload-model"))[1:] == [
            "modal    (only ada sees) Reload a model\n             Where\n             [1] Reload  [2] open"
        ]
        assert (await play("2"))[1:] == [
            "modal    (only ada sees) Reload a model\n             Where\n             [3] Reload  [4] open"
        ]

    async def test_options_that_are_listed(self, play: Play, bot: Bot) -> None:
        """A select may list its options itself."""
        bot.form = modal(asks("Model", "static_select", options=[{"text": plain("one"), "value": "1"}]), WHERE)
        await play("ada: /reload-model", "1")

        assert bot.chosen == [("1", "C0MODELS")]

    async def test_a_typeahead_without_an_answer(self, play: Play, bot: Bot) -> None:
        """The modal is shown, and why nothing is offered."""
        bot.form = modal(asks("Other", "external_select", min_query_length=0))
        told = await play("ada: /reload-model")

        assert told[1].startswith("ada is offered nothing: ")
        assert told[2] == "modal    (only ada sees) Reload a model\n             Other\n             [1] Reload"


class TestHome:
    """The Home tab is shown to whoever opens it."""

    async def test_it_is_shown(self, play: Play) -> None:
        """Its words, and its buttons."""
        assert await play("ada: home") == [
            "#models  ada> opens the Home tab",
            "home     (only ada sees) Hello\n             [1] open",
        ]

    @pytest.mark.usefixtures("impatient")
    async def test_it_is_shown_as_it_was(self, play: Play, bot: Bot) -> None:
        """An app need not publish it each time."""
        await play("ada: home")
        bot.home = None

        assert (await play("ada: home"))[1:] == ["home     (only ada sees) Hello\n             [2] open"]

    @pytest.mark.usefixtures("impatient")
    async def test_an_app_without_one(self, play: Play, bot: Bot) -> None:
        """Nothing shows, and that is told."""
        bot.home = None

        assert (await play("ada: home"))[1:] == ["ada cannot do that: the app shows no Home tab"]
        assert not play.sandbox.went_well
