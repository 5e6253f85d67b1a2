"""A workspace: its channels, its people, what was said, and Slack's rules for saying it.

Knows nothing of HTTP. The errors are those that https://docs.slack.dev/reference/methods lists.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from bot.sandbox import block_kit
from bot.sandbox.bell import Bell
from bot.sandbox.block_kit import Button
from bot.sandbox.wire import JsonObject, JsonValue, text_of

# https://docs.slack.dev/reference/block-kit/blocks and, for the text, chat.postMessage's own page.
_MOST_TEXT = 40_000
_MOST_BLOCKS = 50
_MOST_BLOCK_CHARACTERS = 13_200

_PERSON = ("U", "W")

Via = Literal["ack", "api", "dm", "ephemeral", "response_url"]


class Refused(Exception):  # noqa: N818 - it is Slack's answer, and as such no error of the program
    """Slack says no. Carries its error code, and what it says of each fault where it says more."""

    def __init__(self, code: str, messages: tuple[str, ...] = ()) -> None:
        super().__init__(": ".join([code, *messages]))
        self.code = code
        self.messages = messages


@dataclass(frozen=True, slots=True)
class Channel:
    """A conversation: a channel (`C…`, `G…`), or a direct message (`D…`); `person` has this DM with the bot."""

    id: str
    name: str
    bot_is_member: bool = True
    private: bool = False
    archived: bool = False
    person: str | None = None


@dataclass(slots=True)
class Message:
    """What people see in one place. `user` is the one person who sees it, None where the channel does.

    `text` and `blocks` are as they stand now; `edits` holds the texts that stood there before. A message
    by "ack" or "response_url" has a `ts` too, which nobody but this workspace knows.
    """

    channel: str
    ts: str
    text: str
    blocks: list[JsonObject]
    via: Via
    at: float
    user: str | None = None
    thread_ts: str | None = None
    broadcast: bool = False
    edits: list[str] = field(default_factory=list)

    @property
    def buttons(self) -> list[Button]:
        """The buttons under it and beside its sections, from top to bottom."""
        return block_kit.buttons(self.blocks)

    @property
    def is_ephemeral(self) -> bool:
        """Whether it is one person's only, in a place of others too."""
        return self.user is not None and self.via != "dm"

    @property
    def response_type(self) -> Literal["ephemeral", "in_channel"]:
        """Who sees it, in the words of a response_url."""
        return "ephemeral" if self.user else "in_channel"


def _unheard(_message: Message) -> None:
    """Stand in where nobody listens."""


class Workspace:
    """Channels, people and messages, with the time given by `clock` in Unix seconds.

    `scopes` may be changed: without chat:write.public, a public channel wants the bot as its member.
    `messages_tab` switched off makes every DM from the bot fail. The accounts of people in `deactivated` are.
    `user_groups` are lists of people by the group's id; those in `disabled_groups` are switched off.
    `on_message` is called with each message at once, and again after each edit.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.bell = Bell()
        self.team_id, self.app_id = "T0TRYOUT", "A0TRYOUT"
        self.bot_user_id, self.bot_id = "U0BOT", "B0BOT"
        self.channels: dict[str, Channel] = {}
        self.users: dict[str, str] = {}
        self.deactivated: set[str] = set()
        self.user_groups: dict[str, list[str]] = {}
        self.disabled_groups: set[str] = set()
        self.messages: list[Message] = []
        self.scopes = {"commands", "chat:write", "chat:write.public", "im:write"}
        self.messages_tab = True
        self.on_message: Callable[[Message], None] = _unheard
        self._last_ts = 0

    def add_channel(
        self, channel_id: str, name: str, *, bot_is_member: bool = True, private: bool = False, archived: bool = False
    ) -> None:
        """Add a channel, or replace it."""
        self.channels[channel_id] = Channel(channel_id, name, bot_is_member, private, archived)

    def add_user(self, user_id: str, name: str) -> None:
        """Give a person a name to show. Ids without one are people too."""
        self.users[user_id] = name

    async def wait_for(self, wanted: Callable[[Message], bool], *, within: float = 10.0) -> Message:
        """Wait for a message like this one, among those that are there and those to come.

        Raises TimeoutError, with what was there instead, after `within` seconds.
        """
        found = await self.bell.until(lambda: [m for m in self.messages if wanted(m)], within, self._summary)
        return found[0]

    async def wait_until(self, true: Callable[[], bool], *, within: float = 10.0) -> None:
        """Wait until this is true, looking again whenever something happens in this workspace.

        Raises TimeoutError, with what was there instead, after `within` seconds.
        """
        await self.bell.until(true, within, self._summary)

    def dm(self, user_id: str) -> str:
        """Open the DM between the bot and a person, and return its id.

        Raises Refused for an id that is no person's.
        """
        if not user_id.startswith(_PERSON):
            raise Refused("user_not_found")
        channel_id = f"D{user_id}"
        self.channels.setdefault(channel_id, Channel(channel_id, "directmessage", private=True, person=user_id))
        return channel_id

    def writable(self, channel_id: str) -> Channel:
        """Find the channel in which the bot means to post. A person's id stands for their DM.

        Raises Refused where Slack would not let it.
        """
        if channel_id.startswith(_PERSON):
            channel_id = self.dm(channel_id)
        channel = self.channels.get(channel_id)
        if channel is None or (channel.private and not channel.bot_is_member):
            raise Refused("channel_not_found")
        if channel.archived:
            raise Refused("is_archived")
        if not channel.bot_is_member and "chat:write.public" not in self.scopes:
            raise Refused("not_in_channel")
        if channel.person and not self.messages_tab:
            raise Refused("messages_tab_disabled")
        return channel

    def say(
        self, channel: str, content: JsonObject, via: Via, *, user: str | None = None, thread_ts: str | None = None
    ) -> Message:
        """Record a message. `content` holds `text`, `blocks` and `reply_broadcast`, as the Web API takes them.

        Raises Refused where Slack would find fault with the content.
        """
        text, blocks = checked(content)
        message = Message(channel, self._new_ts(), text, blocks, via, self.clock(), user, thread_ts)
        message.broadcast = content.get("reply_broadcast") in (True, "true", "1")
        self.messages.append(message)
        self._changed(message)
        return message

    def edit(self, channel: str, ts: str, content: JsonObject) -> Message:
        """Replace a message that the bot posted with the Web API.

        Raises Refused for any other message, and for faults of the content.
        """
        checked(content)
        message = next((m for m in self.messages if (m.channel, m.ts) == (channel, ts)), None)
        if message is None or message.via in ("ack", "ephemeral"):
            raise Refused("message_not_found")
        if message.via == "response_url":
            raise Refused("cant_update_message")
        self.replace(message, content)
        return message

    def replace(self, message: Message, content: JsonObject) -> None:
        """Put other content in a message's place. Raises Refused for faults of the content."""
        text, blocks = checked(content)
        message.edits.append(message.text)
        message.text, message.blocks = text, blocks
        self._changed(message)

    def delete(self, message: Message) -> None:
        """Take a message away; one that is gone already is no matter."""
        self.messages[:] = [each for each in self.messages if each is not message]
        self.bell.ring()

    def _changed(self, message: Message) -> None:
        self.on_message(message)
        self.bell.ring()

    def _new_ts(self) -> str:
        # Microseconds in whole numbers: no two messages share a ts, however fast they come.
        self._last_ts = max(self._last_ts + 1, int(self.clock() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def _summary(self) -> str:
        lines = [f"  {m.via} {m.channel} {m.user or 'all'}: {m.text!r}" for m in self.messages]
        return "\n".join([f"{len(lines)} messages were there:", *lines])


def checked(content: JsonObject) -> tuple[str, list[JsonObject]]:
    """Read the text and the blocks of a message, the blocks as JSON or as a string of it.

    Raises Refused for faults of either.
    """
    text, blocks = text_of(content.get("text")), _blocks(content.get("blocks") or [])
    if not text and not blocks:
        raise Refused("no_text")
    if len(text) > _MOST_TEXT:
        raise Refused("msg_too_long")
    return text, blocks


def _blocks(value: JsonValue) -> list[JsonObject]:
    try:
        listed: JsonValue = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise Refused("invalid_blocks_format") from None
    if not isinstance(listed, list):
        raise Refused("invalid_blocks_format")
    blocks = [block for block in listed if isinstance(block, dict) and text_of(block.get("type"))]
    if len(blocks) != len(listed) or len(blocks) > _MOST_BLOCKS:
        raise Refused("invalid_blocks")
    if faults := block_kit.faults_of_message(blocks):
        raise Refused("invalid_blocks", tuple(faults))
    if len(json.dumps(blocks)) > _MOST_BLOCK_CHARACTERS:
        raise Refused("msg_blocks_too_long")
    return blocks
