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
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Cancel what is still running."""
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background_task_failed", exc_info=error)
