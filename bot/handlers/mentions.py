"""Mentions of the bot, which also work in threads, and direct messages to it.

They do what the slash command does. A request in a thread is answered there.
https://docs.slack.dev/reference/events/app_mention
"""

import html
import re
from collections.abc import Sequence

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
from slack_bolt.response import BoltResponse

from bot.core.access import Person
from bot.core.background import BackgroundTasks
from bot.core.command import Word
from bot.errors import SlackError
from bot.handlers.access import Access, Next, identify
from bot.handlers.commands import Typed, read_typed, wanted_model
from bot.slack import payloads
from bot.slack.client import SlackClient
from bot.slack.payloads import Fields
from bot.ui.buttons import Button
from bot.ui.messages import Message

_MENTION = re.compile(r"<@[A-Z0-9]+(?:\|[^>]*)?>", re.ASCII)

log = structlog.get_logger(__name__)


class Mentions:
    """Reads what people write to the bot, and answers it."""

    def __init__(self, slack: SlackClient, background: BackgroundTasks) -> None:
        self._slack = slack
        self._background = background

    async def read(
        self, event: Fields, body: Fields, context: AsyncBoltContext, ack: AsyncAck, next_: Next
    ) -> BoltResponse | None:
        """Middleware: who wrote what, and where. Only new messages of people count: no bots, no edits."""
        in_dm = event.get("channel_type") == "im"
        is_for_us = event["type"] == "app_mention" or in_dm
        if not is_for_us or any(event.get(name) for name in ("bot_id", "subtype", "edited")):
            return await ack()
        person = payloads.message_author(body)
        text = html.unescape(_after_mention(payloads.text(event["text"]), payloads.bot_user_id(body)))
        context["invocation_id"] = payloads.token(body["event_id"])
        context["answer_url"] = ""
        read_typed(context, text)

        async def show(message: Message) -> BoltResponse:
            self._background.start(self._answer(person, message, privately=not in_dm))
            return await ack()

        async def reply(text: str, buttons: Sequence[Button] = (), /) -> BoltResponse:
            return await show(Message(text, buttons=buttons))

        context["show"] = show
        identify(context, person, text, reply, wanted_model(context))
        await next_()
        return None

    async def _answer(self, person: Person, message: Message, *, privately: bool) -> None:
        fields: dict[str, object] = {"text": message.text, "blocks": message.blocks}
        if person.thread_ts:
            fields["thread_ts"] = person.thread_ts
        try:
            if privately:
                await self._slack.call("chat.postEphemeral", channel=person.channel_id, user=person.user_id, **fields)
            else:
                await self._slack.call("chat.postMessage", channel=person.channel_id, **fields)
        except SlackError as failed:
            log.warning("answer_not_sent", user=person.user_id, reason=failed.code)


def register(app: AsyncApp, typed: Typed, access: Access, mentions: Mentions) -> None:
    """Register the listeners for mentions and direct messages."""

    async def allowed(context: AsyncBoltContext, next_: Next) -> None:
        """Help is for everybody but strangers, access for admins; the rest for people who can reload models here."""
        of_word = {Word.HELP: access.colleague, Word.ACCESS: access.admin}
        wanted = context["wanted"]
        may = of_word.get(wanted, access.in_channel) if isinstance(wanted, Word) else access.in_channel
        await may(context, next_)

    @app.event("app_mention", middleware=[mentions.read, allowed])
    @app.event("message", middleware=[mentions.read, allowed])
    async def written(context: AsyncBoltContext) -> None:
        await typed.carry_out(context)


def _after_mention(text: str, bot_user_id: str) -> str:
    """The text after the mention of the bot: "sdxl" in "hi @reload-model sdxl", nothing in "thanks @reload-model"."""
    ours = next((found for found in _MENTION.finditer(text) if bot_user_id in found[0]), None)
    return text if ours is None else text[ours.end() :]
