"""The command line does what its help says, and ends with an exit code. tests/scenarios/test_process.py runs it."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

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


class Recorded:
    """Stands for what a command runs: remembers with what, and ends as it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.options: dict[str, object] = {}
        self.code = 0
        self.error: BaseException | None = None

    def __call__(self, *arguments: object, **options: object) -> int:
        """Note the call."""
        self.calls.append(arguments)
        self.options = options
        if self.error is not None:
            raise self.error
        return self.code

    async def run(self, *arguments: object, **options: object) -> int:
        """The same, for what is awaited."""
        return self(*arguments, **options)


@pytest.fixture
def bot(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """A bot that does nothing."""
    monkeypatch.setattr("bot.app.run", (made := Recorded()).run)
    return made


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """A sandbox that takes no time."""
    monkeypatch.setattr("bot.sandbox.terminal.sandbox", (made := Recorded()).run)
    return made


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Checks that take no time."""
    monkeypatch.setattr("bot.ops.doctor.check.main", made := Recorded())
    return made


def refused(arguments: list[str]) -> object:
    """The exit code of arguments with which nothing is started."""
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    return raised.value.code


# run


@pytest.mark.parametrize("arguments", [[], ["run"]])
def test_the_bot_is_run_with_its_settings(arguments: list[str], bot: Recorded, tmp_path: Path) -> None:
    """To run is the default, and a bot that was stopped ends with 0. A .env file adds to the environment."""
    (tmp_path / ".env").write_text("PORT=4000\nMODELSLAB_API_KEY=not this one\n")

    assert main(arguments) == 0
    ((settings,),) = bot.calls
    assert isinstance(settings, Settings)
    assert (settings.port, settings.modelslab_api_key) == (4000, "secret-of-modelslab")


def test_wrong_settings_are_all_reported_and_end_with_2(
    bot: Recorded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """On stderr, a line each, without the value of a secret. The first line says where the settings come from."""
    monkeypatch.setenv("SLACK_BOT_TOKEN", "secret-of-the-bot")
    monkeypatch.setenv("ALLOWED_USERS", "ada")
    codes = [main([])]
    (tmp_path / ".env").write_text("PORT=none\n")
    codes.append(main([]))
    out, err = capsys.readouterr()
    lines = err.splitlines()

    assert (codes, out, bot.calls) == ([2, 2], "", [])
    assert lines[0] == (
        f"Can't start. There is no {tmp_path}/.env: copy .env.example to .env, or set these in the environment:"
    )
    assert lines[3] == f"Can't start. Fix these settings in {tmp_path}/.env or the environment (see .env.example):"
    assert [line.split()[1] for line in lines[4:]] == ["SLACK_BOT_TOKEN", "ALLOWED_USERS", "PORT"]
    assert "secret" not in err


@pytest.mark.parametrize(
    ("error", "event", "shown"),
    [
        (CannotStart("PORT: cannot listen, said secret-of-modelslab"), "cannot_start", "PORT: cannot listen, said "),
        (KeyError("secret-of-modelslab"), "crashed", "KeyError: '[redacted]'"),
    ],
)
def test_a_failed_start_ends_with_one_critical_line(
    error: Exception, event: str, shown: str, bot: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the reason, without the secrets that this may hold, and the exit code is 1."""
    bot.error = error

    assert main([]) == 1
    [line] = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert (record["event"], record["level"]) == (event, "critical")
    assert shown in record.get("reason", record.get("exception"))
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


# try


def test_the_sandbox_needs_no_settings(sandbox: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets the terminal, a reload takes ten seconds unless set, and its exit code is the program's."""
    for name in REQUIRED:
        monkeypatch.delenv(name)
    sandbox.code = 1

    assert main(["try"]) == 1
    assert sandbox.options == {"seconds": 10.0, "stdin": sys.stdin, "stdout": sys.stdout}
    assert main(["try", "--seconds", "0.5"]) == 1
    assert sandbox.options["seconds"] == 0.5


def test_a_sandbox_without_an_input_has_an_empty_one(sandbox: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process can be started with its input closed."""
    monkeypatch.setattr(sys, "stdin", None)

    assert main(["try"]) == 0
    assert isinstance(sandbox.options["stdin"], io.StringIO)


def test_a_command_can_be_interrupted(sandbox: Recorded, checks: Recorded) -> None:
    """Ctrl-C is a way to end, and shows no traceback."""
    sandbox.error = checks.error = KeyboardInterrupt()

    assert [main(["try"]), main(["check"])] == [130, 130]


# manifest


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        ([], None),
        (["--url", "https://bot.example.com"], "https://bot.example.com"),
        (["--url", "https://bot.example.com/"], "https://bot.example.com"),
        (["--url", "https://bot.example.com/slack/events"], "https://bot.example.com"),
        (["--url", "https://bot.example.com:8443/bots/slack/events/"], "https://bot.example.com:8443/bots"),
    ],
)
def test_the_manifest_is_printed(arguments: list[str], url: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    """As the file holds it, or for HTTP mode at an address, which can be given with or without the path."""
    assert main(["manifest", *arguments]) == 0
    assert capsys.readouterr().out == manifest.text(url)


def test_the_manifest_has_the_slash_command_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong one is reported, and no other setting matters."""
    monkeypatch.setenv("SLACK_BOT_TOKEN", "")
    monkeypatch.setenv("SLASH_COMMAND", "/reload-model-dev")
    assert main(["manifest"]) == 0
    assert "    - command: /reload-model-dev\n" in capsys.readouterr().out

    monkeypatch.setenv("SLASH_COMMAND", "reload")
    assert main(["manifest"]) == 2
    assert "- SLASH_COMMAND is 'reload': " in capsys.readouterr().err


def test_output_can_go_to_any_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever calls main() may have replaced stdout. Called as a program, it reads its own arguments."""
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    monkeypatch.setattr(sys, "argv", ["reload-model-bot", "manifest"])

    assert main() == 0
    assert out.getvalue() == manifest.text()


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


# check, audit, health


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {"who": "", "balance": False, "form": "brief"}),
        (["--balance", "--verbose"], {"who": "", "balance": True, "form": "verbose"}),
        (["--who", "W012AB3CD", "--json"], {"who": "W012AB3CD", "balance": False, "form": "json"}),
    ],
)
def test_check_takes_options(checks: Recorded, arguments: list[str], options: dict[str, object]) -> None:
    """The results go to stdout, and the exit code tells a script how the checks went."""
    checks.code = 1

    assert main(["check", *arguments]) == 1
    assert (checks.calls[0][0], checks.options) == (sys.stdout, options)


@pytest.mark.parametrize(("arguments", "form"), [([], "table"), (["--json"], "json")])
def test_access_takes_options(arguments: list[str], form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is a table."""
    monkeypatch.setattr("bot.ops.access.write", recorded := Recorded())

    assert main(["access", *arguments]) == 0
    assert recorded.options == {"form": form}


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
    monkeypatch.setattr("bot.ops.audit.write", recorded := Recorded())

    assert main(["audit", *arguments]) == 0
    assert recorded.options == {"since": since, "form": form}


@pytest.mark.parametrize(
    ("name", "value", "code", "text"),
    [
        ("DATABASE_URL", "sqlite:///nowhere.db", 1, "reload-model-bot audit: DATABASE_URL: there is no file"),
        ("DATABASE_URL", "mysql://x", 2, "- DATABASE_URL isn't a database URL: "),
        ("DATABASE_URI", "sqlite:///nowhere.db", 2, "- DATABASE_URI isn't a setting: did you mean DATABASE_URL?"),
    ],
)
def test_audit_says_what_cannot_be_read(
    name: str, value: str, code: int, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, with an exit code. Problems with other settings don't matter."""
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("PORT", "x")

    assert main(["audit"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith(text)
    assert "PORT" not in err


@pytest.mark.parametrize(("arguments", "ready"), [([], False), (["--ready"], True)])
def test_health_takes_an_option(arguments: list[str], monkeypatch: pytest.MonkeyPatch, *, ready: bool) -> None:
    """Its exit code is that of the answer, and problems with other settings don't matter."""
    monkeypatch.setattr("bot.ops.probe.ask", recorded := Recorded())
    monkeypatch.setenv("SLACK_BOT_TOKEN", "")
    recorded.code = 1

    assert main(["health", *arguments]) == 1
    assert recorded.options == {"ready": ready}


def test_health_needs_a_port(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong one is reported as it is at the start, with the exit code that container engines expect."""
    monkeypatch.setenv("PORT", "x")

    assert main(["health"]) == 1
    assert "- PORT is 'x'" in capsys.readouterr().err


# Arguments


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing is started."""
    assert refused(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reload"], "invalid choice: 'reload'"),
        *((["try", f"--seconds={wrong}"], f"{wrong} isn't a number from 0 to 600") for wrong in ("-1", "601", "nan")),
        *((["check", f"--who={who}"], f"{who!r} isn't a person's Slack ID") for who in ("@ada", "C012AB3CD", "")),
        *((["audit", f"--since={wrong}"], "isn't a duration; use e.g. 30m") for wrong in ("7", "-7d", "d")),
        (["audit", "--json", "--csv"], "not allowed with"),
        *(
            (["manifest", "--url", url], "isn't an https:// URL, which Slack requires")
            for url in (
                *("http://bot.example.com", "bot.example.com", "https://", "https:///", "https://bot.example.com/?a=b"),
                *(
                    "https://bot.example.com/ #",
                    "https://bot.example.com\nsettings: {}",
                    "https://user@bot.example.com",
                ),
            )
        ),
    ],
)
def test_a_wrong_argument_is_explained(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with exit code 2, and nothing is started."""
    assert refused(arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", [["check"], ["audit"], ["--version"]])
def test_a_terminal_that_is_not_utf_8_gets_no_traceback(command: list[str], tmp_path: Path) -> None:
    """What it can't show is escaped."""
    (tmp_path / ".env").write_text("ALLOWED_USERS=😀\nDATABASE_URL=sqlite:///é.db\n")
    own = {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT), "SLACK_API_URL": "x", "MODELSLAB_URL": "x"}
    done = subprocess.run(  # noqa: S603 - this program
        [sys.executable, "-m", "bot", *command],
        cwd=tmp_path,
        env={**os.environ, **own},
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert "Traceback" not in done.stderr.decode("ascii")
    assert done.returncode in (0, 1)
    assert (command == ["--version"]) or b"\\x" in done.stdout + done.stderr
