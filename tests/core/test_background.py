"""What runs beside all else is remembered until it has ended, and broken off at the end."""

import asyncio
import gc

from bot.core.background import BackgroundTasks


async def test_a_task_runs_to_its_end() -> None:
    """Even when nothing but BackgroundTasks knows of it."""
    kept, done = BackgroundTasks(), asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0)
        done.set()

    kept.start(work())
    gc.collect()
    await asyncio.wait_for(done.wait(), 5)
    await kept.stop()

    assert done.is_set()


async def test_what_goes_on_is_broken_off() -> None:
    """It is told so, and waited for."""
    kept, told = BackgroundTasks(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.set()

    kept.start(work())
    await asyncio.sleep(0)
    await kept.stop()

    assert told.is_set()
