"""The buttons below messages and in the Home tab. A press is acknowledged once it is recorded; its answer follows."""

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
from slack_bolt.response import BoltResponse

from bot.core.models import IN_FLIGHT
from bot.errors import Refusal, Refused
from bot.handlers.access import Access, Next, identify
from bot.handlers.audit_trail import AuditTrail
from bot.handlers.picker import Picker
from bot.handlers.replies import Replies
from bot.handlers.requests import Requests, acknowledgement, request_for, there
from bot.slack import payloads
from bot.slack.payloads import Fields, Press
from bot.storage.requests import Requested
from bot.ui import messages
from bot.ui.buttons import Action, Button, action_ids, pressed
from bot.ui.messages import Message


async def read_press(
    action: Fields, body: Fields, context: AsyncBoltContext, ack: AsyncAck, next_: Next
) -> BoltResponse | None:
    """Middleware: which button was pressed. One of an earlier version is acknowledged, and does nothing."""
    press = payloads.press(body, action)
    button = pressed(press.action_id, press.value)
    if button is None:
        return await ack()
    person = payloads.interaction_author(body, button.channel_id)
    identify(context, person, f"[{button.action}] {button.of}".strip())
    context["press"], context["button"] = press, button
    await next_()
    return None


def register(
    app: AsyncApp, access: Access, requests: Requests, audit: AuditTrail, replies: Replies, picker: Picker
) -> None:
    """Register a listener for each action."""

    async def answer(ack: AsyncAck, context: AsyncBoltContext, text: str) -> None:
        replies.to_press(context["press"], context["person"], Message(text))
        await ack()

    async def acknowledge(ack: AsyncAck, context: AsyncBoltContext, requested: Requested | None) -> None:
        if requested is None or requested.reload.state not in IN_FLIGHT:  # a double click may come when all is over
            raise Refused(Refusal.OVER)
        audit.requested(context, requested)
        await answer(ack, context, acknowledgement(context, requested, requests.reload_seconds, there(context)))

    @app.action(action_ids(Action.JOIN), middleware=[read_press, access.in_channel])
    async def join(ack: AsyncAck, context: AsyncBoltContext) -> None:
        button: Button = context["button"]
        press: Press = context["press"]
        request = request_for(context, button.of, press.trigger_id, press.response_url, press.place)
        requested = await requests.join(request, button.of)
        await acknowledge(ack, context, requested)

    @app.action(action_ids(Action.AGAIN), middleware=[read_press, access.in_channel])
    async def reload_again(ack: AsyncAck, context: AsyncBoltContext) -> None:
        button: Button = context["button"]
        press: Press = context["press"]
        request = request_for(context, button.of, press.trigger_id, press.response_url, press.place)
        requested = await requests.ask(request)
        await acknowledge(ack, context, requested)

    @app.action(action_ids(Action.REMIND), middleware=[read_press, access.in_channel])
    async def remind(ack: AsyncAck, context: AsyncBoltContext) -> None:
        button: Button = context["button"]
        user_id = context["person"].user_id
        reminder = await requests.remind(user_id, button.of, button.channel_id)
        if reminder is None:
            raise Refused(Refusal.OVER)
        audit.record(context, Action.REMIND)
        await answer(ack, context, messages.will_remind(reminder))

    @app.action(action_ids(Action.STOP_REMINDING), middleware=[read_press, access.anywhere])
    async def stop_reminding(ack: AsyncAck, context: AsyncBoltContext) -> None:
        button: Button = context["button"]
        await requests.stop_reminding(context["person"].user_id, button.of)
        audit.record(context, Action.STOP_REMINDING)
        await answer(ack, context, messages.not_reminding(button.of))

    @app.action(action_ids(Action.PICK), middleware=[read_press, access.anywhere])
    async def pick(ack: AsyncAck, context: AsyncBoltContext) -> None:
        button: Button = context["button"]
        press: Press = context["press"]
        audit.record(context, "picker")  # one word, however it was opened
        picker.open(press.trigger_id, model_id=button.of)
        replies.to_press(press, context["person"], None)
        await ack()
