"""A clock that nobody can set: the time when it was created, plus what a monotonic clock has counted since."""

import time


class SteadyClock:
    """Seconds since the Unix epoch (UTC). Changes to the system's time don't affect it.

    It also counts the time while the machine sleeps, if the system supports that: https://peps.python.org/pep-0418/
    """

    def __init__(self) -> None:
        self._steady = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        self._began = time.time() - time.clock_gettime(self._steady)

    def __call__(self) -> float:
        """The time now."""
        return self._began + time.clock_gettime(self._steady)
