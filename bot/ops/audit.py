"""`reload-model-bot audit`: who asked for what, whether they were allowed to, and what came of it.

It only reads, so the bot can run meanwhile.
"""

import csv
import json
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TextIO

from bot.core.models import IN_FLIGHT, Reload
from bot.errors import Refusal
from bot.ops.reading import print_table, reading
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

_FORMULA = ("=", "+", "-", "@")
"""How a cell begins that a spreadsheet would calculate: https://owasp.org/www-community/attacks/CSV_Injection."""


def write(out: TextIO, settings: Settings, *, since: float, form: str) -> None:
    """Write the lines of the last `since` seconds, oldest first, as a "table", "json" or "csv". Raises CannotStart."""
    forms = {"table": _table, "json": _json, "csv": _csv}
    with reading(settings) as connection:
        forms[form](out, map(_fields, history.audit_lines(connection, time.time() - since)))


def _fields(line: AuditLine) -> Mapping[str, object]:
    """A line by column. Without a reload, its ID and its result are empty."""
    values = (
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
    return dict(zip(COLUMNS, values, strict=True))


def _result(reload: Reload) -> str:
    """How a reload ended, as far as is known."""
    if reload.failure is not None:
        text = f"failed: {FAILURES[reload.failure].why}" + (", but may be reloading" if reload.outcome_unknown else "")
    else:
        text = "in flight" if reload.state in IN_FLIGHT else "should be ready"
    return text + (", couldn't notify everyone" if reload.undeliverable else "")


def _cells(line: Mapping[str, object]) -> list[str]:
    """For people and spreadsheets."""
    shown = {**line, "at": f"{line['at']:%Y-%m-%d %H:%M:%S}", "allowed": "yes" if line["allowed"] else "no"}
    return list(map(str, shown.values()))


def _table(out: TextIO, lines: Iterable[Mapping[str, object]]) -> None:
    print_table(out, [COLUMNS, *map(_cells, lines)])


def _json(out: TextIO, lines: Iterable[Mapping[str, object]]) -> None:
    """ASCII only, so that it is JSON on every terminal."""
    out.writelines(json.dumps({**line, "at": f"{line['at']:%Y-%m-%dT%H:%M:%SZ}"}) + "\n" for line in lines)


def _csv(out: TextIO, lines: Iterable[Mapping[str, object]]) -> None:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cells in map(_cells, lines):
        writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells])
