"""Reads the text after the slash command, as people type it. Pure."""

import re
import unicodedata
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from bot.errors import Refusal, Refused

SHORTCUT = "reload_model"
"""The callback_id of the global shortcut, as the app's manifest registers it."""

# ModelsLab documents neither the characters nor the length of a model_id. This admits all that have been seen, and
# nothing that Slack or a terminal would treat as markup.
MAX_ID = 128
MODEL_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._\-:/+@]{{0,{MAX_ID - 1}}}", re.ASCII)

# What phones, word processors and chat clients put around a word: every kind of space, non-breaking ones
# (https://www.unicode.org/reports/tr14/#GL) too, and what has no width: joiners and direction marks.
_LOW = [chr(point) for point in range(0x3001)]
_SPACES = "".join(c for c in _LOW if c.isspace())
_AROUND = _SPACES + "".join(c for c in _LOW if unicodedata.category(c) == "Cf") + "\N{ZERO WIDTH NO-BREAK SPACE}"

# Any two quotes of one kind make a pair: languages differ, and so do keyboards.
_QUOTES = ("`", '"\u201c\u201d\u201e\u201f\u00ab\u00bb', "'\u2018\u2019\u201a\u201b\u2039\u203a")


class Word(StrEnum):
    """A word that is a command of its own, unless it is quoted."""

    HELP = "help"
    STATUS = "status"
    HISTORY = "history"
    ACCESS = "access"


class Slip(StrEnum):
    """What is wrong with a text that is neither a command nor a model id."""

    NOTHING_QUOTED = "nothing_quoted"
    SEVERAL_WORDS = "several_words"
    OPTION = "option"
    TOO_LONG = "too_long"
    NOT_AN_ID = "not_an_id"
    NEARLY_A_WORD = "nearly_a_word"


@dataclass(frozen=True, slots=True)
class ReloadModel:
    """Reload the model with this id."""

    model_id: str


@dataclass(frozen=True, slots=True)
class Pick:
    """Nothing was typed: open the picker."""


Command = Word | ReloadModel | Pick


def parse(text: str) -> Command:
    """Read the text of one invocation. Raises Refused (NOT_A_COMMAND) for what is neither a word nor one model id."""
    bare = text.strip(_AROUND)
    word, quoted = _unquoted(bare)
    if not bare:
        return Pick()
    if not quoted and word.lower() in list(Word):
        return Word(word.lower())
    meant = _meant(word)
    if MODEL_ID.fullmatch(word) is None:
        raise _refused(bare, _slip(word), meant)
    if not quoted and meant:
        raise _refused(word, Slip.NEARLY_A_WORD, meant)
    return ReloadModel(word)


def read_id(text: str) -> str | None:
    """Read a model id where no word is a command; None where the text isn't one."""
    word, _ = _unquoted(text.strip(_AROUND))
    return word if MODEL_ID.fullmatch(word) else None


def _refused(text: str, slip: Slip, meant: Word | None) -> Refused:
    return Refused(Refusal.NOT_A_COMMAND, text=text, slip=slip, meant=meant)


def _unquoted(text: str) -> tuple[str, bool]:
    """Take off the quotes, one pair after another, and say whether there were any."""
    quoted = False
    while len(text) > 1 and any(text[0] in kind and text[-1] in kind for kind in _QUOTES):
        text, quoted = text[1:-1].strip(_AROUND), True
    return text, quoted


def _slip(word: str) -> Slip:
    if not word:
        return Slip.NOTHING_QUOTED
    if any(space in word for space in _SPACES):
        return Slip.SEVERAL_WORDS
    if word.startswith("-"):
        return Slip.OPTION
    return Slip.TOO_LONG if len(word) > MAX_ID else Slip.NOT_AN_ID


def _meant(word: str) -> Word | None:
    """The command that this word may be a typo of."""
    near = get_close_matches(word.lower().strip("-/?!."), list(Word), n=1, cutoff=0.75)
    return Word(near[0]) if near else None
