"""Structured logs: one line an event, JSON or for a terminal, secrets redacted before anything is written.

The libraries' own records go the same way. Knows nothing of what is logged.
"""

import logging
import re
import sys
from collections.abc import Mapping, Sequence
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

    def __call__(self, text: str) -> str:
        """Return text without secrets."""
        if self._values is not None:
            text = self._values.sub(REDACTED, text)
        return _SHAPES.sub(REDACTED, text)

    def process(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """As a processor of structlog: redact every value, however deep it lies."""
        return {key: value if key in _OWN else self._clean(value) for key, value in event.items()}

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


def configure(level: str, fmt: str, secrets: Sequence[str], stream: TextIO | None = None) -> None:
    """Send all logs of level and above to stream (stderr) in the given format, without the secrets."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                Redactor(secrets).process,
                _renderer(fmt, colors=handler.stream.isatty()),
            ],
            foreign_pre_chain=[_without_traceback, *_SHARED],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
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
    return structlog.processors.JSONRenderer(default=str)


def _without_traceback(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep a library's record to its one line: its tracebacks tell of its own insides, many times over."""
    event.pop("exc_info", None)
    return event
