"""`make try`: the real bot, a Slack and a ModelsLab on this machine, and lines of text to talk through them."""

import asyncio
import io
import os
import signal
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from tempfile import TemporaryDirectory
from typing import TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.patch_stdout import patch_stdout

from bot import settings
from bot.app import App
from bot.sandbox.modelslab import MISBEHAVING, OWN_MODELS, SandboxModelsLab
from bot.sandbox.slack.service import SandboxSlack
from bot.sandbox.terminal.screen import Screen
from bot.sandbox.terminal.session import COMMAND, EXAMPLE, MENTION, Session

_PEOPLE = {"U0ADA": "ada", "U0BEN": "ben", "U0EVE": "eve"}
_USUAL = {"ada": "models", "ben": "ops", "eve": "models"}
_CHANNELS = {"C0MODELS": "models", "C0OPS": "ops"}
_MODELS = ("dreamshaper", "flux", "midjourney", "realistic-vision", "sdxl")

_EXIT_INTERRUPTED = 130

_GRACE_SECONDS = 30.0
"""How much longer than a reload the bot can take to say how it went: it tries a busy ModelsLab again."""

_EXAMPLES = f"""\
  {EXAMPLE}          reload a model
  ben: {EXAMPLE}     let ben, in #ops, wait for it too
  {COMMAND} sdxl flux     reload two models at once
  {COMMAND} midjorney     mistype a model
  {COMMAND}               pick a model in a form
  {COMMAND} status        see what is running
  {MENTION} sdxl          mention the bot
  reply {MENTION} sdxl    mention it in the last message's thread
  dm sdxl                     write it a direct message
  home                        open its Home tab
  1                           press the button [1]
  exit                        leave, as Ctrl-D and Ctrl-C do
"""
_INTRODUCTION = f"""\
The real bot, on a pretend Slack and ModelsLab: nothing leaves this machine.
A reload takes {{seconds:g}} s instead of two minutes. You are ada, in #models. Try:
{_EXAMPLES}\
  help                        see what else there is
"""
_HELP = f"""\
{_EXAMPLES}\
  2 flux                      fill in the field [2] of a form
  shortcut                    use the bot's shortcut, which opens the form
  ben #models: 1              do something as ben, in #models
  ben: {COMMAND} access    list who can reload models, as ben
  wait 3                      let 3 seconds pass
Ada (in #models) and ben (in #ops) can reload models, eve (in #models) can't: she can ask ben, an admin.
ModelsLab knows {", ".join(_MODELS)}, and the account's own {" and ".join(OWN_MODELS)}.
Some other models misbehave:
""" + "".join(f"  {name:<14} {what}\n" for name, (what, _) in MISBEHAVING.items())

_DEMO = f"""\
# Nothing was typed, so this is a short demo. Ada reloads a model, and Ben waits for it too.
ada: {EXAMPLE}
ben: {EXAMPLE}
wait 1
# Ada mistypes a model.
ada: {COMMAND} midjorney
wait 1
# Eve is not on the list of people who can reload models.
eve: {EXAMPLE}
# What is running?
ben: {COMMAND} status
"""


async def sandbox(*, seconds: float, stdin: TextIO, stdout: TextIO) -> int:
    """Play the lines that come from stdin, or a short demo, with reloads of this many seconds.

    Returns the exit code: 0, or 1 where the bot did not answer, or 130 where it was interrupted.
    """
    for stream in (stdin, stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    live = stdin.isatty() and stdout.isatty() and os.environ.get("TERM") != "dumb"
    # https://no-color.org
    colour = stdout.isatty() and not os.environ.get("NO_COLOR")
    # Without a file, print looks up sys.stdout each time: while there is a prompt, that writes above it.
    screen = Screen(partial(print, end="", file=None if live else stdout, flush=True), live=live, colour=colour)
    async with _running(seconds) as (slack, modelslab):
        screen.note(_INTRODUCTION.format(seconds=seconds))
        session = Session(slack, modelslab, screen, _USUAL, _HELP)
        await _interruptible(_play(session, _prompted(session) if live else _piped(stdin)))
        finished = await _interruptible(session.settle(seconds + _GRACE_SECONDS))
    if not finished:
        return _EXIT_INTERRUPTED
    return 0 if session.answered else 1


@asynccontextmanager
async def _running(seconds: float) -> AsyncIterator[tuple[SandboxSlack, SandboxModelsLab]]:
    """Run both services and the bot, with a database that is kept for as long as this lasts."""
    with TemporaryDirectory() as folder:
        async with SandboxSlack() as slack, SandboxModelsLab(strict=True) as modelslab:
            modelslab.models = [*_MODELS]
            slack.users |= _PEOPLE
            for channel_id, name in _CHANNELS.items():
                slack.add_channel(channel_id, name)
            env = {
                "SLACK_BOT_TOKEN": slack.bot_token,
                "SLACK_APP_TOKEN": slack.app_token,
                "SLACK_API_URL": slack.api_url,
                "MODELSLAB_API_KEY": modelslab.key,
                "MODELSLAB_URL": modelslab.url,
                "ALLOWED_USERS": "U0ADA,U0BEN",
                "ADMIN_USERS": "U0BEN",
                "RELOAD_SECONDS": str(seconds),
                "DATABASE_URL": f"sqlite:///{folder}/reload-model.db",
                "HOST": "127.0.0.1",
                "PORT": "0",
            }
            config, _ = settings.read(env)
            bot = App(config)
            await bot.start()
            try:
                yield slack, modelslab
            finally:
                await bot.stop()


async def _play(session: Session, lines: AsyncGenerator[str, None]) -> None:
    async with aclosing(lines):
        async for line in lines:
            if not await session.play(line):
                break


async def _prompted(session: Session) -> AsyncGenerator[str, None]:
    """Ask for lines until Ctrl-D, for the next one while one is being played; Ctrl-C interrupts, as elsewhere."""
    prompt: PromptSession[str] = PromptSession(lambda: f"{session.who} #{session.where}> ", erase_when_done=True)
    typed = asyncio.Queue[str | None]()

    async def ask() -> None:
        try:
            with suppress(EOFError):
                while True:
                    typed.put_nowait(await prompt.prompt_async(handle_sigint=False))
            typed.put_nowait(None)
        except KeyboardInterrupt:
            signal.raise_signal(signal.SIGINT)

    with patch_stdout(raw=True):
        request = asyncio.create_task(ask())
        try:
            while (line := await typed.get()) is not None:
                yield line
        finally:
            request.cancel()
            await asyncio.wait([request])


async def _piped(stdin: TextIO) -> AsyncGenerator[str, None]:
    """Read lines as they come; where there are none at all, take the demo's."""
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[str]()

    def read() -> None:
        with suppress(RuntimeError, ValueError):  # the loop, or the input, has been closed
            for line in stdin:
                loop.call_soon_threadsafe(lines.put_nowait, line)
            loop.call_soon_threadsafe(lines.put_nowait, "")

    # Waiting for input can't be interrupted, so it must not keep the program from ending.
    threading.Thread(target=read, daemon=True).start()
    line = await lines.get()
    if not line:
        for scripted in _DEMO.splitlines():
            yield scripted
    while line:
        yield line
        line = await lines.get()


async def _interruptible(work: Coroutine[object, object, None]) -> bool:
    """Do work until it ends, or until Ctrl-C. False where it was interrupted."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    with suppress(asyncio.CancelledError):
        await task
    return not task.cancelled()
