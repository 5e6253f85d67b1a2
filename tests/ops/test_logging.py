"""Logs are one line an event, tell what they should, and never a secret."""

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from io import StringIO
from types import SimpleNamespace
from typing import TypedDict

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from bot.ops.logging import REDACTED, Redactor, configure

SECRET = "hunter2-secret"
BACKSLASHED = "back\\slash'\"quoted"
SECRETS = (SECRET, BACKSLASHED, "p@ss/word", "")

formats = pytest.mark.parametrize("fmt", ["json", "console"])


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    """Leave logging as it was."""
    loggers = [logging.getLogger(name) for name in ("", "slack_sdk", "slack_bolt", "aiohttp", "asyncio")]
    levels = [logger.level for logger in loggers]
    handlers = loggers[0].handlers[:]
    yield
    loggers[0].handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


class Event(TypedDict, total=False):
    """A line of the log, as far as the tests look at it."""

    event: str
    level: str
    logger: str
    timestamp: str
    exception: str
    reload: str
    value: object


def configured(fmt: str = "json", level: str = "INFO") -> StringIO:
    """Set up logging, and return where it goes."""
    stream = StringIO()
    configure(level, fmt, SECRETS, stream)
    return stream


def events(stream: StringIO) -> list[Event]:
    """The lines, each of which must be an object of its own."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def crash(secret: str) -> None:
    """Fail with a secret in the error, and in its cause."""
    raise KeyError(f"outer {secret}") from ValueError(f"inner {secret}")


# --- the shape ------------------------------------------------------------------------------------------


def test_an_event_is_one_line_of_json() -> None:
    """It says what, how grave, from where and when, with whatever was bound around it."""
    stream = configured()
    with structlog.contextvars.bound_contextvars(reload="r4x7"):
        structlog.get_logger("bot.worker.loop").warning("job_failed", value={"two\nlines": [1, 2.5, None, True]})
    [event] = events(stream)

    assert event.pop("timestamp", "").endswith("Z")
    assert event == {
        "event": "job_failed",
        "level": "warning",
        "logger": "bot.worker.loop",
        "reload": "r4x7",
        "value": {"two\nlines": [1, 2.5, None, True]},
    }


def test_an_exception_is_on_the_line_of_its_event() -> None:
    """With its traceback and its cause."""
    stream = configured()
    try:
        crash("x")
    except KeyError:
        structlog.get_logger().exception("job_crashed")
    [event] = events(stream)

    assert "ValueError: inner x" in event["exception"]
    assert event["exception"].splitlines()[-1] == "KeyError: 'outer x'"


def test_a_person_at_a_terminal_reads_words() -> None:
    """The console format is no JSON, and without a terminal it has no colours."""
    stream = configured("console")
    structlog.get_logger("bot.worker.loop").info("ready", port=3000)

    assert "[info     ] ready" in stream.getvalue()
    assert "port=3000" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_colours() -> None:
    """Where there is one."""
    stream = StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    configure("INFO", "console", (), stream)
    structlog.get_logger().info("ready")

    assert "\x1b[" in stream.getvalue()


def test_logs_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """Unless they are told to go elsewhere."""
    configure("INFO", "json", ())
    structlog.get_logger().info("ready")
    out, err = capsys.readouterr()

    assert out == ""
    assert json.loads(err)["event"] == "ready"


@pytest.mark.parametrize(
    ("level", "kept"),
    [
        ("DEBUG", ["debug", "info", "warning", "error"]),
        ("INFO", ["info", "warning", "error"]),
        ("WARNING", ["warning", "error"]),
        ("ERROR", ["error"]),
    ],
)
def test_what_is_below_the_level_is_not_written(level: str, kept: list[str]) -> None:
    """The level holds for the bot's own events and for libraries' alike."""
    stream = configured(level=level)
    for name in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger(), name)("own")
        getattr(logging.getLogger("some.library"), name)("theirs")

    assert [event["level"] for event in events(stream)] == [name for name in kept for _ in range(2)]


@pytest.mark.parametrize("name", ["slack_sdk.rtm", "slack_bolt.AsyncApp", "aiohttp.access", "asyncio"])
@pytest.mark.parametrize(("level", "kept"), [("DEBUG", ["warning", "error"]), ("ERROR", ["error"])])
def test_chatty_libraries_are_heard_from_warning_on(name: str, level: str, kept: list[str]) -> None:
    """What they say below that is of use only to whoever debugs them."""
    stream = configured(level=level)
    for method in ("debug", "info", "warning", "error"):
        getattr(logging.getLogger(name), method)("said")

    assert [event["level"] for event in events(stream)] == kept


def test_configuring_again_replaces_what_was_there() -> None:
    """No event is written twice."""
    first, second = configured(), configured()
    structlog.get_logger().info("ready")

    assert (len(events(first)), len(events(second))) == (0, 1)


# --- libraries ------------------------------------------------------------------------------------------


def test_a_librarys_record_is_an_event_too() -> None:
    """Its arguments are in its text, and lines within it stay on one."""
    stream = configured()
    logging.getLogger("aiohttp.client").warning("lost %s\nof %d", "connection", 7)
    [event] = events(stream)

    assert event.pop("timestamp", "").endswith("Z")
    assert event == {"event": "lost connection\nof 7", "level": "warning", "logger": "aiohttp.client"}


@formats
def test_a_librarys_traceback_is_left_out(fmt: str) -> None:
    """It tells of the library's insides, many times over."""
    stream = configured(fmt)
    try:
        crash("x")
    except KeyError:
        logging.getLogger("slack_sdk").exception("broke")

    assert len(stream.getvalue().splitlines()) == 1
    assert "Traceback" not in stream.getvalue()


# --- secrets --------------------------------------------------------------------------------------------


@formats
@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        SECRET.upper(),
        f"Bearer {SECRET}, twice {SECRET}",
        [SECRET],
        (1, (SECRET,)),
        {"deep": {"deeper": [{"deepest": SECRET}]}},
        {SECRET: "as a key"},
        {SECRET},
        frozenset({BACKSLASHED}),
        SECRET.encode(),
        BACKSLASHED,
        BACKSLASHED.encode(),
        ValueError(BACKSLASHED),
        KeyError(SECRET),
        SimpleNamespace(password=SECRET, other=BACKSLASHED),
        {"url": "https://x:p%40ss%2Fword@host"},
    ],
    ids=repr,
)
def test_a_secret_is_redacted_however_deep_it_lies(fmt: str, value: object) -> None:
    """By its value: in keys, in bytes, in the repr of any object, and as a URL writes it."""
    stream = configured(fmt)
    structlog.get_logger().info("said", value=value)
    written = stream.getvalue()

    assert REDACTED in written
    assert not [part for part in (SECRET, "HUNTER2", "slash", "p%40ss") if part in written]


@formats
def test_a_secret_in_an_events_own_words_is_redacted(fmt: str) -> None:
    """Also in the text of the event, and in what is bound around it."""
    stream = configured(fmt)
    with structlog.contextvars.bound_contextvars(reload=SECRET):
        structlog.get_logger().info(f"said {SECRET}")

    assert stream.getvalue().count(REDACTED) == 2
    assert SECRET not in stream.getvalue()


@formats
@pytest.mark.parametrize("secret", [SECRET, BACKSLASHED])
def test_a_secret_in_a_traceback_is_redacted(fmt: str, secret: str) -> None:
    """In the error itself and in its cause."""
    stream = configured(fmt)
    try:
        crash(secret)
    except KeyError as error:
        assert "hunter2" in (shown := traceback.format_exc()) or "slash" in shown
        structlog.get_logger().error("crashed", exc_info=error)

    assert stream.getvalue().count(REDACTED) == 2
    assert not [part for part in ("hunter2", "slash") if part in stream.getvalue()]


@formats
def test_a_secret_in_a_librarys_record_is_redacted(fmt: str) -> None:
    """Libraries' records go the same way."""
    stream = configured(fmt)
    logging.getLogger("some.library").error("asked %s with %r", SECRET, {"token": BACKSLASHED})

    assert stream.getvalue().count(REDACTED) == 2
    assert not [part for part in ("hunter2", "slash") if part in stream.getvalue()]


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("token xoxb-123-456-abcDEF", "token [redacted]"),
        ("xoxe.xoxb-1-abc", "xoxe.[redacted]"),
        ("xapp-1-A0-1-abc; next", "[redacted]; next"),
        (
            "wss://wss-primary.slack.com/link/?ticket=a-b_c&app_id=1",
            "wss://wss-primary.slack.com/link/?ticket=[redacted]&app_id=1",
        ),
        ("https://hooks.slack.com/services/T0/B0/abc", "https://hooks.slack.com/[redacted]"),
        ("https://hooks.slack.com/commands/T0/1/abc failed", "https://hooks.slack.com/[redacted] failed"),
        ("http://127.0.0.1:3999/commands/T0/1/abc", "http://127.0.0.1:3999/commands/[redacted]"),
        ("http://127.0.0.1:3999/actions/T0/1/abc", "http://127.0.0.1:3999/actions/[redacted]"),
        ("boxer xoxo-free", "boxer [redacted]"),
        ("sdxl in C0MODELS", "sdxl in C0MODELS"),
    ],
)
def test_secrets_are_known_by_their_shape(text: str, redacted: str) -> None:
    """Tokens, tickets and addresses that are keys, also where nobody has named them."""
    assert Redactor()(text) == redacted


def test_the_longest_secret_goes_first() -> None:
    """A secret that begins with another leaves no tail."""
    assert Redactor(["abc", "abc-def"])("abc-def abc") == f"{REDACTED} {REDACTED}"


@given(st.text(min_size=8).filter(lambda secret: not set(secret) & set("[redacted]0")))
def test_any_secret_is_found(secret: str) -> None:
    """Whatever characters it has, as it is and in a repr."""
    redact = Redactor([secret])

    assert redact(f"0{secret}0{secret}0") == f"0{REDACTED}0{REDACTED}0"
    assert redact(f"0{secret!r}0").strip("0'\"") == REDACTED


@given(st.text(min_size=1, max_size=7).filter(lambda secret: not set(secret) & set("[redacted]0'\" ")))
def test_a_short_secret_is_found_where_it_stands_by_itself(secret: str) -> None:
    """As a whole value, between quotes, after a sign or a space."""
    redact = Redactor([secret])

    assert redact(secret) == REDACTED
    assert redact(f'key="{secret}"') == f'key="{REDACTED}"'
    assert redact(f"0 {secret} 0") == f"0 {REDACTED} 0"
    assert redact(repr(secret)).strip("'\"") == REDACTED


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("key=ab", "key=[redacted]"),
        ('{"key": "ab"}', '{"key": "[redacted]"}'),
        ("postgresql://reload:ab@db/reload", "postgresql://reload:[redacted]@db/reload"),
        ("Invalid API key ab.", "Invalid API key [redacted]."),
        ("ab", "[redacted]"),
        ("a tab about abandoned cabs", "a tab about abandoned cabs"),
        ("ab-1.ab.example.com", "ab-1.ab.example.com"),
        ("AB", "AB"),
    ],
)
def test_a_short_secret_does_not_eat_the_words_that_hold_it(text: str, redacted: str) -> None:
    """Two letters stand in many words, and a log without those is none."""
    assert Redactor(["ab"])(text) == redacted


@formats
@pytest.mark.parametrize("secret", ["a", "1", "{", '"', ",", ":", "info", "reload", "bot", "timestamp", "\\"])
def test_a_log_stays_a_log_whatever_the_secret(fmt: str, secret: str) -> None:
    """Its structure is made after the secrets have been taken out, and its own fields hold none."""
    stream = StringIO()
    configure("INFO", fmt, [secret], stream)
    structlog.get_logger("bot.worker.loop").info("said", value=secret, more={"a": [secret]}, port=1)

    assert stream.getvalue().count(REDACTED) >= 2
    if fmt == "json":
        [event] = events(stream)
        assert (event["level"], event["logger"], event["value"]) == ("info", "bot.worker.loop", REDACTED)
        assert event["timestamp"].startswith("2")


@given(
    st.text(st.characters(codec="ascii"), min_size=8).filter(lambda secret: not set(secret) & set("[redacted]0")),
    st.sampled_from([str, str.upper, str.lower, str.swapcase]),
)
def test_no_secret_slips_by_whatever_its_case(secret: str, case: Callable[[str], str]) -> None:
    """An event whose values are plain is looked through at once, and no less strictly."""
    event = Redactor([secret]).process(None, "", {"event": f"0{case(secret)}0", "number": 1})

    assert event == {"event": f"0{REDACTED}0", "number": 1}


@pytest.mark.parametrize(
    ("secret", "written"),
    [
        ("\N{LATIN SMALL LETTER LONG S}ecret-word", "SECRET-WORD"),
        ("secret-word", "\N{LATIN SMALL LETTER LONG S}ecret-word"),
        ("K2-long-key", "k2-LONG-key"),
    ],
)
def test_letters_with_more_than_two_cases(secret: str, written: str) -> None:
    """They are found where either the secret or the text holds one."""
    assert Redactor([secret]).process(None, "", {"event": f"said {written}"}) == {"event": f"said {REDACTED}"}


def test_a_stream_that_is_gone() -> None:
    """What cannot be written stops nobody: not a closed stream, and not a pipe that nobody reads."""
    stream = configured()
    log = structlog.get_logger("bot.worker.loop")
    stream.close()
    log.info("said")
    broken = StringIO()
    broken.write = lambda _: (_ for _ in ()).throw(BrokenPipeError())  # type: ignore[method-assign]
    configure("INFO", "json", SECRETS, broken)
    log.info("said")

    assert broken.getvalue() == ""
