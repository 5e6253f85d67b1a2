"""The options and exit codes of the command line. tests/scenarios/test_process.py shows what the bot does with them."""

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
from bot.settings import NAMES
from bot.slack import manifest
from tests.test_settings import KEY, REQUIRED

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only a test's own settings are set, in a folder without a .env."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)


def test_a_crash_ends_with_one_critical_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 1. tests/scenarios/test_process.py shows a start that fails for a reason."""
    monkeypatch.setattr("bot.app.run", AsyncMock(side_effect=KeyError(KEY)))

    assert main([]) == 1
    [line] = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert (record["event"], record["level"], "exception" in record) == ("crashed", "critical", True)
    assert KEY not in line


def test_the_sandbox_needs_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload takes ten seconds. The parent process may have closed stdin. Ctrl-C ends it without a traceback."""
    for name in REQUIRED:
        monkeypatch.delenv(name)
    monkeypatch.setattr("bot.sandbox.terminal.program.sandbox", sandbox := AsyncMock(return_value=1))

    assert main(["try"]) == 1
    assert sandbox.call_args.kwargs == {"seconds": 10.0, "stdin": sys.stdin, "stdout": sys.stdout}
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["try", "--seconds", "0.5"]) == 1
    assert (sandbox.call_args.kwargs["seconds"], sandbox.call_args.kwargs["stdin"].read()) == (0.5, "")
    sandbox.side_effect = KeyboardInterrupt()
    assert main(["try"]) == 130


def test_the_manifest_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the file holds it, or for HTTP mode at an address; on any stream, with the arguments of the program."""
    addresses = {
        "": None,
        "--url https://bot.example.com/": "https://bot.example.com",
        "--url https://bot.example.com/slack/events": "https://bot.example.com",
        "--url https://bot.example.com:8443/bots/slack/events/": "https://bot.example.com:8443/bots",
    }
    for arguments, url in addresses.items():
        monkeypatch.setattr(sys, "stdout", out := io.StringIO())
        monkeypatch.setattr(sys, "argv", ["reload-model-bot", "manifest", *arguments.split()])

        assert (main(), out.getvalue()) == (0, manifest.text(url))


def test_the_manifest_has_the_slash_command_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A wrong one is reported, and no other setting matters. A folder that is gone has no .env."""
    monkeypatch.setenv("SLACK_BOT_TOKEN", "")
    monkeypatch.setenv("SLASH_COMMAND", "/reload-model-dev")
    assert main(["manifest"]) == 0
    assert "    - command: /reload-model-dev\n" in capsys.readouterr().out

    monkeypatch.setenv("SLASH_COMMAND", "reload")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["manifest"]) == 2
    wrong = capsys.readouterr().err
    assert "- SLASH_COMMAND is 'reload': " in wrong
    assert "There is no .env: " in wrong


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


@pytest.mark.parametrize(
    ("arguments", "called", "options"),
    [
        ("check", "doctor.check.main", {"who": "", "balance": False, "form": "brief"}),
        ("check --balance --verbose", "doctor.check.main", {"who": "", "balance": True, "form": "verbose"}),
        ("check --who W012AB3CD --json", "doctor.check.main", {"who": "W012AB3CD", "balance": False, "form": "json"}),
        ("access", "reading.write_access", {"form": "table"}),
        ("access --json", "reading.write_access", {"form": "json"}),
        ("audit", "reading.write_audit", {"since": 604800.0, "form": "table"}),
        ("audit --since 30m --json", "reading.write_audit", {"since": 1800.0, "form": "json"}),
        ("audit --since=12h --csv", "reading.write_audit", {"since": 43200.0, "form": "csv"}),
        ("audit --since=2w", "reading.write_audit", {"since": 1209600.0, "form": "table"}),
        ("health", "probe.ask", {"ready": False}),
        ("health --ready", "probe.ask", {"ready": True}),
    ],
)
def test_a_command_takes_options(
    arguments: str, called: str, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a check or the health is decides its exit code; a list has been written."""
    monkeypatch.setattr(f"bot.ops.{called}", call := Mock(return_value=1))

    assert main(arguments.split()) == (0 if called.startswith("reading") else 1)
    assert (call.call_args.args[0], call.call_args.kwargs) == (sys.stdout, options)


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
    Path(".env").touch()

    assert main([command]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith(text)
    assert "SLACK_BOT_TOKEN" not in err


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


def test_a_full_disk_is_named() -> None:
    """What couldn't be written is missing in the file."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bot", "manifest"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False
        )

    assert (done.returncode, done.stderr) == (1, b"reload-model-bot: No space left on device\n")


def test_closed_streams_are_no_obstacle() -> None:
    """As after `>&-` in a shell: what would be written is lost, and the command does its work."""
    command = f"exec {sys.executable} -m bot manifest >&- 2>&-"

    assert subprocess.run(["sh", "-c", command], cwd=ROOT, check=False).returncode == 0  # noqa: S603, S607
