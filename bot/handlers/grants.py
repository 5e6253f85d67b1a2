"""Access to the bot: people ask for it, admins allow or deny that, revoke access, and add people.

Each press is authorized again, and what it decides is committed before it is acknowledged.
"""

from collections.abc import Sequence

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
from slack_bolt.response import BoltResponse

from bot.core.grants import RequestState
from bot.errors import Refusal, Refused
from bot.handlers.access import Access, Next, identify, log_outcome, note_for
from bot.handlers.buttons import Presses
from bot.handlers.picker import Picker
from bot.slack import payloads
from bot.slack.payloads import Fields
from bot.storage import grants
from bot.ui import grants as ui
from bot.ui import views
from bot.ui.buttons import Action, Button, action_ids
from bot.ui.messages import Message


def register_requests(app: AsyncApp, access: Access, presses: Presses, admin_channel: str) -> None:
    """Register *Ask for access*, *Allow* and *Deny*. Admins are asked in admin_channel, or each in a DM if it is ""."""
    store = access.store

    @app.action(action_ids(Action.ASK_ACCESS), middleware=[presses.read, access.colleague])
    async def ask_access(context: AsyncBoltContext) -> None:
        user_id, admins = context["person"].user_id, access.allowlist.admins
        if not admins:  # the button was posted when there were some
            raise Refused(Refusal.NOT_ALLOWED, rule="ALLOWED_USERS", user_id=user_id)
        asked, note = None, note_for(context, "access_requested")
        if not access.allowlist.rules([user_id]):
            button: Button = context["button"]
            asked = await store.change(grants.ask, note, button.of, admins, admin_channel, button.place.thread_ts)
        if asked is None:
            access.record(context, "has_access")
            await context["reply"](ui.HAS_ACCESS)
        else:
            log_outcome(context, note.outcome)
            await context["reply"](ui.ASKED)

    @app.action(action_ids(Action.ALLOW), middleware=[presses.read, access.admin])
    @app.action(action_ids(Action.DENY), middleware=[presses.read, access.admin])
    async def decide(context: AsyncBoltContext) -> None:
        button: Button = context["button"]
        allow = button.action is Action.ALLOW
        note = note_for(context, "access_granted" if allow else "access_denied")
        state = RequestState.ALLOWED if allow else RequestState.DENIED
        request = await store.change(grants.decide, note, button.of, state)
        log_outcome(context, note.outcome, of=request.user_id)
        await context["reply"](ui.decided(request, access.allowlist.rules([request.user_id])))


def register_list(app: AsyncApp, access: Access, picker: Picker, presses: Presses) -> None:
    """Register the buttons of the list of who has access, in `access` and in the Home tab, and their modals."""
    store = access.store

    async def revoke(context: AsyncBoltContext, user_ids: Sequence[str]) -> None:
        note = note_for(context, "access_revoked")
        revoked = await store.change(grants.revoke, note, user_ids)
        rules = access.allowlist.rules(user_ids)
        if revoked:
            log_outcome(context, note.outcome, of=" ".join(revoked))
        elif rules:
            access.record(context, Refusal.NOT_GRANTED)
        else:
            raise Refused(Refusal.NOT_GRANTED)
        await context["reply"](ui.revoked(revoked, rules, user_ids))

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
        access.record(context, "access")
        picker.show(context["invocation_id"], ui.people_modal(context["button"].action), context["answer_url"])
        await ack()

    @app.view(ui.ADD_PEOPLE, middleware=[read_people, access.admin])
    async def add(context: AsyncBoltContext) -> None:
        chosen, note = context["chosen"], note_for(context, "access_granted")
        rules = access.allowlist.rules(chosen)
        added = await store.change(grants.add_people, note, [user_id for user_id in chosen if user_id not in rules])
        if added:
            log_outcome(context, note.outcome, of=" ".join(added))
        else:
            access.record(context, "has_access")
        await context["reply"](ui.added(added, chosen))


async def read_people(body: Fields, view: Fields, context: AsyncBoltContext, ack: AsyncAck, next_: Next) -> None:
    """Middleware: who submitted a modal, and whom they chose there."""
    chosen = context["chosen"] = payloads.chosen_users(view, ui.PEOPLE, ui.PEOPLE_AT_ONCE)

    async def reply(message: Message) -> BoltResponse:
        return await ack(response_action="update", view=views.notice(message, ui.TITLE))

    what = f"[{payloads.token(view['callback_id'])}] {' '.join(chosen)}"
    identify(context, payloads.interaction_author(body), what, reply)
    await next_()
