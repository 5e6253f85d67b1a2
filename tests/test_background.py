"""Background tasks are kept until they end, and cancelled when the bot stops."""

import asyncio
import gc

from structlog.testing import capture_logs

from bot.background import BackgroundTasks


async def test_tasks_run_until_a_stop_cancels_them() -> None:
    """Even if nothing else refers to them. A stop can give them a while. One that fails is logged."""
    tasks, release, done, cancelled = BackgroundTasks(), asyncio.Event(), asyncio.Event(), asyncio.Event()
    error = ArithmeticError("of our own")

    async def work() -> None:
        await release.wait()
        done.set()
        raise error

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    tasks.start(work())
    tasks.start(hang())
    await asyncio.sleep(0)
    gc.collect()
    asyncio.get_running_loop().call_soon(release.set)
    with capture_logs() as logged:
        await tasks.stop(0.05)

    assert done.is_set()
    assert cancelled.is_set()
    assert [(line["event"], line["exc_info"]) for line in logged] == [("background_task_failed", error)]
