"""The buttons below messages and in the Home tab: what a press requests, and what Slack sends for it. Pure.

A button's value contains the place where the bot posts the updates. The button itself can be elsewhere, in a DM or in
the Home tab.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from slack_sdk.models.blocks import ActionsBlock, ButtonElement

from bot.core.command import MODEL_ID
from bot.core.grants import RELOAD_MARK
from bot.core.models import NOWHERE, Place
from bot.core.text import SLACK_ID, TIMESTAMP
from bot.ui.blocks import LABEL_LIMIT, middle, plain


class Action(StrEnum):
    """What a press requests: the beginning of a button's action_id."""

    JOIN = "join"
    AGAIN = "again"
    REMIND = "remind"
    STOP_REMINDING = "stop_reminding"
    PICK = "pick"
    ASK_ACCESS = "ask_access"
    ALLOW = "allow"
    DENY = "deny"
    REVOKE = "revoke"
    ADD_PEOPLE = "add_people"
    REVOKE_PEOPLE = "revoke_people"


@dataclass(frozen=True, slots=True)
class Button:
    """One button; of is the ID of a reload (_OF_RELOAD) or of a model (AGAIN, STOP_REMINDING, and optionally PICK).

    For ASK_ACCESS it is a model, or RELOAD_MARK and a reload, or nothing; for ALLOW and DENY the ID of a request for
    access, for REVOKE a person's. place is NOWHERE for a button that needs none. spoken is what a screen reader reads
    instead of the label, if it says more.
    """

    label: str
    action: Action
    of: str = ""
    place: Place = NOWHERE
    spoken: str = ""

    @property
    def value(self) -> str:
        """What Slack sends back with a press, at most 2000 characters: "C0MODELS|sdxl", "C0MODELS/1700.01|sdxl"."""
        channel_id, thread_ts = self.place
        return f"{channel_id}/{thread_ts}|{self.of}" if thread_ts else f"{channel_id}|{self.of}"

    @property
    def wanted(self) -> str:
        """The model that a press asks for, or RELOAD_MARK and the ID of a reload of it."""
        return f"{RELOAD_MARK}{self.of}" if self.action in _OF_RELOAD else self.of

    def element(self, position: int = 0) -> ButtonElement:
        """As Block Kit. The action_ids of one block must differ, so each ends with the button's position."""
        return ButtonElement(
            text=plain(middle(self.label, LABEL_LIMIT)),
            action_id=f"{self.action}:{position}",
            value=self.value,
            accessibility_label=middle(self.spoken, LABEL_LIMIT) if self.spoken not in ("", self.label) else None,
        )


def row(buttons: Sequence[Button]) -> ActionsBlock:
    """Buttons in one row."""
    return ActionsBlock(elements=[button.element(position) for position, button in enumerate(buttons)])


def action_ids(action: Action) -> re.Pattern[str]:
    """A pattern for app.action(): the action_ids of this action's buttons in any position."""
    return re.compile(rf"\A{action}(:\d{{1,3}})?\Z", re.ASCII)


_VALUE = re.compile(
    rf"(?:({SLACK_ID.pattern})(?:/({TIMESTAMP.pattern}))?)?\|({RELOAD_MARK}?{MODEL_ID.pattern})?", re.ASCII
)
_OF_RELOAD = (Action.JOIN, Action.REMIND)
_WITH_CHANNEL = (Action.JOIN, Action.AGAIN, Action.REMIND)
_WITHOUT_ID = (Action.PICK, Action.ASK_ACCESS, Action.ADD_PEOPLE, Action.REVOKE_PEOPLE)


def pressed(action_id: str, value: str) -> Button | None:
    """The button that was pressed, without its label; None if this version has no such button."""
    action = next((each for each in Action if action_ids(each).match(action_id)), None)
    found = _VALUE.fullmatch(value)
    if action is None or found is None:
        return None
    place, of = Place(found[1] or "", found[2] or ""), found[3] or ""
    complete = (place.channel_id or action not in _WITH_CHANNEL) and (of or action in _WITHOUT_ID)
    marked = of.startswith(RELOAD_MARK) and action is not Action.ASK_ACCESS
    return Button("", action, of, place) if complete and not marked else None
