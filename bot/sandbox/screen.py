"""What a person sees, drawn as lines of text. Knows nothing of where the messages come from."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from bot.core.text import harmless
from bot.sandbox.workspace import Message, Workspace

# https://docs.slack.dev/messaging/formatting-message-text: <…> marks up a mention, a link or a date.
_MARKUP = re.compile(r"<([^<>]*)>")
_DATE = re.compile(r"!date\^(?P<unix>\d{1,11})\^(?P<format>[^^|]*)(?:\^[^|]*)?\|(?P<fallback>.*)", re.DOTALL)
_TIMES = {"{time}": "%H:%M", "{time_secs}": "%H:%M:%S", "{date_short_pretty}": "%d %b", "{date_short}": "%d %b"}

_MOST_CHARACTERS = 4000
_WIDTH = 9
_ROW = 80
_BOLD, _DIM, _PLAIN = "1", "2", "0"


class Screen:
    """Draws through `write`, which takes one or more whole lines without the last line's end."""

    def __init__(self, workspace: Workspace, write: Callable[[str], None], *, colour: bool) -> None:
        self._workspace = workspace
        self._write = write
        self._colour = colour

    def note(self, text: str) -> None:
        """Show words of the sandbox itself."""
        self._write(text)

    def said(self, person: str, channel: str, text: str) -> None:
        """Show what somebody typed."""
        self._draw(f"#{channel}", self._painted(f"{person}> ", _BOLD), text)

    def private(self, person: str, channel: str, text: str) -> None:
        """Show what Slack tells one person by itself."""
        self._draw(f"#{channel}", self._painted(f"(only {person} sees) ", _DIM), text)

    def message(self, message: Message, choices: Sequence[str] = ()) -> None:
        """Show a message, or what it has become, and under it what can be pressed."""
        name = self._channel(message.channel)
        speaker = self._painted(self._speaker(message), _DIM if message.user else _BOLD)
        self._draw(name, speaker, "\n".join([self._unmarked(message.text), *_rows(choices)]))

    def view(self, kind: str, person: str, texts: Sequence[str], choices: Sequence[str] = ()) -> None:
        """Show what one person sees beside the channels: a modal, or the Home tab."""
        speaker = self._painted(f"(only {person} sees) ", _DIM)
        self._draw(kind, speaker, "\n".join([*map(self._unmarked, texts), *_rows(choices)]))

    def _speaker(self, message: Message) -> str:
        edited = "(edited) " if message.edits else ""
        if message.user:
            kind = "DM to {}" if message.via == "dm" else "only {} sees"
            return f"({kind.format(self._name(message.user))}) {edited}"
        thread = ", in the thread" if message.thread_ts else ""
        shown = " and the channel" if message.broadcast else ""
        return f"{edited}reload-model{thread}{shown}> "

    def _draw(self, place: str, speaker: str, text: str) -> None:
        lines = [harmless(line, _MOST_CHARACTERS) for line in text.splitlines() or [""]]
        self._write(f"\n{' ' * (_WIDTH + 4)}".join([f"{place:<{_WIDTH}}{speaker}{lines[0]}", *lines[1:]]))

    def _painted(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[{_PLAIN}m" if self._colour else text

    def _name(self, user: str) -> str:
        return self._workspace.users.get(user, user)

    def _channel(self, channel_id: str) -> str:
        channel = self._workspace.channels.get(channel_id)
        return f"#{channel.name}" if channel else channel_id

    def _unmarked(self, text: str) -> str:
        """Turn Slack's markup into what Slack would show for it."""
        shown = _MARKUP.sub(lambda markup: self._meaning(markup[1]), text)
        return shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")

    def _meaning(self, markup: str) -> str:
        target, _, label = markup.partition("|")
        if date := _DATE.fullmatch(markup):
            return _date(date)
        if target.startswith("@"):
            return f"@{self._name(target[1:])}"
        if target.startswith("#"):
            return self._channel(target[1:])
        if target.startswith("!"):
            return f"@{target[1:]}"
        return label or target


def _rows(choices: Sequence[str]) -> list[str]:
    """Set choices in rows that fit a terminal."""
    rows: list[str] = []
    for choice in choices:
        if rows and len(rows[-1]) + len(choice) < _ROW:
            rows[-1] += f"  {choice}"
        else:
            rows.append(choice)
    return rows


def _date(date: re.Match[str]) -> str:
    text, when = date["format"], datetime.fromtimestamp(int(date["unix"]), UTC).astimezone()
    for token, strftime in _TIMES.items():
        text = text.replace(token, when.strftime(strftime))
    return date["fallback"] if "{" in text else text
