"""Plugins for all suites: a PostgreSQL (tests/postgres.py), and a search for secrets (tests/secrecy.py)."""

import os

from xdist.workermanage import NodeManager

pytest_plugins = ["tests.postgres", "tests.secrecy"]

NodeManager.EXIT_TIMEOUT = 60
"""Seconds that a process of tests has to end. One that is killed earlier loses its coverage."""


def pytest_xdist_auto_num_workers() -> int:
    """Twice as many processes as there are cores: most tests wait for a time to pass or for a process to start.

    https://pytest-xdist.readthedocs.io/en/stable/distribution.html#customizing-n-auto-and-n-logical
    """
    return 2 * (os.cpu_count() or 1)
