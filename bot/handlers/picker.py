"""The picker: a modal to choose a model and a channel, the shortcut that opens it, and its suggestions."""

from dataclasses import dataclass

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
from slack_bolt.response import BoltResponse
from slack_sdk.models.blocks import OptionGroup
from slack_sdk.models.views import View

from bot.background import BackgroundTasks
from bot.core.access import Allowlist
from bot.core.command import SHORTCUT, read_id
from bot.errors import Refusal, SlackError
from bot.handlers.access import Access, Next, SlackRequest
from bot.modelslab.catalog import Catalog
from bot.slack import payloads
from bot.slack.client import SlackClient
from bot.slack.payloads import Fields
from bot.storage import requests
from bot.ui import messages, views
from bot.ui.messages import Message

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Submission(SlackRequest):
    """The submitted picker. If what was chosen isn't a model's ID, errors says so beside the field."""

    errors: dict[str, str]


class Picker:
    """Opens the modal and suggests models in it. Opening follows the ack, and is best-effort."""

    def __init__(
        self,
        slack: SlackClient,
        catalog: Catalog,
        allowlist: Allowlist,
        background: BackgroundTasks,
        command: str,
    ) -> None:
        self._slack = slack
        self._catalog = catalog
        self._allowlist = allowlist
        self._background = background
        self._command = command

    def open(self, trigger_id: str, channel_id: str = "", *, model_id: str = "", answer_url: str = "") -> None:
        """Open it, with the channel and the model filled in. If it doesn't open, help is sent to answer_url."""
        self._catalog.look()
        view = views.picker(channel_id or next(iter(self._allowlist.channels), ""), model_id)
        self.show(trigger_id, view, answer_url, f"{messages.NOT_OPENED}\n{messages.help_text(self._command)}")

    def show(self, trigger_id: str, view: View, answer_url: str = "", otherwise: str = messages.NOT_OPENED) -> None:
        """Open a modal. If it doesn't open, say otherwise to answer_url.

        A trigger_id works for 3 seconds only, so this can't be a job of the worker.
        """
        self._background.start(self._show(trigger_id, view, answer_url, otherwise))

    async def suggest(self, query: str) -> list[OptionGroup]:
        """Models that match what has been typed so far. The text itself comes first, if it could be a model ID."""
        typed = read_id(query)
        return views.suggestions(typed, await self._catalog.matching(typed or query, views.OPTIONS_LIMIT))

    async def _show(self, trigger_id: str, view: View, answer_url: str, otherwise: str) -> None:
        try:
            await self._slack.call("views.open", trigger_id=trigger_id, view=view.to_dict())
        except SlackError as failed:
            if failed.code == "exchanged_trigger_id":  # Slack delivered the request twice, and the modal is open
                return
            log.warning("modal_not_opened", reason=failed.code)
            if answer_url:
                await self._slack.reply(answer_url, otherwise)

    async def read_shortcut(self, shortcut: Fields, context: AsyncBoltContext, ack: AsyncAck, next_: Next) -> None:
        """Middleware: who used the shortcut, which has no channel. A refusal is answered with a modal, too."""
        trigger_id = payloads.token(shortcut["trigger_id"])

        async def reply(message: Message) -> BoltResponse:
            self.show(trigger_id, views.notice(message))
            return await ack()

        person = payloads.interaction_author(shortcut)
        context["slack_request"] = SlackRequest(person=person, what="[shortcut]", reply=reply, invocation_id=trigger_id)
        await next_()


async def read_search(options: Fields, context: AsyncBoltContext, ack: AsyncAck, next_: Next) -> None:
    """Middleware: who is typing in the picker's search. A refusal can only be answered with no suggestions."""

    async def reply(_message: Message) -> BoltResponse:
        return await ack(options=[])

    context["slack_request"] = SlackRequest(person=payloads.interaction_author(options), what=None, reply=reply)
    await next_()


async def read_submission(body: Fields, view: Fields, context: AsyncBoltContext, ack: AsyncAck, next_: Next) -> None:
    """Middleware: who submitted the picker, and what they chose. A typed model wins over a picked one.

    The view's ID is the ID of the invocation, because each view is submitted once.
    """
    channel_id = payloads.chosen(view, views.WHERE) or payloads.text(view.get("private_metadata") or "")
    typed, picked = payloads.chosen(view, views.TYPED).strip(), payloads.chosen(view, views.MODEL)
    model_id = read_id(typed or f'"{picked}"') or ""  # quoted, so that an ID that ends with a dot stays whole
    wrong = views.NOT_AN_ID if typed or picked else views.NOTHING_CHOSEN

    async def reply(message: Message) -> BoltResponse:
        return await ack(response_action="update", view=views.notice(message))

    context["slack_request"] = Submission(
        person=payloads.interaction_author(body, payloads.slack_id(channel_id) if channel_id else ""),
        what=model_id or "[picker]",
        reply=reply,
        of=model_id,
        invocation_id=payloads.token(view["id"]),
        response_url=payloads.response_url_for(body, channel_id),
        errors={views.TYPED if typed else views.MODEL: wrong},
    )
    await next_()


def register(app: AsyncApp, access: Access, picker: Picker) -> None:
    """Register the listeners for the shortcut, the suggestions and the submission."""
    store = access.store

    @app.global_shortcut(SHORTCUT, middleware=[picker.read_shortcut, access.anywhere])
    async def open_picker(slack_request: SlackRequest, ack: AsyncAck) -> None:
        access.record(slack_request, "picker")
        picker.open(slack_request.invocation_id)
        await ack()

    @app.options(views.MODEL, middleware=[read_search, access.anywhere])
    async def suggest(options: Fields, ack: AsyncAck) -> None:
        groups = await picker.suggest(payloads.text(options.get("value")))
        await (ack(option_groups=groups) if groups else ack(options=[]))

    @app.view(SHORTCUT, middleware=[read_submission, access.anywhere])
    async def submit(slack_request: Submission, ack: AsyncAck) -> None:
        if not slack_request.of:
            await ack(response_action="errors", errors=slack_request.errors)
        elif not slack_request.person.channel_id:
            await ack(response_action="errors", errors={views.WHERE: views.NO_CHANNEL})
        elif not access.allowlist.is_open(slack_request.person.channel_id):
            access.record(slack_request, Refusal.WRONG_CHANNEL, rule="ALLOWED_CHANNELS")
            await ack(response_action="errors", errors={views.WHERE: views.CLOSED_CHANNEL})
        else:
            asked = await store.request(requests.ask, slack_request.for_reload(slack_request.of))
            where = messages.place_in_words(slack_request.person.place)
            await slack_request.reply(Message(access.answer_to(slack_request, asked, where)))
