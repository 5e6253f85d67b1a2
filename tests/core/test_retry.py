"""When something is tried again, and when the bot gives up."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.models import Claim, JobKind, Stage
from bot.core.retry import PAUSE_LIMIT, STATUS_TRIES, Backoff, bar_wait, out_of_time, retry_after, wait
from tests.samples import ACCEPTED, NOON, claim, job


def _no_chance() -> float:
    return 0.0


def test_pauses_grow_up_to_a_limit() -> None:
    """They are short again once it has worked. A service can ask for a longer one, up to a limit."""
    pauses = Backoff(1.0, 30.0, chance=_no_chance)
    grown = [pauses.pause() for _ in range(7)]
    pauses.reset()

    assert grown == [1, 2, 4, 8, 16, 30, 30]
    assert [pauses.pause(asked) for asked in (0.0, 7.0, 1.0, 1e9)] == [1, 7, 4, PAUSE_LIMIT]


@given(st.floats(0, 1))
def test_some_of_a_pause_is_left_to_chance(chance: float) -> None:
    """Replicas that were cut off together don't come back together, nor any of them too early."""
    assert Backoff(8.0, 8.0, chance=lambda: chance).pause(10.0) == 10.0 * (1.0 + chance / 2.0)
    assert wait(JobKind.DM, 0, 10.0, lambda: chance) == 10.0 * (1.0 + chance / 2.0)


@pytest.mark.parametrize("attempts", [0, 1, 10**6])
def test_calls_are_half_a_minute_apart(attempts: int) -> None:
    """ModelsLab refuses the same request within that time; it may ask for more, up to five minutes.

    So there are at least two tries, as people read who are told that ModelsLab kept rate-limiting us.
    """
    waits = [wait(JobKind.CALL, attempts, asked, _no_chance) for asked in (None, 0.0, 7.0, 45.0, 3600.0)]

    assert waits == [30, 30, 30, 45, PAUSE_LIMIT]
    longest = wait(JobKind.CALL, attempts, 1e300, lambda: 1.0)
    assert not out_of_time(claim(of=job(JobKind.CALL)), longest)


@pytest.mark.parametrize("kind", [kind for kind in JobKind if kind is not JobKind.CALL])
def test_messages_are_spaced_out_to_a_minute(kind: JobKind) -> None:
    """1 s, twice as long each time. Slack can ask for a second up to five minutes, whatever the attempts."""
    waits = [wait(kind, attempts, None, _no_chance) for attempts in (0, 1, 2, 5, 6, 7, 10**6)]
    asked = [wait(kind, 6, seconds, _no_chance) for seconds in (0.0, 0.2, 7.0, 3600.0, 1e300)]

    assert waits == [1, 2, 4, 32, 60, 60, 60]
    assert asked == [1, 1, 7, PAUSE_LIMIT, PAUSE_LIMIT]


@pytest.mark.parametrize(("kind", "limit"), [(JobKind.CALL, 600.0), (JobKind.NOTIFY, 1500.0), (JobKind.DM, 1500.0)])
def test_a_job_is_given_up_some_time_after_its_first_try(kind: JobKind, limit: float) -> None:
    """However many tries there were, and however long the pause before the last one is."""
    late, later = (replace(claim(of=job(kind, attempts=10**6)), now=NOON + limit + more) for more in (-0.1, 0.0))

    assert [out_of_time(late, pause) for pause in (1.0, PAUSE_LIMIT)] == [False, False]
    assert out_of_time(later, 1.0)


def _status(*, attempts: int = 0, now: float = NOON, stage: Stage = Stage.WAITING) -> Claim:
    return replace(claim(of=job(JobKind.STATUS, attempts=attempts)), now=now, stage=stage)


def test_a_status_message_is_tried_a_few_times_and_not_beside_the_follow_up() -> None:
    """Unless it is to have its last word, which comes after the follow-up."""
    ready_at = ACCEPTED.ready_at or 0.0

    assert not out_of_time(_status(attempts=STATUS_TRIES - 2), 1.0)
    assert out_of_time(_status(attempts=STATUS_TRIES - 1), 1.0)
    assert not out_of_time(_status(now=ready_at - 2.0), 1.0)
    assert out_of_time(_status(now=ready_at - 2.0), 2.0)
    assert not out_of_time(_status(now=ready_at + 2.0, stage=Stage.NOTIFIED), 2.0)


@pytest.mark.parametrize(("reload_seconds", "seconds"), [(6.0, 3.0), (18.0, 3.0), (60.0, 10.0), (9e9, 20.0)])
def test_a_bar_moves_six_times_in_a_reload(reload_seconds: float, seconds: float) -> None:
    """But neither more often than every 3 seconds, nor less often than every 20."""
    assert bar_wait(reload_seconds) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *[(value, float(value)) for value in ("30", " 7 ", 30, 1.5, 0, 1e300)],
        *[(value, None) for value in (-1, "-1", math.nan, "inf", 10**400, "soon", "", None, True, [30])],
        ("Wed, 99 Foo 2023 12:00:00 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
        ("Mon, 01 Jan 10000 00:00:00 GMT", None),
        ("Wed, 15 Nov 2023 12:01:30 GMT", 90.0),
        ("Wed, 15 Nov 2023 11:59:55 GMT", 0.0),
        ("Wed, 15 Nov 2023 12:00:00 +99999999999999", None),
        ("0 0 0 0 0 0", None),
    ],
)
def test_retry_after_is_read(value: object, seconds: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number, a text of one, or an HTTP date, of which one in the past means now; anything else says nothing."""
    monkeypatch.setattr("bot.core.retry.time", lambda: NOON)

    assert retry_after(value) == seconds
