"""What people read for each reason: why a request was refused, and why a reload failed and what to do about it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from bot.core.command import MAX_ID, MAX_MODELS, Slip
from bot.core.grants import ASK_AGAIN_AFTER, AccessRequest, RequestState
from bot.core.text import code, escape
from bot.errors import Failure, Refusal, Refused
from bot.ui.blocks import ON_DATE, mention, when

_SHOWN = 60
"""How many characters of what somebody typed are shown."""

_HINT = 1000
"""And of a command that is suggested: five long IDs fit."""

_CHANNELS_SHOWN = 10
_GROUPS_SHOWN = 5

STATUS_PAGE = "https://modelslab.com/status"

SLIPS: Mapping[Slip, str] = {
    Slip.NOTHING_QUOTED: "There is nothing between the quotes.",
    Slip.SPACE: "{text} isn't a valid model ID: IDs have no spaces.",
    Slip.OPTION: "There are no options such as {text}.",
    Slip.TOO_LONG: f"{{text}} is too long for a model ID: the limit is {MAX_ID} characters.",
    Slip.TOO_MANY: f"I can reload at most {MAX_MODELS} models at once.",
    Slip.NOT_AN_ID: (
        "{text} isn't a valid model ID. IDs start with a letter or digit and can contain letters, digits and . _ - : "
        "/ + @."
    ),
    Slip.NOT_A_PAGE: "{text} isn't the address of a model on ModelsLab.",
    Slip.CANCEL: "ModelsLab offers no way to cancel a reload.",
}
"""What is wrong with what somebody typed. "Did you mean …?" can follow. NOT_OURS has no sentence of its own."""


def _not_a_command(command: str, text: str, slip: Slip, meant: str | None, *, alone: bool) -> str:
    said = [SLIPS[slip].format(text=code(text, _SHOWN))] if slip in SLIPS else []
    if meant:
        said.append(f"Did you mean {code(f'{command} {meant}', _HINT)}?")
    if not alone:
        said.append("Nothing was started.")
    elif slip in (Slip.NOT_OURS, Slip.CANCEL):
        quoted = code(f'{command} "{text}"', _SHOWN + 100)
        said.append(f"To reload a model called {code(text, _SHOWN)}, quote it: {quoted}.")
    elif not meant:
        said.append(f"See `{command} help`.")
    return " ".join(said)


def _not_allowed(_command: str, user_id: str, *, has_admins: bool = False, asked: AccessRequest | None = None) -> str:
    """asked is the person's request for access, if it is open or was denied less than a day ago."""
    refused = "You don't have permission to reload models."
    if not has_admins:
        return f"{refused} Ask the bot's operator to add your Slack ID, {code(user_id)}, to `ALLOWED_USERS`."
    if asked is None:
        return f"{refused} One of this bot's admins can give it to you."
    if asked.state is RequestState.DENIED:
        again_at = when(ceil((asked.decided_at + ASK_AGAIN_AFTER) / 60) * 60, ON_DATE)  # Slack shows whole minutes
        return f"{refused} An admin denied your request. You can ask again on {again_at}."
    return f"{refused} You've already asked for it. You'll get a direct message when an admin decides."


def _already_decided(_command: str, decided_by: str, *, by_you: bool) -> str:
    if by_you:
        return "You've already decided this."
    return f"{mention(decided_by)} has already decided this." if decided_by else "This request has expired."


def _group_unread(_command: str, groups: Sequence[str]) -> str:
    shown = phrase([code(group) for group in groups[:_GROUPS_SHOWN]])
    return (
        f"I can't check whether you're allowed: Slack won't let me read the user group{'s' * (len(groups) > 1)} "
        f"{shown}. Try again in a few minutes. If it persists, ask the operator to run `reload-model-bot check`."
    )


def _wrong_channel(_command: str, channels: Sequence[str]) -> str:
    shown = [f"<#{escape(channel)}>" for channel in channels[:_CHANNELS_SHOWN]]
    more = [f"{len(channels) - _CHANNELS_SHOWN} more"] if len(channels) > _CHANNELS_SHOWN else []
    return f"I only work in {phrase([*shown, *more], 'and')}. Please try there."


def _other_workspace(command: str, *, interaction: bool = False) -> str:
    only = "Only members of this bot's workspace can reload models."
    # On Enterprise Grid, an interaction can name a different workspace of the organisation than the command does.
    return f"{only} If you're one, type `{command} help` once, and this will work too." if interaction else only


def phrase(words: Sequence[str], joint: str = "or") -> str:
    """Join words into one phrase: "a", "a or b", "a, b or c"."""
    *others, last = words
    return f"{', '.join(others)} {joint} {last}" if others else last


REFUSALS: Mapping[Refusal, Callable[..., str]] = {
    Refusal.NOT_A_COMMAND: _not_a_command,
    Refusal.NOT_ALLOWED: _not_allowed,
    Refusal.NOT_ADMIN: lambda _command: (
        "Only this bot's admins can do that. The bot's operator names them in `ADMIN_USERS`."
    ),
    Refusal.NOT_GRANTED: lambda _command: "There's nothing to revoke: they have no access that an admin gave.",
    Refusal.ALREADY_DECIDED: _already_decided,
    Refusal.GROUP_UNREAD: _group_unread,
    Refusal.OTHER_WORKSPACE: _other_workspace,
    Refusal.WRONG_CHANNEL: _wrong_channel,
    Refusal.UNKNOWN_COMMAND: lambda command, typed: (
        f"I don't answer to {code(typed, _SHOWN)}. Use `{command}`, or ask the operator to check `SLASH_COMMAND`."
    ),
    Refusal.TOO_MANY_COMMANDS: lambda _command, limit, seconds: (
        f"You've hit the limit of {limit} reload{'s' * (limit > 1)} in {seconds / 60:.0f} minutes. "
        "Try again in a few minutes."
    ),
    Refusal.TOO_MANY_IN_FLIGHT: lambda command, limit: (
        f"{limit} {'models are' if limit > 1 else 'model is'} already reloading, which is the limit. "
        f"Try again when one finishes (`{command} status`)."
    ),
    Refusal.NOT_RECORDED: lambda _command: (
        "My database isn't responding, so I didn't start anything. Try again in a minute."
    ),
    Refusal.NOT_CHANGED: lambda _command: (
        "My database isn't responding, so I didn't change anything. Try again in a minute."
    ),
    Refusal.UNCERTAIN: lambda command: (
        f"I couldn't confirm that I recorded this. If I did, you'll hear from me; `{command} status` shows it."
    ),
    Refusal.UNCONFIRMED: lambda _command: (
        "My database didn't confirm this, so I don't know whether it's done. You can safely try again."
    ),
    Refusal.OVER: lambda command: f"That reload has already finished. To start another: `{command} &lt;model ID&gt;`.",
    Refusal.FORGOTTEN: lambda command: (
        f"I no longer have a record of that reload. Reload the model first: `{command} &lt;model ID&gt;`."
    ),
    Refusal.NOT_READY: lambda _command: "I'm still starting up. Try again in a minute.",
    Refusal.NOT_READABLE: lambda _command: "My database isn't responding. Try again in a minute.",
    Refusal.INTERNAL_ERROR: lambda command: (
        f"Something broke on my side. Check `{command} status` before you try again; the operator can find details in "
        "the log."
    ),
}
"""Each takes the name of the slash command, and the data of a Refused with that reason as keyword arguments."""


def sentence(refused: Refused, command: str) -> str:
    """What the person reads, as mrkdwn: escaped and bounded."""
    return REFUSALS[refused.reason](command, **refused.data)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a reload failed (the end of a sentence), and what to do about it (a sentence)."""

    why: str
    fix: str


FAILURES: Mapping[Failure, Explanation] = {
    Failure.KEY: Explanation(
        "ModelsLab rejected the API key",
        "Ask the bot's operator to check `MODELSLAB_API_KEY`.",
    ),
    Failure.CREDITS: Explanation(
        "the ModelsLab account is out of credits",
        "Add credits to the account, then try again.",
    ),
    Failure.PLAN: Explanation(
        "the ModelsLab account's plan doesn't include it",
        "Upgrade the ModelsLab plan, then try again.",
    ),
    Failure.UNKNOWN_MODEL: Explanation(
        "no such model",
        "Check the ID on ModelsLab, then try again.",
    ),
    Failure.RATE_LIMIT: Explanation(
        "ModelsLab kept rate-limiting us",
        "Wait a few minutes, then try again.",
    ),
    Failure.DOWN: Explanation(
        "ModelsLab is having problems",
        f"Try again later, or check ModelsLab's status: {STATUS_PAGE}.",
    ),
    Failure.NO_ANSWER: Explanation(
        "ModelsLab couldn't be reached or didn't answer",
        f"Try again later, or check ModelsLab's status: {STATUS_PAGE}. If it works, ask the operator to check the "
        "bot's connection to ModelsLab.",
    ),
    Failure.NO_SENSE: Explanation(
        "ModelsLab sent a reply I couldn't understand",
        "Try again later; if it persists, ask the operator to check `MODELSLAB_URL`.",
    ),
    Failure.REFUSED: Explanation(
        "ModelsLab refused the request",
        "If it keeps doing that, contact ModelsLab support.",
    ),
    Failure.INTERNAL: Explanation(
        "something broke inside this bot",
        "Give the operator the reload ID below; the log has details.",
    ),
}
