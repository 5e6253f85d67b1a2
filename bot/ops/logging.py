"""Structured logs: one line an event, JSON or for a terminal, secrets redacted before anything is written.

The libraries' own records go the same way. Knows nothing of what is logged.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import TextIO
from urllib.parse import quote

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED = "[redacted]"

# Secrets that are known by their shape alone: Slack's tokens, the ticket of a Socket Mode address
# (https://docs.slack.dev/apis/events-api/using-socket-mode), and addresses that are keys themselves.
_SHAPES = re.compile(
    r"xox[a-z]-[\w.-]+|xapp-[\w.-]+|(?<=ticket=)[^&\s'\"]+"
    r"|(?<=hooks\.slack\.com/)[\w./-]+|(?<=/commands/)[\w./-]+|(?<=/actions/)[\w./-]+",
)

# Where none of these is in a text, in small letters, none of those shapes is.
_MARKS = ("xox", "xapp-", "ticket=", "hooks.slack.com/", "/commands/", "/actions/")

# What these say at INFO is of use only to whoever debugs them.
_CHATTY = ("slack_sdk", "slack_bolt", "aiohttp", "asyncio")


# A shorter secret is found only where it stands by itself: any word may hold one of a few letters by chance, and a log
# in which every such word is redacted tells nothing more, but which letters they are.
_SHORT = 8
_BY_ITSELF = r"(?<![\w-])(?<!\w\.){}(?![\w-]|\.\w)"

# What this module itself writes into each record.
_OWN = ("level", "logger", "timestamp")


class Redactor:
    """Takes secrets out of text, by value (as it is, and as Python or a URL writes it) and by shape."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        forms = {
            form: len(secret) < _SHORT
            for secret in secrets
            for form in (secret, repr(secret)[1:-1], quote(secret, safe=""))
            if form
        }
        values = "|".join(_pattern(form, short=forms[form]) for form in sorted(forms, key=len, reverse=True))
        self._values = re.compile(values) if values else None
        # Beyond ASCII a letter may have more than two cases, of which only the expression knows.
        self._marks = [*_MARKS, *map(str.lower, forms)] if all(map(str.isascii, forms)) else [""]

    def __call__(self, text: str) -> str:
        """Return text without secrets."""
        if self._values is not None:
            text = self._values.sub(REDACTED, text)
        return _SHAPES.sub(REDACTED, text)

    def process(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """As a processor of structlog: redact every value, however deep it lies.

        Most events hold no secret: so all that is in one is looked through at once first.
        """
        said = [value for key, value in event.items() if key not in _OWN]
        if all(map(_is_plain, said)) and self._is_clean(" ".join(map(str, said))):
            return event
        return {key: value if key in _OWN else self._clean(value) for key, value in event.items()}

    def _is_clean(self, text: str) -> bool:
        """Whether there is surely nothing to redact: a few words are looked for a tenth as long as the expressions."""
        low = text.lower()
        return text.isascii() and not any(mark in low for mark in self._marks)

    def _clean(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self(str(key)): self._clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._clean(item) for item in value]
        return self(value if isinstance(value, str) else repr(value))


def _pattern(form: str, *, short: bool) -> str:
    return _BY_ITSELF.format(re.escape(form)) if short else f"(?i:{re.escape(form)})"


def _is_plain(value: object) -> bool:
    """Whether a value is written out as it is: of anything else only a part may be a secret."""
    return value is None or isinstance(value, str | bool | int | float)


class _Lines(logging.StreamHandler[TextIO]):
    """Writes lines, the libraries' and the bot's own; what cannot be written is nobody's fault but the stream's."""

    def write(self, line: str) -> None:
        """Write one of the bot's own, which needs no record made for it."""
        with suppress(OSError, ValueError), self.lock or nullcontext():
            self.stream.write(f"{line}\n")
            self.flush()


class _Logger:
    """What an event of the bot's own ends in, once it is a line."""

    __slots__ = ("critical", "debug", "error", "info", "name", "warning")

    def __init__(self, lines: _Lines, name: str) -> None:
        self.name = name
        self.debug = self.info = self.warning = self.error = self.critical = lines.write


def configure(level: str, fmt: str, secrets: Sequence[str], stream: TextIO | None = None) -> None:
    """Send all logs of level and above to stream (stderr) in the given format, without the secrets."""
    lines = _Lines(stream or sys.stderr)
    rendering = (
        structlog.processors.format_exc_info,
        Redactor(secrets).process,
        _renderer(fmt, colors=lines.stream.isatty()),
    )
    lines.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
            foreign_pre_chain=[_without_traceback, *_SHARED],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [lines]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[*_SHARED, *rendering],
        logger_factory=lambda name="bot": _Logger(lines, name),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )


_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def _renderer(fmt: str, *, colors: bool) -> Processor:
    if fmt == "console":
        return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
    encode = json.JSONEncoder(default=str).encode  # json.dumps would make an encoder for each line
    return lambda _logger, _method, event: encode(event)


def _without_traceback(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep a library's record to its one line: its tracebacks tell of its own insides, many times over."""
    event.pop("exc_info", None)
    return event
