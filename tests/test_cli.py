"""The command line does what its help says, and ends with an exit code. tests/scenarios/test_process.py runs it."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest

from bot import __version__
from bot.cli import main
from bot.errors import CannotStart
from bot.settings import NAMES
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
def run(monkeypatch: pytest.MonkeyPatch) -> AsyncMock:
    """A bot that does nothing."""
    monkeypatch.setattr("bot.app.run", made := AsyncMock())
    return made


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> AsyncMock:
    """A sandbox that takes no time."""
    monkeypatch.setattr("bot.sandbox.terminal.sandbox", made := AsyncMock(return_value=1))
    return made


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Checks that take no time."""
    monkeypatch.setattr("bot.ops.doctor.check.main", made := Mock(return_value=1))
    return made


# run


@pytest.mark.parametrize("arguments", [[], ["run"]])
def test_the_bot_is_run_with_its_settings(
    arguments: list[str], run: AsyncMock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """To run is the default, and a bot that was stopped ends with 0. A .env file adds to the environment."""
    monkeypatch.setenv("PGPASSWORD", "")
    monkeypatch.delenv("PGPASSWORD")
    (tmp_path / ".env").write_text("PORT=4000\nMODELSLAB_API_KEY=not this one\nPGPASSWORD=for libpq\n")

    assert main(arguments) == 0
    (settings,) = run.call_args.args
    assert (settings.port, settings.modelslab_api_key) == (4000, "secret-of-modelslab")
    assert os.environ["PGPASSWORD"] == "for libpq"


def test_wrong_settings_end_with_2(run: AsyncMock, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each with its fix, on stderr, which begins with where the settings come from."""
    (tmp_path / ".env").write_text("PORT=none\n")

    assert (main([]), run.called) == (2, False)
    first, *problems = capsys.readouterr().err.splitlines()
    assert first == f"Can't start. Fix these settings in {tmp_path}/.env or the environment (see .env.example):"
    assert [problem.partition(" is ")[0] for problem in problems] == ["- PORT"]


@pytest.mark.parametrize(
    ("error", "event", "field"),
    [(CannotStart("said secret-of-modelslab"), "cannot_start", "reason"), (KeyError("secret"), "crashed", "exception")],
)
def test_a_failed_start_ends_with_one_critical_line(
    error: Exception, event: str, field: str, run: AsyncMock, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the reason, without the secrets that this may hold, and the exit code is 1."""
    run.side_effect = error

    assert main([]) == 1
    [line] = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert (record["event"], record["level"], field in record) == (event, "critical", True)
    assert "secret-of-modelslab" not in line


# try


def test_the_sandbox_needs_no_settings(sandbox: AsyncMock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets the terminal, or what stands for one; a reload takes ten seconds; its exit code is the program's."""
    for name in REQUIRED:
        monkeypatch.delenv(name)

    assert main(["try"]) == 1
    assert sandbox.call_args.kwargs == {"seconds": 10.0, "stdin": sys.stdin, "stdout": sys.stdout}
    monkeypatch.setattr(sys, "stdin", None)  # closed by the parent process
    assert main(["try", "--seconds", "0.5"]) == 1
    assert (sandbox.call_args.kwargs["seconds"], sandbox.call_args.kwargs["stdin"].read()) == (0.5, "")


def test_a_command_can_be_interrupted(sandbox: AsyncMock, check: Mock) -> None:
    """Ctrl-C is a way to end, and shows no traceback."""
    sandbox.side_effect = check.side_effect = KeyboardInterrupt()

    assert [main(["try"]), main(["check"])] == [130, 130]


# manifest


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        ([], None),
        (["--url", "https://bot.example.com/"], "https://bot.example.com"),
        (["--url", "https://bot.example.com/slack/events"], "https://bot.example.com"),
        (["--url", "https://bot.example.com:8443/bots/slack/events/"], "https://bot.example.com:8443/bots"),
    ],
)
def test_the_manifest_is_printed(arguments: list[str], url: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the file holds it, or for HTTP mode at an address; on any stream, with the arguments of the program."""
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    monkeypatch.setattr(sys, "argv", ["reload-model-bot", "manifest", *arguments])

    assert (main(), out.getvalue()) == (0, manifest.text(url))


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
        [sys.executable, "-c", program], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, check=False
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
def test_check_takes_options(check: Mock, arguments: list[str], options: dict[str, object]) -> None:
    """The results go to stdout, and the exit code tells a script how the checks went."""
    assert main(["check", *arguments]) == 1
    assert (check.call_args.args[0], check.call_args.kwargs) == (sys.stdout, options)


@pytest.mark.parametrize(("arguments", "form"), [([], "table"), (["--json"], "json")])
def test_access_takes_options(arguments: list[str], form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is a table."""
    monkeypatch.setattr("bot.ops.access.write", write := Mock())

    assert main(["access", *arguments]) == 0
    assert write.call_args.kwargs == {"form": form}


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
    monkeypatch.setattr("bot.ops.audit.write", write := Mock())

    assert main(["audit", *arguments]) == 0
    assert write.call_args.kwargs == {"since": since, "form": form}


@pytest.mark.parametrize(
    ("command", "name", "value", "code", "text"),
    [
        ("audit", "DATABASE_URL", "sqlite:///no.db", 1, "reload-model-bot audit: DATABASE_URL: there is no file"),
        ("audit", "DATABASE_URL", "mysql://x", 2, "- DATABASE_URL isn't a database URL: "),
        ("audit", "DATABASE_URI", "sqlite:///no.db", 2, "- DATABASE_URI isn't a setting: did you mean DATABASE_URL?"),
        ("health", "PORT", "x", 1, "- PORT is 'x'"),  # the exit code that container engines expect
    ],
)
def test_only_settings_that_a_command_needs_have_to_be_right(
    command: str,
    name: str,
    value: str,
    code: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is wrong with those is reported on stderr, with an exit code."""
    monkeypatch.setenv("SLACK_BOT_TOKEN", "")
    monkeypatch.setenv(name, value)

    assert main([command]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith(text)
    assert "SLACK_BOT_TOKEN" not in err


@pytest.mark.parametrize(("arguments", "ready"), [([], False), (["--ready"], True)])
def test_health_takes_an_option(arguments: list[str], monkeypatch: pytest.MonkeyPatch, *, ready: bool) -> None:
    """Its exit code is that of the answer."""
    monkeypatch.setattr("bot.ops.probe.ask", ask := Mock(return_value=1))

    assert main(["health", *arguments]) == 1
    assert ask.call_args.kwargs == {"ready": ready}


# Arguments


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
            for url in ("http://bot.example.com", "bot.example.com", "https:///", "https://bot.example.com/?a=b")
        ),
        (["manifest", "--url", "https://bot.example.com\nsettings: {}"], "isn't an https:// URL"),
        (["manifest", "--url", "https://user@bot.example.com"], "isn't an https:// URL"),
    ],
)
def test_a_wrong_argument_is_explained(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with exit code 2, and nothing is started."""
    with pytest.raises(SystemExit) as raised:
        main(arguments)

    assert raised.value.code == 2
    assert said in capsys.readouterr().err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing is started."""
    with pytest.raises(SystemExit) as raised:
        main(["--version"])

    assert (raised.value.code, capsys.readouterr().out) == (0, f"{__version__}\n")


@pytest.mark.parametrize("command", ["check", "audit"])
def test_a_terminal_that_is_not_utf_8_gets_no_traceback(command: str, tmp_path: Path) -> None:
    """What it can't show is escaped."""
    (tmp_path / ".env").write_text("ALLOWED_USERS=😀\nDATABASE_URL=sqlite:///é.db\n")
    own = {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT), "SLACK_API_URL": "x", "MODELSLAB_URL": "x"}
    done = subprocess.run(  # noqa: S603 - this program
        [sys.executable, "-m", "bot", command],
        cwd=tmp_path,
        env={**os.environ, **own},
        capture_output=True,
        check=False,
    )

    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"\\x" in done.stdout + done.stderr
