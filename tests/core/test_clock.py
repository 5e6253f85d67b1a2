"""The time that the bot goes by is moved by nothing but time."""

import time

import pytest

from bot.core.clock import SteadyClock


def test_a_steady_clock_shows_the_time() -> None:
    """It agrees with the system's clock as long as nobody sets that."""
    before, now, after = time.time(), SteadyClock()(), time.time()

    assert before - 0.01 <= now <= after + 0.01


@pytest.mark.parametrize("boottime", [True, False])
def test_a_steady_clock_can_not_be_set(monkeypatch: pytest.MonkeyPatch, *, boottime: bool) -> None:
    """When the time of day is set while it runs, it counts on from where it began."""
    if not boottime:
        monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    day, steady = [1_000.0], [50.0]
    monkeypatch.setattr(time, "time", lambda: day[0])
    monkeypatch.setattr(time, "clock_gettime", lambda _clock: steady[0])
    clock = SteadyClock()

    times = [clock()]
    day[0] -= 3600
    steady[0] += 7
    times.append(clock())

    assert times == [1_000.0, 1_007.0]


def test_a_steady_clock_counts_the_time_that_a_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has a clock that does."""
    asked: list[int] = []
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", 77, raising=False)

    def clock_gettime(clock: int) -> float:
        asked.append(clock)
        return 0.0

    monkeypatch.setattr(time, "clock_gettime", clock_gettime)

    SteadyClock()()

    assert set(asked) == {77}
