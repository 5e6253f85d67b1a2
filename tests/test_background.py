"""Background tasks run until they end, and are cancelled when the bot stops."""

import asyncio
import gc
import socket
import threading

import pytest
from structlog.testing import capture_logs

from bot.background import BackgroundTasks, DaemonThreads


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


def test_a_slow_dns_lookup_does_not_delay_the_exit() -> None:
    """Threads can't be stopped, but they can be left behind. One that fails says so."""
    release, before = threading.Event(), threading.enumerate()

    async def wait() -> None:
        asyncio.get_running_loop().set_default_executor(DaemonThreads())
        with pytest.raises(socket.gaierror):
            await asyncio.get_running_loop().getaddrinfo("x", 1, flags=socket.AI_NUMERICHOST)
        waiting = asyncio.ensure_future(asyncio.to_thread(release.wait, 60))
        await asyncio.wait([waiting], timeout=0.01)

    asyncio.run(wait())
    running = [thread for thread in threading.enumerate() if thread not in before]
    release.set()

    assert [thread.daemon for thread in running] == [True]
