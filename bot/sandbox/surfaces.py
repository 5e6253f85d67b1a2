"""What an app shows besides messages: modals, and the Home tab. Knows nothing of HTTP.

https://docs.slack.dev/surfaces/modals and https://docs.slack.dev/surfaces/app-home.
"""

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from bot.sandbox import block_kit
from bot.sandbox.block_kit import Button, Field, Option
from bot.sandbox.wire import JsonObject, JsonValue, read_object, text_of
from bot.sandbox.workspace import Refused, Workspace

# https://docs.slack.dev/interactivity/handling-user-interaction#modal_responses
TRIGGER_SECONDS = 3.0
_TRIGGER_ID = re.compile(r"\d+\.\d+\.\w+")

# https://docs.slack.dev/reference/methods/views.push and views.open
_MOST_STACKED = 3
_MOST_BYTES = 250_000


@dataclass(eq=False, slots=True)
class View:
    """What one person sees of the app: `view` is the JSON as Slack sends it.

    `offered` are the options that typeaheads of the view have offered, by their values.
    """

    user: str
    view: JsonObject
    offered: dict[str, Option] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The view's id."""
        return text_of(self.view["id"])

    @property
    def blocks(self) -> list[JsonObject]:
        """The blocks, each with its id."""
        return block_kit.objects(self.view["blocks"])

    @property
    def texts(self) -> list[str]:
        """All that there is to read besides the buttons, from top to bottom."""
        return block_kit.texts(self.blocks)

    @property
    def buttons(self) -> list[Button]:
        """All buttons in the view, from top to bottom."""
        return block_kit.buttons(self.blocks)

    @property
    def fields(self) -> list[Field]:
        """All that can be filled in, from top to bottom."""
        return block_kit.fields(self.blocks)


@dataclass(eq=False, slots=True)
class Home(View):
    """The Home tab as one person sees it."""


@dataclass(eq=False, slots=True)
class Modal(View):
    """A modal; `channel` is where its person was when it opened, "" where that was nowhere.

    `errors` are the words that the app last put beside its fields, by the field's label.
    """

    channel: str = ""
    open: bool = True
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What stands at the top."""
        title = self.view["title"]
        return text_of(title.get("text")) if isinstance(title, dict) else ""


@dataclass(slots=True)
class _Trigger:
    user: str
    channel: str
    made_at: float
    used: bool = False


def _unseen(_view: View) -> None:
    """Stand in where nobody looks."""


class Surfaces(Workspace):
    """A workspace whose app shows modals and a Home tab to its people.

    `home_tab` switched off makes every views.publish fail. `homes` are the views last published, by person.
    `on_home` is called with each Home tab as it is published, `on_modal` with each modal that opens or changes.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self.home_tab = True
        self.homes: dict[str, JsonObject] = {}
        self.on_home: Callable[[Home], None] = _unseen
        self.on_modal: Callable[[Modal], None] = _unseen
        self._home_of: dict[str, Home] = {}
        self._modals: list[Modal] = []
        self._triggers: dict[str, _Trigger] = {}

    # What people see

    def modals_of(self, user: str) -> list[Modal]:
        """The open modals of a person, the one on top last."""
        return [modal for modal in self._modals if modal.open and modal.user == user]

    async def wait_modal(self, user: str, *, within: float = 10.0) -> Modal:
        """Wait until a person has a modal before them, and return the one on top. Raises TimeoutError."""
        modals = await self.bell.until(lambda: self.modals_of(user), within, lambda: f"{user} has no modal open")
        return modals[-1]

    async def wait_home(self, user: str, wanted: Callable[[Home], bool], *, within: float = 10.0) -> Home:
        """Wait until a person's Home tab is like this. Raises TimeoutError, with what it says instead."""

        def look() -> Home | None:
            home = self._home_of.get(user)
            return home if home is not None and wanted(home) else None

        def missed() -> str:
            home = self._home_of.get(user)
            return f"the Home tab of {user} says {home.texts}" if home else f"{user} has no Home tab"

        found = await self.bell.until(look, within, missed)
        assert found is not None  # noqa: S101 - until() returns what is true only
        return found

    # What the app does

    def new_trigger(self, user: str, channel: str, trigger_id: str | None = None) -> str:
        """Make the trigger_id of an interaction; one that is given and known already stays as it is."""
        made = trigger_id or f"{len(self._triggers) + 1}.{secrets.randbelow(10**12)}.{secrets.token_hex(16)}"
        self._triggers.setdefault(made, _Trigger(user, channel, self.clock()))
        return made

    def open_modal(self, trigger_id: str, view: JsonValue) -> Modal:
        """Show a modal to the person who made the trigger.

        Raises Refused for a trigger that is spent, and for faults of the view.
        """
        trigger = self._exchangeable(trigger_id)
        checked = checked_view(view, "modal")
        trigger.used = True
        return self._show(trigger.user, trigger.channel, checked)

    def push_modal(self, below: Modal, view: JsonValue) -> Modal:
        """Show a modal on top of another. Raises Refused where there are too many, and for faults of the view."""
        if len(self.modals_of(below.user)) >= _MOST_STACKED:
            raise Refused("push_limit_reached")
        pushed = self._show(below.user, below.channel, checked_view(view, "modal"))
        pushed.view |= {"root_view_id": below.view["root_view_id"], "previous_view_id": below.id}
        return pushed

    def update_modal(self, modal: Modal, view: JsonValue) -> None:
        """Change what a modal shows. Raises Refused for faults of the view."""
        kept = {name: modal.view[name] for name in ("id", "root_view_id", "previous_view_id")}
        modal.view = self._complete(checked_view(view, "modal")) | kept
        modal.errors = {}
        self.on_modal(modal)
        self.bell.ring()

    def modal(self, view_id: str, external_id: str = "") -> Modal:
        """Find an open modal. Raises Refused where there is none such."""
        for modal in self._modals:
            if modal.open and (modal.id == view_id or (external_id and modal.view["external_id"] == external_id)):
                return modal
        raise Refused("not_found")

    def take_away(self, *modals: Modal) -> None:
        """Close modals."""
        for modal in modals:
            modal.open = False
        self.bell.ring()

    def publish_home(self, user: str, view: JsonValue, hash_: str = "") -> Home:
        """Change the Home tab of a person.

        Raises Refused where the app has none, for a hash that is old, and for faults of the view.
        """
        checked = checked_view(view, "home")
        if not self.home_tab:
            raise Refused("not_enabled")
        if not user.startswith(("U", "W")):
            raise Refused("invalid_arguments", ("[ERROR] no such user [json-pointer:/user_id]",))
        before = self.homes.get(user)
        if hash_ and (before is None or before["hash"] != hash_):
            raise Refused("hash_conflict")
        kept = {"id": before["id"], "root_view_id": before["id"]} if before else {}
        home = Home(user, self._complete(checked) | kept)
        self.homes[user] = home.view
        self._home_of[user] = home
        self.on_home(home)
        self.bell.ring()
        return home

    def _exchangeable(self, trigger_id: str) -> _Trigger:
        trigger = self._triggers.get(trigger_id)
        if trigger is None:
            well_formed = _TRIGGER_ID.fullmatch(trigger_id)
            raise Refused("expired_trigger_id" if well_formed else "invalid_trigger_id")
        if trigger.used:
            raise Refused("exchanged_trigger_id")
        if self.clock() - trigger.made_at > TRIGGER_SECONDS:
            raise Refused("expired_trigger_id")
        return trigger

    def _show(self, user: str, channel: str, view: JsonObject) -> Modal:
        modal = Modal(user, self._complete(view), channel=channel)
        self._modals.append(modal)
        self.on_modal(modal)
        self.bell.ring()
        return modal

    def _complete(self, view: JsonObject) -> JsonObject:
        """Add what Slack adds to a view."""
        view_id = f"V{secrets.token_hex(5).upper()}"
        return {
            "id": view_id,
            "team_id": self.team_id,
            "state": {"values": {}},
            "hash": f"{int(self.clock())}.{secrets.token_hex(4)}",
            "title": None,
            "close": None,
            "submit": None,
            "callback_id": "",
            "private_metadata": "",
            "external_id": "",
            "clear_on_close": False,
            "notify_on_close": False,
            "root_view_id": view_id,
            "previous_view_id": None,
            "app_id": self.app_id,
            "app_installed_team_id": self.team_id,
            "bot_id": self.bot_id,
            **view,
            "blocks": [*block_kit.identified(block_kit.objects(view["blocks"]))],
        }


def checked_view(value: JsonValue, type_: str) -> JsonObject:
    """Read a view, as JSON or as a string of it. Raises Refused, with each fault, where Slack would."""
    view = read_object(value) if isinstance(value, str) else value
    if not isinstance(view, dict):
        raise Refused("invalid_arguments", ("[ERROR] missing required field: view",))
    if len(json.dumps(view)) > _MOST_BYTES:
        raise Refused("view_too_large")
    faults = block_kit.faults_of_view(view)
    if not faults and view["type"] != type_:
        faults = [f"[ERROR] must be a view of type {type_} [json-pointer:/view/type]"]
    if faults:
        raise Refused("invalid_arguments", tuple(faults))
    return view
