"""The modal in which a model is picked, and the Home tab. Pure: knows nothing of how they get to Slack.

https://docs.slack.dev/surfaces/modals and https://docs.slack.dev/surfaces/app-home
"""

from collections.abc import Mapping, Sequence

from bot.core.command import MAX_ID
from bot.core.models import HomeData, ListedReload, Reminder, State
from bot.ui import blocks, messages
from bot.ui.blocks import LABEL_LIMIT, Block, middle
from bot.ui.buttons import Action, Button

View = Mapping[str, object]

PICKER = "reload_model"
"""The callback_id of the modal, and of the global shortcut that opens it."""

OPTIONS_LIMIT = 100
"""https://docs.slack.dev/reference/block-kit/block-elements/select-menu-element"""

MODEL = "model"
TYPED = "typed"
WHERE = "where"
"""The block_id and action_id of each of the modal's fields."""

_TITLE = "Reload a model"


# --- the picker -----------------------------------------------------------------------------------------


def picker(channel_id: str = "", model_id: str = "") -> View:
    """The modal: which model, and where to announce it; either may be filled in.

    The channel is remembered beside the field, for a client that cannot show such a field.
    """
    return {
        "type": "modal",
        "callback_id": PICKER,
        **({"private_metadata": channel_id} if channel_id else {}),
        "title": blocks.plain(_TITLE),
        "submit": blocks.plain("Reload"),
        "close": blocks.plain("Cancel"),
        "blocks": [
            _field(MODEL, "Model", _suggesting(model_id), optional=True),
            _field(TYPED, "Or type its id", _typing(), optional=True),
            _field(WHERE, "Announce it in", _announcing(channel_id)),
        ],
    }


def _field(name: str, label: str, element: Block, *, optional: bool = False) -> Block:
    shown = {**element, "action_id": name}
    return {"type": "input", "block_id": name, "label": blocks.plain(label), "element": shown, "optional": optional}


def _suggesting(model_id: str) -> Block:
    """A field that asks the bot for suggestions, from the first character on."""
    chosen: Block = {"initial_option": option(model_id)} if model_id else {}
    return {
        "type": "external_select",
        "placeholder": blocks.plain("Pick one, or search"),
        "min_query_length": 0,
        **chosen,
    }


def _typing() -> Block:
    return {"type": "plain_text_input", "max_length": MAX_ID + 2}


def _announcing(channel_id: str) -> Block:
    """With a response_url, for places in which the bot may not post."""
    first: Block = {"initial_conversation": channel_id} if channel_id else {"default_to_current_conversation": True}
    return {"type": "conversations_select", "response_url_enabled": True, **first}


def option(model_id: str) -> Block:
    """One suggestion: a long id is shortened in what is shown, and whole in what comes back."""
    return {"text": blocks.plain(middle(model_id, LABEL_LIMIT)), "value": model_id}


def picked(view: Mapping[object, object]) -> tuple[str, str, str]:
    """The model that was picked, the one that was typed, and the channel; "" for what is not there."""
    picked_ = _at(view, "state", "values", MODEL, MODEL, "selected_option", "value")
    typed = _at(view, "state", "values", TYPED, TYPED, "value")
    where = _at(view, "state", "values", WHERE, WHERE, "selected_conversation") or _at(view, "private_metadata")
    return picked_, typed, where


def _at(value: object, *path: str) -> str:
    """The string at the end of a path through objects, or "" where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""


def told(text: str) -> View:
    """What the modal says once it has been submitted: that it is begun, or why it is not."""
    return {
        "type": "modal",
        "title": blocks.plain(_TITLE),
        "close": blocks.plain("Close"),
        "blocks": blocks.sections(text),
    }


# --- the Home tab ---------------------------------------------------------------------------------------


def home(glance: HomeData, reload_seconds: float) -> View:
    """What somebody who may reload models sees."""
    flying = [block for entry in glance.running for block in _flying(entry, reload_seconds, glance.now)]
    if glance.count > len(glance.running):
        flying.append(blocks.context(f"… and {glance.count - len(glance.running)} more"))
    return {
        "type": "home",
        "blocks": [
            blocks.actions([Button(_TITLE, Action.PICK)]),
            *_titled("Being reloaded", flying),
            *_titled("Reloaded lately", [_over(entry, reload_seconds) for entry in glance.recent]),
            *_titled("My reminders", [_reminder(reminder) for reminder in glance.reminders]),
        ],
    }


def _flying(entry: ListedReload, reload_seconds: float, now: float) -> list[Block]:
    """A reload that has not ended, with its bar once ModelsLab has accepted it."""
    shown = [blocks.section(messages.flying(entry, reload_seconds))]
    if entry.reload.state is State.ACCEPTED:
        shown.append(blocks.context(messages.bar(entry.reload, now)))
    return shown


def _titled(title: str, shown: Sequence[Block]) -> Sequence[Block]:
    return [blocks.header(title), *(shown or [blocks.context("Nothing.")])]


def _over(entry: ListedReload, reload_seconds: float) -> Block:
    """A reload that has ended; one that did so a while ago can be asked for again, in a channel to be picked."""
    again = Button(messages.again_label(entry.reload), Action.PICK, entry.reload.model_id)
    return blocks.section(
        messages.over(entry), blocks.button(again) if messages.is_old(entry, reload_seconds) else None
    )


def _reminder(reminder: Reminder) -> Block:
    stop = Button("Stop reminding", Action.STOP_REMINDING, reminder.model_id)
    return blocks.section(messages.reminding(reminder), blocks.button(stop))


def home_of_a_stranger(why: str) -> View:
    """What somebody who may not sees: why, and whom to ask."""
    return {"type": "home", "blocks": blocks.sections(why)}
