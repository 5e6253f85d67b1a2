"""How long until something is tried again, and when no more."""

import math
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.core.retry import CALL_GIVE_UP, call_wait, out_of_time, post_wait, retry_after
from tests.samples import NOON, step


def test_calls_are_spaced_out_to_half_a_minute() -> None:
    """2 s, doubling to 30 s, however often."""
    assert [call_wait(attempts, None) for attempts in (0, 1, 2, 3, 4, 5, 10**6)] == [2, 4, 8, 16, 30, 30, 30]


def test_posts_are_spaced_out_to_a_minute() -> None:
    """1 s, doubling to 60 s, however often."""
    assert [post_wait(attempts, None) for attempts in (0, 1, 2, 5, 6, 7, 10**6)] == [1, 2, 4, 32, 60, 60, 60]


def test_what_the_service_asks_for_goes_before() -> None:
    """Its figure holds, but for a second at the least, and for Slack five minutes at the most."""
    figures = (0.0, 0.2, 7.0, 3600.0, 1e300)

    assert [call_wait(3, asked) for asked in figures] == [1, 1, 7, 3600, 1e300]
    assert [post_wait(3, asked) for asked in figures] == [1, 1, 7, 300, 300]


def test_time_runs_out_from_the_first_try() -> None:
    """Another try is worth it only if it comes within the limit."""
    first = step(tried_at=NOON)

    assert not out_of_time(first, NOON + 590, 10, CALL_GIVE_UP)
    assert out_of_time(first, NOON + 590, 10.1, CALL_GIVE_UP)
    assert out_of_time(first, NOON, math.inf, CALL_GIVE_UP)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (30, 30.0),
        (1.5, 1.5),
        ("30", 30.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        (0, 0.0),
        (1e300, 1e300),
        (-1, None),
        ("-1", None),
        (math.nan, None),
        ("inf", None),
        (math.inf, None),
        (10**400, None),
        ("soon", None),
        ("", None),
        (None, None),
        (True, None),
        ([30], None),
        ({"seconds": 30}, None),
        ("Wed, 99 Foo 2023 12:00:00 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
        ("Mon, 01 Jan 10000 00:00:00 GMT", None),
    ],
)
def test_seconds_are_read_and_nonsense_is_not(value: object, seconds: float | None) -> None:
    """A number, or a text of one; anything else tells nothing."""
    assert retry_after(value) == seconds


@pytest.mark.parametrize(("later", "seconds"), [(90, 90.0), (0, 0.0), (-3600, 0.0)])
def test_a_date_is_held_against_the_clock(later: float, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry-After may be an HTTP date; one that is past means now."""
    monkeypatch.setattr("bot.core.retry.time", lambda: NOON)
    date = format_datetime(datetime.fromtimestamp(NOON + later, UTC), usegmt=True)

    assert retry_after(date) == seconds


@given(
    st.one_of(
        st.text(),
        st.integers(),
        st.floats(),
        st.binary(),
        st.text("0123456789:+-., GMTWedNov").map(lambda text: f"Wed, 15 {text}"),
        st.datetimes().map(format_datetime),
    )
)
@example("Wed, 15 Nov 2023 12:00:00 +99999999999999")
@example("0 0 0 0 0 0")
@example(",")
def test_any_value_gives_seconds_or_nothing(value: object) -> None:
    """What another machine sends never raises, and never gives a time that is no time."""
    seconds = retry_after(value)

    assert seconds is None or (math.isfinite(seconds) and seconds >= 0)
