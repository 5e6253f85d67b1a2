"""Access to the bot: people ask for it, admins allow or deny that, revoke access, and add people.

Each press is authorized again, and what it decides is committed before it is acknowledged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
from slack_bolt.response import BoltResponse

from bot.core.grants import RequestState
from bot.errors import Refusal, Refused
from bot.handlers.access import Access, Next, SlackRequest, log_outcome
from bot.handlers.buttons import Press, Presses
from bot.handlers.picker import Picker
from bot.slack import payloads
from bot.slack.payloads import Fields
from bot.storage import grants
from bot.ui import grants as ui
from bot.ui import views
from bot.ui.buttons import Action, action_ids
from bot.ui.messages import Message


@dataclass(slots=True, kw_only=True)
class Choice(SlackRequest):
    """A submission of the modal in which an admin chose people."""

    chosen: Sequence[str]


def register_requests(app: AsyncApp, access: Access, presses: Presses, admin_channel: str) -> None:
    """Register *Ask for access*, *Allow* and *Deny*. Admins are asked in admin_channel, or each in a DM if it is ""."""
    store = access.store

    @app.action(action_ids(Action.ASK_ACCESS), middleware=[presses.read, access.colleague])
    async def ask_access(slack_request: Press) -> None:
        user_id, admins = slack_request.person.user_id, access.allowlist.admins
        if not admins:  # the button was posted when there were some
            raise Refused(Refusal.NOT_ALLOWED, rule="ALLOWED_USERS", user_id=user_id)
        asked, note = None, slack_request.note("access_requested")
        if not access.allowlist.rule(user_id):
            button = slack_request.button
            asked = await store.change(grants.ask, note, button.of, admins, admin_channel, button.place.thread_ts)
        if asked is None:
            access.record(slack_request, "has_access")
            await slack_request.reply(ui.HAS_ACCESS)
        else:
            log_outcome(slack_request, note.outcome)
            await slack_request.reply(ui.ASKED)

    @app.action(action_ids(Action.ALLOW), middleware=[presses.read, access.admin])
    @app.action(action_ids(Action.DENY), middleware=[presses.read, access.admin])
    async def decide(slack_request: Press) -> None:
        allow = slack_request.button.action is Action.ALLOW
        note = slack_request.note("access_granted" if allow else "access_denied")
        state = RequestState.ALLOWED if allow else RequestState.DENIED
        request = await store.change(grants.decide, note, slack_request.button.of, state)
        log_outcome(slack_request, note.outcome, of=request.user_id)
        await slack_request.reply(ui.decided(request, access.allowlist.rule(request.user_id)))


def register_list(app: AsyncApp, access: Access, picker: Picker, presses: Presses) -> None:
    """Register the buttons of the list of who has access, in `access` and in the Home tab, and their modals."""
    store = access.store

    @app.action(action_ids(Action.REVOKE), middleware=[presses.read, access.admin])
    @app.view(Action.REVOKE_PEOPLE, middleware=[read_people, access.admin])
    async def revoke(slack_request: Press | Choice) -> None:
        user_ids = slack_request.chosen if isinstance(slack_request, Choice) else [slack_request.button.of]
        note = slack_request.note("access_revoked")
        revoked = await store.change(grants.revoke, note, user_ids)
        rules = access.allowlist.rules(user_ids)
        if revoked:
            log_outcome(slack_request, note.outcome, of=" ".join(revoked))
        elif rules:
            access.record(slack_request, Refusal.NOT_GRANTED)
        else:
            raise Refused(Refusal.NOT_GRANTED)
        await slack_request.reply(ui.revoked(revoked, rules, user_ids))

    @app.action(action_ids(Action.ADD_PEOPLE), middleware=[presses.read, access.admin])
    @app.action(action_ids(Action.REVOKE_PEOPLE), middleware=[presses.read, access.admin])
    async def choose_people(slack_request: Press, ack: AsyncAck) -> None:
        """There is nothing to say: a modal opens."""
        access.record(slack_request, "access")
        picker.show(slack_request.invocation_id, ui.people_modal(slack_request.button.action), slack_request.answer_url)
        await ack()

    @app.view(Action.ADD_PEOPLE, middleware=[read_people, access.admin])
    async def add(slack_request: Choice) -> None:
        chosen, note = slack_request.chosen, slack_request.note("access_granted")
        rules = access.allowlist.rules(chosen)
        added = await store.change(grants.add_people, note, [user_id for user_id in chosen if user_id not in rules])
        if added:
            log_outcome(slack_request, note.outcome, of=" ".join(added))
        else:
            access.record(slack_request, "has_access")
        await slack_request.reply(ui.added(added, chosen))


async def read_people(body: Fields, view: Fields, context: AsyncBoltContext, ack: AsyncAck, next_: Next) -> None:
    """Middleware: who submitted a modal, and whom they chose there."""
    chosen = payloads.chosen_users(view, ui.PEOPLE, ui.PEOPLE_AT_ONCE)

    async def reply(message: Message) -> BoltResponse:
        return await ack(response_action="update", view=views.notice(message, ui.TITLE))

    what = f"[{payloads.token(view['callback_id'])}] {' '.join(chosen)}"
    person = payloads.interaction_author(body)
    context["slack_request"] = Choice(person=person, what=what, reply=reply, chosen=chosen)
    await next_()
