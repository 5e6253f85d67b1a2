"""Tasks beside all else, with somebody who remembers them: asyncio itself holds them weakly.

https://docs.python.org/3/library/asyncio-task.html#asyncio.create_task
"""

import asyncio
from collections.abc import Coroutine


class BackgroundTasks:
    """Some tasks, until each has ended."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, coroutine: Coroutine[object, object, None]) -> None:
        """Begin one."""
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Break off those that go on."""
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
