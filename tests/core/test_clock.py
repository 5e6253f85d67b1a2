"""The clock that the bot uses on SQLite."""

import time

import pytest

from bot.core.clock import SteadyClock


@pytest.mark.parametrize("boottime", [True, False])
def test_a_steady_clock_cannot_be_set(monkeypatch: pytest.MonkeyPatch, *, boottime: bool) -> None:
    """It counts on from where it began, even while the machine sleeps if the system has a clock for that."""
    day, steady, read = 1_000.0, 50.0, set[int]()

    def clock_gettime(clock: int) -> float:
        read.add(clock)
        return steady

    monkeypatch.setattr(time, "time", lambda: day)
    monkeypatch.setattr(time, "clock_gettime", clock_gettime)
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", 77, raising=False)
    if not boottime:
        monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    clock = SteadyClock()
    assert clock() == 1_000.0

    day -= 3600
    steady += 7

    assert clock() == 1_007.0
    assert read == {77 if boottime else time.CLOCK_MONOTONIC}
