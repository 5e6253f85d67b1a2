"""What an app shows besides messages: modals, and the Home tab.

https://docs.slack.dev/surfaces/modals and https://docs.slack.dev/surfaces/app-home.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from bot.sandbox.slack.blocks import Button, Field, Row, checked_view, identified, rows
from bot.sandbox.slack.workspace import Workspace
from bot.sandbox.wire import ApiError, JsonObject

_TRIGGER_SECONDS = 3.0
"""https://docs.slack.dev/interactivity/handling-user-interaction#modal_responses"""


@dataclass(eq=False, slots=True)
class View:
    """What one person sees of the app: `view` as Slack sends it, opened in `channel` ("" is nowhere)."""

    user: str
    view: JsonObject
    channel: str = ""

    @property
    def id(self) -> str:
        """The view's id."""
        return str(self.view["id"])

    @property
    def rows(self) -> list[Row]:
        """All of it, from top to bottom."""
        return rows(self.view["blocks"])

    @property
    def texts(self) -> list[str]:
        """All that there is to read."""
        return [row.text for row in self.rows if row.text]

    @property
    def buttons(self) -> list[Button]:
        """All buttons."""
        return [button for row in self.rows for button in row.buttons]


@dataclass(eq=False, slots=True)
class Home(View):
    """The Home tab as one person sees it."""


@dataclass(eq=False, slots=True)
class Modal(View):
    """A modal. `errors` are what the app last said of its fields, by their labels.

    `filled` is what the person put into its fields, by the field's action_id.
    """

    open: bool = True
    errors: dict[str, str] = field(default_factory=dict)
    filled: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The text at the top."""
        return str(self.view["title"]["text"])

    @property
    def fields(self) -> list[Field]:
        """All that can be filled in, from top to bottom."""
        return [field for row in self.rows for field in row.fields]

    def value(self, field: Field) -> str:
        """What a field holds: what was filled in, or what it began with; an option by its value."""
        element = field.element
        option = element.get("initial_option") or {}
        begun = option.get("value") or element.get("initial_value") or element.get("initial_conversation") or ""
        if element.get("default_to_current_conversation"):
            begun = self.channel
        return self.filled.get(field.action_id, begun)


@dataclass(slots=True)
class _Trigger:
    user: str
    channel: str
    made_at: float
    used: bool = False


class Surfaces(Workspace):
    """A workspace whose app shows modals and a Home tab to its people; `homes` are by person.

    `on_home` is called with each Home tab that is published, `on_modal` with each modal that opens, changes or closes.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self.homes: dict[str, Home] = {}
        self.on_home: Callable[[Home], None] = lambda _home: None
        self.on_modal: Callable[[Modal], None] = lambda _modal: None
        self._modals: list[Modal] = []
        self._triggers: dict[str, _Trigger] = {}

    async def wait_modal(self, user: str, *, within: float = 10.0) -> Modal:
        """Wait until a person has a modal before them, and return the one on top. Raises TimeoutError."""
        modals = await self.changes.until(
            lambda: [modal for modal in self._modals if modal.open and modal.user == user],
            within,
            lambda: f"{user} has no modal open",
        )
        return modals[-1]

    async def wait_home(self, user: str, wanted: Callable[[Home], bool], *, within: float = 10.0) -> Home:
        """Wait until a person's Home tab is like this. Raises TimeoutError, with what it says instead."""
        await self.changes.until(
            lambda: user in self.homes and wanted(self.homes[user]), within, lambda: f"it is {self.homes.get(user)}"
        )
        return self.homes[user]

    def new_trigger(self, user: str, channel: str, trigger_id: str = "") -> str:
        """Make the trigger_id of an interaction; a given one that is known stays as it is."""
        made = trigger_id or f"{len(self._triggers) + 1}.{secrets.randbelow(10**12)}.{secrets.token_hex(16)}"
        self._triggers.setdefault(made, _Trigger(user, channel, self.clock()))
        return made

    def open_modal(self, trigger_id: str, view: object) -> Modal:
        """Show a modal to the person who made the trigger. Raises ApiError for a trigger or a view that won't do."""
        trigger = self._triggers.get(trigger_id)
        if trigger is None or self.clock() - trigger.made_at > _TRIGGER_SECONDS:
            raise ApiError("expired_trigger_id")
        if trigger.used:
            raise ApiError("exchanged_trigger_id")
        modal = Modal(trigger.user, self._complete(checked_view(view, "modal")), trigger.channel)
        trigger.used = True
        self._modals.append(modal)
        self._modal_changed(modal)
        return modal

    def update_modal(self, view_id: str, view: object) -> Modal:
        """Show another view in a modal that is open. Raises ApiError for one that isn't, and for faults of the view."""
        modal = next((modal for modal in self._modals if modal.open and modal.id == view_id), None)
        if modal is None:
            raise ApiError("not_found")
        modal.view = self._complete(checked_view(view, "modal"), modal.id)
        modal.filled, modal.errors = {}, {}
        self._modal_changed(modal)
        return modal

    def publish_home(self, user: str, view: object) -> Home:
        """Change the Home tab of a person. Raises ApiError for faults of the view."""
        before = self.homes.get(user)
        home = Home(user, self._complete(checked_view(view, "home"), before.id if before else ""))
        self.homes[user] = home
        self.on_home(home)
        self.changes.notify()
        return home

    def _modal_changed(self, modal: Modal) -> None:
        self.on_modal(modal)
        self.changes.notify()

    def _complete(self, view: JsonObject, view_id: str = "") -> JsonObject:
        """Add what Slack adds to a view."""
        id_ = view_id or f"V{secrets.token_hex(5).upper()}"
        added: JsonObject = {"id": id_, "root_view_id": id_, "hash": f"{int(self.clock())}.{secrets.token_hex(4)}"}
        added |= {"team_id": self.team_id, "app_id": self.app_id, "bot_id": self.bot_id, "state": {"values": {}}}
        added |= dict.fromkeys(("title", "close", "submit", "previous_view_id"))
        added |= dict.fromkeys(("callback_id", "private_metadata", "external_id"), "")
        return added | view | {"blocks": identified(view["blocks"])}
