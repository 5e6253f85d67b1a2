"""What every suite may ask for: see tests/postgres.py. What holds for all of them: see tests/secrecy.py."""

import os

pytest_plugins = ["tests.postgres", "tests.secrecy"]


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: many tests wait for a time to pass or for a process to start.

    https://pytest-xdist.readthedocs.io/en/stable/distribution.html#customizing-n-auto-and-n-logical
    """
    return (os.cpu_count() or 1) + 1
