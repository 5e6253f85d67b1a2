"""Waiting for something to happen, without polling."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Changes:
    """Tells those who wait that something has changed, so that they look again."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Wake everyone who waits."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, look: Callable[[], T], within: float, missed: Callable[[], str]) -> T:
        """Look at once and after every change, until it is true. Raises TimeoutError, with what `missed` says."""
        try:
            async with asyncio.timeout(within):
                while not (found := look()):
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"not seen within {within:g} s; {missed()}") from None
        return found
