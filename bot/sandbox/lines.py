"""A line of the sandbox, read. Knows nothing of Slack or of the bot's commands."""

import re
from dataclasses import dataclass
from enum import Enum

COMMAND = "/reload-model"

_PLACE = r"(?:(?P<person>[^\s:#]+)?\s*(?:#(?P<channel>[^\s:#]+))?\s*:)?\s*"
_SAY = re.compile(rf"{_PLACE}{COMMAND}(?:\s+(?P<text>.*))?", re.DOTALL)
_CHOOSE = re.compile(rf"{_PLACE}(?P<text>\d{{1,6}})")
_TYPE = re.compile(rf"{_PLACE}type(?:\s+(?P<text>.*))?", re.IGNORECASE)
_SHORTCUT = re.compile(rf"{_PLACE}shortcut\s+(?P<text>\S+)", re.IGNORECASE)
_HOME = re.compile(rf"{_PLACE}home(?P<text>)", re.IGNORECASE)
_WAIT = re.compile(r"wait\s+(\d{1,4}(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Person:
    """Someone who can be spoken for: their id in Slack, and the channel where they usually are."""

    id: str
    home: str


@dataclass(frozen=True, slots=True)
class Place:
    """Who speaks, and in which channel, both by name."""

    person: str
    channel: str


@dataclass(frozen=True, slots=True)
class Say:
    """Somebody invokes the command, with this text after it."""

    place: Place
    text: str


@dataclass(frozen=True, slots=True)
class Choose:
    """Somebody presses a button, or takes an option, by its number."""

    place: Place
    text: str


@dataclass(frozen=True, slots=True)
class Type:
    """Somebody types this into the field that is before them."""

    place: Place
    text: str


@dataclass(frozen=True, slots=True)
class Shortcut:
    """Somebody uses the shortcut of this callback id."""

    place: Place
    text: str


@dataclass(frozen=True, slots=True)
class OpenHome:
    """Somebody opens the app's Home tab."""

    place: Place
    text: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Let this many seconds pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment, for whoever reads along."""

    text: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """A line that means nothing here, and why."""

    why: str


class Word(Enum):
    """A line that speaks to the sandbox itself."""

    NOTHING = ("",)
    HELP = ("help", "?")
    END = ("exit", "quit")


Act = Say | Choose | Type | Shortcut | OpenHome
Line = Act | Wait | Remark | Unclear | Word

_ACTS: tuple[tuple[re.Pattern[str], type[Act]], ...] = (
    (_SAY, Say),
    (_CHOOSE, Choose),
    (_TYPE, Type),
    (_SHORTCUT, Shortcut),
    (_HOME, OpenHome),
)


@dataclass(frozen=True, slots=True)
class Cast:
    """The people and the channels there are, by name; a channel's value is its id."""

    people: dict[str, Person]
    channels: dict[str, str]

    def read(self, line: str, last: Place) -> Line:
        """Read one line. Where it names nobody, who spoke last speaks again, in the same channel."""
        text = line.strip()
        for word in Word:
            if text.lower() in word.value:
                return word
        if wait := _WAIT.fullmatch(text):
            return Wait(float(wait[1]))
        for pattern, act in _ACTS:
            if said := pattern.fullmatch(text):
                place = self._place(said, last)
                return place if isinstance(place, Unclear) else act(place, said["text"] or "")
        if text.startswith("#"):
            return Remark(text)
        return Unclear(f"what is said here looks like {last.person}: {COMMAND} sdxl (help tells more)")

    def _place(self, said: re.Match[str], last: Place) -> Place | Unclear:
        person = (said["person"] or last.person).lower()
        if person not in self.people:
            return Unclear(f"nobody here is called {person}: there are {', '.join(self.people)}")
        usual = self.people[person].home if said["person"] else last.channel
        channel = (said["channel"] or usual).lower()
        if channel not in self.channels:
            return Unclear(f"there is no #{channel} here: there are #{', #'.join(self.channels)}")
        return Place(person, channel)
