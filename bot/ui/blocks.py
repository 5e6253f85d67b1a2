"""Block Kit and mrkdwn beyond what slack_sdk.models does: times, mentions, texts within Slack's limits. Pure.

https://docs.slack.dev/reference/block-kit/blocks
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from slack_sdk.models.blocks import ContextBlock, MarkdownTextObject, PlainTextObject, SectionBlock

SECTION_LIMIT = 3000
"""Characters of one section: https://docs.slack.dev/reference/block-kit/blocks/section-block"""

BLOCKS_LIMIT = 13_000
"""Characters of all blocks of one message, as JSON: https://github.com/slackapi/bolt-js/issues/2509"""

LABEL_LIMIT = 75
"""Characters of a button's label, and of an option's text."""

ON_DATE = "{date_short} at {time}"
DAY_AND_TIME = "{date_short_pretty} at {time}"
"""The same, with words for today and the days around it."""

# A mention or a time in angle brackets, or a piece of code, is one word even if it contains spaces.
_WORD = re.compile(r"(?:<[^>]*>|`[^`]*`|[^ ])+")


def plain(text: str) -> PlainTextObject:
    """Text that is shown as it is: `:art:` in a model ID isn't an emoji."""
    return PlainTextObject(text=text, emoji=False)


def context(text: str) -> ContextBlock:
    """Small print, in mrkdwn."""
    return ContextBlock(elements=[MarkdownTextObject(text=text)])


def when(at: float, form: str = "{time}") -> str:
    """A time in each reader's own zone: https://docs.slack.dev/messaging/formatting-message-text#date-formatting."""
    moment = datetime.fromtimestamp(round(at), UTC)
    fallback = f"{moment.day} {moment:%b at %H:%M} UTC" if "date" in form else f"{moment:%H:%M} UTC"
    return f"<!date^{round(at)}^{form}|{fallback}>"


def mention(user_id: str) -> str:
    """A mention. The ID was checked when it was read (bot.slack.payloads)."""
    return f"<@{user_id}>"


def sections(text: str) -> list[SectionBlock]:
    """Mrkdwn in as many sections as it needs, broken between words."""
    parts, part = [], ""
    for word in _WORD.findall(text):
        if part and len(part) + 1 + len(word) > SECTION_LIMIT:
            parts.append(part)
            part = ""
        part = f"{part} {word}" if part else word
    return [SectionBlock(text=MarkdownTextObject(text=each)) for each in [*parts, part]]


def size(blocks: Sequence[Mapping[str, object]]) -> int:
    """How many characters these blocks add to the JSON of a message."""
    return sum(len(json.dumps(block)) + 2 for block in blocks)


def middle(text: str, limit: int) -> str:
    """Text of at most limit characters, shortened in the middle: both ends of a model ID matter."""
    if len(text) <= limit:
        return text
    head = limit // 2
    return f"{text[:head]}…{text[head + 1 - limit :]}"
