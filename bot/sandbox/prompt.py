"""A prompt at the bottom of a terminal, with everything else above it. Only a terminal needs prompt_toolkit."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal


class Prompt:
    """Asks for lines; what is written meanwhile goes above the line that is being typed."""

    def __init__(self) -> None:
        self._session: PromptSession[str] = PromptSession(erase_when_done=True)
        self._unwritten = ""

    def write(self, text: str) -> None:
        """Write text as it is, control characters and all, as soon as the prompt has made room for it."""
        self._unwritten += text
        run_in_terminal(self._flush)

    def _flush(self) -> None:
        """Write now what has not been written yet."""
        text, self._unwritten = self._unwritten, ""
        self._session.output.write_raw(text)
        self._session.output.flush()

    async def lines(self, message: Callable[[], str]) -> AsyncGenerator[str, None]:
        """Ask for lines until Ctrl-D, for the next one while one is being played; Ctrl-C interrupts, as elsewhere."""
        typed = asyncio.Queue[str | None]()

        async def ask() -> None:
            try:
                with suppress(EOFError):
                    while True:
                        typed.put_nowait(await self._session.prompt_async(message, handle_sigint=False))
                typed.put_nowait(None)
            except KeyboardInterrupt:
                signal.raise_signal(signal.SIGINT)

        asking = asyncio.create_task(ask())
        try:
            while (line := await typed.get()) is not None:
                yield line
        finally:
            asking.cancel()
            await asyncio.wait([asking])
