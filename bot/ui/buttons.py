"""The buttons below messages and in the Home tab: what a press asks for, and what it brings back. Pure.

A button's value names the place in which the bot posts about what it starts: the button itself may be elsewhere, in a
DM or in the Home tab.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from slack_sdk.models.blocks import ActionsBlock, ButtonElement

from bot.core.command import MODEL_ID
from bot.core.models import NOWHERE, Place
from bot.core.text import SLACK_ID, TIMESTAMP
from bot.ui.blocks import LABEL_LIMIT, middle, plain


class Action(StrEnum):
    """What a press asks for: the beginning of a button's action_id."""

    JOIN = "join"
    AGAIN = "again"
    REMIND = "remind"
    STOP_REMINDING = "stop_reminding"
    PICK = "pick"


@dataclass(frozen=True, slots=True)
class Button:
    """One button; of is the ID of a reload (JOIN, REMIND) or of a model (AGAIN, STOP_REMINDING, and optionally PICK).

    place is NOWHERE for a button that needs none. spoken is what a screen reader reads instead of the label.
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

    def element(self, position: int = 0) -> ButtonElement:
        """As Block Kit. Slack wants the action_ids of one block to differ, so the position follows the action."""
        return ButtonElement(
            text=plain(middle(self.label, LABEL_LIMIT)),
            action_id=f"{self.action}:{position}",
            value=self.value,
            accessibility_label=middle(self.spoken, LABEL_LIMIT) or None,
        )


def row(buttons: Sequence[Button]) -> ActionsBlock:
    """Buttons beside each other."""
    return ActionsBlock(elements=[button.element(position) for position, button in enumerate(buttons)])


def action_ids(action: Action) -> re.Pattern[str]:
    """The action_ids of this action's buttons, in whatever position, as app.action() takes them."""
    return re.compile(rf"\A{action}(:\d{{1,3}})?\Z", re.ASCII)


_VALUE = re.compile(rf"(?:({SLACK_ID.pattern})(?:/({TIMESTAMP.pattern}))?)?\|({MODEL_ID.pattern})?", re.ASCII)
_WITHOUT_CHANNEL = (Action.STOP_REMINDING, Action.PICK)


def pressed(action_id: str, value: str) -> Button | None:
    """The button that was pressed, without its label; None for one that this version doesn't have."""
    action = next((each for each in Action if action_ids(each).match(action_id)), None)
    found = _VALUE.fullmatch(value)
    if action is None or found is None:
        return None
    place, of = Place(found[1] or "", found[2] or ""), found[3] or ""
    complete = (place.channel_id or action in _WITHOUT_CHANNEL) and (of or action is Action.PICK)
    return Button("", action, of, place) if complete else None
