"""What is said, and how: a Reload → Slack's Block Kit and the fallback text. Pure; one voice; ids in code style.

The fallback text of every message says all that its blocks say: it is what notifications and screen readers get.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypedDict

from bot.errors import Failure
from bot.reload import Entry, Reload, State, Watcher
from bot.text import code

SECTION_LIMIT = 3000
"""Characters of one section: https://docs.slack.dev/reference/block-kit/blocks/section-block"""

MENTIONS_LIMIT = 400
MENTIONS_CHARACTERS = 9000
"""People whom one message mentions, so that it stays below the 13,200 characters that Slack takes in blocks."""

SAID_LIMIT = 200
"""Characters of ModelsLab's own words that are passed on."""


class TextObject(TypedDict):
    """A text object of Block Kit: https://docs.slack.dev/reference/block-kit/composition-objects/text-object."""

    type: str
    text: str


class Section(TypedDict):
    """A section block: https://docs.slack.dev/reference/block-kit/blocks/section-block."""

    type: str
    text: TextObject


@dataclass(frozen=True, slots=True)
class Message:
    """What chat.postMessage and a response_url take: the text, and the blocks that show it."""

    text: str

    @property
    def blocks(self) -> list[Section]:
        """The text in as many sections as it takes, broken between words."""
        return [
            Section(type="section", text=TextObject(type="mrkdwn", text=part))
            for part in _parts(self.text, SECTION_LIMIT)
        ]


# --- to whoever typed the command, privately ------------------------------------------------------------

HELP = """\
ModelsLab takes a model off its servers after 7 idle days. I bring it back and say when.
• `/reload-model sdxl` reloads the model `sdxl`, and mentions you when it should be ready
• `/reload-model status` lists what is being reloaded
• `/reload-model history` lists the last ten reloads
• `/reload-model "status"`, quoted, is always a model id"""


def reloading(reload: Reload, reload_seconds: float) -> str:
    """The ack of a command that began a reload."""
    return (
        f"Reloading {code(reload.model_id)} (reload `{reload.id}`). "
        f"It should be ready about {when(expected(reload, reload_seconds))}; I will mention you here then."
    )


def joined(reload: Reload, first: Watcher, user_id: str, channel_id: str, reload_seconds: float) -> str:
    """The ack of a command that joined a reload: whoever began it is named only where they did so."""
    if first.user_id == user_id:
        who = "you"
    else:
        who = mention(first.user_id) if first.channel_id == channel_id else "a colleague"
    return (
        f"{code(reload.model_id)} is being reloaded already (reload `{reload.id}`), asked for by {who}. "
        f"It should be ready about {when(expected(reload, reload_seconds))}; I will mention you here then."
    )


def in_flight(entries: Sequence[Entry], count: int, reload_seconds: float) -> str:
    """The answer to `status`."""
    if not entries:
        return "Nothing is being reloaded."
    lines = [f"• {_headline(entry)} · {_progress(entry.reload, reload_seconds)}" for entry in entries]
    more = [f"… and {count - len(entries)} more"] if count > len(entries) else []
    return "\n".join([f"Being reloaded: {count}", *lines, *more])


def history(entries: Sequence[Entry]) -> str:
    """The answer to `history`."""
    if not entries:
        return "Nothing has been reloaded yet."
    return "\n".join(["The last reloads:", *(f"• {_headline(entry)} · {_ending(entry.reload)}" for entry in entries)])


def _headline(entry: Entry) -> str:
    others = f" and {entry.askers - 1} more" if entry.askers > 1 else ""
    asked = when(entry.reload.asked_at, "{date_short_pretty} {time}")
    return f"{code(entry.reload.model_id)} (`{entry.reload.id}`) · {mention(entry.first.user_id)}{others}, {asked}"


def _progress(reload: Reload, reload_seconds: float) -> str:
    if reload.state is State.TELLING:
        return "over, its askers are being told"
    if reload.state is State.REQUESTED:
        return "ModelsLab has not accepted it yet"
    return f"should be ready about {when(expected(reload, reload_seconds))}"


def _ending(reload: Reload) -> str:
    lost = " (not everyone could be told)" if reload.undeliverable else ""
    if reload.failure is not None:
        return f"✗ {reload.failure.why}{lost}"
    return f"✓ expected ready {when(reload.ready_at or reload.asked_at)}{lost}"


# --- to the channel -------------------------------------------------------------------------------------


def status(reload: Reload, askers: Sequence[Watcher], first: Watcher) -> Message:
    """The status message: askers are those of this channel, first is who asked before everyone else."""
    asker = askers[0]
    who = f"{mention(asker.user_id)} is reloading {code(reload.model_id)}"
    if asker.id != first.id:
        who = f"{mention(asker.user_id)} waits for {code(reload.model_id)}, which is being reloaded"
    return Message(f"{who} · should be ready about {when(reload.ready_at or reload.asked_at)} · reload `{reload.id}`")


def closed(reload: Reload, askers: Sequence[Watcher]) -> Message:
    """The status message once the follow-up is out."""
    who = mention(askers[0].user_id)
    since = when(reload.ready_at or reload.asked_at)
    return Message(f"✓ {code(reload.model_id)}, asked for by {who} · expected ready {since} · reload `{reload.id}`")


def follow_up(reload: Reload, audience: Sequence[Watcher], *, late: bool) -> Message:
    """What everyone waited for. The API confirms nothing, so it says "should be", and nothing else ever says "now"."""
    text = f"{_mentions(audience)} {code(reload.model_id)} should be ready now."
    if late:
        text += f" This comes late: it was due {when(reload.ready_at or reload.asked_at)}."
    return Message(f"{text} (reload `{reload.id}`)")


def failure(reload: Reload, audience: Sequence[Watcher]) -> Message:
    """What went wrong, in one sentence, and what to do."""
    cause = reload.failure or Failure.INTERNAL
    said = f" ({code(reload.said, SAID_LIMIT)})" if reload.said else ""
    text = f"{_mentions(audience)} {code(reload.model_id)} was not reloaded: {cause.why}{said}."
    if reload.unknown:
        text += (
            " An earlier request got no clear answer, so the model may already be reloading:"
            " try it in a few minutes before you ask again."
        )
    return Message(f"{text} {cause.mend} (reload `{reload.id}`)")


def stumbled(reload: Reload, audience: Sequence[Watcher]) -> Message:
    """The last that is tried where nothing else could be said: as little as can go wrong."""
    return Message(
        f"{_mentions(audience)} I cannot say how {code(reload.model_id)} turned out: something went wrong inside me. "
        f"Try the model itself; whoever runs this bot finds more in its log. (reload `{reload.id}`)"
    )


# --- parts ----------------------------------------------------------------------------------------------


def expected(reload: Reload, reload_seconds: float) -> float:
    """When the reload should be ready, as far as is known: before ModelsLab accepts it, counted from the asking."""
    return reload.ready_at if reload.ready_at is not None else reload.asked_at + reload_seconds


def when(at: float, form: str = "{time}") -> str:
    """A time in each reader's own zone: https://docs.slack.dev/messaging/formatting-message-text#date-formatting."""
    fallback = datetime.fromtimestamp(round(at), UTC).strftime("%H:%M UTC")
    return f"<!date^{round(at)}^{form}|{fallback}>"


def mention(user_id: str) -> str:
    """A mention. The id is one of Slack's own, checked where it came in."""
    return f"<@{user_id}>"


def audible(audience: Sequence[Watcher]) -> list[Watcher]:
    """Those of the audience whom one message mentions: each person's every asking, of as many people as fit."""
    people: set[str] = set()
    room = MENTIONS_CHARACTERS
    for user_id in dict.fromkeys(watcher.user_id for watcher in audience):
        room -= len(mention(user_id)) + 1
        if room < 0 or len(people) == MENTIONS_LIMIT:
            break
        people.add(user_id)
    return [watcher for watcher in audience if watcher.user_id in people]


def _mentions(audience: Iterable[Watcher]) -> str:
    return " ".join(dict.fromkeys(mention(watcher.user_id) for watcher in audience))


# A mention or a time in angle brackets and a piece of code are one word, whatever spaces they hold.
_WORD = re.compile(r"(?:<[^>]*>|`[^`]*`|[^ ])+")


def _parts(text: str, limit: int) -> Iterator[str]:
    part = ""
    for word in _WORD.findall(text):
        if part and len(part) + 1 + len(word) > limit:
            yield part
            part = ""
        part = f"{part} {word}" if part else word
    yield part
