"""The terminal shows what Slack would show, and answers a mistake with what would have worked."""

import asyncio
import re
import time
from datetime import UTC, datetime

import pytest
from slack_bolt.async_app import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.display import Display
from bot.sandbox.modelslab import ReloadCall, SandboxModelsLab
from bot.sandbox.screen import Screen, plain
from bot.sandbox.session import SHORTCUT, Session
from bot.sandbox.slack import SandboxSlack
from bot.sandbox.wire import JsonObject
from bot.slack import manifest
from tests.sandbox.conftest import App
from tests.sandbox.test_people import FORM
from tests.sandbox.test_web_api import HOME, MODAL, SECTION, button
from tests.sandbox.test_web_api import plain as plain_text
from tests.scenarios.scenario import eventually


class Terminal:
    """A session whose output is kept, line by line."""

    def __init__(self, slack: SandboxSlack) -> None:
        self.written: list[str] = []
        self.screen = Screen(self.written.append, live=False, colour=False)
        self.modelslab = SandboxModelsLab()
        self.session = Session(slack, self.modelslab, self.screen, {"ada": "models", "ben": "ops"}, "HELP")
        self.session.answer_seconds = 0.1

    async def type(self, *lines: str) -> list[str]:
        """Type lines, and return what they added."""
        before = len(self.written)
        for line in lines:
            assert await self.session.play(line)
        return "".join(self.written[before:]).splitlines()


@pytest.fixture
def typed(slack: SandboxSlack, app: App) -> Terminal:
    """A terminal with an app that greets, opens a modal on "modal", and echoes what is written to it."""

    async def answer(ack: AsyncAck, client: AsyncWebClient, command: dict[str, str]) -> None:
        if command["text"] == "modal":
            await ack()
            await client.views_open(trigger_id=command["trigger_id"], view=FORM)
        else:
            await ack("Hello.", blocks=[{**SECTION, "text": plain_text("For `sdxl`"), "accessory": button("Go")}])

    async def echo(client: AsyncWebClient, event: JsonObject) -> None:
        place = {"channel": event["channel"], "thread_ts": event.get("thread_ts")}
        if event["type"] == "message":
            await client.chat_postMessage(**place, text=event["text"])
        else:
            await client.chat_postEphemeral(**place, text=event["text"], user=event["user"])

    async def suggest(ack: AsyncAck, payload: JsonObject) -> None:
        found = [name for name in ("flux", "sd-turbo", "sdxl") if payload["value"] in name]
        options = [{"text": plain_text(name), "value": name} for name in found]
        if payload["value"] == "x":
            await ack(option_groups=[{"label": plain_text("Public"), "options": options}])
        else:
            await ack(options=options)

    async def submitted(ack: AsyncAck, view: JsonObject) -> None:
        values = view["state"]["values"]
        if values["b-note"]["note"]["value"] != "right":
            await ack(response_action="errors", errors={"b-note": "Wrong."})
        else:
            await ack(response_action="update", view={**MODAL, "title": plain_text("Done")})

    async def nothing(ack: AsyncAck) -> None:
        await ack()

    slack.users["U0BEN"] = "ben"
    app.bolt.command("/reload-model")(answer)
    app.bolt.event("app_mention")(echo)
    app.bolt.event("message")(echo)
    app.bolt.options("model")(suggest)
    app.bolt.view("form")(submitted)
    app.bolt.action("press")(nothing)
    return Terminal(slack)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("hello you", "I don't understand 'hello you'. Try: /reload-model sdxl (or type help)"),
        ("wait long", "I don't understand 'wait long'. Try: /reload-model sdxl (or type help)"),
        ("/reload sdxl", "There is no command /reload here. Try: /reload-model sdxl"),
        ("reload-model flux", "There is no command reload-model here. Try: /reload-model flux"),
        ("ben /reload-model", "A name is followed by a colon. Try: ben: /reload-model"),
        ("ben:", "What does ben do? Try: ben: /reload-model sdxl"),
        ("bob: home", "There is nobody called bob here. Try ada or ben."),
        ("ada #nope: home", "There is no channel #nope here. Try #models or #ops."),
        ("@reload sdxl", "There is nobody called @reload here. Try: @reload-model sdxl"),
        ("reply sdxl", "A reply has to mention the bot. Try: reply @reload-model sdxl"),
        ("reply @reload-model x", "There is no message in #models to reply to. Try: @reload-model sdxl"),
        ("dm", "What does ada write? Try: dm sdxl"),
        ("7", "There is no [7] now. Try: /reload-model sdxl"),
    ],
)
async def test_a_mistake_is_answered_with_what_works(typed: Terminal, line: str, answer: str) -> None:
    """In words, and the bot is not to blame."""
    assert await typed.type(line) == [answer]
    assert typed.session.answered


async def test_people_speak_and_press_by_number(typed: Terminal) -> None:
    """A button beside a text is named after the model there, and is for those who see it."""
    shown = await typed.type("", "# a comment", "help", "wait 0", "BEN: /reload-model hi", "ada: 1", "ben: 1 x", "5")

    assert shown == [
        "# a comment",
        "HELP",
        "#ops     ben: /reload-model hi",
        "#ops     (only ben sees) For `sdxl`",
        "         [1] Go: sdxl",
        "Only ben sees [1]. Try: ben: 1",
        "[1] takes nothing but its number. Try: 1",
        "There is no [5] now. Try 1.",
    ]
    assert await typed.type("[1]") == ["#ops     ben: [1] Go: sdxl", "The bot has shown nothing new."]
    assert not await typed.session.play("exit")


async def test_people_mention_the_bot_and_write_to_it(typed: Terminal) -> None:
    """What is in a thread says so, and goes on in the thread of the last message."""
    assert await typed.type("@reload-model a", "reply @Reload-Model b", "ben: dm <c>") == [
        "#models  ada: @reload-model a",
        "#models  (only ada sees) @U0BOT a",
        "#models  ada (in thread): @reload-model b",
        "#models  (only ada sees, in thread) @U0BOT b",
        "DM       ben: <c>",
        "DM       (only ben sees) <c>",
    ]


async def test_a_modal_is_filled_in_field_by_field(typed: Terminal) -> None:
    """A typeahead takes the one option that it finds, or lists those that there are, in groups if it has any."""
    opened = await typed.type("ada: /reload-model modal")
    assert opened[1:] == [
        "modal    (only ada sees) Hello",
        "         x",
        "         [1] model: -",
        "         [2] note: hello",
        "         [3] where: #models",
        "         [4] Go",
        "         1 sdxl fills in [1]; 4 alone presses [4].",
    ]
    assert (await typed.type("1 nope"))[1:] == ["modal    (only ada sees) model: nope", "         nothing found"]
    assert (await typed.type("1 sd"))[1:] == ["modal    (only ada sees) model: sd", "         [5] sd-turbo  [6] sdxl"]
    assert "         [1] model: sdxl" in await typed.type("6")
    assert "         [1] model: flux" in await typed.type("1 fl")
    assert (await typed.type("1 x"))[1:] == ["modal    (only ada sees) model: x", "         Public: [7] flux  [8] sdxl"]
    assert (await typed.type("3"))[1:] == ["There is no channel # here. Try #models or #ops."]
    assert "         [3] where: #ops" in await typed.type("3 #ops")
    assert "         [2] note: hello (Wrong.)" in await typed.type("4")
    assert "         [2] note: right" in await typed.type("2 right")
    assert (await typed.type("4"))[1:] == ["modal    (only ada sees) Done", "         x"]
    assert await typed.type("4") == ["There is no [4] now. Try: /reload-model sdxl"]


async def test_people_are_chosen_by_their_names(slack: SandboxSlack, typed: Terminal) -> None:
    """As many as there are; Slack gets their IDs."""
    select = {"type": "multi_users_select", "action_id": "who"}
    block = {"type": "input", "label": plain_text("Who"), "element": select}
    slack.open_modal(slack.new_trigger("U0ADA", ""), {**FORM, "blocks": [block]})

    assert "".join(typed.written).endswith(
        "         [1] Who: -\n         [2] Go\n         1 eve fills in [1]; 2 alone presses [2].\n"
    )
    assert "         [1] Who: ada, ben" in await typed.type("1 Ada, ben")
    assert (await typed.type("1 nobody"))[1:] == ["There is nobody called nobody here. Try ada or ben."]


async def test_a_bot_that_does_not_answer_is_to_blame(slack: SandboxSlack) -> None:
    """Slack's error shows, whatever somebody did."""
    silent = Terminal(slack)
    slack.open_modal(slack.new_trigger("U0ADA", ""), FORM)
    shown = await silent.type("shortcut", "ada: home", "1 sdxl")

    assert shown[1::2] == ["#models  (only ada sees) That failed with the error dispatch_failed."] * 3
    assert f"callback_id: {SHORTCUT}" in manifest.text()
    assert not silent.session.answered


async def test_the_end_waits_for_the_reloads_that_are_running(slack: SandboxSlack) -> None:
    """Until the bot has said how they went, or for so long."""
    quiet = Terminal(slack)
    quiet.session.quiet_seconds = 0.0
    quiet.modelslab.calls += [ReloadCall(name, at=time.time(), body={}) for name in ("flux", "sdxl")]
    ending = asyncio.create_task(quiet.session.settle(within=5.0))
    await eventually(lambda: quiet.written)
    slack.say("C0MODELS", {"text": "`sdxl` should be ready now"}, "api")
    slack.say("C0MODELS", {"text": "`flux` was not reloaded: no."}, "api")
    await ending
    assert quiet.written[0] == "Waiting for the reload of flux and sdxl. Ctrl-C leaves at once.\n"
    assert quiet.session.answered
    quiet.modelslab.calls.append(ReloadCall("sdxl", at=time.time() + 1, body={}))
    await quiet.session.settle(within=0.0)
    assert quiet.written[-1] == "The bot has not said in time how sdxl went.\n"
    assert not quiet.session.answered


class Paper:
    """What stands on a terminal on which some of it is written anew."""

    def __init__(self, slack: SandboxSlack) -> None:
        self.lines: list[str] = []
        self.display = Display(slack, Screen(self.write, live=True, colour=False))

    def write(self, text: str) -> None:
        """Write, after so many lines up where the text begins with that."""
        if up := re.match(r"\x1b\[(\d+)A\x1b\[J", text):
            del self.lines[-int(up[1]) :]
            text = text[up.end() :]
        self.lines += text.splitlines()


def test_an_edited_message_changes_in_its_place(slack: SandboxSlack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its buttons keep their numbers; where it has left the screen, it shows again below."""
    paper = Paper(slack)
    two = {"type": "actions", "elements": [button("One", action_id="1"), button("Two", action_id="2")]}
    message = slack.say("C0MODELS", {"text": "x", "blocks": [SECTION, two]}, "api")
    reply = slack.say("C0MODELS", {"text": "y", "reply_broadcast": True}, "api", thread_ts=message.ts)
    replied = "#models  reload-model (reply): y"
    assert paper.lines == ["#models  reload-model: x", "         [1] One  [2] Two", replied]
    slack.edit("C0MODELS", message.ts, {"blocks": [{**two, "elements": [button("Two", action_id="2")]}]})
    assert paper.lines == ["#models  reload-model: [2] Two", replied]
    monkeypatch.setenv("COLUMNS", "60")
    slack.edit("C0MODELS", reply.ts, {"text": "z"})
    assert paper.lines[2:] == ["#models  (edited) reload-model (reply): z"]


async def test_views_change_in_their_place(slack: SandboxSlack) -> None:
    """An open Home tab when the app publishes it, and a modal when it is filled in."""
    paper = Paper(slack)
    slack.publish_home("U0ADA", HOME)
    assert paper.lines == []
    await paper.display.open_home("U0ADA")
    slack.publish_home("U0ADA", HOME)
    slack.publish_home("U0ADA", {**HOME, "blocks": [{"type": "actions", "elements": [button()]}]})
    assert paper.lines == ["home     (only ada sees) [1] Press"]
    await paper.display.choices[1].act("U0ADA", "")
    slack.open_modal(slack.new_trigger("U0ADA", ""), FORM)
    await paper.display.choices[3].act("U0ADA", "typed")
    assert "         [3] note: typed" in paper.lines


def test_lines_fit_without_breaking_words(slack: SandboxSlack) -> None:
    """Nor the sentences that say how a reload went, and nothing gets through that would move a terminal."""
    written: list[str] = []
    text = plain(f"{'word ' * 15}`sdxl` should be ready now\x1b[31m &lt;b&gt;", slack)
    Screen(written.append, live=False, colour=True).draw("#models", "(only ada sees)", text)
    first, second = "".join(written).splitlines()

    assert first == f"#models  \x1b[2m(only ada sees)\x1b[0m {'word ' * 10}word"
    assert second == "         word word word word `sdxl` should be ready now�[31m <b>"


def test_markup_shows_as_slack_shows_it(slack: SandboxSlack) -> None:
    """https://docs.slack.dev/messaging/formatting-message-text."""
    slack.dm("U0ADA")
    at = datetime.fromtimestamp(1_700_000_000, UTC).astimezone()
    for text, shown in {
        "<@U0ADA> and <@U0BEN>": "@ada and @U0BEN",
        "<#C0MODELS> <#C0X|x> <#DU0ADA>": "#models C0X DM",
        "<!channel> <https://example.com|the page> <https://example.com>": "@channel the page https://example.com",
        "<!date^1700000000^{date_short_pretty} at {time_secs}|x>": f"{at:%d %b} at {at:%H:%M:%S}",
        "<!date^1700000000^{ago}|some time ago>": "some time ago",
    }.items():
        assert plain(text, slack) == shown
