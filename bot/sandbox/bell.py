"""Waiting for what is wanted, without polling. Knows nothing of what it is."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

_Found = TypeVar("_Found")


class Bell:
    """Rung at every change, so that whoever waits looks again."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake everyone who waits."""
        self._rung.set()
        self._rung = asyncio.Event()

    async def until(self, look: Callable[[], _Found], within: float, missed: Callable[[], str]) -> _Found:
        """Look at once and after every ring, until there is something true to return.

        Raises TimeoutError after `within` seconds, with what `missed` then says was there instead.
        """
        try:
            async with asyncio.timeout(within):
                while not (found := look()):
                    await self._rung.wait()
        except TimeoutError:
            raise TimeoutError(f"not seen within {within:g} s; {missed()}") from None
        return found
