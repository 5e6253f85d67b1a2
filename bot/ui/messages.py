"""Every message of the bot about one reload, as text and as Block Kit. Pure; the lists are in lists.py.

The fallback text of a message says everything that its blocks say: notifications and screen readers use it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bot.core.command import mention_of
from bot.core.models import DAY, NOWHERE, UNLOADED_AFTER, Person, Place, Reload, Reminder, Requested, Subscriber
from bot.core.text import SAID_LIMIT, code
from bot.errors import Failure
from bot.ui import blocks
from bot.ui.blocks import DAY_AND_TIME, ON_DATE, mention, when
from bot.ui.buttons import Action, Button, row
from bot.ui.reasons import FAILURES, phrase

MENTIONS_LIMIT = 400
MENTIONS_CHARACTERS = 7500
"""How many people one message mentions, and in how many characters, so that it stays within BLOCKS_LIMIT."""

NOTIFY_ME = "Notify me too"
REMIND_ME = "Remind me before it's unloaded"
RELOAD_AGAIN = "Reload again"
TRY_AGAIN = "Try again"

NOT_OPENED = "Slack didn't open the form. Please try again."

_FEW_SECONDS = 5.0
_MINUTE = 60.0
_BAR_LENGTH = 10


@dataclass(frozen=True, slots=True)
class Message:
    """What chat.postMessage and a response_url take: a text, and the blocks that show it.

    bar is shown below the text, which says the same in words. small_print is shown below the text and at the end of
    the fallback text. If there are lines, they replace the headline, each with its own buttons. fixed is what is posted
    instead where it couldn't be edited later.
    """

    headline: str
    bar: str = ""
    small_print: str = ""
    buttons: Sequence[Button] = ()
    lines: Sequence["Message"] = ()
    fixed: "Message | None" = None

    @classmethod
    def of_lines(cls, lines: Sequence["Message"], buttons: Sequence[Button] = ()) -> "Message":
        """A list; each line is short enough for one section."""
        return cls("\n".join(line.text for line in lines), lines=lines, buttons=buttons)

    @property
    def text(self) -> str:
        """The fallback text."""
        return f"{self.headline} ({self.small_print})" if self.small_print else self.headline

    @property
    def is_rich(self) -> bool:
        """Whether its blocks show more than its text."""
        return bool(self.bar or self.small_print or self.buttons) or any(line.buttons for line in self.lines)

    @property
    def blocks(self) -> list[dict[str, object]]:
        """The text in as many sections as it needs, or line by line, and what is below it."""
        shown = [block for line in self.lines for block in line.blocks]
        if not self.lines:
            shown += [section.to_dict() for section in blocks.sections(self.headline)]
        shown += [blocks.context(below).to_dict() for below in (self.bar, self.small_print) if below]
        return [*shown, row(self.buttons).to_dict()] if self.buttons else shown


def help_text(command: str, *, admin: bool = False) -> str:
    """The answer to the slash command's help."""
    mention = mention_of(command)
    for_admins = f"\n• `{command} access` shows who can reload models, and adds and removes people" if admin else ""
    return f"""\
ModelsLab unloads a model after 7 idle days. I load it again and ping you when it should be ready.
• `{command}` opens a form to pick a model and a channel for the updates
• `{command} sdxl` reloads the model `sdxl`, and `{command} sdxl flux` reloads both
• In a thread, where slash commands don't work, write `{mention} sdxl`. First invite me: `/invite {mention}`
• `{command} status` shows what is reloading now
• `{command} history` shows the last ten reloads
• `{command} "status"`, in quotes, reloads a model that is called `status`{for_admins}"""


def acknowledgement(requested: Requested, viewer: Person, reload_seconds: float, where: str = "here") -> str:
    """The ack of a request that was recorded; where names the channel of the follow-up."""
    reload, first = requested.reload, requested.first
    model = code(reload.model_id)
    time = f"around {when(requested.now + reload_seconds if reload.ready_at is None else reload.ready_at)}"
    if not requested.joined:
        what = f"Reloading {model}."
    elif requested.again or first.user_id == viewer.user_id:
        what = f"You're already on the list for {model}."
    else:
        who = mention(first.user_id) if first.is_known_to(viewer) else "A colleague"
        what = f"{who} is already reloading {model}."
    if requested.joined and reload.ready_at is None:  # ModelsLab may keep refusing it
        time = "when it should be ready"
    return f"{what} I'll ping you {where} {time}."


def place_in_words(place: Place, pressed_in: Place = NOWHERE) -> str:
    """The name of a place for somebody who may have made the request elsewhere. A DM has no useful name."""
    if place.channel_id.startswith("D"):
        return "here" if pressed_in.channel_id == place.channel_id else "there"
    return f"in {'the thread in ' if place.thread_ts else ''}<#{place.channel_id}>"


def as_direct_message(message: Message, channel_id: str) -> Message:
    """A private answer that Slack didn't take in its channel."""
    about = Message(f"I couldn't answer you in <#{channel_id}>. This is what I'd have said there:")
    return Message.of_lines([about, message])


def will_remind(reminder: Reminder) -> str:
    """The answer to *Remind me*."""
    model = code(reminder.model_id)
    if reminder.due_at is None:
        return f"I've already reminded you about {model}. I'll do it again after the next reload."
    return f"I'll remind you about {model} on {when(reminder.due_at, ON_DATE)}, or later if it's reloaded first."


def not_reminding(model_id: str) -> str:
    """The answer to *Stop reminding*."""
    return f"OK, no more reminders for {code(model_id)}."


def status(reload: Reload, subscribers: Sequence[Subscriber], first: Subscriber, now: float) -> Message:
    """The status message as of now: subscribers are those of this channel, and first is the reload's first one."""
    here, ready_at = subscribers[0], reload.ready_by
    who = f"{mention(here.user_id)} {'is reloading' if here.id == first.id else 'is waiting for'}"
    said = f" · ModelsLab says {code(reload.said, SAID_LIMIT)}" if reload.said else ""
    sentence = f"{who} {code(reload.model_id)} · ready around {when(ready_at)}"
    buttons = [_notify_me(reload, here.place)]
    return Message(
        f"{sentence} ({left(ready_at - now)}){said}",
        bar=bar(reload, now),
        buttons=buttons,
        fixed=Message(f"{sentence}{said}", buttons=buttons),
    )


def trouble(reload: Reload, subscribers: Sequence[Subscriber], until: float, now: float) -> Message:
    """The status message of a reload that ModelsLab hasn't accepted yet; the bot tries it until then at least."""
    here = subscribers[0]
    tries = f"I'll keep trying until {when(until)}" if until > now else "I'm still trying"
    return Message(
        f"{mention(here.user_id)} is waiting for {code(reload.model_id)}. ModelsLab hasn't accepted the request yet. "
        f"{tries}.",
        buttons=[_notify_me(reload, here.place)],
    )


def _notify_me(reload: Reload, place: Place) -> Button:
    return Button(NOTIFY_ME, Action.JOIN, reload.id, place, spoken=f"Notify me about {reload.model_id}")


def left(seconds: float) -> str:
    """A time to wait, rounded: nobody knows it to the second."""
    if seconds < _FEW_SECONDS:
        return "a few seconds left"
    step = 5 if seconds < _MINUTE else 10 if seconds < 10 * _MINUTE else 60
    minutes, rest = divmod(max(round(seconds / step), 1) * step, 60)
    parts = [f"{minutes} min"] * (minutes > 0) + [f"{rest} s"] * (rest > 0)
    return f"{' '.join(parts)} left"


def bar(reload: Reload, now: float) -> str:
    """How much of the time has passed, drawn and as a figure."""
    began, ready_at = reload.accepted_at or reload.requested_at, reload.ready_by
    passed = min(max((now - began) / (ready_at - began), 0.0), 1.0) if ready_at > began else 1.0
    full = int(passed * _BAR_LENGTH)
    return f"{'▓' * full}{'░' * (_BAR_LENGTH - full)} {int(passed * 100)} %"


def closed(reload: Reload, subscribers: Sequence[Subscriber], *, again: bool = False) -> Message:
    """The status message after the follow-up. It offers another reload if again is set, and always after a failure."""
    here = subscribers[0]
    mark, how = "✓", f"should be ready since {when(reload.ready_by)}"
    if reload.failure is not None:
        mark, how = "✗", FAILURES[reload.failure].why
    elif reload.undeliverable and any(one.notified_at is None for one in subscribers):
        how += " · couldn't notify everyone"
    return Message(
        f"{mark} {code(reload.model_id)} · {how} · requested by {mention(here.user_id)}",
        buttons=again_buttons(reload, here.place) if again or reload.failure is not None else (),
    )


def follow_up(reloads: Sequence[Reload], subscribers: Sequence[Subscriber], *, late: float = 0.0) -> Message:
    """The follow-up, and whether it is late by so many seconds.

    ModelsLab confirms nothing, so it says "should"; no other message says "ready now".
    """
    who = f"{_mentions(subscribers)} {phrase([code(reload.model_id) for reload in reloads], 'and')}"
    text, due_at = f"{who} should be ready now.", reloads[0].ready_by
    if late > UNLOADED_AFTER:
        they = "it" if len(reloads) == 1 else "they"
        text = f"{who} should have been ready on {when(due_at, ON_DATE)}. Sorry, this is late: {they} may have been "
        text += "unloaded since."
    elif late:
        what = "it" if len(reloads) == 1 else "the first"
        due = f"at {when(due_at)}" if late < DAY / 2 else when(due_at, DAY_AND_TIME)
        text += f" Sorry, this is late: {what} was due {due}."
    place, buttons = subscribers[0].place, []
    for reload in reloads:
        named = f"Remind me about {reload.model_id}"
        label = REMIND_ME if len(reloads) == 1 else named
        buttons.append(Button(label, Action.REMIND, reload.id, place, spoken=named))
    return Message(text, buttons=buttons)


def failure(reload: Reload, subscribers: Sequence[Subscriber]) -> Message:
    """Why a model was not reloaded, and what to do."""
    failed = reload.failure or Failure.INTERNAL
    explanation = FAILURES[failed]
    text = f"{_mentions(subscribers)} {code(reload.model_id)} was not reloaded: {explanation.why}."
    if reload.outcome_unknown:
        text += (
            " At least one request got no clear answer, so the model may already be reloading: check the model first."
        )
    details = [code(reload.said, SAID_LIMIT)] if reload.said else []
    return Message(
        f"{text} {_did_you_mean(reload) or explanation.fix}",
        small_print="" if is_typo(reload) else " · ".join([*details, f"reload `{reload.id}`"]),
        buttons=again_buttons(reload, subscribers[0].place),
    )


def is_typo(reload: Reload) -> bool:
    """Whether a reload failed because of its model ID. Then ModelsLab's words and the reload ID help nobody."""
    return reload.failure is Failure.UNKNOWN_MODEL


def _did_you_mean(reload: Reload) -> str:
    """A question that names similar models, if there are any."""
    similar = [code(model_id) for model_id in reload.similar]
    return f"Did you mean {phrase(similar)}?" if similar else ""


def again_buttons(reload: Reload, place: Place, action: Action = Action.AGAIN, *, named: bool = False) -> list[Button]:
    """Buttons to reload the model again, or a similar one after a typo. named: each label contains the model ID."""
    short, long = RELOAD_AGAIN, f"Reload {reload.model_id} again"
    if reload.failure is not None:
        short, long = TRY_AGAIN, f"Try {reload.model_id} again"
    offered = [(id_, id_, f"Reload {id_}") for id_ in reload.similar] + [(reload.model_id, short, long)]
    return [Button(full if named else label, action, id_, place, spoken=full) for id_, label, full in offered]


def uncertain(reload: Reload, subscribers: Sequence[Subscriber]) -> Message:
    """The last resort after every other message failed, so it is as simple as possible."""
    return Message(
        f"{_mentions(subscribers)} Something broke on my side, so I don't know whether {code(reload.model_id)} was "
        f"reloaded. Try the model. (For the operator: reload `{reload.id}` in the log.)"
    )


def reminder(reload: Reload, place: Place, now: float) -> Message:
    """The reminder that an unused model will be unloaded. *Reload now* posts its updates to the place."""
    age = now - reload.ready_by
    fate = "ModelsLab will unload it within a day" if age < UNLOADED_AFTER else "it may have been unloaded by now"
    return Message(
        f"{code(reload.model_id)} was reloaded {int(age // DAY)} days ago. If nobody has used it since, {fate}.",
        buttons=[
            Button("Reload now", Action.AGAIN, reload.model_id, place, spoken=f"Reload {reload.model_id} now"),
            stop_reminding(reload.model_id, place),
        ],
    )


def stop_reminding(model_id: str, place: Place = NOWHERE, *, named: bool = False) -> Button:
    """The button that ends the reminders about a model. named: its label contains the model ID."""
    long = f"Stop reminding me about {model_id}"
    return Button(long if named else "Stop reminding", Action.STOP_REMINDING, model_id, place, spoken=long)


def mentioned(subscribers: Sequence[Subscriber]) -> list[Subscriber]:
    """The subscribers that one message has room to mention, with all requests of each person."""
    people: set[str] = set()
    room = MENTIONS_CHARACTERS
    for user_id in dict.fromkeys(one.user_id for one in subscribers):
        room -= len(mention(user_id)) + 1
        if room < 0 or len(people) == MENTIONS_LIMIT:
            break
        people.add(user_id)
    return [one for one in subscribers if one.user_id in people]


def _mentions(subscribers: Iterable[Subscriber]) -> str:
    return " ".join(dict.fromkeys(mention(one.user_id) for one in subscribers))
