"""When something is tried again, and when to give up. Pure, except for random numbers and the clock for HTTP dates."""

import math
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from random import random
from time import time

from bot.core import timing
from bot.core.grants import Claimed
from bot.core.models import Claim, JobKind, Stage

PAUSE_LIMIT = 300.0
"""The longest pause that a service can ask for, in seconds: an absurd number must not stop a reload or a follow-up."""

MAX_CRASHES = 8
"""How often one job can end in a bug or in the death of its process."""

STATUS_TRIES = 5
"""How often a status message or an edit of one is tried. They are best-effort."""


class Backoff:
    """The pauses between failed tries of one thing: each twice as long as the one before, up to a limit.

    Up to half as much again is random, so that many who lost their connection together don't come back together.
    """

    def __init__(self, first: float, most: float, chance: Callable[[], float] = random) -> None:
        """first and most are seconds; chance returns a number from 0 to 1."""
        self._first = first
        self._most = most
        self._chance = chance
        self._tries = 0

    def pause(self, asked: float | None = None) -> float:
        """Seconds until the next try. asked is the pause that the service asked for, limited to PAUSE_LIMIT."""
        grown = min(self._first * 2.0 ** min(self._tries, 30), self._most)
        self._tries += 1
        return max(grown, min(asked or 0.0, PAUSE_LIMIT)) * (1.0 + self._chance() / 2.0)

    def reset(self) -> None:
        """Start again with a short pause, because it worked."""
        self._tries = 0


def bar_wait(reload_seconds: float) -> float:
    """Seconds between two moves of a bar."""
    return min(max(reload_seconds / 6.0, timing.BAR_PAUSE_LEAST), timing.BAR_PAUSE_MOST)


def wait(kind: JobKind, attempts: int, asked: float | None, chance: Callable[[], float] = random) -> float:
    """Seconds until a job is tried again, after so many attempts. asked is the pause that a service asked for.

    PAUSE_LIMIT is the most. Up to half as much again is added at random, as in Backoff.
    """
    if kind is JobKind.CALL:
        pause = max(asked or 0.0, timing.CALL_RETRY)
    elif asked is not None:
        pause = max(asked, timing.POST_RETRY)
    else:
        pause = min(timing.POST_RETRY * 2.0 ** min(attempts, 10), timing.POST_RETRY_MOST)
    return min(pause, PAUSE_LIMIT) * (1.0 + chance() / 2.0)


def out_of_time(claim: Claimed, pause: float) -> bool:
    """Whether a job is given up rather than tried again after a pause.

    A try may come after the limit. Giving up before it, because the next pause reaches beyond it, would break what
    people were told.
    """
    if isinstance(claim, Claim) and claim.job.kind is JobKind.STATUS:
        too_late = claim.stage is Stage.WAITING and claim.now + pause >= claim.reload.ready_by
        return too_late or claim.job.attempts + 1 >= STATUS_TRIES
    limit = timing.CALL_GIVE_UP if claim.job.kind is JobKind.CALL else timing.POST_GIVE_UP
    return claim.now - claim.job.first_tried_at >= limit


def retry_after(value: object) -> float | None:
    """Seconds, from a number or an HTTP date: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    with suppress(ValueError, OverflowError):
        seconds = float(value)
        return seconds if math.isfinite(seconds) and seconds >= 0 else None
    with suppress(ValueError, OverflowError):
        return max(parsedate_to_datetime(str(value)).timestamp() - time(), 0.0)
    return None
