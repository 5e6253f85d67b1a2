"""Delivers a message: in the channel, else through a response_url, else as a DM. Knows nothing of why or when.

What Slack says when it does not take one: https://docs.slack.dev/reference/methods/chat.postMessage#errors
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from bot.core.models import Work
from bot.core.retry import ASKED_LIMIT
from bot.errors import SlackError, SlackPermanentError, SlackRetryableError
from bot.slack.client import TOKEN_FAULTS, SlackClient
from bot.ui.messages import Message

CHANNEL_SECONDS = 1.0
"""Between two messages in one channel: https://docs.slack.dev/apis/web-api/rate-limits#rate-limits__limits-when-posting-messages"""

_THREAD_FAULTS = frozenset(
    {
        "thread_not_found",
        "message_not_found",
        "cannot_reply_to_message",
        "restricted_action_thread_locked",
        "restricted_action_non_threadable_channel",
    }
)
_TOO_LONG = frozenset({"msg_too_long", "msg_blocks_too_long", "invalid_blocks", "invalid_blocks_format"})


@dataclass(frozen=True, slots=True)
class Delivered:
    """How a message got there: ts where it can be edited and threaded, responder whose response_url carried it."""

    ts: str = ""
    responder: int | None = None


class Delivery:
    """Posts to Slack with the bot's token, and to response_urls without."""

    def __init__(self, slack: SlackClient) -> None:
        self._slack = slack

    async def announce(self, work: Work, message: Message, *, thread: bool = False) -> Delivered:
        """Tell a step's channel, by the first way that works there; thread: below its status message, and broadcast.

        Raises SlackPermanentError where no way leads into the channel, SlackRetryableError where one may later.
        """
        channel = work.step.channel_id
        try:
            return Delivered(ts=await self._post(channel, message, work.status_ts if thread else ""))
        except SlackError as failed:
            if not isinstance(failed, SlackPermanentError) and failed.code not in TOKEN_FAULTS:
                raise
            delivery = await self._respond_for(work, message)
            if delivery is None:
                raise
            return delivery

    async def direct(self, user_id: str, message: Message) -> None:
        """Send a person a DM. Raises SlackPermanentError, SlackRetryableError."""
        opened = await self._slack.call("conversations.open", users=user_id)
        channel = opened.get("channel")
        if not isinstance(channel, dict) or not isinstance(channel.get("id"), str):
            raise SlackRetryableError("no_channel_opened")
        await self._post(channel["id"], message, "")

    async def edit(self, channel_id: str, ts: str, message: Message) -> None:
        """Change a message that the bot posted. Raises SlackPermanentError, SlackRetryableError."""
        await self._slack.call("chat.update", channel=channel_id, ts=ts, text=message.text, blocks=message.blocks)

    async def _post(self, channel_id: str, message: Message, thread_ts: str) -> str:
        """Post, with less where Slack does not take all of it: without the thread, without the blocks."""
        fields: dict[str, object] = {"text": message.text, "blocks": message.blocks}
        if thread_ts:
            fields |= {"thread_ts": thread_ts, "reply_broadcast": True}
        try:
            answer = await self._post_fields(channel_id, fields)
        except SlackPermanentError as failed:
            if thread_ts and failed.code in _THREAD_FAULTS:
                return await self._post(channel_id, message, "")
            if failed.code not in _TOO_LONG:
                raise
            answer = await self._post_fields(channel_id, {"text": message.text})
        return str(answer.get("ts", ""))

    async def _post_fields(self, channel_id: str, fields: Mapping[str, object]) -> Mapping[str, object]:
        return await self._slack.call(
            "chat.postMessage", channel=channel_id, unfurl_links=False, unfurl_media=False, **fields
        )

    # --- response_url -------------------------------------------------------------------------------

    async def _respond_for(self, work: Work, message: Message) -> Delivered | None:
        """Use the response_url of somebody who asked in the channel, the newest first; None where none works."""
        for watcher in sorted(work.askers, key=lambda asker: asker.asked_at, reverse=True):
            if watcher.can_respond(work.now):
                with suppress(SlackPermanentError):
                    await self._slack.respond(watcher.response_url, text=message.text, blocks=message.blocks)
                    return Delivered(responder=watcher.id)
        return None


class Pacer:
    """Keeps the messages of each channel about a second apart, by handing out turns; no channel waits for another."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """clock is monotonic, in seconds."""
        self._clock = clock
        self._free_at: dict[str, float] = {}
        self._turns: dict[int, float] = {}

    def wait(self, step_id: int, channel_id: str) -> float:
        """Seconds until it is this step's turn in the channel; 0 takes the turn."""
        now = self._clock()
        turn = self._turns.pop(step_id, None)
        if turn is None:
            turn = max(self._free_at.get(channel_id, now), now)
            self._free_at[channel_id] = turn + CHANNEL_SECONDS
        if turn <= now:
            self._forget(now)
            return 0.0
        self._turns[step_id] = turn
        return turn - now

    def hold(self, channel_id: str, seconds: float) -> None:
        """Slack has limited the channel for so long, within reason."""
        until = self._clock() + min(seconds, ASKED_LIMIT)
        self._free_at[channel_id] = max(self._free_at.get(channel_id, until), until)

    def _forget(self, now: float) -> None:
        """Keep what is remembered as small as what is going on."""
        if len(self._free_at) > _REMEMBERED:
            self._free_at = {channel: at for channel, at in self._free_at.items() if at > now}
        if len(self._turns) > _REMEMBERED:
            self._turns = {step: at for step, at in self._turns.items() if at > now - _TURN_SECONDS}


_REMEMBERED = 5000
_TURN_SECONDS = 60.0
