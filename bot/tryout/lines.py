"""A line of the tryout, read. Knows nothing of Slack or of the bot's commands."""

import re
from dataclasses import dataclass
from enum import Enum

COMMAND = "/reload-model"

_SAY = re.compile(
    rf"(?:(?P<person>[^\s:#]+)?\s*(?:#(?P<channel>[^\s:#]+))?\s*:)?\s*{COMMAND}(?:\s+(?P<text>.*))?", re.DOTALL
)
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
    """A line that speaks to the tryout itself."""

    NOTHING = ("",)
    HELP = ("help", "?")
    END = ("exit", "quit")


Line = Say | Wait | Remark | Unclear | Word


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
        if say := _SAY.fullmatch(text):
            return self._say(say, last)
        if text.startswith("#"):
            return Remark(text)
        return Unclear(f"what is said here looks like {last.person}: {COMMAND} sdxl (help tells more)")

    def _say(self, say: re.Match[str], last: Place) -> Say | Unclear:
        person = (say["person"] or last.person).lower()
        if person not in self.people:
            return Unclear(f"nobody here is called {person}: there are {', '.join(self.people)}")
        usual = self.people[person].home if say["person"] else last.channel
        channel = (say["channel"] or usual).lower()
        if channel not in self.channels:
            return Unclear(f"there is no #{channel} here: there are #{', #'.join(self.channels)}")
        return Say(Place(person, channel), say["text"] or "")
