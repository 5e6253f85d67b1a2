"""Background tasks are kept until they end, and cancelled when the bot stops."""

import asyncio
import gc

from structlog.testing import capture_logs

from bot.background import BackgroundTasks


async def test_a_task_runs_to_its_end() -> None:
    """Even if nothing else refers to it. A stop can give tasks a while, and then cancels the rest."""
    tasks, release, done, cancelled = BackgroundTasks(), asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await release.wait()
        done.set()

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
    await tasks.stop(0.05)

    assert done.is_set()
    assert cancelled.is_set()


async def test_a_task_that_fails_is_logged() -> None:
    """Nobody waits for it, so nobody else would say so."""
    error = ArithmeticError("of our own")

    async def work() -> None:
        raise error

    with capture_logs() as logged:
        BackgroundTasks().start(work())
        for _ in range(3):  # it begins, it fails, it is noticed
            await asyncio.sleep(0)

    assert [(line["event"], line["exc_info"]) for line in logged] == [("background_task_failed", error)]
