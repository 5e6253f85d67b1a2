"""The answers to `status` and `history`, and the lines of the Home tab. Pure.

Everyone sees the same reloads, but only the names of people whose requests they could see: in the same channel, or
their own. A reload that began in a private channel or a DM appears elsewhere as a model and its state.
"""

from collections.abc import Sequence

from bot.core.models import (
    IN_FLIGHT,
    REPEAT_AFTER,
    UNLOADED_AFTER,
    ListedReload,
    Person,
    Place,
    Reload,
    Reminder,
    State,
)
from bot.core.text import code
from bot.ui.blocks import BLOCKS_LIMIT, DAY_AND_TIME, ON_DATE, mention, size, when
from bot.ui.buttons import Action, Button
from bot.ui.messages import Message, again_buttons, is_typo
from bot.ui.reasons import FAILURES


def running(entries: Sequence[ListedReload], count: int, viewer: Person) -> Message:
    """The answer to `status`. Its buttons post to the viewer's channel."""
    if not entries:
        return Message("No reloads right now.")
    lines = [Message(f"• {running_line(entry, viewer)}", buttons=_join(entry, viewer)) for entry in entries]
    more = [Message(f"… and {count - len(entries)} more")] if count > len(entries) else []
    return _list(Message(f"{count} model{'s' * (count > 1)} reloading"), *lines, *more)


def history(entries: Sequence[ListedReload], reload_seconds: float, viewer: Person) -> Message:
    """The answer to `history`. What failed, or ended a while ago, has buttons to reload it again."""
    if not entries:
        return Message("No reloads yet.")
    lines = [
        Message(f"• {ended_line(entry, viewer)}", buttons=_again(entry, reload_seconds, viewer.place))
        for entry in entries
    ]
    return _list(Message("Recent reloads"), *lines)


def _list(*lines: Message) -> Message:
    """The lines as one message. If there isn't room for all buttons, the last lines have none: IDs can be long."""
    room = BLOCKS_LIMIT - sum(size(Message(line.text).blocks) for line in lines)
    fitting = []
    for line in lines:
        room -= size(line.blocks) - size(Message(line.text).blocks)
        fitting.append(line if room >= 0 else Message(line.text))
    return Message.of_lines(fitting)


def _join(entry: ListedReload, viewer: Person) -> Sequence[Button]:
    reload = entry.reload
    is_waiting = any(one.user_id == viewer.user_id and one.place == viewer.place for one in entry.subscribers)
    if not viewer.channel_id or reload.state not in IN_FLIGHT or is_waiting:
        return ()
    return [Button(f"Notify me about {reload.model_id}", Action.JOIN, reload.id, viewer.place)]


def _again(entry: ListedReload, reload_seconds: float, place: Place) -> Sequence[Button]:
    offered = place.channel_id and can_repeat(entry, reload_seconds)
    return again_buttons(entry.reload, place, named=True) if offered else ()


def can_repeat(entry: ListedReload, reload_seconds: float) -> bool:
    """Whether another reload makes sense: at once after a failure, otherwise after a while."""
    ended = entry.reload.ended_at if entry.reload.ended_at is not None else entry.now
    return entry.reload.failure is not None or entry.now - ended >= REPEAT_AFTER * reload_seconds


def running_line(entry: ListedReload, viewer: Person) -> str:
    """One reload that hasn't ended."""
    progress = _progress(entry.reload, entry.now)
    return f"{code(entry.reload.model_id)} · {progress}{_requested(entry, viewer)}"


def ended_line(entry: ListedReload, viewer: Person) -> str:
    """One reload that has ended. After a typo, the similar models are on the buttons below."""
    reload, failure = entry.reload, entry.reload.failure
    if failure is None:
        since = f"should be ready since {when(reload.ready_by, DAY_AND_TIME)}"
        if entry.now - reload.ready_by > UNLOADED_AFTER:
            since = f"reloaded on {when(reload.ready_by, ON_DATE)}, and may have been unloaded since"
        how = f"✓ {code(reload.model_id)} · {since}"
    else:
        how = f"✗ {code(reload.model_id)} · {FAILURES[failure].why}"
    if entry.is_private(viewer):
        return how
    requested_at = f" · {when(reload.requested_at, DAY_AND_TIME)}" if failure else ""
    lost = " · couldn't notify everyone" if reload.undeliverable else ""
    in_log = f" · reload `{reload.id}`" if failure and not is_typo(reload) else ""
    return f"{how}{requested_at}{lost}{_requested(entry, viewer)}{in_log}"


def reminder_line(reminder: Reminder) -> str:
    """One of the viewer's own reminders."""
    if reminder.due_at is None:
        return f"{code(reminder.model_id)} · already reminded; I'll remind you again after the next reload"
    return f"{code(reminder.model_id)} · I'll remind you on {when(reminder.due_at, ON_DATE)}"


def _requested(entry: ListedReload, viewer: Person) -> str:
    """Who requested a reload, as far as the viewer is allowed to know."""
    if entry.is_private(viewer):
        return ""
    known = entry.known_to(viewer)
    who = "a colleague"
    if known is not None:
        who = "you" if known.user_id == viewer.user_id else mention(known.user_id)
    others = f" and {entry.people - 1} more" if entry.people > 1 else ""
    return f" · requested by {who}{others}"


def _progress(reload: Reload, now: float) -> str:
    if reload.state is State.NOTIFYING:
        return "failed, notifying people" if reload.failure else "done, notifying people"
    if reload.state is State.REQUESTED:
        return "ModelsLab hasn't accepted it yet, still trying"
    return f"ready around {when(reload.ready_by)}" if reload.ready_by >= now else "due now, notifying people"
