"""The one error tree, and beside each error what a person is told of it. Knows nothing of where they arise.

ReloadModelError
├── SettingsError           the environment is not fit to start with: exit code 2
├── CannotStart             something outside is not fit to start with: exit code 1
├── DatabaseUnavailable     the database did not do what it was asked, in time or at all
│   └── CommitUncertain     ... or may have done it
├── LeaseLost               the step is another's by now: record nothing
├── Malformed               a request that is not of the shape that Slack sends
├── Declined                a command that starts nothing; the person is told why, privately
│   ├── NotACommand
│   ├── NotAllowed
│   ├── GroupUnread
│   ├── OtherWorkspace
│   ├── WrongChannel
│   ├── TooManyCommands
│   ├── TooManyInFlight
│   ├── NotRecorded
│   ├── ReloadIsOver
│   ├── NotReady
│   ├── Uncertain
│   ├── NotListed
│   └── InternalError
├── ModelsLabError              ModelsLab did not accept a reload
│   ├── ModelsLabPermanentError         ... and would not if asked again
│   └── ModelsLabRetryableError           ... and may if asked again
└── SlackError              Slack did not take a message
    ├── SlackPermanentError      ... and never will, in this place
    └── SlackRetryableError           ... and may if asked again
"""

from collections.abc import Sequence
from enum import Enum

from bot.core.text import code, escape


class ReloadModelError(Exception):
    """Whatever this program raises of its own."""


class SettingsError(ReloadModelError):
    """The environment is faulty; faults holds every fault, each a sentence with its mend."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


class CannotStart(ReloadModelError):  # noqa: N818 - reads as the sentence it prints
    """The program cannot start; the message says why and what to do."""


class DatabaseUnavailable(ReloadModelError):  # noqa: N818 - names a state of the store
    """The database cannot be reached, is locked or full, or did not commit in time."""


class CommitUncertain(DatabaseUnavailable):
    """The commit had begun and its outcome is not known."""


class LeaseLost(ReloadModelError):  # noqa: N818 - names what happened
    """The step's lease went to another process: its result is not to be recorded."""


class Malformed(ReloadModelError):  # noqa: N818 - describes the request
    """A request is not of the shape that Slack sends; the message names the part at fault and shows nothing of it."""


# --- what a command is told when it starts nothing ------------------------------------------------------


class Declined(ReloadModelError):  # noqa: N818 - a decision, not a failure
    """A command that starts nothing; told is the mrkdwn that the person gets, privately.

    audit is its name in the audit, and rule what decided so: a setting, mostly.
    """

    audit = "declined"
    rule = ""

    def __init__(self, told: str) -> None:
        super().__init__(told)
        self.told = told


class NotACommand(Declined):
    """The text is neither a word that the bot knows nor one model id."""

    audit = "not_a_command"

    def __init__(self, text: str, fault: str, meant: str | None = None, *, model_id: str | None = None) -> None:
        """Say what is wrong with text; meant is the command it resembles, model_id the id it also could be."""
        hint = f" Did you mean `/reload-model {meant}`?" if meant else ""
        if model_id:
            quoted = code(f'/reload-model "{model_id}"', 160)
            hint += f" To reload a model of that name, quote it: {quoted}."
        super().__init__(f"{code(text, 60)} {fault}.{hint} Nothing was started. `/reload-model help` tells more.")


class NotAllowed(Declined):
    """The person is not on the allowlist."""

    audit = "not_allowed"
    rule = "ALLOWED_USERS"

    def __init__(self, user_id: str) -> None:
        super().__init__(
            f"You are not allowed to reload models here. Whoever runs this bot can allow you by adding your id, "
            f"{code(user_id)}, to `ALLOWED_USERS`. Nothing was started."
        )


class GroupUnread(Declined):
    """The person may be in a user group that could not be read; groups holds the ids of such groups."""

    audit = "group_unread"

    def __init__(self, groups: Sequence[str]) -> None:
        shown = groups[:5]
        super().__init__(
            f"I cannot tell whether you may reload models, as Slack has not let me read who is in the user group "
            f"{' or '.join(map(code, shown))}. Nothing was started; ask again in some minutes. If it stays so, whoever "
            "runs this bot can find out why with `reload-model-bot check`."
        )
        self.rule = " ".join(shown)


class OtherWorkspace(Declined):
    """The person belongs to another workspace, as in a channel shared through Slack Connect."""

    audit = "other_workspace"
    rule = "workspace"

    def __init__(self) -> None:
        super().__init__("Only people of this bot's own workspace may reload models. Nothing was started.")


class WrongChannel(Declined):
    """The command is not open in this channel; channels holds the ids of those where it is."""

    audit = "wrong_channel"
    rule = "ALLOWED_CHANNELS"

    def __init__(self, channels: Sequence[str]) -> None:
        places = ", ".join(f"<#{escape(channel)}>" for channel in channels[:10])
        super().__init__(f"I reload models only in {places}. Ask there. Nothing was started.")


class TooManyCommands(Declined):
    """The person has asked for as many reloads as one may, lately."""

    audit = "too_many_commands"
    rule = "COMMANDS_PER_PERSON"

    def __init__(self, limit: int, seconds: float) -> None:
        super().__init__(
            f"You have asked for {limit} reloads within {seconds / 60:.0f} minutes, and that is as many as one person "
            "may. Nothing was started; ask again in some minutes."
        )


class TooManyInFlight(Declined):
    """As many models are being reloaded as may be at once."""

    audit = "too_many_in_flight"
    rule = "MAX_IN_FLIGHT"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"{limit} models are being reloaded, and that is as many as may be at once. Nothing was started; "
            "ask again when some are ready. `/reload-model status` shows them."
        )


class NotRecorded(Declined):
    """The command could not be committed, so it was not begun."""

    audit = "not_recorded"

    def __init__(self) -> None:
        super().__init__(
            "I cannot write down what you ask for right now, as my database does not answer, and I start nothing "
            "that I might forget. Nothing was started; ask again in a minute."
        )


class Uncertain(Declined):
    """The command may or may not have been committed."""

    audit = "uncertain"

    def __init__(self) -> None:
        super().__init__(
            "I couldn't confirm that I recorded this. If I did, you'll hear from me here; `/reload-model status` "
            "shows it."
        )


class ReloadIsOver(Declined):
    """The reload of a button is not in flight any more, or is forgotten."""

    audit = "over"

    def __init__(self) -> None:
        super().__init__(
            "That reload is over. Nothing was started; `/reload-model` followed by the model's id asks for another."
        )


class NotReady(Declined):
    """Slack has not confirmed the bot's token yet, so nobody's workspace can be checked."""

    audit = "not_ready"

    def __init__(self) -> None:
        super().__init__(
            "I am still starting and cannot check who is asking. Nothing was started; ask again in a minute."
        )


class InternalError(Declined):
    """An error of the bot's own, after which nobody can tell whether something was begun."""

    audit = "stumbled"

    def __init__(self) -> None:
        super().__init__(
            "Something went wrong inside me, and I cannot tell whether anything was begun. "
            "`/reload-model status` shows it; whoever runs this bot finds more in its log."
        )


class NotListed(Declined):
    """The database did not answer in time to list what it holds."""

    audit = "not_listed"

    def __init__(self) -> None:
        super().__init__("My database does not answer right now, so I cannot list anything; ask again in a minute.")


# --- why a reload failed --------------------------------------------------------------------------------


class Failure(Enum):
    """Why a model was not reloaded: what is told of it, and what to do. The name is what the database holds.

    The classes are those of ModelsLab's documented errors: https://docs.modelslab.com/error-codes
    """

    why: str
    mend: str

    def __init__(self, why: str, mend: str) -> None:
        self.why = why
        self.mend = mend

    KEY = (
        "ModelsLab does not accept the API key",
        "Whoever runs this bot should check `MODELSLAB_API_KEY`.",
    )
    CREDITS = (
        "the ModelsLab account is out of credits",
        "Add credits to the account, then ask again.",
    )
    PLAN = (
        "the ModelsLab account's plan does not include it",
        "Whoever holds the account can change its plan; then ask again.",
    )
    UNKNOWN_MODEL = (
        "ModelsLab does not know a model of that id",
        "Check the id on ModelsLab, then ask again.",
    )
    RATE_LIMIT = (
        "ModelsLab kept answering that it is asked too often",
        "Wait some minutes, then ask again.",
    )
    DOWN = (
        "ModelsLab's service is failing",
        "Ask again later; if it stays so, look at ModelsLab's status.",
    )
    NO_ANSWER = (
        "ModelsLab could not be reached or did not answer",
        "Ask again later; if it stays so, whoever runs this bot should check its way to ModelsLab.",
    )
    NO_SENSE = (
        "ModelsLab gave an answer that I cannot make sense of",
        "Ask again later; if it stays so, whoever runs this bot should check `MODELSLAB_URL`.",
    )
    REFUSED = (
        "ModelsLab refused",
        "If what it said does not tell what to do, ask ModelsLab's support.",
    )
    INTERNAL = (
        "something went wrong inside this bot",
        "Tell whoever runs it the reload's id; the log says more.",
    )


class ModelsLabError(ReloadModelError):
    """ModelsLab did not accept a reload.

    said is ModelsLab's own text, redacted and bounded but not escaped; unknown is True where the request may
    have been carried out all the same.
    """

    def __init__(self, failure: Failure, said: str = "", *, unknown: bool = False) -> None:
        super().__init__(f"{failure.why}: {said}" if said else failure.why)
        self.failure = failure
        self.said = said
        self.unknown = unknown


class ModelsLabPermanentError(ModelsLabError):
    """The same request would be refused again."""


class ModelsLabRetryableError(ModelsLabError):
    """The same request may be accepted later; wait is what ModelsLab asked for, in seconds."""

    def __init__(self, failure: Failure, said: str = "", *, unknown: bool = False, wait: float | None = None) -> None:
        super().__init__(failure, said, unknown=unknown)
        self.wait = wait


# --- why a message was not posted -----------------------------------------------------------------------


class SlackError(ReloadModelError):
    """Slack did not take a message; code is Slack's own error code, or a word for what happened instead."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class SlackPermanentError(SlackError):
    """Not in this place, now or later: another way must carry the message."""


class SlackRetryableError(SlackError):
    """The same post may be taken later; wait is what Slack asked for, in seconds."""

    def __init__(self, code: str, wait: float | None = None) -> None:
        super().__init__(code)
        self.wait = wait
