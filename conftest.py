"""What every suite may ask for: see tests/postgres.py."""

pytest_plugins = ["tests.postgres"]
