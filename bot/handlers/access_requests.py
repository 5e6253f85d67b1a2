"""Requests for access: *Ask for access*, *Allow* and *Deny*.

Each press is authorized again, and what it decides is committed before it is acknowledged.
"""

from slack_bolt.async_app import AsyncApp, AsyncBoltContext

from bot.core.grants import RequestState
from bot.errors import Refusal, Refused
from bot.handlers.access import Access, AuditTrail, note_for
from bot.handlers.buttons import Presses
from bot.handlers.requests import Requests
from bot.storage import grants
from bot.ui import access as ui
from bot.ui.buttons import Action, Button, action_ids


def register(
    app: AsyncApp, access: Access, requests: Requests, audit: AuditTrail, presses: Presses, admin_channel: str
) -> None:
    """Register the listeners; admins are asked in admin_channel, or each in a direct message if it is ""."""

    @app.action(action_ids(Action.ASK_ACCESS), middleware=[presses.read, access.colleague])
    async def ask_access(context: AsyncBoltContext) -> None:
        user_id, admins = context["person"].user_id, access.allowlist.admins
        if not admins:  # the button is of a time when there were some
            raise Refused(Refusal.NOT_ALLOWED, rule="ALLOWED_USERS", user_id=user_id)
        asked, note = None, note_for(context, "access_requested")
        if not access.allowlist.rules([user_id]):
            button: Button = context["button"]
            asked = await requests.change(grants.ask, note, button.of, admins, admin_channel, button.place.thread_ts)
        if asked is None:
            audit.record(context, "has_access")
            await context["reply"](ui.has_access())
        else:
            audit.recorded(context, note.outcome)
            await context["reply"](ui.asked())

    @app.action(action_ids(Action.ALLOW), middleware=[presses.read, access.admin])
    async def allow(context: AsyncBoltContext) -> None:
        await decide(context, RequestState.ALLOWED, "access_granted")

    @app.action(action_ids(Action.DENY), middleware=[presses.read, access.admin])
    async def deny(context: AsyncBoltContext) -> None:
        await decide(context, RequestState.DENIED, "access_denied")

    async def decide(context: AsyncBoltContext, state: RequestState, outcome: str) -> None:
        note = note_for(context, outcome)
        request = await requests.change(grants.decide, note, context["button"].of, state)
        audit.recorded(context, outcome, of=request.user_id)
        await context["reply"](ui.decided(request))
