"""The command line: run (the default), try, manifest, check, audit. Reads the environment; ends with an exit code."""

import argparse
import asyncio
import gc
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from io import StringIO

import structlog

from bot import __version__, settings
from bot.errors import CannotStart, SettingsError
from bot.ops import logging as logs
from bot.slack import manifest

EXIT_CANNOT_START = 1
EXIT_SETTINGS = 2
EXIT_INTERRUPTED = 130
EXIT_UNREAD = 141
"""As of a program that its reader's end killed: 128 and SIGPIPE."""

SWITCH_SECONDS = 0.0005


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:  # of `| head`; what is still to be written at the end goes nowhere
        # https://docs.python.org/3/library/signal.html#note-on-sigpipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_UNREAD
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reload-model-bot", description="A Slack slash command that reloads an idle ModelsLab model."
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(command=_run)
    commands = parser.add_subparsers(metavar="COMMAND")
    run = commands.add_parser("run", help="run the bot, with the settings of the environment and .env (the default)")
    run.set_defaults(command=_run)
    sandbox = commands.add_parser("try", help="run the bot on a pretend Slack and ModelsLab on this machine")
    sandbox.add_argument("--seconds", type=_seconds, default=10.0, help="how long a reload takes there (default: 10)")
    sandbox.set_defaults(command=_try)
    printed = commands.add_parser("manifest", help="print the Slack app's manifest, to paste on Slack's app page")
    printed.add_argument("--url", type=_https, help="for HTTP mode: the bot's address, as in https://bot.example.com")
    printed.add_argument("--groups", action="store_true", help="for an allowlist that holds user groups")
    printed.set_defaults(command=_manifest)
    checked = commands.add_parser("check", help="is everything set up? look at the settings, and ask what they name")
    checked.add_argument("--who", type=_person, metavar="ID", help="only whether this person may, and by which rule")
    checked.add_argument("--balance", action="store_true", help="show also what the ModelsLab account holds")
    checked.add_argument("--json", action="store_true", help="for programs")
    checked.set_defaults(command=_check)
    audited = commands.add_parser("audit", help="who asked for what, and what came of it")
    audited.add_argument("--since", type=_ago, default=_ago("7d"), help="how far back: 30m, 12h, 7d, 2w (default: 7d)")
    form = audited.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", const="json", dest="form", help="an object a line")
    form.add_argument("--csv", action="store_const", const="csv", dest="form", help="for spreadsheets")
    audited.set_defaults(command=_audit, form="table")
    return parser


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (value := float(text)) <= 600:  # noqa: PLR2004 - ten minutes are more than anyone waits at a terminal
            return value
    raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 600")


def _https(text: str) -> str:
    if re.fullmatch(r"https://[\w.-]+(:\d+)?(/[\w./~-]*)?", text, re.ASCII) is None:
        raise argparse.ArgumentTypeError(f"{text} is no https:// address, which Slack asks for")
    return text.rstrip("/")


def _ago(text: str) -> float:
    """Seconds, of so many minutes, hours, days or weeks."""
    found = re.fullmatch(r"(\d{1,5})([mhdw])", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text} is no such time as 30m, 12h, 7d or 2w")
    return int(found[1]) * {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}[found[2]]


def _person(text: str) -> str:
    if settings.PERSON.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text} is no person's id: those look like U012AB3CD")
    return text


def _run(_options: argparse.Namespace) -> int:
    try:
        config = settings.load(settings.environment(), terminal=sys.stderr.isatty())
    except SettingsError as error:
        _complain("\n- ".join(("The settings are not fit to start with:", *error.problems)))
        return EXIT_SETTINGS
    logs.configure(config.log_level, config.log_format, config.secrets)
    # The database thread gives up the interpreter at every statement: this is how soon it gets it back from a busy
    # event loop. https://docs.python.org/3/library/sys.html#sys.setswitchinterval
    sys.setswitchinterval(SWITCH_SECONDS)
    # The first process of a container ignores a signal that it has no handler for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # What is loaded stays: to look through it for garbage, now or ever, is in vain.
    gc.disable()
    # aiohttp reads this machine's certificates as it is loaded, a tenth of a second in which Python has its hands free.
    # https://github.com/aio-libs/aiohttp/blob/master/aiohttp/connector.py
    threading.Thread(target=import_module, args=("aiohttp",)).start()
    import_module("sqlalchemy")
    from bot import app as service  # noqa: PLC0415 - the libraries are loaded once the settings are known to be right

    gc.freeze()
    gc.enable()
    try:
        asyncio.run(service.run(config))
    except CannotStart as error:
        _complain(logs.Redactor(config.secrets)(f"reload-model-bot cannot start: {error}"))
        return EXIT_CANNOT_START
    except Exception:  # noqa: BLE001 - Python itself would print it, with whatever secrets it holds
        structlog.get_logger(__name__).critical("crashed", exc_info=True)
        return EXIT_CANNOT_START
    return 0


def _try(options: argparse.Namespace) -> int:
    from bot.sandbox.terminal import sandbox  # noqa: PLC0415 - of no use to a bot that runs

    logs.configure("CRITICAL", "console", ())  # what fails there is meant to, and is seen in the conversation
    try:
        return asyncio.run(sandbox(seconds=options.seconds, stdin=sys.stdin or StringIO(), stdout=sys.stdout))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _manifest(options: argparse.Namespace) -> int:
    sys.stdout.write(manifest.text(options.url, groups=options.groups))
    return 0


def _check(options: argparse.Namespace) -> int:
    from bot.ops.doctor import check  # noqa: PLC0415 - of no use to a bot that runs

    try:
        return check.main(sys.stdout, who=options.who or "", balance=options.balance, as_json=options.json)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _audit(options: argparse.Namespace) -> int:
    from bot.ops import audit  # noqa: PLC0415 - of no use to a bot that runs

    try:
        audit.write(sys.stdout, settings.environment(), since=options.since, form=options.form)
    except SettingsError as error:
        _complain("\n".join(error.problems))
        return EXIT_SETTINGS
    except CannotStart as error:
        _complain(f"reload-model-bot audit: {error}")
        return EXIT_CANNOT_START
    return 0


if __name__ == "__main__":
    sys.exit(main())
