"""What became of a run of a job: its function returns it, or bot.worker.loop makes it of an error. It is recorded."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bot.core.models import Stage
from bot.errors import Failure

REST = math.inf
"""The wait of a job that rests until something else makes it due."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """ModelsLab accepted the reload: it should be ready after ready_in seconds.

    said is ModelsLab's own text if it was loading or loaded already.
    """

    ready_in: float
    said: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The reload failed for good. said is ModelsLab's own text.

    unknown means that ModelsLab may have carried it out anyway. similar are the IDs of models that may have been meant.
    """

    failure: Failure
    said: str = ""
    unknown: bool = False
    similar: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Notified:
    """These subscribers were notified of the result; the others in the place get a DM.

    response_url_of is the subscriber whose response_url was used. uncertain means that the message said that the result
    is unknown.
    """

    subscriber_ids: Collection[int] = ()
    response_url_of: int | None = None
    uncertain: bool = False


@dataclass(frozen=True, slots=True)
class RetryIn:
    """The job failed and is due again after wait seconds.

    unknown means that a call may have had its effect, and crashed that the error was one of ours.
    """

    wait: float
    unknown: bool = False
    crashed: bool = False


@dataclass(frozen=True, slots=True)
class Postpone:
    """The job wasn't tried, or was interrupted. It is due after wait seconds, and no attempt is counted.

    unknown: see RetryIn.
    """

    wait: float
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Reschedule:
    """The job did what was due. It is due again after wait seconds, as if it had never been tried.

    status_ts is the message that a status job posted, response_url_of as in Notified. stage is the stage of its place
    when the job was claimed: if that has changed since, the job is due at once.
    """

    wait: float = REST
    status_ts: str | None = None
    response_url_of: int | None = None
    stage: Stage | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The job has nothing left to do. response_url_of: see Notified."""

    response_url_of: int | None = None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nobody could be notified in time, in any way."""


@dataclass(frozen=True, slots=True)
class AskEach:
    """The channel of the admins can't be reached: each of these admins is asked by a direct message instead."""

    user_ids: Collection[str]


Outcome = Accepted | Failed | Notified | RetryIn | Postpone | Reschedule | Done | GiveUp | AskEach
