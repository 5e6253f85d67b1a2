"""What a button does, and what its press brings back. Pure: knows nothing of messages, or of who may press.

A button's value names the channel in which what it begins is announced, as the message that carries it may have
been sent elsewhere: as a DM, in the Home tab.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from bot.core.command import MODEL_ID
from bot.core.text import SLACK_ID


class Action(StrEnum):
    """What a press asks for; in a button's action_id, which is unique in its block by a number that may follow."""

    JOIN = "join"
    AGAIN = "again"
    REMIND = "remind"
    STOP_REMINDING = "stop_reminding"
    PICK = "pick"


@dataclass(frozen=True, slots=True)
class Button:
    """One button: its label, what its press asks for, of what, and in which channel ("" where there is none).

    of is the id of a reload (JOIN, REMIND) or of a model (AGAIN, STOP_REMINDING, and PICK, where it may be missing).
    """

    label: str
    action: Action
    of: str = ""
    channel_id: str = ""

    @property
    def value(self) -> str:
        """What Slack sends back with a press, at most 2000 characters: "C0MODELS|sdxl"."""
        return f"{self.channel_id}|{self.of}"

    def action_id(self, position: int) -> str:
        """Its id at a position of its block, unlike that of any other there."""
        return f"{self.action}:{position}"


_ACTION_ID = re.compile(rf"({'|'.join(Action)})(?::\d{{1,3}})?", re.ASCII)
_VALUE = re.compile(rf"({SLACK_ID.pattern})?\|({MODEL_ID.pattern})?", re.ASCII)
_WITHOUT_CHANNEL = (Action.STOP_REMINDING, Action.PICK)


def pressed(action_id: str, value: str) -> tuple[Action, str, str] | None:
    """What a press asks for, of what and in which channel; None where no button of this bot has such ids."""
    action_of, value_of = _ACTION_ID.fullmatch(action_id), _VALUE.fullmatch(value)
    if action_of is None or value_of is None:
        return None
    action, channel_id, of = Action(action_of[1]), value_of[1] or "", value_of[2] or ""
    complete = (channel_id or action in _WITHOUT_CHANNEL) and (of or action is Action.PICK)
    return (action, of, channel_id) if complete else None
