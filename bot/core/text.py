"""Strings from outside made fit to show: harmless, bounded, escaped. Knows nothing of what they mean."""

import re
import unicodedata

SLACK_ID = re.compile(r"[A-Z0-9]{2,64}", re.ASCII)
"""An id of Slack's: of a person, a channel, a workspace, an organisation. It can stand in a mention as it is."""

TIMESTAMP = re.compile(r"[0-9]{1,20}\.[0-9]{1,20}", re.ASCII)
"""The ts of a message, which names it within its channel, and a thread by its first message."""

# https://docs.slack.dev/messaging/formatting-message-text#escaping
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})

# Categories that draw nothing or turn the text around them: control, format (bidirectional marks,
# zero-width characters), surrogates, private use, line and paragraph separators.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

SAID_LIMIT = 200
"""Characters of ModelsLab's own words that are passed on."""

ELLIPSIS = "…"
_LOOKS_LIKE_A_BACKTICK = "\N{MODIFIER LETTER GRAVE ACCENT}"


def escape(text: str) -> str:
    """Escape the three characters by which Slack's mrkdwn makes mentions, links and entities."""
    return text.translate(_ENTITIES)


def bounded(text: str, limit: int) -> str:
    """Cut text to at most limit characters, the last of them an ellipsis where something was cut."""
    return text if len(text) <= limit else text[: limit - 1] + ELLIPSIS


def harmless(text: str, limit: int) -> str:
    """Show text in one line of at most limit characters, with whatever cannot be seen made visible.

    Only the part that is shown is looked at, so a long text costs no more than a short one.
    """
    shown = text[: limit + 1]
    if not (shown.isascii() and shown.isprintable()):  # as most text is: then all of it can be seen
        shown = "".join(map(_visible, shown))
    return bounded(shown, limit)


def _visible(character: str) -> str:
    if character.isspace():
        return " "
    return "\N{REPLACEMENT CHARACTER}" if unicodedata.category(character) in _UNSEEN else character


def code(text: str, limit: int = 128) -> str:
    """Show text as Slack's inline code: harmless, escaped, and unable to end the code span early.

    >>> code("<!channel>")
    '`&lt;!channel&gt;`'
    """
    return f"`{escape(harmless(text, limit).replace('`', _LOOKS_LIKE_A_BACKTICK)) or ' '}`"
