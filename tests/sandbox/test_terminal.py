"""The terminal plays lines to a bot, and knows whether the bot kept its word."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot import settings
from bot.sandbox import terminal


class Handler(Protocol):
    """Bolt's Socket Mode handler, whose methods are untyped."""

    async def connect_async(self) -> None:
        """Connect."""
        ...

    async def close_async(self) -> None:
        """Disconnect."""
        ...


class FakeBot:
    """A bot that says what the real one says, and keeps its word at once, unless the model is "forgotten"."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.settings = settings.load(env)
        self.running = False
        self.heard: list[tuple[str, str]] = []
        self._web = AsyncWebClient(token=self.settings.slack_bot_token, base_url=self.settings.slack_api_url)
        app = AsyncApp(client=self._web)
        app.command("/reload-model")(self._reload)
        self._handler: Handler = AsyncSocketModeHandler(app, self.settings.slack_app_token)

    async def start(self) -> None:
        """Connect."""
        await self._handler.connect_async()
        self.running = True

    async def stop(self) -> None:
        """Disconnect."""
        await self._handler.close_async()
        self.running = False

    async def _reload(self, ack: AsyncAck, command: Mapping[str, str]) -> None:
        user, model = command["user_id"], command["text"]
        self.heard.append((command["user_name"], model))
        if model == "too-long":
            await ack("x" * 40_001)
        elif user not in self.settings.allowed_users or model == "status":
            await ack("You get no more than this.")
        else:
            await ack(f"Reloading `{model}` (reload `abc123`).")
            said = "does not matter" if model == "forgotten" else "should be ready now"
            text = f"<@{user}> `{model}` {said}. (reload `abc123`)"
            await self._web.chat_postMessage(channel=command["channel_id"], text=text)


class Stage:
    """Runs the sandbox with a fake bot, and keeps what it printed."""

    def __init__(self) -> None:
        self.bots: list[FakeBot] = []
        self.stdout = io.StringIO()

    async def play(self, text: str) -> int:
        """Play lines from a pipe; return the exit code."""
        return await self.run(io.StringIO(text))

    async def run(self, stdin: io.StringIO) -> int:
        """Play lines from stdin; return the exit code."""
        return await terminal.sandbox(seconds=0.5, stdin=stdin, stdout=self.stdout, bot_of=self._bot_of)

    @property
    def printed(self) -> list[str]:
        """The lines that were printed."""
        return self.stdout.getvalue().splitlines()

    def _bot_of(self, env: Mapping[str, str]) -> FakeBot:
        self.bots.append(FakeBot(env))
        return self.bots[-1]


@pytest.fixture
def stage() -> Stage:
    """A sandbox that has not begun."""
    return Stage()


async def test_lines_are_played_one_after_another(stage: Stage) -> None:
    """Each line is shown with its ack before the next one, and what was promised is waited for."""
    code = await stage.play("ada: /reload-model sdxl\n\nben: /reload-model status\nwait 0\n# done\n")
    follow_up = "#models  reload-model> @ada `sdxl` should be ready now. (reload `abc123`)"
    at_once = [line for line in stage.printed if line != follow_up]

    assert code == 0
    assert at_once == [
        "The two minutes of a reload are 0.5 seconds here, and nothing leaves this machine.",
        "#models  ada> /reload-model sdxl",
        "#models  (only ada sees) Reloading `sdxl` (reload `abc123`).",
        "#ops     ben> /reload-model status",
        "#ops     (only ben sees) You get no more than this.",
        "# done",
    ]
    assert stage.printed.count(follow_up) == 1


async def test_without_any_input_a_script_is_played(stage: Stage) -> None:
    """Two people ask for one model, a third may not, one model fails, and somebody asks how things are."""
    code = await stage.play("")
    typed = [line for line in stage.printed if "> /reload-model" in line]

    assert code == 0
    assert typed == [
        "#models  ada> /reload-model sdxl",
        "#ops     ben> /reload-model sdxl",
        "#models  eve> /reload-model sdxl",
        "#models  ada> /reload-model no-such-model",
        "#ops     ben> /reload-model status",
    ]


async def test_the_real_bot_keeps_its_word(stage: Stage) -> None:
    """The script's promises are kept by the bot itself, which has two askers to tell and a failure."""
    code = await terminal.sandbox(seconds=0.1, stdin=io.StringIO(), stdout=stage.stdout)
    posted = [line for line in stage.printed if "reload-model" in line.partition("> ")[0]]

    assert code == 0
    assert len([line for line in posted if "`sdxl` should be ready now" in line]) == 2
    assert len([line for line in posted if "`no-such-model` was not reloaded" in line]) == 1


async def test_the_bot_is_set_up_as_an_operator_would(stage: Stage) -> None:
    """The bot gets its settings from an environment, and is stopped in the end."""
    await stage.play("quit\n")
    (bot,) = stage.bots

    assert not bot.running
    assert bot.settings.allowed_users == {"U0ADA", "U0BEN"}
    assert bot.settings.allowed_channels == ("C0MODELS", "C0OPS")
    assert (bot.settings.reload_seconds, bot.settings.port) == (0.5, 0)
    assert not Path(bot.settings.database_url.removeprefix("sqlite:///")).parent.exists()


async def test_a_line_that_ends_it_ends_it(stage: Stage) -> None:
    """What comes after exit is not played."""
    assert await stage.play("exit\nada: /reload-model sdxl\n") == 0
    assert len(stage.printed) == 1


async def test_a_line_that_is_not_understood_is_told(stage: Stage) -> None:
    """The rest is played all the same, and the exit code tells."""
    assert await stage.play("nonsense\nada: /reload-model sdxl\n") == 1
    assert stage.printed[1].startswith("'nonsense' is not understood: what is said here looks like ada: ")
    assert "#models  ada> /reload-model sdxl" in stage.printed


async def test_help_lists_who_and_what_there_is(stage: Stage) -> None:
    """People, channels and the models that misbehave are listed."""
    assert await stage.play("help\n") == 0
    assert "  eve            usually in #models, may not reload models" in stage.printed
    assert "  #random        the command does not work there" in stage.printed
    assert "  no-such-model  is not known to ModelsLab" in stage.printed


async def test_a_command_without_a_good_ack_is_told(stage: Stage) -> None:
    """Slack's own words are shown, and the exit code tells."""
    assert await stage.play("ada: /reload-model too-long\n") == 1
    assert stage.printed[2] == '#models  (only ada sees) /reload-model too-long failed with the error "msg_too_long"'


async def test_a_broken_promise_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was promised and did not come is named, and the exit code tells."""
    monkeypatch.setattr(terminal, "_GRACE", -0.4)

    assert await stage.play("ada: /reload-model forgotten\n") == 1
    assert stage.printed[-1] == "missing: ada was not told in #models what became of forgotten (reload abc123)"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


async def test_on_a_terminal_there_is_a_prompt(stage: Stage) -> None:
    """Lines are typed at a prompt, until Ctrl-D."""
    stage.stdout = Terminal()
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        keys.send_text("nonsense\rben: /reload-model sdxl\r\x04")
        assert await stage.run(Terminal()) == 1
    assert stage.bots[0].heard == [("ben", "sdxl")]


@pytest.mark.parametrize(("no_color", "colour"), [("", "\x1b[1m"), ("1", "")])
async def test_colour_is_for_terminals(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, no_color: str, colour: str
) -> None:
    """Output to a terminal is in colour, unless NO_COLOR is set."""
    monkeypatch.setenv("NO_COLOR", no_color)
    stage.stdout = Terminal()
    await stage.play("ada: /reload-model status\n")

    assert stage.printed[1].startswith(f"#models  {colour}ada> ")


async def test_undecodable_input_is_a_line_like_any_other(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 do not end the sandbox, nor does a character that the output cannot show."""
    (tmp_path / "in").write_bytes(b"ada: /reload-model status\n\xff\n")
    with (tmp_path / "in").open(encoding="utf-8") as stdin, (tmp_path / "out").open("w", encoding="ascii") as stdout:
        code = await terminal.sandbox(seconds=0.5, stdin=stdin, stdout=stdout, bot_of=FakeBot)

    assert code == 1
    assert "'?' is not understood" in (tmp_path / "out").read_text(encoding="ascii")
