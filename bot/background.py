"""Background tasks, and threads that don't delay the exit."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from threading import Thread
from typing import ParamSpec, TypeVar

import structlog

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger(__name__)


class BackgroundTasks:
    """Tasks that nobody awaits. One that fails is logged, and ends.

    It keeps references to the tasks, because asyncio itself only keeps weak ones:
    https://docs.python.org/3/library/asyncio-task.html#asyncio.create_task
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run a coroutine, without the caller's context variables, such as when its request arrived."""
        task = asyncio.create_task(coroutine, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

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


class DaemonThreads(ThreadPoolExecutor):
    """Threads for asyncio that don't delay the exit: a DNS lookup can take half a minute, and can't be cancelled.

    It is a ThreadPoolExecutor only by type, because asyncio takes no other.
    """

    def submit(self, task: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a task in a thread of its own."""
        future = Future[T]()
        future.set_running_or_notify_cancel()

        def work() -> None:
            try:
                future.set_result(task(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - the future's owner gets it
                future.set_exception(error)

        Thread(target=work, daemon=True).start()
        return future
