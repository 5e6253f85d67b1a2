"""Reads text from outside, and makes it safe to show: everything in it visible, bounded and escaped."""

import json
import re
import unicodedata
from collections.abc import Mapping

SLACK_ID = re.compile(r"[A-Z0-9]{2,64}", re.ASCII)
"""A Slack ID: of a person, a channel, a workspace or an organisation. It can be used in a mention as it is."""

TIMESTAMP = re.compile(r"[0-9]{1,20}\.[0-9]{1,20}", re.ASCII)
"""The ts of a message, which identifies it in its channel. A thread has the ts of its first message."""

# https://docs.slack.dev/messaging/formatting-message-text#escaping
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})

# Categories that are invisible or change the text around them: control, format (bidirectional marks,
# zero-width characters), surrogates, private use, line and paragraph separators.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

SAID_LIMIT = 200
"""How many characters of ModelsLab's own words are passed on."""

ELLIPSIS = "…"
_LOOKS_LIKE_A_BACKTICK = "\N{MODIFIER LETTER GRAVE ACCENT}"


def json_fields(text: str | bytes) -> Mapping[str, object]:
    """The JSON object in what another program sent, or an empty one for anything else."""
    try:
        value = json.loads(text if isinstance(text, str) else text.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def escape(text: str) -> str:
    """Escape the three characters that start mentions, links and entities in Slack's mrkdwn."""
    return text.translate(_ENTITIES)


def bounded(text: str, limit: int) -> str:
    """Cut text to at most limit characters. If something was cut, the last one is an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + ELLIPSIS


def harmless(text: str, limit: int) -> str:
    """Put text on one line of at most limit characters, with invisible characters replaced by visible ones.

    Only the part that is shown is examined, so a long text costs no more than a short one.
    """
    shown = text[: limit + 1]
    if not (shown.isascii() and shown.isprintable()):  # most text needs no change
        shown = "".join(map(_visible, shown))
    return bounded(shown, limit)


def _visible(character: str) -> str:
    if character.isspace():
        return " "
    return "\N{REPLACEMENT CHARACTER}" if unicodedata.category(character) in _UNSEEN else character


def code(text: str, limit: int = 128) -> str:
    """Format text as Slack's inline code: harmless, escaped, and unable to end the code early.

    >>> code("<!channel>")
    '`&lt;!channel&gt;`'
    """
    return f"`{escape(harmless(text, limit).replace('`', _LOOKS_LIKE_A_BACKTICK)) or ' '}`"
