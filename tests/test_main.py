"""The command line does what its help says, and ends with the exit code that tells how it went."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import pytest
import structlog

from bot import __version__
from bot.__main__ import main
from bot.errors import CannotStart
from bot.settings import Settings
from bot.slack import manifest

REQUIRED = {
    "SLACK_BOT_TOKEN": "xoxb-secret-of-the-bot",
    "SLACK_APP_TOKEN": "xapp-secret-of-the-app",
    "MODELSLAB_API_KEY": "secret-of-modelslab",
    "ALLOWED_USERS": "U0ADA",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment of which only a test's own settings are set, in a folder without a .env."""
    monkeypatch.chdir(tmp_path)
    for name in ("SLACK_SIGNING_SECRET", "SLACK_API_URL", "MODELSLAB_URL", "DATABASE_URL", "PORT", "LOG_FORMAT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings of every bot that was run, none of which does anything."""
    settings: list[Settings] = []

    async def run(config: Settings) -> None:
        settings.append(config)

    monkeypatch.setattr("bot.app.run", run)
    return settings


def exits(arguments: list[str]) -> object:
    """The exit code of arguments with which nothing is begun."""
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    return raised.value.code


# --- run ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["run"]])
def test_the_bot_is_run_with_its_settings(arguments: list[str], ran: list[Settings]) -> None:
    """To run is the default; a bot that was told to stop ends with 0."""
    assert main(arguments) == 0
    assert [config.modelslab_api_key for config in ran] == ["secret-of-modelslab"]


def test_the_arguments_are_those_of_the_process(ran: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    """Called as a program, it reads its own arguments."""
    monkeypatch.setattr(sys, "argv", ["reload-model-bot", "run"])

    assert main() == 0
    assert len(ran) == 1


def test_settings_may_stand_in_a_file(ran: list[Settings], tmp_path: Path) -> None:
    """A .env in the folder where the bot is started adds to the environment."""
    (tmp_path / ".env").write_text("PORT=4000\nMODELSLAB_API_KEY=not this one\n")

    assert main([]) == 0
    assert [(config.port, config.modelslab_api_key) for config in ran] == [(4000, "secret-of-modelslab")]


def test_faulty_settings_are_all_told_and_end_with_2(
    ran: list[Settings], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, a line each, without the value of a secret."""
    monkeypatch.setenv("SLACK_BOT_TOKEN", "secret-of-the-bot")
    monkeypatch.setenv("PORT", "none")
    monkeypatch.setenv("ALLOWED_USERS", "ada")
    code = main([])
    out, err = capsys.readouterr()

    assert (code, out, ran) == (2, "", [])
    assert err.splitlines()[0] == "The settings are not fit to start with:"
    assert [line.split()[1] for line in err.splitlines()[1:]] == ["SLACK_BOT_TOKEN", "ALLOWED_USERS", "PORT"]
    assert "secret" not in err


def test_a_file_that_cannot_be_read_is_a_fault_of_the_settings(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It is told as one, and not as a traceback."""
    (tmp_path / ".env").write_bytes(b"\xff\xfe")

    assert main([]) == 2
    assert capsys.readouterr().err == (
        "The settings are not fit to start with:\n"
        "- .env cannot be read (it is not UTF-8): make it a readable text in UTF-8\n"
    )


def test_what_cannot_start_says_why_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, without a traceback, and without a secret that the reason may hold."""

    async def run(config: Settings) -> None:
        raise CannotStart(f"PORT: cannot listen, said {config.modelslab_api_key}")

    monkeypatch.setattr("bot.app.run", run)
    code = main([])

    assert code == 1
    assert capsys.readouterr().err == "reload-model-bot cannot start: PORT: cannot listen, said [redacted]\n"


def test_what_nobody_expected_is_logged_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one line, at the gravest level, and without the secrets that it may hold."""

    async def run(config: Settings) -> None:
        raise KeyError(config.slack_bot_token)

    monkeypatch.setattr("bot.app.run", run)
    code = main([])
    [line] = capsys.readouterr().err.splitlines()
    told = json.loads(line)

    assert code == 1
    assert (told["event"], told["level"]) == ("crashed", "critical")
    assert "KeyError: '[redacted]'" in told["exception"]
    assert "secret" not in line


def test_logs_are_set_up_before_the_bot_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the format and level of the settings, on stderr, without secrets."""

    async def run(config: Settings) -> None:
        structlog.get_logger().info("not seen")
        structlog.get_logger().warning("seen", value=config.slack_app_token)

    monkeypatch.setattr("bot.app.run", run)
    monkeypatch.setenv("LOG_LEVEL", "warning")
    main([])
    out, err = capsys.readouterr()

    assert out == ""
    assert '"event": "seen"' in err
    assert "secret" not in err
    assert len(err.splitlines()) == 1


# --- try ------------------------------------------------------------------------------------------------


class FakeSandbox:
    """A sandbox that keeps how it was called, and ends as a test wants."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.stdin: TextIO | None = None
        self.stdout: TextIO | None = None
        self.code = 0
        self.error: BaseException | None = None

    async def __call__(self, *, seconds: float, stdin: TextIO, stdout: TextIO) -> int:
        """Note what it was called with."""
        self.seconds, self.stdin, self.stdout = seconds, stdin, stdout
        if self.error is not None:
            raise self.error
        return self.code


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> FakeSandbox:
    """A sandbox that takes no time."""
    made = FakeSandbox()
    monkeypatch.setattr("bot.sandbox.terminal.sandbox", made)
    return made


def test_the_sandbox_needs_no_settings(sandbox: FakeSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets the terminal, and takes ten seconds a reload unless told otherwise."""
    for name in REQUIRED:
        monkeypatch.delenv(name)

    assert main(["try"]) == 0
    assert (sandbox.seconds, sandbox.stdin, sandbox.stdout) == (10.0, sys.stdin, sys.stdout)


def test_the_exit_code_of_the_sandbox_is_the_programs(sandbox: FakeSandbox) -> None:
    """It says whether the bot answered."""
    sandbox.code = 1

    assert main(["try", "--seconds", "0.5"]) == 1
    assert sandbox.seconds == 0.5


def test_a_sandbox_without_an_input_has_an_empty_one(sandbox: FakeSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may be started with its input closed."""
    monkeypatch.setattr(sys, "stdin", None)

    assert main(["try"]) == 0
    assert isinstance(sandbox.stdin, io.StringIO)


def test_the_sandbox_can_be_interrupted(sandbox: FakeSandbox) -> None:
    """Ctrl-C is a way to end, and shows no traceback."""
    sandbox.error = KeyboardInterrupt()

    assert main(["try"]) == 130


@pytest.mark.parametrize("seconds", ["-1", "601", "nan", "inf", "ten"])
def test_the_sandbox_takes_a_sensible_time(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    """From none to ten minutes a reload."""
    assert exits(["try", f"--seconds={seconds}"]) == 2
    assert f"argument --seconds: {seconds} is not a number from 0 to 600" in capsys.readouterr().err


# --- manifest, and the rest -----------------------------------------------------------------------------


def test_the_manifest_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """As the file holds it, or for HTTP mode with the bot's address."""
    assert main(["manifest"]) == 0
    assert capsys.readouterr().out == manifest.text()


@pytest.mark.parametrize("url", ["https://bot.example.com", "https://bot.example.com/"])
def test_the_manifest_for_http_has_the_bots_address(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A slash at its end is no matter."""
    assert main(["manifest", "--url", url]) == 0
    assert capsys.readouterr().out == manifest.text("https://bot.example.com")


@pytest.mark.parametrize("url", ["https://bot.example.com:8443", "https://example.com/bots/reload-model"])
def test_a_port_and_a_path_are_part_of_an_address(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The bot may stand behind a proxy."""
    assert main(["manifest", "--url", url]) == 0
    assert f"      url: {url}/slack/events\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "url",
    [
        "http://bot.example.com",
        "bot.example.com",
        "https://",
        "https:///",
        "https://bot.example.com/?a=b",
        "https://bot.example.com/ #",
        "https://bot.example.com\nsettings: {}",
        "https://user@bot.example.com",
        "https://[::1]",
    ],
)
def test_slack_calls_only_https(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Another address would make a manifest that Slack refuses, or reads otherwise."""
    assert exits(["manifest", "--url", url]) == 2
    assert "is no https:// address, which Slack asks for" in capsys.readouterr().err


@pytest.mark.parametrize("size", [1, 65536])
def test_a_reader_that_has_enough_ends_it_in_silence(size: int) -> None:
    """As `| head` does: with the exit code of a broken pipe, however much was still to be written."""
    program = f"""
import sys
from bot.__main__ import main
import bot.slack.manifest
bot.slack.manifest.text = lambda *_, **__: "x" * {size}
sys.exit(main(["manifest"]))
"""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(  # noqa: S603 - a program of the test's own
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent.parent,
        env=os.environ,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(writer)

    assert (done.returncode, done.stderr) == (141, b"")


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing is begun."""
    assert exits(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with what it does."""
    assert exits(["--help"]) == 0
    out = capsys.readouterr().out

    assert [name for name in ("run ", "try ", "manifest ") if f"\n    {name}" not in out] == []


def test_an_unknown_command_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """The known ones are named."""
    assert exits(["reload"]) == 2
    assert "invalid choice: 'reload'" in capsys.readouterr().err


def test_it_is_a_module_that_runs() -> None:
    """As `python -m bot` and as an installed program."""
    done = subprocess.run(
        [sys.executable, "-m", "bot", "manifest"],
        cwd=Path(__file__).parent.parent,
        env=os.environ,
        capture_output=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.decode() == manifest.text()
