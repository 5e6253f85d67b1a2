"""Access that admins give in Slack, beside what the settings allow: requests for it, and the grants.

All times are seconds since the Unix epoch (UTC).
"""

from dataclasses import dataclass
from enum import StrEnum

from bot.core.models import DAY, Claim, Job, Placed

REQUEST_EXPIRES_AFTER = 7 * DAY
"""Seconds within which a request for access can be decided."""

ASK_AGAIN_AFTER = DAY
"""Seconds after a denial until the person can ask again."""

RELOAD_MARK = "#"
"""Marks the ID of a reload where the ID of a model is also possible. No model ID contains it."""


class RequestState(StrEnum):
    """Where a request for access stands. One that is open expires by itself: see AccessRequest.is_open()."""

    OPEN = "open"
    ALLOWED = "allowed"
    DENIED = "denied"
    EXPIRED = "expired"
    UNREACHED = "unreached"
    """It could be shown to no admin."""


@dataclass(frozen=True, slots=True)
class Grant:
    """An admin gave somebody access."""

    user_id: str
    granted_by: str
    granted_at: float


@dataclass(frozen=True, slots=True)
class AccessRequest(Placed):
    """Somebody asked for access, or an admin gave it unasked.

    channel_id, thread_ts and model_id say where they wanted to reload which model; "" if that isn't known.
    """

    id: str
    user_id: str
    channel_id: str
    model_id: str
    state: RequestState
    expires_at: float
    decided_by: str = ""
    decided_at: float = 0.0
    thread_ts: str = ""

    def is_open(self, now: float) -> bool:
        """Whether it can still be decided."""
        return self.state is RequestState.OPEN and now < self.expires_at


@dataclass(frozen=True, slots=True)
class AccessClaim:
    """A claimed job of a request for access, as of now (by the database's clock).

    granted is whether the person has a grant.
    """

    job: Job
    request: AccessRequest
    now: float
    granted: bool = False


Claimed = Claim | AccessClaim
"""A claimed job with all that it takes to run it."""
