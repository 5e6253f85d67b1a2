"""What every test gets, and the fixtures of several suites."""

import logging
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog
from hypothesis import settings

from bot.core import timing
from bot.sandbox.modelslab import SandboxModelsLab

# A machine that is busy makes an example slow, not wrong.
settings.register_profile("reload-model", deadline=None)
settings.load_profile("reload-model")


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    """Leave logging as it was: the bot sets it up for its whole process."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    levels = {logger: logger.level for logger in _loggers()}
    yield
    root.handlers[:] = handlers
    for logger in _loggers():
        if logger.level != (before := levels.get(logger, logging.NOTSET)):
            logger.setLevel(before)
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def timing_restored() -> Iterator[None]:
    """Leave the times as they were: see tests/times.py."""
    before = vars(timing).copy()
    yield
    vars(timing).update(before)


def _loggers() -> list[logging.Logger]:
    named = logging.Logger.manager.loggerDict.values()
    return [logging.getLogger(), *(logger for logger in named if isinstance(logger, logging.Logger))]


@pytest.fixture
async def modelslab() -> AsyncIterator[SandboxModelsLab]:
    """A ModelsLab that accepts everything."""
    async with SandboxModelsLab() as modelslab:
        yield modelslab
