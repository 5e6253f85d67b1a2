"""Reads what people type after the slash command, or after a mention of the bot. Pure."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import NoReturn
from urllib.parse import unquote

from bot.errors import Refusal, Refused
from bot.settings.reader import COMMAND

SHORTCUT = "reload_model"
"""The callback_id of the global shortcut, as the app's manifest registers it, and of the picker, which it opens."""

MAX_MODELS = 5
"""Models that one command can reload."""


def mention_of(command: str) -> str:
    """How people call the bot in a message: by its display name, which the manifest makes from its command."""
    return f"@{command[1:]}"


# ModelsLab documents neither the characters nor the length of a model_id. This allows all that have been seen, and
# nothing that Slack or a terminal would treat as markup.
MAX_ID = 128
MODEL_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._\-:/+@]{{0,{MAX_ID - 1}}}", re.ASCII)

# What phones, word processors and chat clients put around a word: every kind of space, including non-breaking ones
# (https://www.unicode.org/reports/tr14/#GL), and characters without width: joiners and direction marks.
_LOW = [chr(point) for point in range(0x3001)]
_SPACES = "".join(c for c in _LOW if c.isspace())
_INVISIBLE = "".join(c for c in _LOW if unicodedata.category(c) == "Cf") + "\N{ZERO WIDTH NO-BREAK SPACE}"
_AROUND = _SPACES + _INVISIBLE

# Any two quotes of one kind count as a pair, because languages and keyboards differ.
_QUOTES = ("`", '"\u201c\u201d\u201e\u201f\u00ab\u00bb', "'\u2018\u2019\u201a\u201b\u2039\u203a")

# A quoted text, a link as Slack writes it, an address with the commas of its query, or everything up to the next space,
# comma or semicolon. Anybody can send any text, and reading it must not take long. So the pattern skips no spaces or
# commas between tokens: in a long run of them, the search would skip them again from each position.
_SITE = r"(?:https?://|(?:www\.)?modelslab\.com/)"
_TOKEN = re.compile(
    rf"[{_INVISIBLE}]*("
    + "|".join(
        [
            *(f"[{kind}]+[^{kind}]*[{kind}]+" for kind in _QUOTES),
            r"<[^<>]*>",
            rf"(?i:{_SITE}[^{_SPACES},;?#]*(?:[?#][^{_SPACES}]*?(?=[,;]?(?:[{_SPACES}]|\Z|[,;]{_SITE})))?)",
            f"[^{_SPACES},;]+",
        ]
    )
    + ")"
)
_MODEL_PAGE = re.compile(
    r"(?:https?://)?(?:www\.)?modelslab\.com/models/(?:[^/?#]+/)?([^/?#]+)/?(?:[?#].*)?", re.ASCII | re.IGNORECASE
)
# What Slack makes of a word that looks like a host name or a mail address: <http://flux.dev|flux.dev>.
# https://docs.slack.dev/messaging/formatting-message-text#links
_LINKED_WORD = re.compile(r"<[a-z]+:(?://)?([^<>|]+)\|\1>")
_MENTION = re.compile(r"<@([A-Z0-9]+)(?:\|[^<>]*)?>", re.ASCII)
# What people write beside model IDs: mentions, emoji (by name or as such), bullets, and signs for "and". Not dashes and
# arrows: what follows them is a comment.
_ASIDE = re.compile(r"<[@!][^<>]*>|(?::[\w+'-]+:)+[.!?:]*|[&+/|]+|[^\x00-\x7f\w\u2010-\u2015\u2190-\u21ff]+")
_ADDRESS = re.compile(r"[a-z]+://.*|(?:www\.)?modelslab\.com\b.*", re.ASCII | re.IGNORECASE | re.DOTALL)


class Word(StrEnum):
    """A subcommand. A quoted word is never one."""

    HELP = "help"
    STATUS = "status"
    HISTORY = "history"
    ACCESS = "access"


FOR_EVERYBODY = (Word.HELP,)
FOR_ADMINS = (Word.ACCESS,)
"""The other words are for people who can reload models."""

_SYNONYMS: Mapping[str, Word] = {
    **dict.fromkeys(("h", "info", "man", "options", "usage", "version"), Word.HELP),
    **dict.fromkeys(("list", "ls", "progress", "ps", "queue", "running", "show", "stat", "state"), Word.STATUS),
    **dict.fromkeys(("last", "log", "logs", "recent"), Word.HISTORY),
}
_CANCEL = frozenset({"abort", "cancel", "end", "kill", "stop", "undo"})
_FILLERS = """
    again all also an and are as asap at awesome by can cool could did do does done dont everyone everybody for from
    good great guys hello hey hi how i id if in is it job just later load lol me minutes model models my need never
    nevermind nice no noon nope not notify now of ok okay on oops or please pls ready reload reload-model remind
    restart retry run so sorry start sure test testing thank thanks that the then there this thx to today tomorrow too
    ty up us vs wait want we well what when which who why with work working works wow yeah yep yes you
"""
_NO_MODEL = frozenset(_FILLERS.split())
"""What people write before, between and after models, or instead of them."""

MODEL_HERE = "<model ID>"
"""The placeholder for a model ID in a hint."""


class Slip(StrEnum):
    """What is wrong with a text that is neither a subcommand nor model IDs."""

    NOTHING_QUOTED = "nothing_quoted"
    SPACE = "space"
    OPTION = "option"
    TOO_LONG = "too_long"
    TOO_MANY = "too_many"
    NOT_AN_ID = "not_an_id"
    NOT_A_PAGE = "not_a_page"
    NOT_OURS = "not_ours"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class ReloadModels:
    """Reload the models with these IDs, MAX_MODELS at most, each given once."""

    model_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Pick:
    """Nothing was typed: open the picker."""


Command = Word | ReloadModels | Pick


@dataclass(frozen=True, slots=True)
class _Token:
    """A word, or what was in quotes."""

    text: str
    quoted: bool


def after_mention(text: str, bot_user_id: str) -> str:
    """The text after the mention of the bot: "sdxl" in "hi @reload-model sdxl", nothing in "thanks @reload-model".

    Without the bot's ID ("" if Slack doesn't say it), the first mention counts as the bot's.
    """
    ours = next((found for found in _MENTION.finditer(text) if bot_user_id in ("", found[1])), None)
    return text if ours is None else text[ours.end() :]


def parse(text: str, name: str = COMMAND[1:]) -> Command:
    """Read the text of one invocation. Raises Refused (NOT_A_COMMAND) unless it is a subcommand or model IDs.

    name is the command's, without the slash: what people paste from a hint can begin with it.
    """
    called = re.compile(rf"[/@]{re.escape(name)}(?!\S)")
    tokens = list[_Token]()
    for token in _tokens(text):  # a hint can be pasted with the format of code, which Slack sends as quotes
        tokens += _tokens(token.text) if token.quoted and called.match(token.text) else [token]
    tokens = [token for token in tokens if not called.fullmatch(token.text)]
    if not tokens:  # there is nothing, or only punctuation
        return Word.HELP if "?" in text else Pick()
    first = tokens[0]
    if len(tokens) == 1 and not first.quoted and first.text.lower() in list(Word):
        return Word(first.text.lower())
    model_ids = dict.fromkeys(_model_id(token, tokens, name) for token in tokens)
    if len(model_ids) > MAX_MODELS:
        _refuse(text.strip(_AROUND), Slip.TOO_MANY, None, tokens)
    return ReloadModels(tuple(model_ids))


def read_id(text: str) -> str | None:
    """Read a model ID or the address of a model's page; None if the text is neither. No word is a subcommand here."""
    tokens = _tokens(text)
    if len(tokens) != 1:
        return None
    id_ = _on_page(tokens[0].text)
    return id_ if MODEL_ID.fullmatch(id_) and not _ADDRESS.fullmatch(id_) else None


def _tokens(text: str) -> list[_Token]:
    words = [found.strip(_AROUND) for found in _TOKEN.findall(_LINKED_WORD.sub(r"\1", text))]
    said = [(word, token) for word in words if (token := _token(word)).text or token.quoted]
    wanted = [token for word, token in said if token.quoted or not _ASIDE.fullmatch(word)]
    return wanted or [token for _, token in said]


def _token(text: str) -> _Token:
    """Remove the quotes, one pair after another, or else the punctuation.

    That leaves the "sdxl" of "Please reload *sdxl*.", which is bold in Slack. An ID that ends with a dot must be in
    quotes.
    """
    bare, quoted = text.strip("*"), False
    while len(bare) > 1 and any(bare[0] in kind and bare[-1] in kind for kind in _QUOTES):
        bare, quoted = bare[1:-1].strip(f"{_AROUND}*"), True
    return _Token(bare if quoted else bare.rstrip(".!?:*"), quoted)


def _on_page(text: str) -> str:
    """The model ID in the address of a model's page, as a plain address or Slack's <address|label>; else the text."""
    address = text[1:-1].partition("|")[0] if text.startswith("<") and text.endswith(">") else text
    page = _MODEL_PAGE.fullmatch(address)
    return unquote(page[1]) if page else text


def _model_id(token: _Token, tokens: Sequence[_Token], name: str) -> str:
    """The model ID in a token. Raises Refused if it isn't one, or more likely means something else.

    A public reload of a model called "list", "cancel" or "please" must not start by mistake. In quotes, they are IDs.
    """
    id_, word = _on_page(token.text), token.text.lower()
    if _ADDRESS.fullmatch(id_.strip("<>")):
        _refuse(token.text, Slip.NOT_A_PAGE, None, tokens)
    if MODEL_ID.fullmatch(id_) is None:
        _refuse(token.text, _slip(token.text), _meant(token.text), tokens)
    if token.quoted:
        return id_
    if word in _CANCEL:
        _refuse(token.text, Slip.CANCEL, None, tokens)
    if meant := _meant(word):
        _refuse(token.text, Slip.NOT_OURS, meant, tokens)
    if word in _NO_MODEL or word == name.lower():
        _refuse(token.text, Slip.NOT_OURS, _without_fillers(tokens, name), tokens)
    return id_


def _without_fillers(tokens: Sequence[_Token], name: str) -> str:
    """What may be meant by models between words that are none."""
    others = [other for other in tokens if other.quoted or other.text.lower() not in {*_NO_MODEL, name.lower()}]
    meant = " ".join(f'"{_on_page(other.text)}"' if other.quoted else _on_page(other.text) for other in others)
    if len(others) == 1 and not others[0].quoted:
        meant = _meant(meant) or meant
    return meant if _is_command(meant, name) else MODEL_HERE


def _is_command(text: str, name: str) -> bool:
    """Whether a text can be suggested: it has models or is a subcommand."""
    try:
        return not isinstance(parse(text, name), Pick)
    except Refused:
        return False


def _meant(word: str) -> str | None:
    """The subcommand that this word may be a synonym or a typo of."""
    bare = word.lower().strip("-/?!.")
    near = get_close_matches(bare, list(Word), n=1, cutoff=0.75)
    return near[0] if near else _SYNONYMS.get(bare)


def _slip(text: str) -> Slip:
    if not text:
        return Slip.NOTHING_QUOTED
    if any(space in text for space in _SPACES):
        return Slip.SPACE
    if text.startswith("-"):
        return Slip.OPTION
    return Slip.TOO_LONG if len(text) > MAX_ID else Slip.NOT_AN_ID


def _refuse(text: str, slip: Slip, meant: str | None, tokens: Sequence[_Token]) -> NoReturn:
    """Raise Refused. text is the wrong part, meant the suggestion, and tokens all that was typed."""
    raise Refused(Refusal.NOT_A_COMMAND, text=text, slip=slip, meant=meant, alone=len(tokens) == 1)
