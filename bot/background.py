"""Background tasks, with references to them until they end: asyncio itself only keeps weak ones.

https://docs.python.org/3/library/asyncio-task.html#asyncio.create_task
"""

import asyncio
from collections.abc import Coroutine
from contextvars import Context

import structlog

log = structlog.get_logger(__name__)


class BackgroundTasks:
    """Best-effort work that nobody waits for. One that fails is logged, and ends."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, coroutine: Coroutine[object, object, None]) -> None:
        """Run a coroutine in the background, without the context variables of the caller, such as its deadline."""
        task = asyncio.create_task(coroutine, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def stop(self, within: float = 0.0) -> None:
        """Give running tasks so many seconds, then cancel the rest."""
        if within and self._tasks:
            await asyncio.wait(self._tasks, timeout=within)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background_task_failed", exc_info=error)
