"""`reload-model-bot audit`: who asked for what, whether they were allowed to, and what came of it.

It only reads, so the bot can run meanwhile.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import starmap
from typing import Any, TextIO

from sqlalchemy import Row

from bot.core.models import IN_FLIGHT, Reload
from bot.errors import Refusal
from bot.ops.reading import print_rows, reading
from bot.settings import Settings
from bot.storage import history
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
        lines = history.audit_lines(connection, time.time() - since)
        print_rows(out, form, COLUMNS, starmap(_row, lines))


def _row(line: Row[*tuple[Any, ...]], reload: Reload | None) -> Sequence[object]:
    """A line by column. Without a reload, its ID and its result are empty."""
    who, allowed = (line.user_id, line.team_id, line.channel_id, line.text), line.outcome not in _REFUSED
    result = "" if reload is None else _result(reload)
    return (datetime.fromtimestamp(line.at, UTC), *who, allowed, line.outcome, line.rule, line.reload_id or "", result)


def _result(reload: Reload) -> str:
    """How a reload ended, as far as is known."""
    if reload.failure is not None:
        text = f"failed: {FAILURES[reload.failure].why}" + (", but may be reloading" if reload.outcome_unknown else "")
    else:
        text = "in flight" if reload.state in IN_FLIGHT else "should be ready"
    return text + (", couldn't notify everyone" if reload.undeliverable else "")
