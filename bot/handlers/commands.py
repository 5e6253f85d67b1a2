"""The slash command: parse → access → request → ack."""

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext

from bot.core.access import Person
from bot.core.command import Command, Pick, ReloadModel, Word, parse
from bot.core.models import Viewer
from bot.errors import Refused
from bot.handlers.access import Access, Next, identify
from bot.handlers.audit_trail import AuditTrail
from bot.handlers.picker import Picker
from bot.handlers.requests import Requests, acknowledgement, request_for
from bot.settings import COMMAND
from bot.slack import payloads
from bot.slack.payloads import Fields, SlashCommand
from bot.ui import lists, messages
from bot.ui.messages import Message


def register(
    app: AsyncApp, access: Access, requests: Requests, audit: AuditTrail, picker: Picker, name: str = COMMAND
) -> None:
    """Register the listener for the slash command of this name."""

    async def parsed(command: Fields, context: AsyncBoltContext, next_: Next) -> None:
        """Read what was typed. A slip is answered later, and only to people who are allowed to reload."""
        invocation = payloads.slash_command(command)
        identify(context, invocation.person, invocation.text)
        context["invocation"] = invocation
        try:
            context["wanted"] = parse(invocation.text)
        except Refused as slip:
            context["wanted"] = slip
        await next_()

    async def allowed(context: AsyncBoltContext, next_: Next) -> None:
        """Help is for everybody; the rest is for people who can reload models in this channel."""
        if context["wanted"] is Word.HELP:
            await next_()
        else:
            await access.in_channel(context, next_)

    @app.command(name, middleware=[parsed, allowed])
    async def reload_model(ack: AsyncAck, context: AsyncBoltContext) -> None:
        invocation: SlashCommand = context["invocation"]
        wanted: Command | Refused = context["wanted"]
        match wanted:
            case Refused():
                raise wanted
            case Pick():
                audit.record(context, "picker")
                picker.open(
                    invocation.trigger_id,
                    invocation.person.channel_id,
                    otherwise=(invocation.response_url, Message(messages.help_text(name))),
                )
                await ack()
            case ReloadModel(model_id):
                request = request_for(context, model_id, invocation.trigger_id, invocation.response_url)
                asked = await requests.ask(request)
                audit.requested(context, asked)
                await ack(acknowledgement(context, asked, requests.reload_seconds), response_type="ephemeral")
            case _:
                shown = await _shown(requests, wanted, invocation.person, name)
                audit.record(context, wanted)
                blocks = shown.blocks if shown.is_rich else None
                await ack(shown.text, blocks=blocks, response_type="ephemeral")


async def _shown(requests: Requests, word: Word, person: Person, command: str) -> Message:
    """The answer to a word; its buttons are for the channel in which it was typed."""
    viewer = Viewer(person.user_id, person.channel_id)
    if word is Word.HELP:
        return Message(messages.help_text(command))
    if word is Word.STATUS:
        entries, count = await requests.running()
        return lists.running(entries, count, requests.reload_seconds, viewer)
    return lists.history(await requests.recent(), requests.reload_seconds, viewer)
