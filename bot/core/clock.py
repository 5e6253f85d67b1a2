"""A clock that nobody can set: the time of day at its making, and what the steady clock has counted since."""

import time


class SteadyClock:
    """Seconds since the Unix epoch (UTC), unmoved when the system's time of day is changed while it runs.

    It counts the time that a machine sleeps, as far as its system tells: https://peps.python.org/pep-0418/
    """

    def __init__(self) -> None:
        self._steady = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        self._began = time.time() - time.clock_gettime(self._steady)

    def __call__(self) -> float:
        """The time now."""
        return self._began + time.clock_gettime(self._steady)
