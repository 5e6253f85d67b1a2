"""Structured logs: one line per event, as JSON or for a terminal, with secrets redacted before anything is written.

Records of the libraries go the same way. Start with configure().
"""

import html
import json
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import TextIO
from urllib.parse import quote

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from bot.errors import ModelsLabError, SlackError

REDACTED = "[redacted]"

# Secrets that are recognised by their shape: Slack's tokens, the ticket in a Socket Mode URL
# (https://docs.slack.dev/apis/events-api/using-socket-mode), and response URLs, which need no token.
_SHAPES = re.compile(
    r"xox[a-z]-[\w.-]+|xapp-[\w.-]+|(?<=ticket=)[^&\s'\"]+"
    r"|(?<=hooks\.slack\.com/)[\w./-]+|(?<=/commands/)[\w./-]+|(?<=/actions/)[\w./-]+",
)

# A shorter secret is redacted only where it stands by itself: a few letters occur in many words. If all those words
# were redacted, the log would be useless, and would show which letters they are.
_SHORT = 8
_BY_ITSELF = r"(?<![\w-])(?<!\w\.){}(?![\w-]|\.\w)"

# Their INFO messages only help to debug them.
_CHATTY = ("slack_sdk", "slack_bolt", "aiohttp", "asyncio")

# Fields that this module adds. They stay readable even if a secret is "info".
_OWN = ("level", "logger", "timestamp")


class Redactor:
    """Removes secrets from text, by value (as it is, and as Python, JSON, HTML or a URL writes it) and by shape."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        patterns = {}
        for secret in secrets:
            in_json = json.dumps(secret)[1:-1]
            forms = (secret, repr(secret)[1:-1], in_json, in_json.replace("/", "\\/"), html.escape(secret))
            for form in filter(None, (*forms, quote(secret), quote(secret, safe=""))):
                pattern = _BY_ITSELF if len(secret) < _SHORT else "(?i:{})"
                patterns[form] = pattern.format(re.escape(form))
        longest_first = sorted(patterns, key=len, reverse=True)
        self._values = re.compile("|".join(patterns[form] for form in longest_first) or r"(?!)")

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        return _SHAPES.sub(REDACTED, self._values.sub(REDACTED, text))

    def process(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Redact every value of an event, at any depth. A structlog processor."""
        return {key: value if key in _OWN else self._clean(value) for key, value in event.items()}

    def _clean(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self(str(key)): self._clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._clean(item) for item in value]
        return self(value if isinstance(value, str) else repr(value))


class _Handler(logging.StreamHandler[TextIO]):
    """Ignores a closed or broken stream: the bot goes on without a log."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Do nothing. Logging would print the record, unredacted."""


class _OnceAMinute(logging.Filter):
    """Without a free file descriptor, asyncio logs hundreds of times a second that it can't accept a connection."""

    again_at = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log it."""
        if not str(record.msg).startswith("socket.accept()"):
            return True
        logged, now = self.again_at, monotonic()
        self.again_at = max(logged, now + 60.0 if now >= logged else logged)
        return now >= logged


_ONCE_A_MINUTE = _OnceAMinute()


def configure(level: str, fmt: str, secrets: Sequence[str], stream: TextIO | None = None) -> None:
    """Send every log of this level and above to the stream (stderr), as "json" or "console", without the secrets."""
    handler = _Handler(stream or sys.stderr)
    handler.setLevel(level)  # some libraries set a level of their own
    renderer: Processor = structlog.processors.JSONRenderer()
    if fmt == "console":
        colors = handler.stream.isatty() and not os.environ.get("NO_COLOR")  # https://no-color.org
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_without_traceback, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                Redactor(secrets).process,
                _tidy,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("asyncio").addFilter(_ONCE_A_MINUTE)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )


def _tidy(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put the time, the level and the event first, and leave empty fields out."""
    first = {key: event[key] for key in ("timestamp", "level", "event") if key in event}
    return first | {key: value for key, value in event.items() if value not in ("", None, [])}


def _without_traceback(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep a library's record to one line: its tracebacks only show its own internals, again and again."""
    event.pop("exc_info", None)
    return event


def describe(error: BaseException | None) -> dict[str, str]:
    """Fields that describe why a job failed: an error, or too many crashes."""
    if isinstance(error, SlackError):
        return {"reason": error.code, "host": error.host}
    if isinstance(error, ModelsLabError):
        return {"reason": error.failure.value, "said": error.said, "host": error.host}
    return {"reason": "crashes" if error is None else type(error).__name__}
