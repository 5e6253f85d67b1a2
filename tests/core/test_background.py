"""What runs in the background is kept until it ends, and cancelled at the end."""

import asyncio
import gc

from structlog.testing import capture_logs

from bot.core.background import BackgroundTasks


async def test_a_task_runs_to_its_end() -> None:
    """Even when nothing but BackgroundTasks holds it."""
    tasks, done = BackgroundTasks(), asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0)
        done.set()

    tasks.start(work())
    gc.collect()
    await asyncio.wait_for(done.wait(), 5)
    await tasks.stop()

    assert done.is_set()


async def test_what_is_still_running_is_cancelled() -> None:
    """And waited for."""
    tasks, cancelled = BackgroundTasks(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    tasks.start(work())
    await asyncio.sleep(0)
    await tasks.stop()

    assert cancelled.is_set()


async def test_what_is_running_can_be_given_a_while() -> None:
    """What ends within it is not cancelled."""
    tasks, done, never = BackgroundTasks(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.01)
        done.set()

    async def hang() -> None:
        await asyncio.Event().wait()
        never.set()

    tasks.start(work())
    tasks.start(hang())
    await tasks.stop(0.5)

    assert done.is_set()
    assert not never.is_set()


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
