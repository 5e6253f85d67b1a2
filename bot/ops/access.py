"""`reload-model-bot access`: who can reload models because an admin said so. It only reads, beside a running bot."""

import json
from datetime import UTC, datetime
from typing import TextIO

from bot.ops.reading import print_table, reading
from bot.settings import Settings
from bot.storage import grants

COLUMNS = ("who", "by", "at")


def write(out: TextIO, settings: Settings, *, form: str) -> None:
    """Write the access that admins gave, the last first, as a "table" or "json". Raises CannotStart."""
    with reading(settings) as connection:
        found, _ = grants.granted(connection)
    lines = [(grant.user_id, grant.granted_by, datetime.fromtimestamp(grant.granted_at, UTC)) for grant in found]
    if form == "json":
        rows = [(who, by, f"{at:%Y-%m-%dT%H:%M:%SZ}") for who, by, at in lines]
        out.writelines(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in rows)
    else:
        print_table(out, [COLUMNS, *((who, by, f"{at:%Y-%m-%d %H:%M:%S}") for who, by, at in lines)])
