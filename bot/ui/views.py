"""The picker (a modal) and the Home tab. Pure.

https://docs.slack.dev/surfaces/modals and https://docs.slack.dev/surfaces/app-home
"""

from collections.abc import Sequence

from slack_sdk.models.blocks import (
    ActionsBlock,
    Block,
    ConversationSelectElement,
    ExternalDataSelectElement,
    HeaderBlock,
    InputBlock,
    Option,
    PlainTextInputElement,
)
from slack_sdk.models.views import View

from bot.core.command import MAX_ID, SHORTCUT
from bot.core.models import HomeData, ListedReload, Reminder, State
from bot.ui import messages
from bot.ui.blocks import LABEL_LIMIT, context, middle, plain, section, sections
from bot.ui.buttons import Action, Button

PICKER = SHORTCUT
"""The callback_id of the picker."""

OPTIONS_LIMIT = 100
"""https://docs.slack.dev/reference/block-kit/block-elements/select-menu-element"""

MODEL = "model"
TYPED = "typed"
WHERE = "where"
"""The block_id and action_id of each of the picker's fields."""

NOT_AN_ID = "This is no model id. Pick a model above, or type its id."
CLOSED_CHANNEL = "Models are not reloaded in this channel. Pick another."
"""What is wrong with a field of the picker, shown below it."""

_TITLE = "Reload a model"


def picker(channel_id: str = "", model_id: str = "") -> View:
    """The modal that asks which model to reload, and where to post about it; either may be filled in.

    The channel is in private_metadata too, for clients that don't show conversation fields in modals.
    """
    return View(
        type="modal",
        callback_id=PICKER,
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
                    placeholder=plain("Pick one, or search"),
                    min_query_length=0,
                    initial_option=option(model_id) if model_id else None,
                ),
            ),
            InputBlock(
                block_id=TYPED,
                label=plain("Or type its id"),
                optional=True,
                element=PlainTextInputElement(action_id=TYPED, max_length=MAX_ID + 2),
            ),
            InputBlock(
                block_id=WHERE,
                label=plain("Announce it in"),
                element=ConversationSelectElement(
                    action_id=WHERE,
                    initial_conversation=channel_id or None,
                    default_to_current_conversation=None if channel_id else True,
                    response_url_enabled=True,  # for channels that the bot isn't in
                ),
            ),
        ],
    )


def option(model_id: str) -> Option:
    """One suggestion: a long id is shortened in the text, and whole in the value."""
    return Option(text=plain(middle(model_id, LABEL_LIMIT)), value=model_id)


def notice(text: str) -> View:
    """A modal with nothing to submit: the answer to the picker, or a refusal. text is mrkdwn."""
    return View(type="modal", title=plain(_TITLE), close=plain("Close"), blocks=sections(text))


def home(data: HomeData, reload_seconds: float) -> View:
    """The Home tab of somebody who can reload models."""
    flying = [block for entry in data.running for block in _flying(entry, reload_seconds, data.now)]
    if data.count > len(data.running):
        flying.append(context(f"… and {data.count - len(data.running)} more"))
    return View(
        type="home",
        blocks=[
            ActionsBlock(elements=[Button(_TITLE, Action.PICK).element()]),
            *_titled("Being reloaded", flying),
            *_titled("Reloaded lately", [_over(entry, reload_seconds) for entry in data.recent]),
            *_titled("My reminders", [_reminder(reminder) for reminder in data.reminders]),
        ],
    )


def home_notice(text: str) -> View:
    """The Home tab of somebody who can't reload models, or of everybody while the database is unavailable."""
    return View(type="home", blocks=sections(text))


def _titled(title: str, shown: Sequence[Block]) -> Sequence[Block]:
    return [HeaderBlock(text=plain(title)), *(shown or [context("Nothing.")])]


def _flying(entry: ListedReload, reload_seconds: float, now: float) -> list[Block]:
    """A reload that has not ended, with its bar once ModelsLab has accepted it."""
    shown: list[Block] = [section(messages.flying(entry, reload_seconds))]
    if entry.reload.state is State.ACCEPTED:
        shown.append(context(messages.bar(entry.reload, now)))
    return shown


def _over(entry: ListedReload, reload_seconds: float) -> Block:
    """A reload that has ended; after a while its model can be reloaded again, in a channel to be picked."""
    again = Button(messages.again_label(entry.reload), Action.PICK, entry.reload.model_id)
    return section(messages.over(entry), again.element() if messages.is_old(entry, reload_seconds) else None)


def _reminder(reminder: Reminder) -> Block:
    stop = Button("Stop reminding", Action.STOP_REMINDING, reminder.model_id)
    return section(messages.reminding(reminder), stop.element())
