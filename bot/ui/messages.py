"""Every message of the bot, as text and as Block Kit. Pure; one voice; ids in code style.

The fallback text of every message says all that its blocks say: it is what notifications and screen readers get.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from slack_sdk.models.blocks import ActionsBlock, Block

from bot.core.models import (
    DAY,
    IN_FLIGHT,
    UNLOADED_AFTER,
    ListedReload,
    Reload,
    Reminder,
    State,
    Subscriber,
    repeat_after,
)
from bot.core.text import SAID_LIMIT, code
from bot.errors import Failure
from bot.settings import COMMAND
from bot.ui import blocks
from bot.ui.buttons import Action, Button
from bot.ui.reasons import FAILURES, either

MENTIONS_LIMIT = 400
MENTIONS_CHARACTERS = 8000
"""People whom one message mentions, so that it stays below the 13,200 characters that Slack takes in blocks."""

NOTIFY_ME = "Notify me too"
RELOAD_AGAIN = "Reload again"
TRY_AGAIN = "Try again"

_DATE = "{date_short_pretty} {time}"
_ON_DATE = "{date_short} {time}"
"""Slack's own words for a day and a time: the first may be "tomorrow", before which no "on" can stand."""

_FEW_SECONDS = 5.0
_MINUTE = 60.0
_BAR_LENGTH = 10


@dataclass(frozen=True, slots=True)
class Message:
    """What chat.postMessage and a response_url take: the text, and the blocks that show it, its bar and its buttons.

    What the bar draws, the text says in words. Where lines are given they are the text, each with a button beside it.
    """

    text: str
    bar: str = ""
    buttons: Sequence[Button] = ()
    lines: Sequence["Line"] = ()

    @property
    def is_rich(self) -> bool:
        """Whether its blocks show more than its text."""
        return bool(self.bar or self.buttons) or any(line.button for line in self.lines)

    @property
    def blocks(self) -> list[dict[str, object]]:
        """The text in as many sections as it takes, or line by line, the bar below, and the buttons at the end."""
        shown: list[Block] = [*(line.block for line in self.lines)] or [*blocks.sections(self.text)]
        if self.bar:
            shown.append(blocks.context(self.bar))
        if self.buttons:
            shown.append(ActionsBlock(elements=[each.element(at) for at, each in enumerate(self.buttons)]))
        return [block.to_dict() for block in shown]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a list, short enough for one section, and the button beside it."""

    text: str
    button: Button | None = None

    @property
    def block(self) -> Block:
        """Its section."""
        return blocks.section(self.text, self.button.element() if self.button else None)


def _listed(*lines: Line) -> Message:
    return Message("\n".join(line.text for line in lines), lines=lines)


def help_text(command: str = COMMAND) -> str:
    """The answer to the slash command's help."""
    return f"""\
ModelsLab takes a model off its servers after 7 idle days. I bring it back and say when.
• `{command}` lets you pick a model, and where to announce it
• `{command} sdxl` reloads the model `sdxl`, and mentions you when it should be ready
• `{command} status` lists what is being reloaded
• `{command} history` lists the last ten reloads
• `{command} "status"`, quoted, is always a model id"""


def other_command(typed: str, command: str) -> str:
    """The answer to a slash command of the same app that isn't this bot's."""
    return f"I don't answer to {code(typed)}. Use `{command}`, or ask the operator to check `SLASH_COMMAND`."


def reloading(reload: Reload, reload_seconds: float, where: str = "here") -> str:
    """The ack of a request that began a reload; where is how to call the channel of the follow-up."""
    return f"Reloading {code(reload.model_id)} (reload `{reload.id}`). {_to_come(reload, reload_seconds, where)}"


def joined(
    reload: Reload, first: Subscriber, user_id: str, channel_id: str, reload_seconds: float, where: str = "here"
) -> str:
    """The ack of a request that joined a reload: the person who began it is named only in their channel."""
    if first.user_id == user_id:
        who = "you"
    else:
        who = mention(first.user_id) if first.channel_id == channel_id else "a colleague"
    return (
        f"{code(reload.model_id)} is being reloaded already (reload `{reload.id}`), asked for by {who}. "
        f"{_to_come(reload, reload_seconds, where)}"
    )


def _to_come(reload: Reload, reload_seconds: float, where: str) -> str:
    about = when(expected(reload, reload_seconds))
    return f"It should be ready about {about}; I will mention you {where} then."


def will_remind(reminder: Reminder) -> str:
    """The answer to *Remind me*."""
    if reminder.due_at is None:
        return f"I have reminded you of {code(reminder.model_id)} already, and will again after its next reload."
    at = when(reminder.due_at, _ON_DATE)
    return f"I will remind you of {code(reminder.model_id)} on {at}, unless it is reloaded before."


def not_reminding(model_id: str) -> str:
    """The answer to *Stop reminding*."""
    return f"I will not remind you of {code(model_id)}."


def in_flight(entries: Sequence[ListedReload], count: int, reload_seconds: float, channel_id: str = "") -> Message:
    """The answer to `status`. Its buttons post to the channel; without a channel there are none."""
    if not entries:
        return Message("Nothing is being reloaded.")
    lines = [Line(f"• {flying(entry, reload_seconds)}", _join(entry.reload, channel_id)) for entry in entries]
    more = [Line(f"… and {count - len(entries)} more")] if count > len(entries) else []
    return _listed(Line(f"Being reloaded: {count}"), *lines, *more)


def history(entries: Sequence[ListedReload], reload_seconds: float = 0.0, channel_id: str = "") -> Message:
    """The answer to `history`, with buttons like those of `status` for what ended a while ago."""
    if not entries:
        return Message("Nothing has been reloaded yet.")
    lines = [Line(f"• {over(entry)}", _again(entry, reload_seconds, channel_id)) for entry in entries]
    return _listed(Line("The last reloads:"), *lines)


def _join(reload: Reload, channel_id: str) -> Button | None:
    joinable = channel_id and reload.state in IN_FLIGHT
    return Button(NOTIFY_ME, Action.JOIN, reload.id, channel_id) if joinable else None


def _again(entry: ListedReload, reload_seconds: float, channel_id: str) -> Button | None:
    old = channel_id and is_old(entry, reload_seconds)
    return Button(again_label(entry.reload), Action.AGAIN, entry.reload.model_id, channel_id) if old else None


def again_label(reload: Reload) -> str:
    """The label of the button that reloads a reload's model again. A model that failed was not reloaded before."""
    return RELOAD_AGAIN if reload.failure is None else TRY_AGAIN


def is_old(entry: ListedReload, reload_seconds: float) -> bool:
    """Whether a reload ended long enough ago for another to make sense."""
    ended = entry.reload.ended_at if entry.reload.ended_at is not None else entry.now
    return entry.now - ended >= repeat_after(reload_seconds) > 0


def flying(entry: ListedReload, reload_seconds: float) -> str:
    """One reload that has not ended, in a list."""
    return f"{_headline(entry)} · {_progress(entry.reload, reload_seconds)}"


def over(entry: ListedReload) -> str:
    """One reload that has ended, in a list."""
    return f"{_headline(entry)} · {_ending(entry.reload)}"


def reminding(reminder: Reminder) -> str:
    """One reminder, in a list."""
    since = f"expected ready {when(reminder.ready_at, _DATE)}"
    if reminder.due_at is None:
        return f"{code(reminder.model_id)} · {since} · you were reminded"
    return f"{code(reminder.model_id)} · {since} · I will remind you on {when(reminder.due_at, _ON_DATE)}"


def _headline(entry: ListedReload) -> str:
    others = f" and {entry.people - 1} more" if entry.people > 1 else ""
    asked = when(entry.reload.requested_at, _DATE)
    return f"{code(entry.reload.model_id)} (`{entry.reload.id}`) · {mention(entry.first.user_id)}{others}, {asked}"


def _progress(reload: Reload, reload_seconds: float) -> str:
    if reload.state is State.NOTIFYING:
        return "over, its askers are being told"
    if reload.state is State.REQUESTED:
        return "ModelsLab has not accepted it yet"
    return f"should be ready about {when(expected(reload, reload_seconds))}"


def _ending(reload: Reload) -> str:
    lost = " (not everyone could be told)" if reload.undeliverable else ""
    if reload.failure is not None:
        return f"✗ {FAILURES[reload.failure].why}{lost}"
    return f"✓ expected ready {when(reload.ready_at or reload.requested_at)}{lost}"


def status(reload: Reload, askers: Sequence[Subscriber], first: Subscriber, now: float) -> Message:
    """The status message as of now: askers are those of this channel, first is who asked before everyone else."""
    asker, ready_at = askers[0], reload.ready_at or reload.requested_at
    who = f"{mention(asker.user_id)} is reloading {code(reload.model_id)}"
    if asker.id != first.id:
        who = f"{mention(asker.user_id)} waits for {code(reload.model_id)}, which is being reloaded"
    return Message(
        f"{who} · {_left(ready_at - now)} · should be ready about {when(ready_at)} · reload `{reload.id}`",
        bar(reload, now),
        [Button(NOTIFY_ME, Action.JOIN, reload.id, asker.channel_id)],
    )


def trouble(reload: Reload, subscribers: Sequence[Subscriber], until: float) -> Message:
    """The status message of a reload that ModelsLab does not accept, and how long the bot tries."""
    first = subscribers[0]
    return Message(
        f"{mention(first.user_id)} is waiting for {code(reload.model_id)} · ModelsLab is busy or having problems. "
        f"I'll keep trying until {when(until)}",
        buttons=[Button(NOTIFY_ME, Action.JOIN, reload.id, first.channel_id)],
    )


def _left(seconds: float) -> str:
    """A time to wait, rounded to what is known of it."""
    if seconds < _FEW_SECONDS:
        return "a few seconds left"
    step = 5 if seconds < _MINUTE else 10 if seconds < 10 * _MINUTE else 60
    minutes, rest = divmod(max(round(seconds / step), 1) * step, 60)
    parts = [f"{minutes} min"] * (minutes > 0) + [f"{rest} s"] * (rest > 0)
    return f"about {' '.join(parts)} left"


def bar(reload: Reload, now: float) -> str:
    """How much of the time has passed, drawn and as a figure."""
    begun, ready_at = reload.accepted_at or reload.requested_at, reload.ready_at or reload.requested_at
    passed = min(max((now - begun) / (ready_at - begun), 0.0), 1.0) if ready_at > begun else 1.0
    full = int(passed * _BAR_LENGTH)
    return f"{'▓' * full}{'░' * (_BAR_LENGTH - full)} {int(passed * 100)} %"


def closed(reload: Reload, askers: Sequence[Subscriber], *, again: bool = False) -> Message:
    """The status message once the follow-up is out; again: with a button to reload the model again."""
    asker = askers[0]
    mark, how = "✓", f"expected ready {when(reload.ready_at or reload.requested_at)}"
    if reload.failure is not None:
        mark, how = "✗", FAILURES[reload.failure].why
    elif reload.undeliverable:
        mark, how = "✗", "not everyone could be told how it turned out"
    return Message(
        f"{mark} {code(reload.model_id)}, asked for by {mention(asker.user_id)} · {how} · reload `{reload.id}`",
        buttons=[Button(again_label(reload), Action.AGAIN, reload.model_id, asker.channel_id)] if again else (),
    )


def follow_up(reload: Reload, audience: Sequence[Subscriber], *, late: bool) -> Message:
    """The follow-up. ModelsLab confirms nothing, so it says "should be"; no other message says "ready now"."""
    text = f"{_mentions(audience)} {code(reload.model_id)} should be ready now."
    if late:
        text += f" This comes late: it was due {when(reload.ready_at or reload.requested_at)}."
    remind = Button("Remind me before it idles out", Action.REMIND, reload.id, audience[0].channel_id)
    return Message(f"{text} (reload `{reload.id}`)", buttons=[remind])


def failure(reload: Reload, audience: Sequence[Subscriber], near: Sequence[str] = ()) -> Message:
    """Why a model was not reloaded, and what to do; near are ids of models that may have been meant."""
    cause, channel_id = FAILURES[reload.failure or Failure.INTERNAL], audience[0].channel_id
    said = f" ({code(reload.said, SAID_LIMIT)})" if reload.said else ""
    text = f"{_mentions(audience)} {code(reload.model_id)} was not reloaded: {cause.why}{said}."
    if reload.outcome_unknown:
        text += (
            " An earlier request got no clear answer, so the model may already be reloading:"
            " try it in a few minutes before you ask again."
        )
    meant = f" Did you mean {either([code(model_id) for model_id in near])}?" if near else ""
    return Message(
        f"{text} {cause.fix}{meant} (reload `{reload.id}`)",
        buttons=[
            *(Button(model_id, Action.AGAIN, model_id, channel_id) for model_id in near),
            Button(TRY_AGAIN, Action.AGAIN, reload.model_id, channel_id),
        ],
    )


def stumbled(reload: Reload, audience: Sequence[Subscriber]) -> Message:
    """The last resort, where every other message failed: it has as little as possible that can go wrong."""
    return Message(
        f"{_mentions(audience)} I cannot say how {code(reload.model_id)} turned out: something went wrong inside me. "
        f"Try the model itself; whoever runs this bot finds more in its log. (reload `{reload.id}`)"
    )


def reminder(reload: Reload, channel_id: str, now: float) -> Message:
    """The reminder that a model may idle out, unless it was used since; its button posts to the channel."""
    age = now - (reload.ready_at or reload.requested_at)
    fate = "ModelsLab removes it tomorrow" if age < UNLOADED_AFTER else "it may have been removed by now"
    return Message(
        f"{code(reload.model_id)} was reloaded {int(age // DAY)} days ago. If nobody has used it since, {fate}. "
        f"(reload `{reload.id}`)",
        buttons=[
            Button("Reload now", Action.AGAIN, reload.model_id, channel_id),
            Button("Stop reminding", Action.STOP_REMINDING, reload.model_id, channel_id),
        ],
    )


def expected(reload: Reload, reload_seconds: float) -> float:
    """When a reload should be ready (UTC, seconds): until ModelsLab accepts it, counted from the request."""
    return reload.ready_at if reload.ready_at is not None else reload.requested_at + reload_seconds


def when(at: float, form: str = "{time}") -> str:
    """A time in each reader's own zone: https://docs.slack.dev/messaging/formatting-message-text#date-formatting."""
    known = "%d %b, %H:%M UTC" if "date" in form else "%H:%M UTC"
    fallback = datetime.fromtimestamp(round(at), UTC).strftime(known)
    return f"<!date^{round(at)}^{form}|{fallback}>"


def mention(user_id: str) -> str:
    """A mention. The id was checked when it was read (bot.slack.payloads)."""
    return f"<@{user_id}>"


def audible(audience: Sequence[Subscriber]) -> list[Subscriber]:
    """The subscribers whom one message mentions: all requests of as many people as fit."""
    people: set[str] = set()
    room = MENTIONS_CHARACTERS
    for user_id in dict.fromkeys(watcher.user_id for watcher in audience):
        room -= len(mention(user_id)) + 1
        if room < 0 or len(people) == MENTIONS_LIMIT:
            break
        people.add(user_id)
    return [watcher for watcher in audience if watcher.user_id in people]


def _mentions(audience: Iterable[Subscriber]) -> str:
    return " ".join(dict.fromkeys(mention(watcher.user_id) for watcher in audience))
