"""The exceptions of this program. They carry a reason and data; what people read of them is in bot/ui/reasons.py.

ReloadModelError
├── CannotStart                   something outside has to be fixed first: exit code 1
├── DatabaseUnavailable           the database didn't answer, or not in time
│   └── CommitUncertain           ... and the commit may have happened
├── ClaimTooLate                  jobs weren't claimed for so long that other replicas' leases may have ended
├── Malformed                     a request without the shape that Slack sends
├── Refused                       a request that starts nothing, as far as is known
├── ModelsLabError                ModelsLab didn't accept a reload
│   ├── ModelsLabPermanentError   ... and wouldn't accept it later
│   └── ModelsLabRetryableError   ... and may accept it later
└── SlackError                    Slack didn't take a message
    ├── SlackPermanentError       ... and never will in this place
    └── SlackRetryableError       ... and may take it later
"""

from enum import StrEnum


class Refusal(StrEnum):
    """Why a request was refused. The value is the outcome in the audit and the label in the metrics."""

    NOT_A_COMMAND = "not_a_command"
    NOT_ALLOWED = "not_allowed"
    NOT_ADMIN = "not_admin"
    NOT_GRANTED = "not_granted"
    ALREADY_DECIDED = "already_decided"
    GROUP_UNREAD = "group_unread"
    OTHER_WORKSPACE = "other_workspace"
    WRONG_CHANNEL = "wrong_channel"
    UNKNOWN_COMMAND = "unknown_command"
    TOO_MANY_COMMANDS = "too_many_commands"
    TOO_MANY_IN_FLIGHT = "too_many_in_flight"
    NOT_RECORDED = "not_recorded"
    NOT_CHANGED = "not_changed"
    UNCERTAIN = "uncertain"
    UNCONFIRMED = "unconfirmed"
    OVER = "over"
    FORGOTTEN = "forgotten"
    NOT_READY = "not_ready"
    NOT_READABLE = "not_readable"
    INTERNAL_ERROR = "internal_error"


class Failure(StrEnum):
    """Why a model was not reloaded. The value is what the database stores, and the label in the metrics.

    The reasons follow ModelsLab's documented errors: https://docs.modelslab.com/error-codes
    """

    KEY = "key"
    CREDITS = "credits"
    PLAN = "plan"
    UNKNOWN_MODEL = "unknown_model"
    RATE_LIMIT = "rate_limit"
    DOWN = "down"
    NO_ANSWER = "no_answer"
    NO_SENSE = "no_sense"
    REFUSED = "refused"
    INTERNAL = "internal"

    @classmethod
    def _missing_(cls, value: object) -> "Failure":
        """A newer version of this program may have recorded a reason that this version doesn't have."""
        del value
        return cls.INTERNAL


class ReloadModelError(Exception):
    """The root of this program's own exceptions."""


class CannotStart(ReloadModelError):  # noqa: N818 - reads as the sentence it prints
    """The program can't start: what is wrong with which setting, and how to fix it."""

    def __init__(self, setting: str, what: str, fix: str = "") -> None:
        super().__init__(": ".join(filter(None, (setting, what, fix))))
        self.setting = setting
        self.what = what
        self.fix = fix


class DatabaseUnavailable(ReloadModelError):  # noqa: N818 - names the state of the database
    """The database can't be reached, is locked or full, or didn't commit in time. sqlstate is PostgreSQL's code."""

    def __init__(self, message: str = "", sqlstate: str = "") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class CommitUncertain(DatabaseUnavailable):
    """The commit had begun, and nobody knows whether it happened."""


class ClaimTooLate(ReloadModelError):  # noqa: N818 - says what happened
    """The database answers, but jobs weren't claimed for so long that the leases of other replicas may have ended."""


class Malformed(ReloadModelError):  # noqa: N818 - describes the request
    """A request doesn't have the shape that Slack sends. The message says why, and shows none of its content."""


class Refused(ReloadModelError):  # noqa: N818 - a decision, not a failure
    """A request is refused. rule is what refused it, and data is what the sentence mentions.

    bot/ui/reasons.py shows which data each reason needs.
    """

    def __init__(self, reason: Refusal, *, rule: str = "", **data: object) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.rule = rule
        self.data = data


class ModelsLabError(ReloadModelError):
    """ModelsLab didn't accept a reload.

    said is ModelsLab's own text, redacted and bounded, but not escaped. unknown means that ModelsLab may have carried
    out the request anyway. host is set only if it couldn't be reached. wait is the pause that it asked for, in seconds.
    """

    def __init__(
        self, failure: Failure, said: str = "", *, unknown: bool = False, host: str = "", wait: float | None = None
    ) -> None:
        super().__init__(f"{failure}: {said}" if said else failure.value)
        self.failure = failure
        self.said = said
        self.unknown = unknown
        self.host = host
        self.wait = wait


class ModelsLabPermanentError(ModelsLabError):
    """The same request would be refused again."""


class ModelsLabRetryableError(ModelsLabError):
    """The same request may be accepted later."""


class SlackError(ReloadModelError):
    """Slack didn't take a message. code is Slack's own error code, or a word for what happened instead.

    host is set only if it couldn't be reached. wait is the pause that it asked for, in seconds. refused means that
    Slack works, but refuses the message for a reason that can pass, such as an invalid token: another way may work.
    """

    def __init__(self, code: str, wait: float | None = None, *, refused: bool = False, host: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.wait = wait
        self.refused = refused
        self.host = host


class SlackPermanentError(SlackError):
    """Slack will never take the message in this place: it has to be sent another way."""


class SlackRetryableError(SlackError):
    """Slack may take the same message later."""
