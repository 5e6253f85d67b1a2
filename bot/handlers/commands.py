"""The slash command: parse → access → request → ack."""

import re
from collections.abc import Sequence

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
from slack_bolt.response import BoltResponse

from bot.core.access import Person
from bot.core.command import Command, Pick, ReloadModel, Word, parse
from bot.core.models import Viewer
from bot.errors import Refusal, Refused
from bot.handlers.access import Access, AuditTrail, Next, identify
from bot.handlers.picker import Picker
from bot.handlers.requests import LISTED_RECENT, LISTED_RUNNING, Requests, acknowledgement, request_for
from bot.settings import COMMAND
from bot.slack import payloads
from bot.slack.payloads import Fields
from bot.storage import history
from bot.ui import lists, messages
from bot.ui.access import access_message
from bot.ui.buttons import Button
from bot.ui.messages import Message
from bot.ui.reasons import sentence

_ANY = re.compile(r"/.+")


async def read_command(command: Fields, context: AsyncBoltContext, ack: AsyncAck, next_: Next) -> None:
    """Middleware: who typed what. A slip is answered later, and only to people who are allowed to reload."""
    typed = payloads.text(command.get("text", ""))
    person = payloads.command_author(command)
    context["invocation_id"] = payloads.token(command["trigger_id"])
    context["answer_url"] = payloads.token(command["response_url"])
    try:
        context["wanted"] = parse(typed)
    except Refused as slip:
        context["wanted"] = slip

    async def reply(text: str, buttons: Sequence[Button] = (), /) -> BoltResponse:
        shown = f"{messages.help_text(command['command'])}\n{text}" if isinstance(context["wanted"], Pick) else text
        blocks = Message(shown, buttons=buttons).blocks if buttons else None
        return await ack(shown, blocks=blocks, response_type="ephemeral")

    wanted = context["wanted"]
    identify(context, person, typed, reply, wanted.model_id if isinstance(wanted, ReloadModel) else "")
    await next_()


def register(
    app: AsyncApp, access: Access, requests: Requests, audit: AuditTrail, picker: Picker, name: str = COMMAND
) -> None:
    """Register the listeners for the slash command of this name, and for one of another name."""

    async def allowed(context: AsyncBoltContext, next_: Next) -> None:
        """Help is for everybody, access for admins; the rest is for people who can reload models in this channel."""
        person = context["person"]
        access.remember(person)
        if context["wanted"] is Word.ACCESS:
            context["rule"] = access.allowlist.check_admin(person)
        elif context["wanted"] is not Word.HELP:
            context["rule"] = await access.command(person)
        await next_()

    @app.command(name, middleware=[read_command, allowed])
    async def reload_model(ack: AsyncAck, context: AsyncBoltContext) -> None:
        wanted: Command | Refused = context["wanted"]
        channel_id = context["person"].channel_id
        match wanted:
            case Refused():
                raise wanted
            case Pick():
                audit.record(context, "picker")
                picker.open(context["invocation_id"], channel_id, answer_url=context["answer_url"])
                await ack()
            case ReloadModel(model_id):
                asked = await requests.ask(request_for(context, model_id))
                audit.requested(context, asked)
                await context["reply"](acknowledgement(context, asked, requests.reload_seconds))
            case _:
                shown = await _shown(requests, access, wanted, context["person"], name)
                audit.record(context, wanted)
                blocks = shown.blocks if shown.is_rich else None
                await ack(shown.text, blocks=blocks, response_type="ephemeral")

    @app.command(_ANY)
    async def unknown(ack: AsyncAck, command: Fields) -> None:
        """The Slack app's page has another name for the command than this program, or several of them."""
        typed = payloads.text(command["command"])
        audit.unknown_command(typed)
        await ack(sentence(Refused(Refusal.UNKNOWN_COMMAND, typed=typed), name), response_type="ephemeral")


async def _shown(requests: Requests, access: Access, word: Word, person: Person, name: str) -> Message:
    """The answer to a word; its buttons are for the channel in which it was typed."""
    viewer = Viewer(person.user_id, person.channel_id)
    if word is Word.HELP:
        return Message(messages.help_text(name, admin=person.user_id in access.allowlist.admins))
    if word is Word.ACCESS:
        return access_message(await access.listed())
    if word is Word.STATUS:
        entries, count = await requests.read(history.running, LISTED_RUNNING)
        return lists.running(entries, count, requests.reload_seconds, viewer)
    return lists.history(await requests.read(history.recent, LISTED_RECENT), requests.reload_seconds, viewer)
