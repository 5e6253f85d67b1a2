"""The terminal of make try shows what Slack would show, and answers a mistake with what would have worked."""

import asyncio
import re
import time
from datetime import UTC, datetime

import pytest

from bot.sandbox.modelslab import ReloadCall
from bot.sandbox.slack.service import SandboxSlack
from bot.sandbox.terminal.display import Display
from bot.sandbox.terminal.screen import Screen, plain
from bot.sandbox.terminal.session import SHORTCUT, Session
from bot.slack import manifest
from tests.sandbox.conftest import App
from tests.sandbox.test_people import FORM
from tests.sandbox.test_web_api import HOME, MODAL, SECTION, button
from tests.scenarios.conftest import mode, scenario
from tests.scenarios.scenario import ADA, BEN, MODELS, Scenario, eventually

__all__ = ["mode", "scenario"]

MISTAKES = {
    "hello you": "I don't understand 'hello you'. Try: /reload-model sdxl (or type help)",
    "wait long": "I don't understand 'wait long'. Try: /reload-model sdxl (or type help)",
    "/reload sdxl": "There is no command /reload here. Try: /reload-model sdxl",
    "reload-model flux": "There is no command reload-model here. Try: /reload-model flux",
    "ada /reload-model": "A name is followed by a colon. Try: ada: /reload-model",
    "ada:": "What does ada do? Try: ada: /reload-model sdxl",
    "bob: home": "There is nobody called bob here. Try ada or ben.",
    "ada #nope: home": "There is no channel #nope here. Try #models or #ops.",
    "@reload sdxl": "There is nobody called @reload here. Try: @reload-model sdxl",
    "reply sdxl": "A reply has to mention the bot. Try: reply @reload-model sdxl",
    "reply @reload-model x": "There is no message in #models to reply to. Try: @reload-model sdxl",
    "dm": "What does ada write? Try: dm sdxl",
    "7": "There is no [7] now. Try: /reload-model sdxl",
}


class Terminal:
    """A session whose output is kept, line by line."""

    def __init__(self, scenario: Scenario) -> None:
        self.written: list[str] = []
        scenario.slack.users[BEN] = "ben"
        screen = Screen(self.written.append, live=False, colour=False)
        usual = {"ada": "models", "ben": "ops"}
        self.session = Session(scenario.slack, scenario.modelslab, screen, usual, "HELP")
        self.session.answer_seconds = 0.1
        self.session.quiet_seconds = 0.0

    async def type(self, *lines: str) -> list[str]:
        """Type lines, and return what they added."""
        before = len(self.written)
        for line in lines:
            assert await self.session.play(line)
        return "".join(self.written[before:]).splitlines()


@pytest.fixture
def typed(scenario: Scenario) -> Terminal:
    """A terminal, at first without a bot."""
    return Terminal(scenario)


async def test_a_mistake_is_answered_with_what_works(typed: Terminal) -> None:
    """In words, and the bot is not to blame."""
    assert await typed.type("") == []
    for line, answer in MISTAKES.items():
        assert await typed.type(line) == [answer]
    assert typed.session.answered


SPEAKING = """\
> BEN: /reload-model access
#ops     ben: /reload-model access
#ops     (only ben sees) Who can reload models
         • Admins (`ADMIN_USERS`): @ben
         • Listed in the settings (`ALLOWED_USERS`): @ada
         People named in the settings can only be removed there.
         [1] Add people
> ada: 1
Only ben sees [1]. Try: ben: 1
> ben: 1 x
[1] takes nothing but its number. Try: 1
> 5
There is no [5] now. Try 1.
> ben: [1]
#ops     ben: [1] Add people
modal    (only ben sees) Who can reload models
         [2] People who can reload models from now on: -
         [3] Add
         2 eve fills in [2]; 3 alone presses [3].
> 2 Ada, ben
#ops     ben: [2] People who can reload models from now on: Ada, ben
modal    (only ben sees) Who can reload models
         [2] People who can reload models from now on: ada, ben
         [3] Add
         2 eve fills in [2]; 3 alone presses [3].
> ada: @reload-model status
#models  ada: @reload-model status
#models  (only ada sees) No reloads right now.
> reply @Reload-Model history
#models  ada (in thread): @reload-model history
#models  (only ada sees, in thread) No reloads yet.
> ben: dm status
DM       ben: status
DM       (only ben sees) No reloads right now.
"""

PICKER = """\
> shortcut
#models  ada: uses the shortcut reload_model
modal    (only ada sees) Reload a model
         [1] Model: -
         [2] Or type a model ID: -
         [3] Post updates in: #models
         [4] Reload
         1 sdxl fills in [1]; 4 alone presses [4].
> 4
#models  ada: [4] Reload
modal    (only ada sees) Reload a model
         [1] Model: - (Pick a model or type its ID.)
         [2] Or type a model ID: -
         [3] Post updates in: #models
         [4] Reload
         1 sdxl fills in [1]; 4 alone presses [4].
> 1 <no>
#models  ada: [1] Model: <no>
modal    (only ada sees) Model: <no>
         nothing found
> 1 sd-
#models  ada: [1] Model: sd-
modal    (only ada sees) Model: sd-
         What you typed: [5] sd-
         Yours: [6] sd-ours
         Public: [7] sd-turbo
> 1 sd-turbo
#models  ada: [1] Model: sd-turbo
modal    (only ada sees) Reload a model
         [1] Model: sd-turbo
         [2] Or type a model ID: -
         [3] Post updates in: #models
         [4] Reload
         1 sdxl fills in [1]; 4 alone presses [4].
> 3 nowhere
#models  ada: [3] Post updates in: nowhere
There is no channel #nowhere here. Try #models or #ops.
"""


@pytest.mark.parametrize("transcript", [SPEAKING, PICKER], ids=["speaking", "picker"])
async def test_what_the_bot_shows_is_drawn_and_numbered(scenario: Scenario, typed: Terminal, transcript: str) -> None:
    """Only those who see a button can press it; a form is filled in field by field."""
    scenario.modelslab.models, scenario.modelslab.own_models = ["sdxl", "sd-turbo"], ["sd-ours"]
    await scenario.open(ALLOWED_USERS=ADA, ADMIN_USERS=BEN)
    typed.session.answer_seconds = 10.0

    shown = []
    for line in re.findall(r"^> (.*)$", transcript, re.MULTILINE):
        shown += [f"> {line}", *await typed.type(line)]

    assert "\n".join(shown) + "\n" == transcript
    assert typed.session.answered
    assert not await typed.session.play("exit")


async def test_a_bot_that_does_not_answer_is_to_blame(scenario: Scenario, typed: Terminal, app: App) -> None:
    """Slack's error shows, whatever somebody did."""
    said = "#models  ada: /reload-model sdxl"
    assert await typed.type("/reload-model sdxl") == [said, "The bot has shown nothing new."]
    assert typed.session.answered
    await app.stop()
    scenario.slack.open_modal(scenario.slack.new_trigger(ADA, ""), FORM)
    shown = await typed.type("shortcut", "ada: home", "1 sdxl")

    assert shown[1::2] == ["#models  (only ada sees) That failed with the error dispatch_failed."] * 3
    assert f"callback_id: {SHORTCUT}" in manifest.text()
    assert not typed.session.answered


async def test_the_end_waits_for_the_reloads_that_are_running(scenario: Scenario, typed: Terminal) -> None:
    """Until the bot has said how they went, or until it has taken too long."""
    scenario.modelslab.calls += [ReloadCall(name, at=1.0, body={}) for name in ("flux", "sdxl")]
    ending = asyncio.create_task(typed.session.settle(within=5.0))
    await eventually(lambda: typed.written)
    scenario.slack.say(MODELS, {"text": "`sdxl` should be ready now"}, "api")
    scenario.slack.say(MODELS, {"text": "`flux` was not reloaded: no."}, "api")
    await ending
    assert typed.written[0] == "Waiting for the reload of flux and sdxl. Ctrl-C leaves at once.\n"
    assert typed.session.answered
    scenario.modelslab.calls.append(ReloadCall("sdxl", at=time.time() + 1, body={}))
    await typed.session.settle(within=0.0)
    assert typed.written[-1] == "The bot has not said in time how sdxl went.\n"
    assert not typed.session.answered


class Paper:
    """What a terminal shows on which some lines are drawn again."""

    def __init__(self, slack: SandboxSlack) -> None:
        self.lines: list[str] = []
        self.display = Display(slack, Screen(self.write, live=True, colour=False))

    def write(self, text: str) -> None:
        """Write, after so many lines up where the text begins with that."""
        if up := re.match(r"\x1b\[(\d+)A\x1b\[J", text):
            del self.lines[-int(up[1]) :]
            text = text[up.end() :]
        self.lines += text.splitlines()


async def test_what_changes_is_drawn_again_in_its_place(slack: SandboxSlack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its buttons keep their numbers. A message that has left the screen shows again below."""
    paper = Paper(slack)
    two = {"type": "actions", "elements": [button("One", action_id="1"), button("Two", action_id="2")]}
    message = slack.say(MODELS, {"text": "x", "blocks": [SECTION, two]}, "api")
    reply = slack.say(MODELS, {"text": "y", "reply_broadcast": True}, "api", thread_ts=message.ts)
    replied = "#models  reload-model (reply): y"
    assert paper.lines == ["#models  reload-model: x", "         [1] One  [2] Two", replied]
    slack.edit(MODELS, message.ts, {"blocks": [{**two, "elements": [button("Two", action_id="2")]}]})
    assert paper.lines == ["#models  reload-model: [2] Two", replied]
    slack.publish_home(ADA, HOME)
    assert len(paper.lines) == 2
    await paper.display.open_home(ADA)
    slack.publish_home(ADA, HOME)
    slack.publish_home(ADA, {**HOME, "blocks": [{"type": "actions", "elements": [button()]}]})
    assert paper.lines[2:] == ["home     (only ada sees) [3] Press"]
    await paper.display.choices[3].act(ADA, "")
    slack.open_modal(slack.new_trigger(ADA, ""), FORM)
    await paper.display.choices[5].act(ADA, "typed")
    assert [line for line in paper.lines if "note" in line] == ["         [5] note: typed"]
    slack.open_modal(slack.new_trigger(ADA, ""), MODAL)
    assert paper.lines[-2:] == ["modal    (only ada sees) Hello", "         x"]
    monkeypatch.setenv("COLUMNS", "60")
    slack.edit(MODELS, reply.ts, {"text": "z"})
    assert paper.lines[-1] == "#models  (edited) reload-model (reply): z"


def test_lines_fit_without_breaking_words(slack: SandboxSlack) -> None:
    """Nor the sentences that say how a reload went. Nothing gets through that would move a terminal's cursor."""
    written: list[str] = []
    text = plain(f"{'word ' * 15}`sdxl` should be ready now\x1b[31m &lt;b&gt;", slack)
    Screen(written.append, live=False, colour=True).draw("#models", "(only ada sees)", text)
    first, second = "".join(written).splitlines()

    assert first == f"#models  \x1b[2m(only ada sees)\x1b[0m {'word ' * 10}word"
    assert second == "         word word word word `sdxl` should be ready now�[31m <b>"


def test_markup_shows_as_slack_shows_it(slack: SandboxSlack) -> None:
    """https://docs.slack.dev/messaging/formatting-message-text."""
    slack.dm(ADA)
    at = datetime.fromtimestamp(1_700_000_000, UTC).astimezone()
    for text, shown in {
        "<@U0ADA> and <@U0BEN>": "@ada and @U0BEN",
        "<#C0MODELS> <#C0X|x> <#DU0ADA>": "#models C0X DM",
        "<!channel> <https://example.com|the page> <https://example.com>": "@channel the page https://example.com",
        "<!date^1700000000^{date_short_pretty} at {time_secs}|x>": f"{at:%d %b} at {at:%H:%M:%S}",
        "<!date^1700000000^{ago}|some time ago>": "some time ago",
    }.items():
        assert plain(text, slack) == shown
