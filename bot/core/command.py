"""The text after /reload-model, read as people type it. Knows nothing of Slack's payloads or of who asks."""

import re
import unicodedata
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from bot.errors import NotACommand

# ModelsLab documents neither the characters nor the length of a model_id. This admits all that have been
# seen, and nothing that Slack or a terminal would treat as markup.
MAX_ID = 128
MODEL_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._\-:/+@]{{0,{MAX_ID - 1}}}", re.ASCII)

# What phones, word processors and chat clients put around a word: every kind of space, the non-breaking ones
# (https://www.unicode.org/reports/tr14/#GL) among them, and what has no width: joiners, marks of direction.
_LOW = [chr(point) for point in range(0x3001)]
_SPACES = "".join(c for c in _LOW if c.isspace())
_AROUND = _SPACES + "".join(c for c in _LOW if unicodedata.category(c) == "Cf") + "\N{ZERO WIDTH NO-BREAK SPACE}"

# Whatever quote goes with whatever other of its kind: languages differ, and so do people's keyboards.
_QUOTES = ("`", '"\u201c\u201d\u201e\u201f\u00ab\u00bb', "'\u2018\u2019\u201a\u201b\u2039\u203a")


class Word(StrEnum):
    """A word that is a command of its own, unless it is quoted."""

    HELP = "help"
    STATUS = "status"
    HISTORY = "history"


@dataclass(frozen=True, slots=True)
class ReloadModel:
    """Reload the model of this id."""

    model_id: str


@dataclass(frozen=True, slots=True)
class Pick:
    """Nothing was typed: let the model be picked."""


Command = Word | ReloadModel | Pick


def parse(text: str) -> Command:
    """Read the text of one invocation.

    Raises NotACommand, with why and what may have been meant, for all that is neither a word nor one id.
    """
    bare = text.strip(_AROUND)
    word, quoted = _unquoted(bare)
    if not bare:
        return Pick()
    if not quoted and word.lower() in list(Word):
        return Word(word.lower())
    if MODEL_ID.fullmatch(word) is None:
        raise NotACommand(bare, _fault(word), _meant(word))
    if not quoted and (meant := _meant(word)):
        raise NotACommand(word, f"is close to the word `{meant}`", meant, model_id=word)
    return ReloadModel(word)


def read_id(text: str) -> str:
    """Read an id by itself, where no word is a command. Raises NotACommand."""
    bare = text.strip(_AROUND)
    word, _ = _unquoted(bare)
    if MODEL_ID.fullmatch(word) is None:
        raise NotACommand(bare, _fault(word))
    return word


def _unquoted(text: str) -> tuple[str, bool]:
    """Take the quotes off, one pair after another, and say whether there were any."""
    quoted = False
    while len(text) > 1 and any(text[0] in kind and text[-1] in kind for kind in _QUOTES):
        text, quoted = text[1:-1].strip(_AROUND), True
    return text, quoted


def _fault(word: str) -> str:
    if not word:
        return "has nothing between its quotes"
    if any(space in word for space in _SPACES):
        return "is more than one word, and I reload one model at a time"
    if word.startswith("-"):
        return "looks like an option, and I have none"
    if len(word) > MAX_ID:
        return f"is longer than {MAX_ID} characters"
    return "is not a model id: those begin with a letter or digit, and go on with letters, digits and . _ - : / + @"


def _meant(word: str) -> Word | None:
    """The command of which this word looks like a slip."""
    near = get_close_matches(word.lower().strip("-/?!."), list(Word), n=1, cutoff=0.75)
    return Word(near[0]) if near else None
