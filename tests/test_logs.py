"""A log has one line for each event, and never a secret."""

import json
import logging
from collections.abc import Callable
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from bot.logs import _ONCE_A_MINUTE, REDACTED, Redactor, configure

SECRET = "hunter2-secret"
BACKSLASHED = "back\\slash'\"quoted"
SECRETS = (SECRET, BACKSLASHED, "p@ss/word", "")

formats = pytest.mark.parametrize("fmt", ["json", "console"])


def configured(fmt: str = "json", level: str = "INFO") -> StringIO:
    """Set up logging, and return where it goes."""
    stream = StringIO()
    configure(level, fmt, SECRETS, stream)
    return stream


def events(stream: StringIO) -> list[dict[str, Any]]:
    """The lines, each of which must be an object of its own."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_of_json() -> None:
    """It begins with the time, the level and the event, has whatever is bound around it, and nothing empty."""
    stream = configured()
    with structlog.contextvars.bound_contextvars(reload="r4x7", channel=""):
        structlog.get_logger("bot.worker.loop").warning(
            "job_failed",
            value={"two\nlines": [1, 2.5, None, True]},
            said="",
            wait=None,
            users=[],
            late=0.0,
            unknown=False,
        )
    [event] = events(stream)

    assert list(event)[:3] == ["timestamp", "level", "event"]
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "job_failed",
        "level": "warning",
        "logger": "bot.worker.loop",
        "reload": "r4x7",
        "value": {"two\nlines": [1, 2.5, None, True]},
        "late": 0.0,
        "unknown": False,
    }


@pytest.mark.parametrize("colours", [False, True])
def test_the_console_format_is_for_people(*, colours: bool) -> None:
    """In colour on a terminal."""
    stream = StringIO()
    stream.isatty = lambda: colours  # type: ignore[method-assign]
    configure("INFO", "console", (), stream)
    structlog.get_logger("bot.worker.loop").info("ready", port=3000)

    assert "ready" in stream.getvalue()
    assert not stream.getvalue().startswith("{")
    assert ("\x1b[" in stream.getvalue()) == colours


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
def test_what_is_below_the_level_is_not_written(level: str) -> None:
    """The level is for the bot and for libraries alike. Chatty libraries are heard from WARNING on."""
    stream = configured(level=level)
    names = ["debug", "info", "warning", "error"]
    for name in names:
        getattr(structlog.get_logger(), name)("own")
        for library in ("some.library", "slack_sdk.rtm", "slack_bolt.AsyncApp", "aiohttp.access", "asyncio"):
            getattr(logging.getLogger(library), name)("theirs")

    kept = names[names.index(level.lower()) :]
    assert [event["level"] for event in events(stream) if event["event"] == "own"] == kept
    assert [event["level"] for event in events(stream) if event["event"] == "theirs"] == [
        name for name in kept for _ in range(5 if name in ("warning", "error") else 1)
    ]


@formats
def test_a_librarys_record_is_an_event_too(fmt: str) -> None:
    """On one line, without its traceback, which is about the library. The bot's own events have one."""
    stream = configured(fmt)
    error = KeyError("outer x")
    error.__cause__ = ValueError("inner x")
    logging.getLogger("slack_sdk").error("lost %s of %d", "connection", 7, exc_info=error)
    assert len(stream.getvalue().splitlines()) == 1
    assert "lost connection of 7" in stream.getvalue()
    assert "outer x" not in stream.getvalue()
    structlog.get_logger().error("job_crashed", exc_info=error)

    assert "ValueError: inner x" in stream.getvalue()
    assert "KeyError: 'outer x'" in stream.getvalue()


def test_a_port_that_accepts_nothing_does_not_flood_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio repeats that for as long as there is no free file descriptor."""
    monkeypatch.setattr(_ONCE_A_MINUTE, "again_at", 0.0)
    stream = configured()
    for text in ("socket.accept() out of system resource\nsocket: 1", "something else", "socket.accept() again"):
        logging.getLogger("asyncio").error(text)

    assert [event["event"].split()[0] for event in events(stream)] == ["socket.accept()", "something"]


def test_logging_to_a_stream_that_is_gone_does_no_harm() -> None:
    """A closed stream, or a pipe that nobody reads."""
    stream = configured()
    log = structlog.get_logger("bot.worker.loop")
    stream.close()
    log.info("said")
    broken = StringIO()
    broken.write = lambda _: (_ for _ in ()).throw(BrokenPipeError())  # type: ignore[method-assign]
    configure("INFO", "json", SECRETS, broken)
    log.info("said")

    assert broken.getvalue() == ""


@formats
@pytest.mark.parametrize(
    "value",
    [
        f"Bearer {SECRET.upper()}, twice {SECRET}",
        {SECRET: {"deep": {"deeper": [{"deepest": SECRET}]}}},
        frozenset({BACKSLASHED}),
        SECRET.encode(),
        BACKSLASHED.encode(),
        ValueError(BACKSLASHED),
        SimpleNamespace(password=SECRET, other=BACKSLASHED),
        {"url": "https://x:p%40ss%2Fword@host"},
    ],
    ids=repr,
)
def test_a_secret_is_redacted_in_any_value(fmt: str, value: object) -> None:
    """In keys, bytes and reprs, and as a URL writes it. tests/scenarios/test_secrecy.py shows errors and libraries."""
    stream = configured(fmt)
    with structlog.contextvars.bound_contextvars(reload=SECRET):
        structlog.get_logger().info(f"said {BACKSLASHED}", value=value)
    written = stream.getvalue()

    assert written.count(REDACTED) >= 3
    assert not [part for part in (SECRET, "HUNTER2", "slash", "p%40ss") if part in written]


@pytest.mark.parametrize(
    ("secrets", "text", "redacted"),
    [
        # Tokens, tickets and addresses that are keys are known by their shape.
        ([], "token xoxb-123-456-abcDEF", "token [redacted]"),
        ([], "xoxe.xoxb-1-abc", "xoxe.[redacted]"),
        ([], "xapp-1-A0-1-abc; next", "[redacted]; next"),
        ([], "wss://w.slack.com/link/?ticket=a-b_c&app_id=1", "wss://w.slack.com/link/?ticket=[redacted]&app_id=1"),
        ([], "https://hooks.slack.com/services/T0/B0/abc", "https://hooks.slack.com/[redacted]"),
        ([], "https://hooks.slack.com/commands/T0/1/abc failed", "https://hooks.slack.com/[redacted] failed"),
        ([], "http://127.0.0.1:3999/commands/T0/1/abc", "http://127.0.0.1:3999/commands/[redacted]"),
        ([], "http://127.0.0.1:3999/actions/T0/1/abc", "http://127.0.0.1:3999/actions/[redacted]"),
        ([], "boxer xoxo-free", "boxer [redacted]"),
        ([], "sdxl in C0MODELS", "sdxl in C0MODELS"),
        # However ModelsLab writes a key that it repeats.
        *((["k/1+2==&x"], key, "[redacted]") for key in ("k\\/1+2==&x", "k/1%2B2%3D%3D%26x", "k/1+2==&amp;x")),
        # The longest secret goes first, and leaves no tail. A letter can have more than two cases.
        (["abc", "abc-def"], "said abc-def", "said [redacted]"),
        (["\N{LATIN SMALL LETTER LONG S}ecret-word"], "SECRET-WORD", "[redacted]"),
        (["secret-word"], "\N{LATIN SMALL LETTER LONG S}ecret-word", "[redacted]"),
        # A short secret is part of many words: only one that stands by itself is redacted.
        (["ab"], "postgresql://reload:ab@db/reload", "postgresql://reload:[redacted]@db/reload"),
        (["ab"], "Invalid API key ab.", "Invalid API key [redacted]."),
        (["ab"], 'key="ab" ab', 'key="[redacted]" [redacted]'),
        *((["ab"], text, text) for text in ("a tab about abandoned cabs", "ab-1.ab.example.com", "AB")),
    ],
)
def test_a_text_is_redacted(secrets: list[str], text: str, redacted: str) -> None:
    """Without the secrets in it, and with everything else."""
    assert Redactor(secrets)(text) == redacted


@given(
    st.text(min_size=8).filter(lambda secret: not set(secret) & set("[redacted]0")),
    st.sampled_from([str, str.upper, str.lower, str.swapcase]),
)
def test_any_secret_is_found(secret: str, case: Callable[[str], str]) -> None:
    """Whatever characters it has, as it is and in a repr, and in any case if that can be undone."""
    redact = Redactor([secret])

    assert redact(f"0{secret}0{secret}0") == f"0{REDACTED}0{REDACTED}0"
    assert redact(f"0{secret!r}0").strip("0'\"") == REDACTED
    if secret.isascii():
        assert redact(f"0{case(secret)}0") == f"0{REDACTED}0"


@formats
@pytest.mark.parametrize("secret", ["a", "1", "{", '"', ",", ":", "info", "reload", "bot", "timestamp", "\\"])
def test_a_log_stays_readable_whatever_the_secret(fmt: str, secret: str) -> None:
    """The line is made after the values have been redacted, and its own fields hold no secret."""
    stream = StringIO()
    configure("INFO", fmt, [secret], stream)
    structlog.get_logger("bot.worker.loop").info("said", value=secret, more={"a": [secret]}, port=1)

    assert stream.getvalue().count(REDACTED) >= 2
    if fmt == "json":
        [event] = events(stream)
        assert (event["level"], event["logger"], event["value"]) == ("info", "bot.worker.loop", REDACTED)
        assert event["timestamp"].startswith("2")
