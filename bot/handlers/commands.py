"""What people type: the slash command, and mentions and direct messages, which do the same.

parse → access → request → ack. A mention also works in a thread, and is answered there.
https://docs.slack.dev/reference/events/app_mention
"""

import html
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
from slack_bolt.response import BoltResponse

from bot import metrics
from bot.background import BackgroundTasks
from bot.core.command import (
    FOR_ADMINS,
    FOR_EVERYBODY,
    Command,
    Pick,
    ReloadModels,
    Word,
    after_mention,
    mention_of,
    parse,
)
from bot.core.models import Person
from bot.core.text import code, harmless
from bot.errors import Refusal, Refused, SlackError, SlackPermanentError
from bot.handlers.access import Access, Next, Reply, SlackRequest
from bot.handlers.picker import Picker
from bot.handlers.store import LISTED_RECENT, LISTED_RUNNING
from bot.slack import payloads
from bot.slack.client import SlackClient
from bot.slack.payloads import Fields
from bot.storage import history, requests
from bot.ui import lists, messages
from bot.ui.grants import access_message
from bot.ui.messages import Message
from bot.ui.reasons import sentence

_ANY = re.compile(r"/.+")
_NAME_LIMIT = 40

EVENTS_REMEMBERED = 1000

# A reply in a thread can also be shown in the channel: https://docs.slack.dev/reference/events/message/thread_broadcast
# In a DM, that may be the bot's own follow-up, which Slack doesn't always mark as a bot's.
_NEW_MESSAGES = {"app_mention": (None, "file_share", "thread_broadcast"), "message": (None, "file_share")}

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Typed(SlackRequest):
    """What somebody typed. wanted is a slip if it can't be read: it is only explained to people with access."""

    wanted: Command | Refused


def read_typed(
    text: str, called: str, person: Person, reply: Reply, invocation_id: str, response_url: str = ""
) -> Typed:
    """What a text after the slash command, or after a mention, asks for. called is that command or mention."""
    wanted: Command | Refused
    try:
        wanted = parse(text, called[1:])
    except Refused as slip:
        wanted = slip
    return Typed(
        person=person,
        what=text,
        reply=reply,
        of=wanted.model_ids[0] if isinstance(wanted, ReloadModels) else "",
        called=called,
        invocation_id=invocation_id,
        response_url=response_url,
        wanted=wanted,
    )


async def read_command(command: Fields, context: AsyncBoltContext, ack: AsyncAck, next_: Next) -> None:
    """Middleware: who typed what."""
    called = payloads.text(command["command"])

    async def reply(message: Message) -> BoltResponse:
        # Somebody who is refused typed only the command. No form opens for them, so they also get help.
        if isinstance(slack_request.wanted, Pick):
            message = replace(message, headline=f"{message.headline}\n\n{messages.help_text(called)}")
        return await ack(message.text, blocks=message.blocks if message.is_rich else None, response_type="ephemeral")

    slack_request = context["slack_request"] = read_typed(
        payloads.text(command.get("text", "")),
        called,
        payloads.command_author(command),
        reply,
        payloads.token(command["trigger_id"]),
        payloads.token(command["response_url"]),
    )
    await next_()


class Mentions:
    """Reads what people write to the bot, and answers it."""

    def __init__(self, slack: SlackClient, background: BackgroundTasks, command: str) -> None:
        """command is the name of the slash command."""
        self._slack = slack
        self._background = background
        self._called = mention_of(command)
        self._answered: deque[str] = deque(maxlen=EVENTS_REMEMBERED)
        """IDs of events. Slack delivers an event up to three times more if its acknowledgement comes late or is lost.

        Another replica doesn't know them, and may answer once more. https://docs.slack.dev/apis/events-api#retries
        """

    async def read(
        self, event: Fields, body: Fields, context: AsyncBoltContext, ack: AsyncAck, next_: Next
    ) -> BoltResponse | None:
        """Middleware: who wrote what, and where. Only new messages of people count: no bots, no edits."""
        in_dm = event.get("channel_type") == "im"
        is_for_us = event["type"] == "app_mention" or in_dm
        is_new = not event.get("edited") and event.get("subtype") in _NEW_MESSAGES[event["type"]]
        if not is_for_us or not is_new or event.get("bot_id"):
            return await ack()
        event_id = payloads.token(body["event_id"])
        if event_id in self._answered:
            return await ack()
        person = payloads.message_author(body)
        text = html.unescape(payloads.text(after_mention(event["text"], payloads.bot_user_id(body))))

        async def reply(message: Message) -> BoltResponse:
            if event_id not in self._answered:  # of two deliveries at once, the second one is only acknowledged
                self._answered.append(event_id)
                self._background.start(self._answer(person, message, privately=not in_dm))
            return await ack()

        context["slack_request"] = read_typed(text, self._called, person, reply, event_id)
        await next_()
        return None

    async def _answer(self, person: Person, message: Message, *, privately: bool) -> None:
        """Best-effort: the request has been carried out. If Slack takes no answer there, they get a direct message."""
        fields: dict[str, object] = {"channel": person.channel_id, "text": message.text, "blocks": message.blocks}
        if person.thread_ts:
            fields["thread_ts"] = person.thread_ts

        async def post() -> None:
            if privately:
                await self._slack.call("chat.postEphemeral", user=person.user_id, **fields)
            else:
                await self._slack.call("chat.postMessage", **fields)

        try:
            await self._slack.patiently(post)
        except SlackError as failed:
            if privately and isinstance(failed, SlackPermanentError):
                # A person's ID stands for the direct messages to them:
                # https://docs.slack.dev/reference/methods/chat.postMessage#app_home
                message = messages.as_direct_message(message, person.channel_id)
                await self._answer(replace(person, channel_id=person.user_id, thread_ts=""), message, privately=False)
            else:
                log.warning("answer_not_sent", user=person.user_id, reason=failed.code)


def register(app: AsyncApp, access: Access, picker: Picker, mentions: Mentions, name: str) -> None:
    """Register the listeners for the slash command of this name, one of another name, mentions and direct messages."""
    store = access.store

    async def access_to_word(slack_request: Typed, next_: Next) -> None:
        """Middleware: some subcommands are for everybody, some for admins, the rest for people who can reload."""
        if slack_request.wanted in FOR_EVERYBODY:
            await access.colleague(slack_request, next_)
        elif slack_request.wanted in FOR_ADMINS:
            await access.admin(slack_request, next_)
        else:
            await access.in_channel(slack_request, next_)

    @app.command(name, middleware=[read_command, access.remember, access_to_word])
    @app.event("app_mention", middleware=[mentions.read, access_to_word])
    @app.event("message", middleware=[mentions.read, access_to_word])
    async def reload_model(slack_request: Typed, ack: AsyncAck) -> None:
        """Do what is wanted. Raises Refused."""
        match slack_request.wanted:
            case Refused() as slip:
                raise slip
            case ReloadModels([model_id]):
                asked = await store.request(requests.ask, slack_request.for_reload(model_id))
                await slack_request.reply(Message(access.answer_to(slack_request, asked)))
            case ReloadModels(model_ids):
                await slack_request.reply(Message(await _reload_each(slack_request, access, model_ids)))
            case Pick() if slack_request.person.by_command:
                access.record(slack_request, "picker")
                picker.open(
                    slack_request.invocation_id, slack_request.person.channel_id, answer_url=slack_request.response_url
                )
                await ack()
            case wanted:
                word = Word.HELP if isinstance(wanted, Pick) else wanted  # after a mention, no form can open
                message = await _shown(word, slack_request.person, access, name)
                access.record(slack_request, word)
                await slack_request.reply(message)

    @app.command(_ANY)
    async def unknown(ack: AsyncAck, command: Fields) -> None:
        """The Slack app's page has a different name for the command, or more than one command."""
        other = payloads.text(command["command"])
        metrics.COMMANDS.labels(Refusal.UNKNOWN_COMMAND).inc()
        log.warning("command", outcome=Refusal.UNKNOWN_COMMAND.value, command=harmless(other, _NAME_LIMIT))
        await ack(sentence(Refused(Refusal.UNKNOWN_COMMAND, typed=other), name), response_type="ephemeral")


async def _reload_each(slack_request: SlackRequest, access: Access, model_ids: Sequence[str]) -> str:
    """Request several models. The answer has a line for each."""
    lines = []
    asked = [slack_request.for_reload(model_id) for model_id in model_ids]
    for model_id, answer in zip(model_ids, await access.store.request(requests.ask_each, asked), strict=True):
        if isinstance(answer, Refused):
            access.record(slack_request, answer.reason, rule=answer.rule)
            lines.append(f"{code(model_id)}: {sentence(answer, slack_request.called)}")
        else:
            lines.append(access.answer_to(slack_request, answer))
    return "\n".join(lines)


async def _shown(word: Word, person: Person, access: Access, name: str) -> Message:
    """The answer to a subcommand. Its buttons post to the channel in which it was typed."""
    store = access.store
    match word:
        case Word.HELP:
            return Message(messages.help_text(name, admin=person.user_id in access.allowlist.admins))
        case Word.ACCESS:
            return access_message(await access.listed())
        case Word.STATUS:
            entries, count = await store.read(history.running, LISTED_RUNNING)
            return lists.running(entries, count, person)
        case Word.HISTORY:
            recent = await store.read(history.recent, LISTED_RECENT)
            return lists.history(recent, store.reload_seconds, person)
        case _:
            assert_never(word)
