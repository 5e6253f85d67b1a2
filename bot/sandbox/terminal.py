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

from bot import settings
from bot.app import App
from bot.sandbox.modelslab import MISBEHAVING, OWN_MODELS, SandboxModelsLab
from bot.sandbox.screen import Screen
from bot.sandbox.session import COMMAND, EXAMPLE, SHORTCUT, Session
from bot.sandbox.slack import SandboxSlack

_PEOPLE = {"U0ADA": "ada", "U0BEN": "ben", "U0EVE": "eve"}
_USUAL = {"ada": "models", "ben": "ops", "eve": "models"}
_CHANNELS = {"C0MODELS": "models", "C0OPS": "ops", "C0RANDOM": "random"}
_MODELS = ("dreamshaper", "flux", "midjourney", "realistic-vision", "sdxl")

_EXIT_INTERRUPTED = 130

_GRACE_SECONDS = 30.0
"""How much longer than a reload the bot can take to say how it went: it tries a busy ModelsLab again."""

_INTRODUCTION = f"""\
The real bot, on a pretend Slack and ModelsLab: nothing leaves this machine.
A reload takes {{seconds:g}} s instead of two minutes. You are ada, in #models. Try:
  {EXAMPLE}          reload a model
  ben: {EXAMPLE}     let ben, in #ops, wait for it too
  {COMMAND} midjorney     mistype a model
  {COMMAND}               pick a model in a form
  {COMMAND} status        see what is running
  home                        open the bot's Home tab
  1                           press the button [1]
  help                        see what else there is
  exit                        leave
"""
_HELP = f"""\
Ada (in #models) and ben (in #ops) can reload models, eve (in #models) can't.
The bot works in #models and #ops, but not in #random. You can type:
  {EXAMPLE}                  as the last person, in the same channel
  ben: {EXAMPLE}             as ben
  ben #random: {EXAMPLE}     as ben, in #random
  3                                   press the button [3]
  5 sdxl                              fill in the field [5]
  home                                open the bot's Home tab
  shortcut                            use the bot's shortcut, {SHORTCUT}
  wait 3                              let 3 seconds pass
  exit                                leave; so do Ctrl-D and Ctrl-C
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
    prompt = None
    if stdin.isatty() and stdout.isatty() and os.environ.get("TERM") != "dumb":
        from bot.sandbox.prompt import Prompt  # noqa: PLC0415 - only a terminal needs it

        prompt = Prompt()
    # https://no-color.org
    colour = stdout.isatty() and not os.environ.get("NO_COLOR")
    write = prompt.write if prompt else partial(print, end="", file=stdout, flush=True)
    screen = Screen(write, live=prompt is not None, colour=colour)
    async with _running(seconds) as (slack, modelslab):
        screen.note(_INTRODUCTION.format(seconds=seconds))
        session = Session(slack, modelslab, screen, _USUAL, _HELP)
        asking = prompt.lines(lambda: f"{session.who} #{session.where}> ") if prompt else _piped(stdin)
        await _interruptible(_play(session, asking))
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
                "ALLOWED_CHANNELS": "C0MODELS,C0OPS",
                "RELOAD_SECONDS": str(seconds),
                "DATABASE_URL": f"sqlite:///{folder}/reload-model.db",
                "HOST": "127.0.0.1",
                "PORT": "0",
            }
            bot = App(settings.load(env))
            await bot.start()
            try:
                await slack.wait_connected()
                yield slack, modelslab
            finally:
                await bot.stop()


async def _play(session: Session, lines: AsyncGenerator[str, None]) -> None:
    async with aclosing(lines):
        async for line in lines:
            if not await session.play(line):
                break


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
    task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        await asyncio.wait([task])
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    if task.cancelled():
        return False
    task.result()
    return True
