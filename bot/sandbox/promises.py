"""What the bot promised to people, and whether it kept its word. Goes by what people can read, and nothing else."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bot.sandbox.workspace import Message

_PROMISE = re.compile(
    r"(?:Reloading `(?P<started>[^`]+)`|`(?P<joined>[^`]+)` is being reloaded already)"
    r".*\(reload `(?P<reload>[^`]+)`\)",
    re.DOTALL,
)
_KEPT = ("should be ready now", "was not reloaded")


@dataclass(frozen=True, slots=True)
class Promise:
    """A person was told that they will hear, in the channel where they asked, how a reload went."""

    user: str
    channel: str
    model_id: str
    reload_id: str

    def kept_by(self, messages: Sequence[Message]) -> bool:
        """Whether one of these messages is the one that was promised."""
        return any(message.channel == self.channel and self._told_by(message.text) for message in messages)

    def _told_by(self, text: str) -> bool:
        to_the_person = f"<@{self.user}>" in text and f"`{self.reload_id}`" in text
        return to_the_person and any(words in text for words in _KEPT)


def promise(ack: str, user: str, channel: str) -> Promise | None:
    """Find the promise in an ack: of a reload that was started, or joined. None where it makes none."""
    found = _PROMISE.match(ack)
    if found is None:
        return None
    return Promise(user, channel, found["started"] or found["joined"], found["reload"])
