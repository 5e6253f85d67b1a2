"""The times of the bot, for tests that can't wait."""

from bot.core import timing


def set_timing(**seconds: float) -> None:
    """Let these things take so many seconds, until the test is over: see tests/conftest.py."""
    for name, value in seconds.items():
        assert hasattr(timing, name.upper())
        setattr(timing, name.upper(), value)
