"""Block Kit, as far as it is used here. Pure: knows nothing of what is said with it.

https://docs.slack.dev/reference/block-kit/blocks
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from bot.ui.buttons import Button

Block = Mapping[str, object]

SECTION_LIMIT = 3000
"""Characters of one section: https://docs.slack.dev/reference/block-kit/blocks/section-block"""

LABEL_LIMIT = 75
"""Characters of a button's label, and of an option's text."""


def plain(text: str) -> Block:
    """Text that is shown as it is."""
    return {"type": "plain_text", "text": text, "emoji": False}


def mrkdwn(text: str) -> Block:
    """Text in Slack's markup."""
    return {"type": "mrkdwn", "text": text}


def section(text: str, accessory: Block | None = None) -> Block:
    """One section of markup, with at most one element beside it."""
    block: Block = {"type": "section", "text": mrkdwn(text)}
    return block if accessory is None else {**block, "accessory": accessory}


def sections(text: str) -> list[Block]:
    """Markup in as many sections as it takes, broken between words."""
    return [section(part) for part in _parts(text, SECTION_LIMIT)]


def context(text: str) -> Block:
    """Small print."""
    return {"type": "context", "elements": [mrkdwn(text)]}


def header(text: str) -> Block:
    """A headline, at most 150 characters."""
    return {"type": "header", "text": plain(text)}


def button(shown: Button, position: int = 0) -> Block:
    """A button, as an element: for a block that has others, at its position among them."""
    label = middle(shown.label, LABEL_LIMIT)
    return {"type": "button", "text": plain(label), "action_id": shown.action_id(position), "value": shown.value}


def actions(buttons: Sequence[Button]) -> Block:
    """A row of buttons."""
    return {"type": "actions", "elements": [button(shown, position) for position, shown in enumerate(buttons)]}


def middle(text: str, limit: int) -> str:
    """Text of at most limit characters, shortened in the middle: of a model's id, both ends tell."""
    if len(text) <= limit:
        return text
    head = limit // 2
    return f"{text[:head]}…{text[head + 1 - limit :]}"


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
