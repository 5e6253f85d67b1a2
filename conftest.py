"""What every suite may ask for: see tests/postgres.py. What holds for all of them: see tests/secrecy.py."""

pytest_plugins = ["tests.postgres", "tests.secrecy"]
