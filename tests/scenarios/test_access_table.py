"""Who can do what on every surface: each attempt is authorized when it is made, and is in the audit."""

from collections.abc import Awaitable, Callable

import pytest

from bot.core.command import SHORTCUT
from bot.core.models import Place
from bot.errors import Refusal
from bot.sandbox.slack.workspace import Message
from bot.storage import grants
from bot.storage.history import Note
from bot.ui import messages, views
from bot.ui.buttons import Action, Button
from bot.ui.grants import people_modal
from tests.scenarios.scenario import ADA, BEN, MODELS, OPS, Scenario, eventually, labels

STRANGER, PERSON, GRANTED, REVOKED, ADMIN, FORMER = "U0STRANGER", "U0PERSON", "U0GRANTED", "U0REVOKED", BEN, "U0FORMER"

STRANGERS_TEAM = "T0OTHER"

RELOADS = {
    STRANGER: "other_workspace",
    PERSON: "not_allowed",
    GRANTED: f"granted by {FORMER}",
    REVOKED: "not_allowed",
    FORMER: "not_allowed",
    ADMIN: "ADMIN_USERS",
}
"""What needs access to models: how it is refused, or the rule that allows it."""

ADMINISTRATION = dict.fromkeys(RELOADS, "not_admin") | {STRANGER: "other_workspace", ADMIN: "ADMIN_USERS"}

HELP = dict.fromkeys(RELOADS, "help")

REQUESTS_ACCESS = dict.fromkeys(RELOADS, "access_requested") | {
    STRANGER: "other_workspace",
    GRANTED: "has_access",
    ADMIN: "has_access",
}

BUTTONS = {
    Action.JOIN: RELOADS,
    Action.AGAIN: RELOADS,
    Action.REMIND: RELOADS,
    Action.STOP_REMINDING: dict.fromkeys(RELOADS, "stop_reminding") | {STRANGER: "other_workspace"},
    Action.PICK: RELOADS,
    Action.ASK_ACCESS: REQUESTS_ACCESS,
    Action.ALLOW: ADMINISTRATION,
    Action.DENY: ADMINISTRATION,
    Action.ADD_PEOPLE: ADMINISTRATION,
    Action.REVOKE_PEOPLE: ADMINISTRATION,
    Action.REVOKE: ADMINISTRATION,
}
"""In an order in which none changes what the next ones are about."""

_REFUSED = {Refusal.NOT_ADMIN, Refusal.NOT_ALLOWED, Refusal.OTHER_WORKSPACE}

Act = Callable[[Scenario, str], Awaitable[object]]


@pytest.fixture
async def bot(scenario: Scenario) -> Scenario:
    """A scenario with one person of each kind. Grants by a former admin stay; the stranger's was a mistake."""
    await scenario.open(ALLOWED_USERS=ADA, ADMIN_USERS=f"{ADMIN} {FORMER}")
    note = Note(FORMER, "T0SANDBOX", "", "", "access_granted", "ADMIN_USERS")
    await scenario.store.change(grants.add_people, note, [STRANGER, GRANTED, REVOKED])
    assert (await scenario.ask("access", FORMER)).text.startswith("Who can reload models")
    assert (await scenario.ask("status", REVOKED)).text == "No reloads right now."
    await scenario.store.change(grants.revoke, note, [REVOKED])
    await scenario.reopen(ADMIN_USERS=ADMIN)
    scenario.slack.user_teams[STRANGER] = STRANGERS_TEAM
    return scenario


async def attempt(bot: Scenario, user: str, act: Act) -> str:
    """Have somebody do something; return how it was refused, or the rule that allowed it, as the audit has it."""
    lines = "SELECT outcome, rule FROM reload_model_audit WHERE user_id = ? ORDER BY id"
    before = len(bot.sql(lines, user))
    await act(bot, user)
    await eventually(lambda: len(bot.sql(lines, user)) > before)
    ((outcome, rule),) = bot.sql(lines, user)[before:]
    return str(rule if outcome not in _REFUSED and rule else outcome)


async def attempts(bot: Scenario, act: Act) -> dict[str, str]:
    """How that goes for everybody."""
    return {user: await attempt(bot, user, act) for user in RELOADS}


def of(bot: Scenario, action: Action) -> str:
    """What a button of this action is for: something that there is."""
    if action in (Action.JOIN, Action.REMIND):
        return bot.last_id
    if action in (Action.ALLOW, Action.DENY):
        return str(bot.sql("SELECT id FROM reload_model_access_requests WHERE state = 'open'")[0][0])
    return {Action.REVOKE: GRANTED, Action.ADD_PEOPLE: "", Action.REVOKE_PEOPLE: ""}.get(action, "sdxl")


async def test_every_button_is_for_the_right_people(bot: Scenario) -> None:
    """Everybody who sees it can press it."""
    await bot.ask("sdxl", ADA)
    assert set(BUTTONS) == set(Action)
    for action, who in BUTTONS.items():
        content = messages.Message("Press", buttons=[Button("Press", action, of(bot, action), Place(MODELS))])
        message = bot.slack.say(MODELS, {"text": content.text, "blocks": content.blocks}, "api")

        async def press(bot: Scenario, user: str, message: Message = message) -> None:
            ack = await bot.slack.press(message, "Press", user=user)
            assert (ack.status, ack.text) == (200, "")

        assert await attempts(bot, press) == who, action


async def test_every_kind_of_text_is_for_the_right_people(bot: Scenario) -> None:
    """In a command or a mention. Strangers get help only by the command: they can read the channel of a mention."""
    words = {"sdxl": RELOADS, "status": RELOADS, "access": ADMINISTRATION}
    for text, who in (words | {"": RELOADS, "help": HELP}).items():

        async def command(bot: Scenario, user: str, text: str = text) -> None:
            await bot.ask(text, user, team_id=STRANGERS_TEAM if user == STRANGER else "T0SANDBOX")

        assert await attempts(bot, command) == who, text
    for text, who in (words | {"help": HELP | {STRANGER: "other_workspace"}}).items():

        async def mention(bot: Scenario, user: str, text: str = text) -> None:
            await bot.slack.mention(text, user=user)

        assert await attempts(bot, mention) == who, text


async def test_every_modal_is_for_the_right_people(bot: Scenario) -> None:
    """People can have one open because they once had access: nothing is suggested to them any more."""
    assert await attempts(bot, lambda bot, user: bot.slack.shortcut(SHORTCUT, user=user)) == RELOADS

    async def pick(bot: Scenario, user: str) -> None:
        modal = bot.slack.open_modal(bot.slack.new_trigger(user, ""), views.picker(OPS).to_dict())
        assert bool(await bot.slack.suggest(modal, "sdxl", user=user)) is (user in (GRANTED, ADMIN))
        await bot.slack.submit(modal, {"typed": "sdxl"}, user=user)

    assert await attempts(bot, pick) == RELOADS
    for action in (Action.ADD_PEOPLE, Action.REVOKE_PEOPLE):

        async def choose(bot: Scenario, user: str, action: Action = action) -> None:
            modal = bot.slack.open_modal(bot.slack.new_trigger(user, ""), people_modal(action).to_dict())
            await bot.slack.submit(modal, {"people": GRANTED}, user=user)

        assert await attempts(bot, choose) == ADMINISTRATION


async def test_the_home_tab_shows_what_its_reader_can_do(bot: Scenario) -> None:
    """It is in no audit, since it does nothing: what it shows is for people with access."""
    shown = {}
    for user in RELOADS:
        event = {"type": "app_home_opened", "user": user, "tab": "home"}
        await bot.slack.send_event(event | ({"user_team": STRANGERS_TEAM} if user == STRANGER else {}))
        home = await bot.slack.wait_home(user, lambda home: bool(home.texts))
        shown[user] = labels(home)

    ask = ["Ask for access"]
    assert shown == {
        STRANGER: [],
        PERSON: ask,
        GRANTED: ["Reload a model"],
        REVOKED: ask,
        FORMER: ask,
        ADMIN: ["Reload a model", "Revoke", "Revoke", "Add people"],
    }
