"""The command line: run (the default), try, manifest, check, audit, access, health. Each ends with an exit code."""

import argparse
import asyncio
import io
import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from bot import __version__, logs, settings
from bot.errors import CannotStart
from bot.settings.env_file import read_env_file
from bot.settings.reader import PERSON, Problem
from bot.slack import manifest

EXIT_CANNOT_START = 1
EXIT_SETTINGS = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
"""128 + SIGPIPE, as of a program that the signal ended."""

DOTENV = Path(".env")

_FOR_LIBRARIES = ("PG", "SSL_CERT_")
"""How variables begin that libpq (PGPASSWORD) and OpenSSL (SSL_CERT_FILE) read."""

log = structlog.get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, and return the exit code."""
    for name in ("stdout", "stderr"):  # None if it is closed
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for the whole process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # not every terminal is UTF-8
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `| head` has seen enough: https://docs.python.org/3/library/signal.html#note-on-sigpipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except OSError as error:  # such as a full disk
        sys.stderr.write(f"reload-model-bot: {error.strerror or error}\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_CANNOT_START
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reload-model-bot", description="A Slack bot that reloads idle ModelsLab models."
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(command=_run)
    commands = parser.add_subparsers(metavar="COMMAND")
    run = commands.add_parser("run", help="run the bot with the settings in the environment and .env (the default)")
    run.set_defaults(command=_run)
    sandbox = commands.add_parser("try", help="run the bot with a pretend Slack and ModelsLab on this machine")
    sandbox.add_argument("--seconds", type=_seconds, default=10.0, help="how long a reload takes there (default: 10)")
    sandbox.set_defaults(command=_try)
    printed = commands.add_parser("manifest", help="print the Slack app's manifest, to paste on Slack's app page")
    printed.add_argument("--url", type=_https, help="for HTTP mode: the bot's URL, such as https://bot.example.com")
    printed.add_argument("--groups", action="store_true", help="add the scope for user groups in ALLOWED_USERS")
    printed.set_defaults(command=_manifest)
    check = commands.add_parser("check", help="check the settings, the ports, the database, Slack and ModelsLab")
    check.add_argument("--who", type=_person, metavar="ID", help="only check whether this person can reload models")
    check.add_argument("--balance", action="store_true", help="also show the ModelsLab account's balance")
    check.add_argument("--verbose", action="store_true", help="also list the settings that are right")
    check.add_argument("--json", action="store_true", help="print JSON, for programs")
    check.set_defaults(command=_check)
    audit = commands.add_parser("audit", help="list who asked for what, and what came of it")
    audit.add_argument("--since", type=_ago, default="7d", help="how far back: 30m, 12h, 7d, 2w (default: 7d)")
    form = audit.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", const="json", dest="form", help="print one JSON object per line")
    form.add_argument("--csv", action="store_const", const="csv", dest="form", help="print CSV, for spreadsheets")
    audit.set_defaults(command=_read, what="audit", form="table")
    access = commands.add_parser("access", help="list the access that admins gave in Slack")
    access.add_argument(
        "--json", action="store_const", const="json", dest="form", help="print one JSON object per line"
    )
    access.set_defaults(command=_read, what="access", form="table")
    health = commands.add_parser("health", help="ask the bot on this machine whether it is alive")
    health.add_argument("--ready", action="store_true", help="ask whether it can take commands")
    health.set_defaults(command=_health)
    return parser


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (value := float(text)) <= 600:  # noqa: PLR2004 - nobody waits longer at a terminal
            return value
    raise argparse.ArgumentTypeError(f"{text} isn't a number from 0 to 600")


def _https(text: str) -> str:
    """Read the bot's address, with or without the path that Slack calls."""
    if re.fullmatch(r"https://[\w.-]+(:\d+)?(/[\w./~-]*)?", text, re.ASCII) is None:
        raise argparse.ArgumentTypeError(f"{text} isn't an https:// URL, which Slack requires")
    return text.rstrip("/").removesuffix(manifest.EVENTS_PATH).rstrip("/")


def _ago(text: str) -> float:
    """Seconds, from a number of minutes, hours, days or weeks."""
    found = re.fullmatch(r"(\d{1,5})([mhdw])", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a duration; use e.g. 30m, 12h, 7d or 2w")
    return int(found[1]) * {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}[found[2]]


def _person(text: str) -> str:
    if PERSON.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a person's Slack ID, which looks like U012AB3CD")
    return text


def _settings(*, terminal: bool = False) -> tuple[settings.Settings, Sequence[Problem]]:
    """Read the settings. Also copy what libraries read by themselves from .env to the environment."""
    for name, value in read_env_file(DOTENV)[0].items():
        if name.startswith(_FOR_LIBRARIES) and value and "\0" not in value and not os.environ.get(name):
            os.environ[name] = value
    return settings.read(os.environ, DOTENV, terminal=terminal)


def _run(_options: argparse.Namespace) -> int:
    # As the first process of a container, the bot would ignore the signal until it has a handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config, problems = _settings(terminal=sys.stderr.isatty())
    if problems:
        return _explain(problems, "Can't start. ")
    logs.configure(config.log_level, config.log_format, config.secrets)
    from bot import app  # noqa: PLC0415 - slow to import, and useless with wrong settings

    try:
        asyncio.run(app.run(config))
    except CannotStart as error:
        log.critical("cannot_start", reason=str(error))
    except Exception:
        log.critical("crashed", exc_info=True)
    else:
        return 0
    return EXIT_CANNOT_START


def _try(options: argparse.Namespace) -> int:
    from bot.sandbox.terminal.program import sandbox  # noqa: PLC0415 - the other commands don't need it

    logs.configure("CRITICAL", "console", ())  # errors are part of the demonstration, and show in the conversation
    return asyncio.run(sandbox(seconds=options.seconds, stdin=sys.stdin or io.StringIO(), stdout=sys.stdout))


def _manifest(options: argparse.Namespace) -> int:
    config, problems = _settings()
    if wrong := _that_matter(problems, "SLASH_COMMAND"):
        return _explain(wrong)
    sys.stdout.write(manifest.text(options.url, groups=options.groups, command=config.slash_command))
    return 0


def _check(options: argparse.Namespace) -> int:
    config, problems = _settings()
    from bot.ops.doctor import check  # noqa: PLC0415 - only now: OpenSSL reads SSL_CERT_FILE when aiohttp is imported

    logs.configure("CRITICAL", "console", config.secrets)  # the results say what is wrong
    form = "json" if options.json else "verbose" if options.verbose else "brief"
    return check.main(sys.stdout, config, problems, who=options.who or "", balance=options.balance, form=form)


def _read(options: argparse.Namespace) -> int:
    """Write what a command reads from the database."""
    from bot.ops import reading  # noqa: PLC0415 - the other commands don't need it

    config, problems = _settings()
    if wrong := _that_matter(problems, "DATABASE_URL"):
        return _explain(wrong)
    logs.configure("CRITICAL", "console", config.secrets)  # what fails is said below
    try:
        if options.what == "audit":
            reading.write_audit(sys.stdout, config, since=options.since, form=options.form)
        else:
            reading.write_access(sys.stdout, config, form=options.form)
    except CannotStart as error:
        sys.stderr.write(f"reload-model-bot {options.what}: {error}\n")
        return EXIT_CANNOT_START
    return 0


def _health(options: argparse.Namespace) -> int:
    from bot.ops import probe  # noqa: PLC0415 - the other commands don't need it

    config, problems = _settings()
    if wrong := _that_matter(problems, "HOST", "PORT", "ADMIN_PORT"):
        _explain(wrong)
        return 1  # Docker reserves 2: https://docs.docker.com/reference/dockerfile/#healthcheck
    return probe.ask(sys.stdout, config, ready=options.ready)


def _that_matter(problems: Sequence[Problem], *names: str) -> Sequence[Problem]:
    """The problems with these settings, with .env, and with misspelled names."""
    return [problem for problem in problems if problem.setting in names or problem.setting not in settings.NAMES]


def _explain(problems: Sequence[Problem], begin: str = "") -> int:
    """Print where the settings come from, and every problem with its fix."""
    dotenv = DOTENV
    with suppress(OSError):  # the working directory is gone
        dotenv = DOTENV.absolute()
    if os.path.isfile(dotenv):  # noqa: PTH113 - Path.is_file() raises if the user can't search the folder
        first = f"{begin}Fix these settings in {dotenv} or the environment (see .env.example):"
    else:
        first = f"{begin}There is no {dotenv}: copy .env.example to .env, or set these in the environment:"
    sys.stderr.write("".join(f"{line}\n" for line in (first, *(f"- {problem}" for problem in problems))))
    return EXIT_SETTINGS
