"""A workspace: its channels, its people, what was said, and Slack's rules for saying it.

The errors are those that https://docs.slack.dev/reference/methods lists.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from bot.sandbox.changes import Changes
from bot.sandbox.slack.blocks import Button, checked_blocks, rows
from bot.sandbox.wire import ApiError, JsonObject

_MESSAGE_TEXT = 40_000
"""https://docs.slack.dev/reference/methods/chat.postMessage#truncating."""

Via = Literal["ack", "api", "dm", "response_url"]


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
    """What people see in one channel. `user` is the one person who sees it, None where everybody does.

    `text` and `blocks` are as they stand now; `edits` holds the earlier texts. `via` is the way it came: an ack or
    a response_url gives it a `ts` that the app never learns. `at` is in Unix seconds.
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
        return [button for row in rows(self.blocks) for button in row.buttons]

    @property
    def json(self) -> JsonObject:
        """The message as Slack sends it."""
        shown: JsonObject = {"type": "message", "text": self.text, "ts": self.ts, "blocks": self.blocks}
        shown |= {"subtype": "thread_broadcast"} if self.broadcast else {}
        return shown | ({"thread_ts": self.thread_ts} if self.thread_ts else {})


class Workspace:
    """Channels, people and messages; `clock` gives the time in Unix seconds.

    `scopes` can be changed: without chat:write.public, the bot must be a member of a public channel to post there.
    Without `messages_tab`, every DM from the bot fails. The accounts of people in `deactivated` are switched off.
    `users` are people's names by their ids; ids without a name work too. `user_teams` are what an interaction says is
    a person's team, where that isn't this workspace.
    `threads` are by channel: the thread of the last message there that everybody sees, which it begins or is in.
    `on_message` is called with each new message, and again after each edit.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.changes = Changes()
        self.team_id, self.app_id = "T0SANDBOX", "A0SANDBOX"
        self.bot_user_id, self.bot_id = "U0BOT", "B0BOT"
        self.enterprise_id: str | None = None
        self.channels: dict[str, Channel] = {}
        self.users: dict[str, str] = {}
        self.user_teams: dict[str, str] = {}
        self.deactivated: set[str] = set()
        self.messages: list[Message] = []
        self.threads: dict[str, str] = {}
        self.scopes = {"commands", "chat:write", "chat:write.public", "im:write", "app_mentions:read", "im:history"}
        self.messages_tab = True
        self.on_message: Callable[[Message], None] = lambda _message: None
        self._last_ts = 0

    def add_channel(
        self, channel_id: str, name: str, *, bot_is_member: bool = True, private: bool = False, archived: bool = False
    ) -> None:
        """Add a channel, or replace it."""
        self.channels[channel_id] = Channel(channel_id, name, bot_is_member, private, archived)

    async def wait_until(self, true: Callable[[], bool], *, within: float = 10.0) -> None:
        """Wait until this is true, looking again after every change in this workspace. Raises TimeoutError."""
        await self.changes.until(true, within, lambda: "\n".join(["there were:", *map(repr, self.messages)]))

    def dm(self, user_id: str) -> str:
        """Open the DM between the bot and a person, and return its id. Raises ApiError for an id of another kind."""
        if not user_id.startswith(("U", "W")):
            raise ApiError("user_not_found")
        channel_id = f"D{user_id}"
        self.channels.setdefault(channel_id, Channel(channel_id, "directmessage", private=True, person=user_id))
        return channel_id

    def writable(self, channel_id: str) -> Channel:
        """Find where the bot wants to post; a person's id stands for their DM. Raises ApiError where it can't."""
        if channel_id.startswith(("U", "W")):
            channel_id = self.dm(channel_id)
        channel = self.channels.get(channel_id)
        if channel is None or (channel.private and not channel.bot_is_member):
            raise ApiError("channel_not_found")
        if channel.archived:
            raise ApiError("is_archived")
        if not channel.bot_is_member and "chat:write.public" not in self.scopes:
            raise ApiError("not_in_channel")
        if channel.person and not self.messages_tab:
            raise ApiError("messages_tab_disabled")
        return channel

    def say(
        self, channel: str, content: JsonObject, via: Via, *, user: str | None = None, thread_ts: str | None = None
    ) -> Message:
        """Add a message, with content as the Web API takes it. Raises ApiError where Slack would refuse that."""
        text, blocks = _checked(content)
        broadcast = content.get("reply_broadcast") in (True, "true")
        message = Message(channel, self.new_ts(), text, blocks, via, self.clock(), user, thread_ts, broadcast)
        self.messages.append(message)
        if user is None:
            self.threads[channel] = thread_ts or message.ts
        self._changed(message)
        return message

    def edit(self, channel: str, ts: str, content: JsonObject) -> Message:
        """Change what the bot posted with the Web API. Raises ApiError for other messages, and bad content."""
        message = next((m for m in self.messages if (m.channel, m.ts) == (channel, ts)), None)
        if message is None or message.via == "ack":
            raise ApiError("message_not_found")
        if message.via == "response_url":
            raise ApiError("cant_update_message")
        text, blocks = _checked(content)
        message.edits.append(message.text)
        message.text, message.blocks = text, blocks
        self._changed(message)
        return message

    def new_ts(self) -> str:
        """Make the timestamp of a message or an event: no two are alike, however fast they come."""
        self._last_ts = max(self._last_ts + 1, int(self.clock() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def _changed(self, message: Message) -> None:
        self.on_message(message)
        self.changes.notify()


def _checked(content: JsonObject) -> tuple[str, list[JsonObject]]:
    text, blocks = content.get("text") or "", checked_blocks(content.get("blocks") or [])
    if not text and not blocks:
        raise ApiError("no_text")
    if len(text) > _MESSAGE_TEXT:
        raise ApiError("msg_too_long")
    return text, blocks
