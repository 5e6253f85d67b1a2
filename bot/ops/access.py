"""`reload-model-bot access`: the access that admins gave in Slack. It only reads, beside a running bot."""

from datetime import UTC, datetime
from typing import TextIO

from bot.ops.reading import print_rows, reading
from bot.settings import Settings
from bot.storage import grants


def write(out: TextIO, settings: Settings, *, form: str) -> None:
    """Write the access that admins gave, the last first, as a "table" or "json". Raises CannotStart."""
    with reading(settings) as connection:
        found, _ = grants.granted(connection)
    rows = [(grant.user_id, grant.granted_by, datetime.fromtimestamp(grant.granted_at, UTC)) for grant in found]
    print_rows(out, form, ("who", "by", "at"), rows)
