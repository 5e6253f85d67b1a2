"""The exceptions of this program. They carry a reason and data; what people read of them is in bot/ui/reasons.py.

ReloadModelError
├── SettingsError                 the settings are invalid: exit code 2
├── CannotStart                   something outside has to be fixed first: exit code 1
├── DatabaseUnavailable           the database did not answer in time, or at all
│   └── CommitUncertain           ... and the commit may have happened
├── LeaseLost                     another process owns the job by now: record nothing
├── Malformed                     a request without the shape that Slack sends
├── Refused                       a request that starts nothing, or may have started nothing
├── ModelsLabError                ModelsLab did not accept a reload
│   ├── ModelsLabPermanentError   ... and would not accept it later
│   └── ModelsLabRetryableError   ... and may accept it later
└── SlackError                    Slack did not take a message
    ├── SlackPermanentError       ... and never will, in this place
    └── SlackRetryableError       ... and may take it later
"""

from collections.abc import Sequence
from enum import StrEnum


class Refusal(StrEnum):
    """Why a request was refused. The value is the outcome in the audit, and the label in the metrics."""

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
    UNCERTAIN = "uncertain"
    OVER = "over"
    NOT_READY = "not_ready"
    NOT_LISTED = "not_listed"
    INTERNAL_ERROR = "internal_error"


class Failure(StrEnum):
    """Why a model was not reloaded. The value is the word in the database, and the label in the metrics.

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
        """A newer version of this program may have recorded a reason that this one doesn't have."""
        del value
        return cls.INTERNAL


class ReloadModelError(Exception):
    """The root of this program's own exceptions."""


class SettingsError(ReloadModelError):
    """The settings are invalid; problems holds every problem, each a sentence that says how to fix it."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class CannotStart(ReloadModelError):  # noqa: N818 - reads as the sentence it prints
    """The program cannot start; the message says why, and how to fix it."""


class DatabaseUnavailable(ReloadModelError):  # noqa: N818 - names the state of the database
    """The database cannot be reached, is locked or full, or did not commit in time; sqlstate is PostgreSQL's code."""

    def __init__(self, message: str = "", sqlstate: str = "") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class CommitUncertain(DatabaseUnavailable):
    """The commit had begun, and nobody knows whether it happened."""


class LeaseLost(ReloadModelError):  # noqa: N818 - names what happened
    """The job's lease went to another process: its result must not be recorded."""


class Malformed(ReloadModelError):  # noqa: N818 - describes the request
    """A request does not have the shape that Slack sends; the message names the field, and shows nothing of it."""


class Refused(ReloadModelError):  # noqa: N818 - a decision, not a failure
    """A request is refused; rule is the setting that decided so, and data is what the sentence names.

    What each reason needs as data is in bot/ui/reasons.py.
    """

    def __init__(self, reason: Refusal, *, rule: str = "", **data: object) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.rule = rule
        self.data = data


class ModelsLabError(ReloadModelError):
    """ModelsLab did not accept a reload.

    said is ModelsLab's own text, redacted and bounded but not escaped; unknown is True where the request may have been
    carried out all the same; host is the one that could not be reached, if that is what happened.
    """

    def __init__(self, failure: Failure, said: str = "", *, unknown: bool = False, host: str = "") -> None:
        super().__init__(f"{failure}: {said}" if said else failure.value)
        self.failure = failure
        self.said = said
        self.unknown = unknown
        self.host = host


class ModelsLabPermanentError(ModelsLabError):
    """The same request would be refused again."""


class ModelsLabRetryableError(ModelsLabError):
    """The same request may be accepted later; wait is the pause that ModelsLab asked for, in seconds."""

    def __init__(
        self, failure: Failure, said: str = "", *, unknown: bool = False, host: str = "", wait: float | None = None
    ) -> None:
        super().__init__(failure, said, unknown=unknown, host=host)
        self.wait = wait


class SlackError(ReloadModelError):
    """Slack did not take a message; code is Slack's own error code, or a word for what happened instead.

    host is the one that could not be reached, if that is what happened.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
        self.host = ""


class SlackPermanentError(SlackError):
    """Slack will never take it in this place: another way must carry the message."""


class SlackRetryableError(SlackError):
    """Slack may take the same post later; wait is the pause that it asked for, in seconds.

    refused: Slack works, and doesn't take it for a reason that will pass, as the token's or the workspace's. Meanwhile
    another way may work.
    """

    def __init__(self, code: str, wait: float | None = None, *, refused: bool = False) -> None:
        super().__init__(code)
        self.wait = wait
        self.refused = refused
