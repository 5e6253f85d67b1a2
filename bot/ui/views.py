"""The picker (a modal) and the Home tab. Pure.

https://docs.slack.dev/surfaces/modals and https://docs.slack.dev/surfaces/app-home
"""

from collections.abc import Mapping, Sequence

from slack_sdk.models.blocks import (
    Block,
    ConversationSelectElement,
    ExternalDataSelectElement,
    HeaderBlock,
    InputBlock,
    Option,
    OptionGroup,
    PlainTextInputElement,
)
from slack_sdk.models.views import View

from bot.core.command import MAX_ID, SHORTCUT
from bot.core.models import NOWHERE, HomeData, ListedReload, ModelGroup, Person, State
from bot.ui import lists, messages
from bot.ui.blocks import LABEL_LIMIT, context, middle, plain
from bot.ui.buttons import Action, Button, row
from bot.ui.grants import ADD_BUTTON, TITLE
from bot.ui.messages import Message

OPTIONS_LIMIT = 100
"""All options of a menu: https://docs.slack.dev/reference/block-kit/composition-objects/option-group-object"""

OPTIONS_KEPT = 30
"""How many of them each group of models leaves to every later group."""

AS_TYPED = "What you typed"
GROUPS: Mapping[ModelGroup, str] = {
    ModelGroup.RELOADED: "Reloaded here",
    ModelGroup.OWN: "Yours",
    ModelGroup.PUBLIC: "Public",
}
"""The labels of the picker's option groups."""

MODEL = "model"
TYPED = "typed"
TYPED_LIMIT = 3 * MAX_ID
"""Room for the address of a model's page."""
WHERE = "where"
"""The block_id and action_id of each of the picker's fields."""

NOTHING_CHOSEN = "Pick a model or type its ID."
NOT_AN_ID = "Type one model ID, or the address of its page on ModelsLab."
NO_CHANNEL = "Pick a channel."
CLOSED_CHANNEL = "I don't work in this channel. Please pick another."
"""What is wrong with a field of the picker, shown below it."""

_TITLE = "Reload a model"


def picker(channel_id: str = "", model_id: str = "") -> View:
    """The modal that asks which model to reload and where to post updates. Both can be filled in already.

    The channel is also in private_metadata, for clients that don't show conversation fields in modals.
    """
    return View(
        type="modal",
        callback_id=SHORTCUT,
        private_metadata=channel_id or None,
        title=plain(_TITLE),
        submit=plain("Reload"),
        close=plain("Cancel"),
        blocks=[
            InputBlock(
                block_id=MODEL,
                label=plain("Model"),
                optional=True,
                element=ExternalDataSelectElement(
                    action_id=MODEL,
                    placeholder=plain("Pick one or search"),
                    min_query_length=0,
                    initial_option=option(model_id) if model_id else None,
                ),
            ),
            InputBlock(
                block_id=TYPED,
                label=plain("Or type a model ID"),
                optional=True,
                element=PlainTextInputElement(action_id=TYPED, max_length=TYPED_LIMIT),
            ),
            InputBlock(
                block_id=WHERE,
                label=plain("Post updates in"),
                element=ConversationSelectElement(
                    action_id=WHERE,
                    initial_conversation=channel_id or None,
                    default_to_current_conversation=None if channel_id else True,
                    response_url_enabled=True,  # for channels that the bot isn't in
                ),
            ),
        ],
    )


def suggestions(typed: str | None, found: Mapping[ModelGroup, Sequence[str]]) -> list[OptionGroup]:
    """The picker's option groups: what was typed, if it could be an ID, then the models that match it."""
    labelled = [(AS_TYPED, [typed] if typed else [])]
    labelled += [(GROUPS[group], [id_ for id_ in ids if id_ != typed]) for group, ids in found.items()]
    groups, room = [], OPTIONS_LIMIT
    for position, (label, ids) in enumerate(labelled, start=1):
        kept = sum(min(len(later), OPTIONS_KEPT) for _, later in labelled[position:])
        if shown := ids[: room - kept]:
            groups.append(OptionGroup(label=plain(label), options=[option(id_) for id_ in shown]))
        room -= len(shown)
    return groups


def option(model_id: str) -> Option:
    """One suggestion. A long ID is shortened in the text, but not in the value."""
    return Option(text=plain(middle(model_id, LABEL_LIMIT)), value=model_id)


def notice(message: Message, title: str = _TITLE) -> View:
    """A modal with nothing to submit: the answer to another one, or a refusal."""
    return View(type="modal", title=plain(title), close=plain("Close"), blocks=message.blocks)


def home(data: HomeData, reload_seconds: float, viewer: Person, access: Sequence[Message] = ()) -> View:
    """The Home tab of somebody who can reload models; access is the list of who can, for an admin."""
    running = [_running(entry, viewer) for entry in data.running]
    recent = [_ended(entry, reload_seconds, viewer) for entry in data.recent]
    reminders = [
        Message(lists.reminder_line(each), buttons=[messages.stop_reminding(each.model_id, named=True)])
        for each in data.reminders
    ]
    return View(
        type="home",
        blocks=[
            row([Button(_TITLE, Action.PICK)]),
            *_titled("Reloading now", running, "No reloads right now.", data.count),
            *_titled("Recent reloads", recent, "No reloads yet.", len(recent)),
            *_titled("My reminders", reminders, "No reminders set.", data.reminder_count),
            *([*_titled(TITLE, access, "", len(access)), row([ADD_BUTTON])] if access else []),
        ],
    )


def home_notice(message: Message) -> View:
    """The Home tab of somebody who can't reload models, or of everybody while the database is unavailable."""
    return View(type="home", blocks=message.blocks)


def _titled(title: str, lines: Sequence[Message], empty: str, count: int) -> Sequence[Block | dict[str, object]]:
    """The first of so many lines below a title."""
    more = [context(f"… and {count - len(lines)} more")] if count > len(lines) else []
    shown = [block for line in lines for block in line.blocks] or [context(empty).to_dict()]
    return [HeaderBlock(text=plain(title)), *shown, *more]


def _running(entry: ListedReload, viewer: Person) -> Message:
    """A reload that hasn't ended, with its bar once ModelsLab has accepted it."""
    bar = messages.bar(entry.reload, entry.now) if entry.reload.state is State.ACCEPTED else ""
    return Message(lists.running_line(entry, viewer), bar=bar)


def _ended(entry: ListedReload, reload_seconds: float, viewer: Person) -> Message:
    """A reload that has ended. Its buttons open the picker, because a channel has to be chosen first."""
    buttons = messages.again_buttons(entry.reload, NOWHERE, Action.PICK, named=True)
    offered = lists.can_repeat(entry, reload_seconds)
    return Message(lists.ended_line(entry, viewer), buttons=buttons if offered else ())
