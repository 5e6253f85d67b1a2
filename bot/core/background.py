"""Background tasks: references to them until they end, as asyncio itself holds tasks weakly.

https://docs.python.org/3/library/asyncio-task.html#asyncio.create_task
"""

import asyncio
from collections.abc import Coroutine

import structlog

log = structlog.get_logger(__name__)


class BackgroundTasks:
    """Best-effort work that nobody waits for. One that fails is logged, and ends."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, coroutine: Coroutine[object, object, None]) -> None:
        """Run a coroutine in the background."""
        task = asyncio.create_task(_logged(coroutine))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancel what is still running."""
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _logged(coroutine: Coroutine[object, object, None]) -> None:
    try:
        await coroutine
    except Exception:
        log.exception("background_task_failed")
