"""The buttons below messages and in the Home tab. A press is acknowledged once it is recorded; its answer follows."""

from dataclasses import dataclass

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
from slack_bolt.response import BoltResponse
from slack_sdk.models.views import View

from bot.background import BackgroundTasks
from bot.core.command import mention_of
from bot.core.models import IN_FLIGHT, Place, Requested
from bot.errors import Refusal, Refused, SlackError
from bot.handlers.access import Access, Next, SlackRequest
from bot.handlers.home_tab import HomeTabs
from bot.handlers.picker import Picker
from bot.slack import payloads
from bot.slack.client import SlackClient
from bot.slack.payloads import Fields
from bot.storage import reminders, requests
from bot.ui import messages, views
from bot.ui.buttons import Action, Button, action_ids, pressed
from bot.ui.messages import Message

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Press(SlackRequest):
    """A press of a button. pressed_in is where its message is; answer_url answers below it, "" in a view."""

    button: Button
    pressed_in: Place
    answer_url: str


class Presses:
    """Reads presses, and answers them."""

    def __init__(self, slack: SlackClient, home_tabs: HomeTabs, background: BackgroundTasks, command: str) -> None:
        """command is the name of the slash command."""
        self._mention = mention_of(command)
        self._slack = slack
        self._home_tabs = home_tabs
        self._background = background

    async def read(
        self, action: Fields, body: Fields, context: AsyncBoltContext, ack: AsyncAck, next_: Next
    ) -> BoltResponse | None:
        """Middleware: which button of which message was pressed. A button of an earlier version does nothing."""
        action_id = payloads.token(action["action_id"])
        button = pressed(action_id, payloads.text(action.get("value", "")))
        if button is None:
            return await ack()
        person = payloads.interaction_author(body, *button.place)
        modal_id = payloads.modal_id(body)
        place = payloads.pressed_in(body)
        answer_url = payloads.response_url(body)

        async def reply(message: Message) -> BoltResponse:
            """Answer privately below the message, or in place of the modal. In the Home tab, only refresh the tab."""
            if answer_url:
                more: dict[str, object] = {"blocks": message.blocks} if message.is_rich else {}
                if place.thread_ts:
                    more["thread_ts"] = place.thread_ts
                self._background.start(self._slack.reply(answer_url, message.text, **more))
            elif modal_id:
                self._background.start(self._change_modal(modal_id, views.notice(message)))
            else:
                self._home_tabs.opened(person)
            return await ack()

        context["slack_request"] = Press(
            person=person,
            what=f"[{button.action}] {button.of}",
            reply=reply,
            of=button.wanted,
            called=self._mention if place.thread_ts else "",  # in a thread, slash commands don't work
            invocation_id=payloads.token(body["trigger_id"]),
            # A response_url posts where the button is; the updates may go elsewhere.
            response_url=answer_url if place.channel_id == button.place.channel_id else "",
            pressed=f"{payloads.pressed_message(body)}/{button.action}/{button.of}",
            button=button,
            pressed_in=place,
            answer_url=answer_url,
        )
        await next_()
        return None

    async def _change_modal(self, view_id: str, view: View) -> None:
        """Best-effort: the action itself has been carried out."""
        try:
            await self._slack.patiently(lambda: self._slack.call("views.update", view_id=view_id, view=view.to_dict()))
        except SlackError as failed:
            log.warning("modal_not_changed", reason=failed.code)


def register(app: AsyncApp, access: Access, picker: Picker, presses: Presses) -> None:
    """Register a listener for each action."""
    store = access.store

    async def acknowledge(slack_request: Press, requested: Requested | None) -> None:
        if requested is None or requested.reload.state not in IN_FLIGHT:  # a double click can come after the end
            raise Refused(Refusal.OVER)
        where = messages.place_in_words(slack_request.person.place, slack_request.pressed_in)
        await slack_request.reply(Message(access.answer_to(slack_request, requested, where)))

    @app.action(action_ids(Action.JOIN), middleware=[presses.read, access.in_channel])
    async def join(slack_request: Press) -> None:
        request = slack_request.for_reload(reload_id=slack_request.button.of)
        await acknowledge(slack_request, await store.request(requests.join, request))

    @app.action(action_ids(Action.AGAIN), middleware=[presses.read, access.in_channel])
    async def try_again(slack_request: Press) -> None:
        request = slack_request.for_reload(slack_request.button.of)
        await acknowledge(slack_request, await store.request(requests.ask, request))

    @app.action(action_ids(Action.REMIND), middleware=[presses.read, access.in_channel])
    async def remind(slack_request: Press) -> None:
        button = slack_request.button
        reminder = await store.change(reminders.add, slack_request.person.user_id, button.of, button.place)
        if reminder is None:
            raise Refused(Refusal.FORGOTTEN)
        access.record(slack_request, Action.REMIND)
        await slack_request.reply(Message(messages.will_remind(reminder)))

    @app.action(action_ids(Action.STOP_REMINDING), middleware=[presses.read, access.colleague])
    async def stop_reminding(slack_request: Press) -> None:
        """Also for somebody who has lost access: the reminders are theirs."""
        model_id = slack_request.button.of
        await store.change(reminders.stop, slack_request.person.user_id, model_id)
        access.record(slack_request, Action.STOP_REMINDING)
        await slack_request.reply(Message(messages.not_reminding(model_id)))

    @app.action(action_ids(Action.PICK), middleware=[presses.read, access.anywhere])
    async def pick(slack_request: Press, ack: AsyncAck) -> None:
        """There is nothing to say: the picker opens. The Home tab is refreshed, as after each press in it."""
        access.record(slack_request, "picker")  # one word, however it was opened
        button, answer_url = slack_request.button, slack_request.answer_url
        picker.open(slack_request.invocation_id, button.place.channel_id, model_id=button.of, answer_url=answer_url)
        await (ack() if answer_url else slack_request.reply(Message("")))
