"""The sandbox: the real bot, a Slack and a ModelsLab on this machine, and lines of text to talk through them.

Knows the bot by its settings, and by what it says.
"""

import asyncio
import io
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, TextIO

from bot import app, settings
from bot.sandbox.lines import COMMAND, Cast, Person, Place
from bot.sandbox.modelslab import PRETEND, SandboxModelsLab
from bot.sandbox.playing import Tryout
from bot.sandbox.screen import Screen
from bot.sandbox.slack import SandboxSlack

_CAST = Cast(
    people={
        "ada": Person("U0ADA", "models"),
        "ben": Person("U0BEN", "ops"),
        "eve": Person("U0EVE", "models"),
    },
    channels={"models": "C0MODELS", "ops": "C0OPS", "random": "C0RANDOM"},
)
_ALLOWED_PEOPLE = ("ada", "ben")
_ALLOWED_CHANNELS = ("models", "ops")
_FIRST = Place("ada", "models")

_SCRIPT = (
    "# ada reloads a model, and ben waits for the same one in another channel",
    f"ada: {COMMAND} sdxl",
    f"ben: {COMMAND} sdxl",
    "wait 1",
    "# eve is not on the list of those who may",
    f"eve: {COMMAND} sdxl",
    "# ModelsLab knows no model of this name",
    f"ada: {COMMAND} no-such-model",
    "wait 1",
    "# what is going on?",
    f"ben: {COMMAND} status",
)

# How much longer than a reload the bot may take to tell how it went, in seconds: it asks a busy ModelsLab
# again, and posts once a second a channel.
_GRACE = 30.0


class Bot(Protocol):
    """The bot as it is run here."""

    async def start(self) -> None:
        """Connect, and begin to serve."""
        ...

    async def stop(self) -> None:
        """Finish what is in hand, and disconnect."""
        ...


def _the_bot(env: Mapping[str, str]) -> Bot:
    return app.App(settings.load(env))


async def sandbox(
    *, seconds: float, stdin: TextIO, stdout: TextIO, bot_of: Callable[[Mapping[str, str]], Bot] = _the_bot
) -> int:
    """Play what comes from stdin, or a short script where nothing does, with reloads of this many seconds.

    Returns the exit code: 0 if every line was understood and answered, and all that was promised was posted.
    """
    for stream in (stdin, stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    prompted = stdin.isatty() and stdout.isatty()
    async with _stage(seconds, bot_of) as slack:
        screen = Screen(slack, _writer(stdout, prompted=prompted), colour=_in_colour(stdout))
        screen.note(f"The two minutes of a reload are {seconds:g} seconds here, and nothing leaves this machine.")
        playing = Tryout(slack, screen, _CAST, _FIRST, _help())
        async with aclosing(_prompted(playing) if prompted else _piped(stdin)) as lines:
            async for line in lines:
                if not await playing.play(line):
                    break
        await playing.settle(seconds + _GRACE)
    return 0 if playing.went_well else 1


@asynccontextmanager
async def _stage(seconds: float, bot_of: Callable[[Mapping[str, str]], Bot]) -> AsyncIterator[SandboxSlack]:
    """Run both services and the bot, which keeps its database for as long as this lasts."""
    with TemporaryDirectory() as folder:
        async with SandboxSlack() as slack, SandboxModelsLab() as modelslab:
            for name, person in _CAST.people.items():
                slack.add_user(person.id, name)
            for name, channel_id in _CAST.channels.items():
                slack.add_channel(channel_id, name)
            bot = bot_of(_environment(slack, modelslab, seconds, Path(folder)))
            await bot.start()
            try:
                await slack.wait_connected()
                yield slack
            finally:
                await bot.stop()


def _environment(slack: SandboxSlack, modelslab: SandboxModelsLab, seconds: float, folder: Path) -> dict[str, str]:
    """Set the bot up as an operator would."""
    return {
        "SLACK_BOT_TOKEN": slack.bot_token,
        "SLACK_APP_TOKEN": slack.app_token,
        "SLACK_API_URL": slack.api_url,
        "MODELSLAB_API_KEY": modelslab.key,
        "MODELSLAB_URL": modelslab.url,
        "ALLOWED_USERS": ",".join(_CAST.people[name].id for name in _ALLOWED_PEOPLE),
        "ALLOWED_CHANNELS": ",".join(_CAST.channels[name] for name in _ALLOWED_CHANNELS),
        "RELOAD_SECONDS": str(seconds),
        "DATABASE_URL": f"sqlite:///{folder / 'reload-model.db'}",
        "HOST": "127.0.0.1",
        "PORT": "0",
        "LOG_LEVEL": "WARNING",
    }


async def _piped(stdin: TextIO) -> AsyncGenerator[str, None]:
    """Read lines as they come; where there are none at all, take the script's."""
    line = await asyncio.to_thread(stdin.readline)
    if not line:
        for scripted in _SCRIPT:
            yield scripted
    while line:
        yield line
        line = await asyncio.to_thread(stdin.readline)


async def _prompted(playing: Tryout) -> AsyncGenerator[str, None]:
    """Ask for lines on a terminal, under the messages that come meanwhile."""
    # Only here, as it is needed on a terminal only.
    from prompt_toolkit import PromptSession  # noqa: PLC0415
    from prompt_toolkit.patch_stdout import patch_stdout  # noqa: PLC0415

    session: PromptSession[str] = PromptSession(lambda: f"{playing.last.person} #{playing.last.channel}> ")
    # Raw lets our colours through: https://python-prompt-toolkit.readthedocs.io/en/stable/pages/reference.html
    with patch_stdout(raw=True), suppress(EOFError, KeyboardInterrupt):
        print("help tells who and what there is; exit or Ctrl-D ends.")
        while True:
            yield await session.prompt_async()


def _writer(stdout: TextIO, *, prompted: bool) -> Callable[[str], None]:
    # At a prompt, sys.stdout is prompt_toolkit's, which keeps the line being typed whole: print looks it up anew.
    return print if prompted else partial(print, file=stdout, flush=True)


def _in_colour(stdout: TextIO) -> bool:
    # https://no-color.org
    return stdout.isatty() and not os.environ.get("NO_COLOR")


def _help() -> str:
    people = [
        f"  {name:<14} usually in #{person.home}, {'may' if name in _ALLOWED_PEOPLE else 'may not'} reload models"
        for name, person in _CAST.people.items()
    ]
    channels = [
        f"  #{name:<13} the command {'works' if name in _ALLOWED_CHANNELS else 'does not work'} there"
        for name in _CAST.channels
    ]
    models = [f"  {name:<14} {pretend.what}" for name, pretend in PRETEND.items()]
    return "\n".join(
        [
            f"NAME: {COMMAND} sdxl, or NAME #CHANNEL: {COMMAND} sdxl. Without a name, who spoke last speaks again.",
            "NAME: 3 presses [3], or takes it; NAME: type sd types into the field of a modal;",
            "NAME: home opens the Home tab; NAME: shortcut ID uses the shortcut of that callback id.",
            *("people:", *people),
            *("channels:", *channels),
            *("models, besides all others, which are accepted at once:", *models),
            "wait 3 lets 3 seconds pass; exit, quit or Ctrl-D ends.",
        ]
    )
