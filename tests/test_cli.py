"""The command line does what its help says, and ends with an exit code."""

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
from bot.cli import main
from bot.errors import CannotStart
from bot.settings import NAMES, Settings
from bot.slack import manifest

ROOT = Path(__file__).parent.parent

REQUIRED = {
    "SLACK_BOT_TOKEN": "xoxb-secret-of-the-bot",
    "SLACK_APP_TOKEN": "xapp-secret-of-the-app",
    "MODELSLAB_API_KEY": "secret-of-modelslab",
    "ALLOWED_USERS": "U0ADA",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Only a test's own settings are set, in a folder without a .env."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
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
    """The exit code of arguments with which nothing is started."""
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    return raised.value.code


@pytest.mark.parametrize("arguments", [[], ["run"]])
def test_the_bot_is_run_with_its_settings(arguments: list[str], ran: list[Settings]) -> None:
    """To run is the default. A bot that was stopped ends with 0."""
    assert main(arguments) == 0
    assert [config.modelslab_api_key for config in ran] == ["secret-of-modelslab"]


def test_the_arguments_are_those_of_the_process(ran: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    """Called as a program, it reads its own arguments."""
    monkeypatch.setattr(sys, "argv", ["reload-model-bot", "run"])

    assert main() == 0
    assert len(ran) == 1


def test_settings_can_be_in_a_file(ran: list[Settings], tmp_path: Path) -> None:
    """A .env in the folder where the bot is started adds to the environment."""
    (tmp_path / ".env").write_text("PORT=4000\nMODELSLAB_API_KEY=not this one\n")

    assert main([]) == 0
    assert [(config.port, config.modelslab_api_key) for config in ran] == [(4000, "secret-of-modelslab")]


def test_wrong_settings_are_all_reported_and_end_with_2(
    ran: list[Settings], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """On stderr, a line each, without the value of a secret. The first line says where the settings come from."""
    (tmp_path / ".env").write_text("PORT=none\n")
    monkeypatch.setenv("SLACK_BOT_TOKEN", "secret-of-the-bot")
    monkeypatch.setenv("ALLOWED_USERS", "ada")
    code = main([])
    out, err = capsys.readouterr()
    first, *problems = err.splitlines()

    assert (code, out, ran) == (2, "", [])
    assert first == f"Can't start. Fix these settings in {tmp_path}/.env or the environment (see .env.example):"
    assert [line.split()[1] for line in problems] == ["SLACK_BOT_TOKEN", "ALLOWED_USERS", "PORT"]
    assert "secret" not in err


def test_without_a_file_the_example_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The bot may have been started in another folder than its operator thinks."""
    monkeypatch.delenv("ALLOWED_USERS")

    assert main([]) == 2
    assert capsys.readouterr().err.splitlines()[0] == (
        f"Can't start. There is no {tmp_path}/.env: copy .env.example to .env, or set these in the environment:"
    )


def test_a_file_that_cannot_be_read_is_a_problem_of_the_settings(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It ends with 2 and without a traceback."""
    (tmp_path / ".env").write_bytes(b"\xff\xfe")

    assert main([]) == 2
    assert capsys.readouterr().err.splitlines()[1:] == [
        "- .env can't be read (it isn't UTF-8): make it a readable text file in UTF-8"
    ]


def test_what_cannot_start_says_why_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, without a traceback, and without a secret that the reason may hold."""

    async def run(config: Settings) -> None:
        raise CannotStart(f"PORT: cannot listen, said {config.modelslab_api_key}")

    monkeypatch.setattr("bot.app.run", run)
    code = main([])

    assert code == 1
    assert capsys.readouterr().err == "reload-model-bot can't start: PORT: cannot listen, said [redacted]\n"


def test_what_nobody_expected_is_logged_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one line, at the highest level, and without the secrets that it may hold."""

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


class FakeSandbox:
    """A sandbox that remembers how it was called, and ends as it is told."""

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
    """It gets the terminal, and a reload takes ten seconds unless set."""
    for name in REQUIRED:
        monkeypatch.delenv(name)

    assert main(["try"]) == 0
    assert (sandbox.seconds, sandbox.stdin, sandbox.stdout) == (10.0, sys.stdin, sys.stdout)


def test_the_sandboxs_exit_code_is_the_programs(sandbox: FakeSandbox) -> None:
    """It says whether everything that was guaranteed was posted."""
    sandbox.code = 1

    assert main(["try", "--seconds", "0.5"]) == 1
    assert sandbox.seconds == 0.5


def test_a_sandbox_without_an_input_has_an_empty_one(sandbox: FakeSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process can be started with its input closed."""
    monkeypatch.setattr(sys, "stdin", None)

    assert main(["try"]) == 0
    assert isinstance(sandbox.stdin, io.StringIO)


def test_a_sandbox_can_be_interrupted(sandbox: FakeSandbox) -> None:
    """Ctrl-C is a way to end, and shows no traceback."""
    sandbox.error = KeyboardInterrupt()

    assert main(["try"]) == 130


@pytest.mark.parametrize("seconds", ["-1", "601", "nan", "inf", "ten"])
def test_a_sandbox_takes_a_sensible_time(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    """From none to ten minutes a reload."""
    assert exits(["try", f"--seconds={seconds}"]) == 2
    assert f"argument --seconds: {seconds} isn't a number from 0 to 600" in capsys.readouterr().err


def test_the_manifest_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """As the file holds it, or for HTTP mode with the bot's address."""
    assert main(["manifest"]) == 0
    assert capsys.readouterr().out == manifest.text()


def test_output_can_go_to_any_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever calls main() may have replaced stdout."""
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())

    assert main(["manifest"]) == 0
    assert out.getvalue() == manifest.text()


@pytest.mark.parametrize("url", ["https://bot.example.com", "https://bot.example.com/"])
def test_the_manifest_for_http_has_the_bots_address(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A slash at its end is ignored."""
    assert main(["manifest", "--url", url]) == 0
    assert capsys.readouterr().out == manifest.text("https://bot.example.com")


@pytest.mark.parametrize("url", ["https://bot.example.com:8443", "https://example.com/bots/reload-model"])
def test_a_port_and_a_path_are_part_of_an_address(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The bot can be behind a proxy."""
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
    assert "isn't an https:// URL, which Slack requires" in capsys.readouterr().err


@pytest.mark.parametrize("size", [1, 65536])
def test_a_closed_pipe_ends_it_silently(size: int) -> None:
    """As `| head` does it: with the exit code of a broken pipe, however much was still to be written."""
    program = f"""
import sys
from bot.cli import main
import bot.slack.manifest
bot.slack.manifest.text = lambda *_, **__: "x" * {size}
sys.exit(main(["manifest"]))
"""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(  # noqa: S603 - a program of the test's own
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(writer)

    assert (done.returncode, done.stderr) == (141, b"")


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing is started."""
    assert exits(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with what it does."""
    assert exits(["--help"]) == 0
    out = capsys.readouterr().out

    commands = ("run ", "try ", "manifest ", "check ", "audit ", "health ")
    assert [name for name in commands if f"\n    {name}" not in out] == []


def test_an_unknown_command_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """The known ones are listed."""
    assert exits(["reload"]) == 2
    assert "invalid choice: 'reload'" in capsys.readouterr().err


def test_it_is_a_module_that_runs() -> None:
    """As `python -m bot` and as an installed program."""
    done = subprocess.run(
        [sys.executable, "-m", "bot", "manifest"],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.decode() == manifest.text()


@pytest.mark.parametrize("command", [["check"], ["audit"], ["--version"]])
def test_a_terminal_that_is_not_utf_8_gets_no_traceback(command: list[str], tmp_path: Path) -> None:
    """What it can't show is escaped."""
    (tmp_path / ".env").write_text("ALLOWED_USERS=😀\nDATABASE_URL=sqlite:///é.db\n")
    done = subprocess.run(  # noqa: S603 - this program
        [sys.executable, "-m", "bot", *command],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONIOENCODING": "ascii",
            "PYTHONPATH": str(ROOT),
            "SLACK_API_URL": "x",
            "MODELSLAB_URL": "x",
        },
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert "Traceback" not in done.stderr.decode("ascii")
    assert done.returncode in (0, 1)
    assert (command == ["--version"]) or b"\\x" in done.stdout + done.stderr


class Recorded:
    """Stands for what a subcommand calls, and remembers with what."""

    def __init__(self) -> None:
        self.options: list[dict[str, object]] = []
        self.code = 0
        self.error: BaseException | None = None

    def __call__(self, out: TextIO, *_settings: object, **options: object) -> int:
        """Note the options."""
        assert out is sys.stdout
        self.options.append(options)
        if self.error is not None:
            raise self.error
        return self.code


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Checks that take no time."""
    made = Recorded()
    monkeypatch.setattr("bot.ops.doctor.check.main", made)
    return made


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {"who": "", "balance": False, "as_json": False}),
        (["--balance", "--json"], {"who": "", "balance": True, "as_json": True}),
        (["--who", "W012AB3CD"], {"who": "W012AB3CD", "balance": False, "as_json": False}),
    ],
)
def test_check_takes_options(checks: Recorded, arguments: list[str], options: dict[str, object]) -> None:
    """The results go to stdout."""
    assert main(["check", *arguments]) == 0
    assert checks.options == [options]


def test_check_ends_with_the_code_of_the_checks(checks: Recorded) -> None:
    """So that a script can tell."""
    checks.code = 1

    assert main(["check"]) == 1


def test_check_can_be_interrupted(checks: Recorded) -> None:
    """Ctrl-C is a way to end, and shows no traceback."""
    checks.error = KeyboardInterrupt()

    assert main(["check"]) == 130


@pytest.mark.parametrize("who", ["@ada", "ada", "C012AB3CD", ""])
def test_check_takes_a_person_by_id(checks: Recorded, who: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As in the settings: a name belongs to nobody."""
    assert exits(["check", f"--who={who}"]) == 2
    assert f"{who!r} isn't a person's Slack ID, which looks like U012AB3CD" in capsys.readouterr().err
    assert checks.options == []


@pytest.mark.parametrize(
    ("arguments", "since", "form"),
    [
        ([], 604800.0, "table"),
        (["--since", "30m", "--json"], 1800.0, "json"),
        (["--since=12h", "--csv"], 43200.0, "csv"),
        (["--since=2w"], 1209600.0, "table"),
    ],
)
def test_audit_takes_options(arguments: list[str], since: float, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is a week, as a table."""
    recorded = Recorded()
    monkeypatch.setattr("bot.ops.audit.write", recorded)

    assert main(["audit", *arguments]) == 0
    assert recorded.options == [{"since": since, "form": form}]


@pytest.mark.parametrize("arguments", [["--since", "7"], ["--since=-7d"], ["--since=d"], ["--json", "--csv"]])
def test_audit_takes_no_other_options(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """They end with 2, as everywhere."""
    assert exits(["audit", *arguments]) == 2
    assert "audit: error: argument" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "code", "text"),
    [
        ("DATABASE_URL", "sqlite:///nowhere.db", 1, "reload-model-bot audit: DATABASE_URL: there is no file"),
        ("DATABASE_URL", "mysql://x", 2, "- DATABASE_URL isn't a database's URL: "),
        ("DATABASE_URI", "sqlite:///nowhere.db", 2, "- DATABASE_URI isn't a setting: did you mean DATABASE_URL?"),
    ],
)
def test_audit_says_what_cannot_be_read(
    name: str,
    value: str,
    code: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On stderr, with an exit code. Problems with other settings don't matter."""
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("PORT", "x")
    monkeypatch.delenv("SLACK_BOT_TOKEN")

    assert main(["audit"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith(text)
    assert "PORT" not in err


@pytest.mark.parametrize(("arguments", "ready"), [([], False), (["--ready"], True)])
def test_health_takes_an_option(arguments: list[str], monkeypatch: pytest.MonkeyPatch, *, ready: bool) -> None:
    """Its exit code is that of the answer, and problems with other settings don't matter."""
    recorded = Recorded()
    recorded.code = 1
    monkeypatch.setattr("bot.ops.probe.ask", recorded)
    monkeypatch.delenv("SLACK_BOT_TOKEN")

    assert main(["health", *arguments]) == 1
    assert recorded.options == [{"ready": ready}]


def test_health_needs_a_port(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong one is reported as it is at the start."""
    monkeypatch.setenv("PORT", "x")

    assert main(["health"]) == 1
    assert "- PORT is 'x'" in capsys.readouterr().err
