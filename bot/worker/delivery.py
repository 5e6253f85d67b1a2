"""Delivers a message: in the channel, else through a response_url. A direct message is a job of its own.

What Slack answers if it doesn't take one: https://docs.slack.dev/reference/methods/chat.postMessage#errors
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from bot.core import timing
from bot.core.models import Claim, JobKind
from bot.core.retry import PAUSE_LIMIT
from bot.core.text import TIMESTAMP
from bot.errors import SlackError, SlackPermanentError, SlackRetryableError
from bot.slack.client import TOKEN_FAULTS, SlackClient
from bot.ui.messages import Message

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

_PATIENT_TRIES = 4
"""How often a channel is tried again (for about 20 s) if Slack refuses the message for a reason that can pass."""

_RESPONSE_URLS_TRIED = 5
"""How many response_urls are tried for one message: a crowd's would take long."""

_REMEMBERED = 5000
"""How many channels are remembered."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """How a message was delivered: ts if it can be edited and have replies, or whose response_url was used."""

    ts: str = ""
    response_url_of: int | None = None


class Delivery:
    """Posts to Slack, with the bot's token or through response_urls."""

    def __init__(self, slack: SlackClient, pacer: "Pacer", *, broadcast: bool = True) -> None:
        """broadcast is whether a reply to a status message is also shown in the channel."""
        self._slack = slack
        self._pacer = pacer
        self._broadcast = broadcast
        self._statuses_in: set[str] = set()

    def take_turn(self, recipient: str, *, status: bool = False) -> float:
        """Take the next turn of a channel or a person. Returns 0, or the seconds after which to ask again.

        A channel gets one status message at a time, so that one in which Slack hangs doesn't take all slots.
        """
        if status and recipient in self._statuses_in:
            return timing.CHANNEL_GAP
        return self._pacer.take_turn(recipient, best_effort=status)

    async def post_status(self, claim: Claim, message: Message) -> Delivered:
        """Post a status message as to_channel() does. Meanwhile, take_turn() lets no other one into its channel."""
        self._statuses_in.add(claim.job.channel_id)
        try:
            return await self.to_channel([claim], message)
        finally:
            self._statuses_in.discard(claim.job.channel_id)

    async def to_channel(self, claims: Sequence[Claim], message: Message, *, thread: bool = False) -> Delivered:
        """Post in the place of jobs in the first way that works there. thread: as a reply to the first status message.

        If the place is a thread, the message stays in it, unless Slack takes no reply there. Raises SlackPermanentError
        if no way works in the channel, SlackRetryableError if one may work later.
        """
        claim = claims[0]
        channel = claim.job.channel_id
        try:
            return Delivered(ts=await self.post(channel, message, channel, self._threaded(claim, thread=thread)))
        except SlackError as error:
            if isinstance(error, SlackRetryableError) and not error.refused:
                raise
            refusal = error
        patient = claim.job.attempts < _PATIENT_TRIES
        try:
            if delivered := await self._respond(claims, message):
                return delivered
        except SlackRetryableError:
            if patient:
                raise
        if patient or refusal.code in TOKEN_FAULTS:
            raise refusal
        raise SlackPermanentError(refusal.code) from refusal  # a direct message may get through

    async def to_person(self, user_id: str, message: Message) -> None:
        """Send a person a direct message. Raises SlackPermanentError, SlackRetryableError."""
        await self.post(await self.open_dm(user_id), message, user_id)

    async def open_dm(self, user_id: str) -> str:
        """The channel of direct messages to a person. Raises SlackPermanentError, SlackRetryableError."""
        opened = await self._slack.call("conversations.open", users=user_id)
        channel = opened.get("channel")
        if not isinstance(channel, dict) or not isinstance(channel.get("id"), str):
            raise SlackRetryableError("no_channel_opened")
        return str(channel["id"])

    async def post(
        self, channel_id: str, message: Message, recipient: str, threaded: Mapping[str, object] | None = None
    ) -> str:
        """Post in a channel, and return the message's ts. Raises SlackPermanentError, SlackRetryableError.

        If Slack doesn't take all of it, post less: without the thread, without the blocks. recipient is the person or
        the channel whose turn was taken, and who gets nothing more while Slack asks for a pause.
        """
        blocks: Mapping[str, object] = {"blocks": message.blocks}
        while True:
            try:
                return await self._post(channel_id, recipient, text=message.text, **blocks, **(threaded or {}))
            except SlackPermanentError as error:
                if threaded and error.code in _THREAD_FAULTS:
                    threaded = None
                elif blocks and error.code in _TOO_LONG:
                    blocks = {}
                else:
                    raise

    async def _post(self, channel_id: str, recipient: str, **fields: object) -> str:
        try:
            answer = await self._slack.call(
                "chat.postMessage", channel=channel_id, unfurl_links=False, unfurl_media=False, **fields
            )
        except SlackError as error:
            if error.wait is not None:
                self._pacer.hold(recipient, error.wait)
            raise
        ts = str(answer.get("ts"))
        return ts if TIMESTAMP.fullmatch(ts) else ""  # a message without one can't be edited

    def _threaded(self, claim: Claim, *, thread: bool) -> Mapping[str, object]:
        """The fields that put a message into a thread, if it belongs there."""
        if claim.job.thread_ts:
            return {"thread_ts": claim.job.thread_ts}
        if thread and claim.status_ts:
            return {"thread_ts": claim.status_ts, "reply_broadcast": self._broadcast}
        return {}

    async def edit(self, channel_id: str, ts: str, message: Message) -> None:
        """Change a message that the bot posted. Raises SlackPermanentError, SlackRetryableError."""
        await self._slack.call("chat.update", channel=channel_id, ts=ts, text=message.text, blocks=message.blocks)

    async def _respond(self, claims: Sequence[Claim], message: Message) -> Delivered | None:
        """Use the response_url of one of the newest requests in the same place; None if none works.

        Raises SlackRetryableError if one may work later. A status message leaves the last use for the follow-up.
        """
        job, now = claims[0].job, claims[0].now
        spare = int(job.kind is JobKind.STATUS)
        message = message.fixed or message
        fields = {"text": message.text, "blocks": message.blocks}
        fields |= {"thread_ts": job.thread_ts} if job.thread_ts else {}
        usable = [one for claim in claims for one in claim.in_place if one.can_respond(now, spare=spare)]
        for subscriber in sorted(usable, key=lambda one: one.requested_at, reverse=True)[:_RESPONSE_URLS_TRIED]:
            with suppress(SlackPermanentError):
                await self._slack.respond(subscriber.response_url, **fields)
                return Delivered(response_url_of=subscriber.id)
        return None


class Pacer:
    """Spaces the messages of each channel. Channels don't wait for each other.

    Nothing is queued: a message that has to wait asks again later, and may be merged with others by then. A
    best-effort message lets waiting guaranteed ones go first.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._free_at: dict[str, float] = {}
        self._wanted_at: dict[str, float] = {}

    def take_turn(self, channel_id: str, *, best_effort: bool) -> float:
        """Take the next turn in a channel. Returns 0, or the seconds after which to ask again."""
        now = self._clock()
        at = self._free_at.get(channel_id, now)
        if best_effort:
            at = max(at, self._wanted_at.get(channel_id, -math.inf) + timing.CHANNEL_GAP)
        if at <= now:
            self._free_at[channel_id] = now + timing.CHANNEL_GAP
            self._forget(now)
            return 0.0
        if not best_effort:
            self._wanted_at[channel_id] = at
        return at - now

    def hold(self, channel_id: str, seconds: float) -> None:
        """Post nothing in the channel for so long, because Slack asked for a pause; PAUSE_LIMIT at most."""
        until = self._clock() + min(seconds, PAUSE_LIMIT)
        self._free_at[channel_id] = max(self._free_at.get(channel_id, until), until)

    def _forget(self, now: float) -> None:
        """Forget channels that are free, so that memory stays bounded."""
        for times in (self._free_at, self._wanted_at):
            if len(times) > _REMEMBERED:
                for channel in [channel for channel, at in times.items() if at <= now - timing.CHANNEL_GAP]:
                    del times[channel]
