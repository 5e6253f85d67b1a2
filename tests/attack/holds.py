"""What holds of everything that the bot says and logs, whatever it was sent."""

import re

from tests.scenarios.house import ADA, BEN, CEM, House
from tests.secrecy import remember, scan

_ALLOWED = re.compile(rf"<!date\^\d+\^[^|<>]+\|(\d+ \w{{3}} at )?\d\d:\d\d UTC>|<@({ADA}|{BEN}|{CEM})>")

_NEVER_LOGGED = (
    "background_task_failed",
    "crashed",
    "group_reading_failed",
    "internal_error",
    "job_crashed",
    "worker_failed",
)


def harmless(text: str) -> None:
    """No mention but of those who asked, no link, and short enough for Slack."""
    assert "<" not in _ALLOWED.sub("", text), text
    assert len(text) <= 12_000


def unmoved(bot: House) -> set[object]:
    """Nothing went wrong inside the bot, and it told no secret. Return the events; what was looked at is forgotten."""
    stream, records = bot.log.stream, bot.log.records
    for record in records:
        assert record["event"] not in _NEVER_LOGGED, record
        assert "exception" not in record, record
    silent(bot, stream.getvalue())
    stream.seek(0)
    stream.truncate()
    return {record["event"] for record in records}


def silent(bot: House, text: str) -> None:
    """No secret is in it."""
    remember(bot.secrets)
    scan("an answer", text)
