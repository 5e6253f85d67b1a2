"""The list of who can reload models, for admins: *Revoke* and *Add people*, in `access` and in the Home tab."""

from collections.abc import Sequence

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
from slack_bolt.response import BoltResponse

from bot.handlers.access import Access, AuditTrail, Next, identify, note_for
from bot.handlers.buttons import Presses
from bot.handlers.picker import Picker
from bot.handlers.requests import Requests
from bot.slack import payloads
from bot.slack.payloads import Fields
from bot.storage import grants
from bot.ui import access as ui
from bot.ui import views
from bot.ui.buttons import Action, Button, action_ids


async def read_people(body: Fields, view: Fields, context: AsyncBoltContext, ack: AsyncAck, next_: Next) -> None:
    """Middleware: who submitted a modal, and whom they chose there."""
    chosen = context["chosen"] = payloads.chosen_users(view, ui.PEOPLE, ui.PEOPLE_AT_ONCE)

    async def reply(text: str, buttons: Sequence[Button] = (), /) -> BoltResponse:
        return await ack(response_action="update", view=views.notice(text, buttons, ui.TITLE))

    what = f"[{payloads.token(view['callback_id'])}] {' '.join(chosen)}"
    identify(context, payloads.interaction_author(body), what, reply)
    await next_()


def register(
    app: AsyncApp, access: Access, requests: Requests, audit: AuditTrail, picker: Picker, presses: Presses
) -> None:
    """Register the listeners for the buttons of the list, and for the modals that they open."""

    async def revoke(context: AsyncBoltContext, user_ids: Sequence[str]) -> None:
        note = note_for(context, "access_revoked")
        revoked = await requests.change(grants.revoke, note, user_ids)
        audit.recorded(context, note.outcome, of=" ".join(revoked))
        await context["reply"](ui.revoked(revoked, access.allowlist.rules(revoked)))

    @app.action(action_ids(Action.REVOKE), middleware=[presses.read, access.admin])
    async def revoke_one(context: AsyncBoltContext) -> None:
        await revoke(context, [context["button"].of])

    @app.view(ui.REVOKE_PEOPLE, middleware=[read_people, access.admin])
    async def revoke_chosen(context: AsyncBoltContext) -> None:
        await revoke(context, context["chosen"])

    @app.action(action_ids(Action.ADD_PEOPLE), middleware=[presses.read, access.admin])
    @app.action(action_ids(Action.REVOKE_PEOPLE), middleware=[presses.read, access.admin])
    async def choose_people(context: AsyncBoltContext, ack: AsyncAck) -> None:
        """There is nothing to say: a modal opens."""
        audit.record(context, "access")
        picker.show(context["invocation_id"], ui.people_modal(context["button"].action))
        await ack()

    @app.view(ui.ADD_PEOPLE, middleware=[read_people, access.admin])
    async def add(context: AsyncBoltContext) -> None:
        chosen, note = context["chosen"], note_for(context, "access_granted")
        added = await requests.change(grants.add_people, note, chosen)
        if added:
            audit.recorded(context, note.outcome, of=" ".join(added))
        else:
            audit.record(context, "has_access")
        await context["reply"](ui.added(added, chosen))
