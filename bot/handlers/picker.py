"""The picker: a modal to choose a model and a channel, the shortcut that opens it, and its suggestions."""

from dataclasses import dataclass

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
from slack_sdk.models.blocks import Option

from bot.core.access import Allowlist
from bot.core.command import SHORTCUT, read_id
from bot.errors import Refusal
from bot.handlers.access import Access, Next, identify
from bot.handlers.audit_trail import AuditTrail
from bot.handlers.replies import Replies
from bot.handlers.requests import Requests, acknowledgement, request_for, there
from bot.modelslab.catalog import Catalog
from bot.slack import payloads
from bot.slack.payloads import Fields
from bot.ui import views
from bot.ui.messages import Message


class Picker:
    """Opens the modal and suggests models in it."""

    def __init__(self, replies: Replies, catalog: Catalog, allowlist: Allowlist) -> None:
        self._replies = replies
        self._catalog = catalog
        self._allowlist = allowlist

    def open(
        self,
        trigger_id: str,
        channel_id: str = "",
        *,
        model_id: str = "",
        otherwise: tuple[str, Message] | None = None,
    ) -> None:
        """Open the modal in the background, with the channel and the model filled in; otherwise as in Replies.open."""
        self._catalog.look()
        view = views.picker(channel_id or self._allowlist.first_channel, model_id)
        self._replies.open(trigger_id, view, otherwise=otherwise)

    async def suggest(self, query: str) -> list[Option]:
        """Models that match what was typed so far; first of all what was typed, if it could be a model's id."""
        typed = read_id(query)
        found = await self._catalog.matching(query, views.OPTIONS_LIMIT - 1)
        return [views.option(id_) for id_ in dict.fromkeys([*([typed] if typed else []), *found])]


@dataclass(frozen=True, slots=True)
class Submission:
    """What was chosen in the picker.

    model_id is None where field, which was typed or picked in, holds no model's ID; wrong says so. key is unique to
    this opening of the picker, which is submitted once.
    """

    model_id: str | None
    field: str
    wrong: str
    key: str
    response_url: str


async def read_submission(body: Fields, view: Fields, context: AsyncBoltContext, next_: Next) -> None:
    """Middleware: who submitted the picker, and what they chose. A model that was typed wins over one picked."""
    channel_id = payloads.channel(payloads.chosen(view, views.WHERE) or payloads.text(view, "private_metadata"))
    picked, typed = payloads.chosen(view, views.MODEL), payloads.chosen(view, views.TYPED)
    field, chosen = (views.TYPED, typed) if typed.strip() else (views.MODEL, picked)
    model_id, wrong = read_id(chosen), views.NOT_AN_ID if chosen else views.NOTHING_CHOSEN
    context["submission"] = Submission(
        model_id, field, wrong, payloads.token(view, "id"), payloads.response_url_for(body, channel_id)
    )
    identify(context, payloads.interaction_author(body, channel_id), model_id or "[picker]")
    await next_()


async def read_shortcut(shortcut: Fields, context: AsyncBoltContext, next_: Next) -> None:
    """Middleware: who used the shortcut. It has no channel."""
    identify(context, payloads.interaction_author(shortcut), "[shortcut]")
    context["trigger_id"] = payloads.token(shortcut, "trigger_id")
    await next_()


async def read_query(options: Fields, context: AsyncBoltContext, next_: Next) -> None:
    """Middleware: who is typing in the picker, and what."""
    identify(context, payloads.interaction_author(options), payloads.text(options, "value"))
    await next_()


def register(app: AsyncApp, access: Access, requests: Requests, audit: AuditTrail, picker: Picker) -> None:
    """Register the listeners for the shortcut, the suggestions and the submission."""

    @app.global_shortcut(SHORTCUT, middleware=[read_shortcut, access.anywhere])
    async def open_picker(ack: AsyncAck, context: AsyncBoltContext) -> None:
        audit.record(context, "picker")
        picker.open(context["trigger_id"])
        await ack()

    @app.options(views.MODEL, middleware=[read_query, access.anywhere])
    async def suggest(ack: AsyncAck, context: AsyncBoltContext) -> None:
        await ack(options=await picker.suggest(context["what"]))

    @app.view(views.PICKER, middleware=[read_submission, access.anywhere])
    async def submit(ack: AsyncAck, context: AsyncBoltContext) -> None:
        submission: Submission = context["submission"]
        if submission.model_id is None:
            await ack(response_action="errors", errors={submission.field: submission.wrong})
        elif not access.is_open(context["person"].channel_id):
            audit.record(context, Refusal.WRONG_CHANNEL, rule="ALLOWED_CHANNELS")
            await ack(response_action="errors", errors={views.WHERE: views.CLOSED_CHANNEL})
        else:
            request = request_for(context, submission.model_id, submission.key, submission.response_url)
            asked = await requests.ask(request)
            audit.requested(context, asked)
            text = acknowledgement(context, asked, requests.reload_seconds, there(context))
            await ack(response_action="update", view=views.notice(text))
