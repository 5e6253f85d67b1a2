"""How long until something is tried again, and when no more. Pure, but that an HTTP date is held against the clock."""

import math
from email.utils import parsedate_to_datetime
from time import time

from bot.core.models import Job

CALL_GIVE_UP = 600.0
"""Seconds from the first call of ModelsLab to the last."""

POST_GIVE_UP = 1500.0
"""Seconds from the first attempt at a message to the last."""

ASKED_LIMIT = 300.0
"""Seconds up to which Slack is believed when it asks for a pause: an absurd figure must not silence a promise."""

CRASHES_GIVE_UP = 8
"""How often one step may end in an error of our own, or in the death of its process."""


BAR_SECONDS = 20.0
BAR_LEAST = 3.0
"""Between two moves of a status message's bar: in general, and at the least where a reload takes less time."""

BAR_LAST = 3.0
"""Seconds before a reload should be ready from which on no bar moves: nothing is to come after the follow-up."""


def bar_wait(reload_seconds: float) -> float:
    """Seconds between two moves of a bar: a sixth of the time that a reload takes, within reason."""
    return min(max(reload_seconds / 6.0, BAR_LEAST), BAR_SECONDS)


def call_wait(attempts: int, asked: float | None) -> float:
    """Seconds until ModelsLab is asked again: what it asked for, else 2 doubling to 30."""
    return max(asked, 1.0) if asked is not None else min(2.0 * 2.0 ** min(attempts, 10), 30.0)


def post_wait(attempts: int, asked: float | None) -> float:
    """Seconds until a message is tried again: what Slack asked for, within reason, else 1 doubling to 60."""
    return min(max(asked, 1.0), ASKED_LIMIT) if asked is not None else min(2.0 ** min(attempts, 10), 60.0)


def out_of_time(step: Job, now: float, wait: float, limit: float) -> bool:
    """Whether another try after wait seconds would come later than limit seconds after the first."""
    return now + wait - step.tried_at > limit


def retry_after(value: object) -> float | None:
    """Seconds, from a number or an HTTP date: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return _seconds_until(str(value))
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _seconds_until(date: str) -> float | None:
    try:
        return max(parsedate_to_datetime(date).timestamp() - time(), 0.0)
    except (ValueError, OverflowError):
        return None
