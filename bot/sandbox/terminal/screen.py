"""What people see in Slack, drawn as lines of text."""

import re
import shutil
import textwrap
from collections.abc import Callable, Hashable
from datetime import UTC, datetime

from bot.core.text import harmless
from bot.sandbox.slack.workspace import Workspace

GLUE = "\N{NO-BREAK SPACE}"
"""A space at which no line is broken."""

_OUTCOME = re.compile(r"(`[^`]+`(?:(?:,| and) `[^`]+`)*) (?:should be ready now|was not reloaded)")
"""The two sentences by which the bot says how reloads went."""

_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_INDENT = " " * 9

_MARKUP = re.compile(r"<([^<>]*)>")
"""A mention, a link or a date: https://docs.slack.dev/messaging/formatting-message-text."""

_DATE = re.compile(r"!date\^(?P<unix>\d{1,11})\^(?P<format>[^^|]*)(?:\^[^|]*)?\|(?P<fallback>.*)", re.DOTALL)
_TIMES = {"{time}": "%H:%M", "{time_secs}": "%H:%M:%S", "{date_short_pretty}": "%d %b", "{date_short}": "%d %b"}


class Screen:
    """Draws blocks of lines, each below the one before. A `live` one can draw a block again in its place."""

    def __init__(self, write: Callable[[str], None], *, live: bool, colour: bool) -> None:
        self._write = write
        self._live = live
        self._colour = colour
        self._size = shutil.get_terminal_size()
        self._blocks: list[tuple[Hashable, list[str]]] = []

    def note(self, text: str) -> None:
        """Draw what the sandbox itself has to say."""
        self._append(None, [line for part in text.split("\n") for line in self._wrapped(part, "  ")])

    def draw(self, where: str, speaker: str, text: str, key: Hashable = None) -> None:
        """Draw something said somewhere; by its `key` it can be drawn again. A speaker in parentheses stands back."""
        self._append(key, self._lines(where, speaker, text))

    def redraw(self, where: str, speaker: str, text: str, key: Hashable) -> bool:
        """Draw something again, with another text, in its place. False where it isn't on the screen any more."""
        self._look_at_size()
        at = max((number for number, (known, _) in enumerate(self._blocks) if known == key), default=None)
        height = sum(len(lines) for _, lines in self._blocks[at:])
        if not self._live or at is None or height > self._size.lines - 2:
            return False
        self._blocks[at] = (key, self._lines(where, speaker, text))
        lines = [line for _, block in self._blocks[at:] for line in block]
        # https://en.wikipedia.org/wiki/ANSI_escape_code#CSIsection: go up so many lines, and clear what is below.
        self._write(f"\x1b[{height}A\x1b[J" + "".join(f"{line}\n" for line in lines))
        return True

    def _append(self, key: Hashable, lines: list[str]) -> None:
        self._look_at_size()
        self._blocks = [*self._blocks[-self._size.lines :], (key, lines)]
        self._write("".join(f"{line}\n" for line in lines))

    def _look_at_size(self) -> None:
        """Forget where things are when the terminal has another size: it breaks lines anew."""
        size = shutil.get_terminal_size()
        if size != self._size:
            self._size = size
            self._blocks.clear()

    def _lines(self, where: str, speaker: str, text: str) -> list[str]:
        first, *rest = text.split("\n")
        lines = self._wrapped(f"{where:<8} {speaker} {first}", _INDENT)
        if self._colour:
            style = _DIM if speaker.startswith("(") else _BOLD
            lines[0] = lines[0].replace(speaker, f"{style}{speaker}{_PLAIN}", 1)
        return lines + [line for part in rest for line in self._wrapped(_INDENT + part, _INDENT)]

    def _wrapped(self, line: str, indent: str) -> list[str]:
        """Break a line between words, so that it fits."""
        width = min(max(self._size.columns, 20), 100) - 1
        shown = GLUE.join(harmless(part, 4000) for part in line.split(GLUE))
        broken = textwrap.wrap(shown, width, subsequent_indent=indent, break_on_hyphens=False)
        return [part.replace(GLUE, " ") for part in broken] or [""]


def plain(text: str, workspace: Workspace) -> str:
    """Turn Slack's markup into what Slack would show for it."""

    def meaning(markup: re.Match[str]) -> str:
        target, _, label = markup[1].partition("|")
        if date := _DATE.fullmatch(markup[1]):
            return _date(date)
        if target.startswith("@"):
            return f"@{workspace.users.get(target[1:], target[1:])}"
        if target.startswith("#"):
            return place(target[1:], workspace)
        return f"@{target[1:]}" if target.startswith("!") else label or target

    shown = _MARKUP.sub(meaning, text).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return _OUTCOME.sub(lambda outcome: outcome[0].replace(" ", GLUE), shown)


def ended(text: str) -> list[str]:
    """The models of which a message of the bot says how their reloads went."""
    return [model_id for found in _OUTCOME.findall(text) for model_id in re.findall("`([^`]+)`", found)]


def place(channel_id: str, workspace: Workspace) -> str:
    """Name a channel as people see it."""
    channel = workspace.channels.get(channel_id)
    return "DM" if channel and channel.person else f"#{channel.name}" if channel else channel_id


def _date(date: re.Match[str]) -> str:
    text, when = date["format"], datetime.fromtimestamp(int(date["unix"]), UTC).astimezone()
    for token, form in _TIMES.items():
        text = text.replace(token, when.strftime(form))
    return date["fallback"] if "{" in text else text
