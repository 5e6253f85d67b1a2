"""`reload-model-bot audit`: who asked for what, whether they were allowed to, and what came of it.

It only reads, so the bot can run meanwhile.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO

from bot.core.models import IN_FLIGHT, Reload
from bot.errors import Refusal
from bot.ops.reading import print_rows, reading
from bot.settings import Settings
from bot.storage import history
from bot.storage.history import AuditLine
from bot.ui.reasons import FAILURES

COLUMNS = ("at", "who", "team", "where", "what", "allowed", "outcome", "rule", "reload", "result")

_REFUSED = frozenset(
    {
        *(Refusal.GROUP_UNREAD, Refusal.NOT_ADMIN, Refusal.NOT_ALLOWED, Refusal.NOT_READY, Refusal.OTHER_WORKSPACE),
        *(Refusal.TOO_MANY_COMMANDS, Refusal.TOO_MANY_IN_FLIGHT, Refusal.WRONG_CHANNEL),
    }
)
"""The outcomes of people who weren't allowed to do what they wanted. All others were, even if nothing came of it."""


def write(out: TextIO, settings: Settings, *, since: float, form: str) -> None:
    """Write the lines of the last `since` seconds, oldest first, as a "table", "json" or "csv". Raises CannotStart."""
    with reading(settings) as connection:
        print_rows(out, form, COLUMNS, map(_row, history.audit_lines(connection, time.time() - since)))


def _row(line: AuditLine) -> Sequence[object]:
    """A line by column. Without a reload, its ID and its result are empty."""
    return (
        datetime.fromtimestamp(line.at, UTC),
        line.user_id,
        line.team_id,
        line.channel_id,
        line.text,
        line.outcome not in _REFUSED,
        line.outcome,
        line.rule,
        line.reload_id,
        "" if line.reload is None else _result(line.reload),
    )


def _result(reload: Reload) -> str:
    """How a reload ended, as far as is known."""
    if reload.failure is not None:
        text = f"failed: {FAILURES[reload.failure].why}" + (", but may be reloading" if reload.outcome_unknown else "")
    else:
        text = "in flight" if reload.state in IN_FLIGHT else "should be ready"
    return text + (", couldn't notify everyone" if reload.undeliverable else "")
