"""What people read about access: the request and its answer, and the list of who can reload models. Pure."""

from collections.abc import Collection, Mapping, Sequence

from slack_sdk.models.blocks import InputBlock, UserMultiSelectElement
from slack_sdk.models.views import View

from bot.core.access import ADMINS, Allowlist
from bot.core.grants import AccessRequest, Grant, RequestState
from bot.core.models import NOWHERE, Place
from bot.core.text import code
from bot.errors import Refusal, Refused
from bot.ui.blocks import ON_DATE, mention, plain, when
from bot.ui.buttons import Action, Button
from bot.ui.messages import Message

PEOPLE = "people"
"""The block_id and action_id of the field in which an admin chooses people."""

TITLE = "Who can reload models"

PEOPLE_AT_ONCE = 20
"""People who can be chosen at once."""

LISTED = 10
"""Grants that a list shows, so that a message with it stays within BLOCKS_LIMIT and the Home tab within 100 blocks."""

ASKED = Message("I've asked this bot's admins. You'll get a direct message when one of them decides.")
"""The answer to *Ask for access*."""

HAS_ACCESS = Message("You can already reload models.")
"""The answer to *Ask for access* of somebody who has it by now."""

ADD_BUTTON = Button("Add people", Action.ADD_PEOPLE)

_NAMED = 40
"""People and user groups of the settings that a list names."""


def ask_buttons(refused: Refused, place: Place, of: str) -> Sequence[Button]:
    """The button below a refusal by which a person can ask for access, if they can; of as in Button."""
    data = refused.data
    can_ask = refused.reason is Refusal.NOT_ALLOWED and data.get("has_admins") and data["asked"] is None
    return [Button("Ask for access", Action.ASK_ACCESS, of, place)] if can_ask else []


def request(asked: AccessRequest, *, is_open: bool) -> Message:
    """What admins read of a request: with buttons while it can be decided, and then with what was decided."""
    where = "in a direct message" if asked.channel_id.startswith("D") else f"in <#{asked.channel_id}>"
    what = code(asked.model_id) if asked.model_id else "a reload"
    asks = "asks" if is_open else "asked"
    wanted = f" They wanted {what} {where}." if asked.channel_id else f" They wanted {what}." if asked.model_id else ""
    text = f"{mention(asked.user_id)} {asks} for access to reload models.{wanted}"
    if is_open:
        buttons = [Button("Allow", Action.ALLOW, asked.id), Button("Deny", Action.DENY, asked.id)]
        return Message(text, buttons=buttons)
    if asked.state not in (RequestState.ALLOWED, RequestState.DENIED):
        return Message(f"{text} Nobody decided within seven days, so the request has expired.")
    mark = "✓ Allowed" if asked.state is RequestState.ALLOWED else "✗ Denied"
    return Message(f"{text} {mark} by {mention(asked.decided_by)} on {when(asked.decided_at, ON_DATE)}.")


def answer(asked: AccessRequest, allowlist: Allowlist, *, can_reload: bool) -> Message:
    """What the person reads: with a button for the reload that they wanted, or to ask again.

    can_reload is whether they can reload models now, by whatever rule.
    """
    if asked.state is RequestState.ALLOWED:
        return Message(
            f"{mention(asked.decided_by)} gave you access: you can reload models from now on.",
            buttons=[_wanted(asked, allowlist)],
        )
    if asked.state is RequestState.DENIED and can_reload:
        return Message("An admin denied your request, but you can reload models: you were given access another way.")
    if asked.state is RequestState.DENIED:
        return Message("An admin denied your request to reload models. You can ask again in 24 hours.")
    why = "No admin decided on your request to reload models within seven days, so it has expired."
    if asked.state is RequestState.UNREACHED:
        why = "I couldn't reach any of this bot's admins, so nobody has read your request to reload models."
    return Message(
        why,
        buttons=[Button("Ask again", Action.ASK_ACCESS, asked.model_id, asked.place)],
    )


def _wanted(asked: AccessRequest, allowlist: Allowlist) -> Button:
    """The reload that somebody wanted when they asked for access.

    The picker asks for what isn't known of it, and for another channel if models can't be reloaded in that one.
    """
    place = asked.place if allowlist.is_open(asked.channel_id) else NOWHERE
    if asked.model_id and place.channel_id:
        return Button(f"Reload {asked.model_id}", Action.AGAIN, asked.model_id, place)
    return Button(f"Reload {asked.model_id or 'a model'}", Action.PICK, asked.model_id, place)


def decided(request: AccessRequest, rule: str | None) -> Message:
    """The answer to *Allow* and *Deny*; rule is the setting by which the person can reload models anyway."""
    who = mention(request.user_id)
    if request.state is RequestState.ALLOWED:
        return Message(f"{who} can reload models now. I'll tell them.")
    if rule:
        return Message(f"You denied {who} access, but they can reload models because of {_named(rule)}.")
    return Message(f"You denied {who} access. I'll tell them.")


def revoked(user_ids: Sequence[str], rules: Mapping[str, str], chosen: Sequence[str]) -> Message:
    """The answer to *Revoke*; rules are the settings by which some of the people can still reload models."""
    parts = []
    for user_id, rule in rules.items():
        who, still = mention(user_id), f"can still reload models, because of {_named(rule)}."
        parts.append(
            f"I took back what an admin gave {who}, but they {still}" if user_id in user_ids else f"{who} {still}"
        )
    if never := [user_id for user_id in chosen if user_id not in user_ids and user_id not in rules]:
        parts.append(f"No admin had given {_mentions(never)} access.")
    gone = [user_id for user_id in user_ids if user_id not in rules]
    return Message(" ".join(([f"{_mentions(gone)} can't reload models any more."] if gone else []) + parts))


def added(new: Sequence[str], chosen: Collection[str]) -> Message:
    """The answer to *Add people*."""
    had = [user_id for user_id in chosen if user_id not in new]
    parts = [f"{_mentions(new)} can reload models now. I'll tell them."] if new else []
    parts += [f"{_mentions(had)} already had access."] if had else []
    return Message(" ".join(parts) or "Nobody was chosen.")


def access_lines(allowlist: Allowlist, given: Sequence[Grant], count: int) -> Sequence[Message]:
    """Who can reload models and by which rule, line by line; given are the last of count grants, which can be revoked.

    A user group is listed with how many members it has.
    """
    lines = [Message(f"• Admins (`ADMIN_USERS`): {_mentions(sorted(allowlist.admins))}")]
    groups = [_group(*group) for group in allowlist.group_sizes().items()]
    named = _first([*map(mention, sorted(allowlist.people)), *groups])
    if allowed := ", ".join([*["everyone in this workspace"] * allowlist.everyone, *named]):
        lines.append(Message(f"• Listed in the settings (`ALLOWED_USERS`): {allowed}"))
    lines.append(Message("People named in the settings can only be removed there."))
    lines += [_granted(grant, allowlist.rule(grant.user_id)) for grant in given]
    if more := count - len(given):
        text = f"… and {more} more: the operator can list them with `reload-model-bot access`"
        lines.append(Message(text, buttons=[Button("Revoke others", Action.REVOKE_PEOPLE)]))
    return lines


def access_message(lines: Sequence[Message]) -> Message:
    """The answer to the word `access`."""
    return Message.of_lines([Message(TITLE), *lines], buttons=[ADD_BUTTON])


def _group(group: str, members: int | None) -> str:
    shown = "Slack hasn't said who is in it" if members is None else f"{members} member{'s' * (members != 1)}"
    return f"user group {code(group)} ({shown})"


def _granted(grant: Grant, rule: str | None) -> Message:
    text = f"• {mention(grant.user_id)} · granted by {mention(grant.granted_by)} on {when(grant.granted_at, ON_DATE)}"
    revoke = Button("Revoke", Action.REVOKE, grant.user_id)
    return Message(f"{text} · also listed in {_named(rule)}" if rule else text, buttons=[revoke])


def _named(rule: str) -> str:
    """How to name a rule of the settings to an admin."""
    return "`ADMIN_USERS`" if rule == ADMINS else f"`ALLOWED_USERS` ({code(rule)})"


def _mentions(user_ids: Sequence[str]) -> str:
    return ", ".join(_first([mention(user_id) for user_id in user_ids]))


def _first(named: Sequence[str]) -> Sequence[str]:
    """As many as are named, and how many more there are."""
    return [*named[:_NAMED], f"{len(named) - _NAMED} more"] if len(named) > _NAMED else named


def people_modal(action: Action) -> View:
    """The modal in which an admin chooses whom to add, or whose access to revoke. The action is its callback_id."""
    add = action is Action.ADD_PEOPLE
    outsiders = "People from other organisations still can't reload models, even if you add them."
    return View(
        type="modal",
        callback_id=action,
        title=plain(TITLE),
        submit=plain("Add" if add else "Revoke"),
        close=plain("Cancel"),
        blocks=[
            InputBlock(
                block_id=PEOPLE,
                label=plain("People who can reload models from now on" if add else "People who lose access"),
                hint=plain(outsiders if add else "Only access that an admin gave can be revoked here."),
                element=UserMultiSelectElement(action_id=PEOPLE, max_selected_items=PEOPLE_AT_ONCE),
            )
        ],
    )
