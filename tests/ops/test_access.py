"""The access that admins gave is listed beside a running bot."""

import asyncio
import io
import json
from pathlib import Path

import pytest

from bot.errors import CannotStart
from bot.ops import access
from bot.settings import read
from bot.storage import grants
from bot.storage.database import Database
from bot.storage.history import Note
from bot.storage.jobs import open_database
from tests.storage.support import Clock


async def test_the_access_that_admins_gave_is_listed_the_last_first(tmp_path: Path) -> None:
    """As a table for people, as JSON for programs. Without a database, the reason is given."""
    settings = read({"DATABASE_URL": f"sqlite:///{tmp_path}/x.db"})[0]
    clock = Clock(1_700_049_600.0)

    def written(form: str) -> str:
        out = io.StringIO()
        access.write(out, settings, form=form)
        return out.getvalue()

    with pytest.raises(CannotStart, match="there is no file"):
        written("table")
    database = Database(settings.database_url, clock)
    await database.start()
    await database.run(open_database)
    for user_id in ("U0EVE", "U0FAY"):
        note = Note("U0BOSS", "T0HOME", "", "", "access_granted", "ADMIN_USERS")
        await database.run(grants.add_people, note, [user_id])
        clock.now += 60.0

    assert await asyncio.to_thread(written, "table") == (
        "who    by      at\nU0FAY  U0BOSS  2023-11-15 12:01:00\nU0EVE  U0BOSS  2023-11-15 12:00:00\n"
    )
    first, _ = (json.loads(line) for line in (await asyncio.to_thread(written, "json")).splitlines())
    await database.stop()

    assert first == {"who": "U0FAY", "by": "U0BOSS", "at": "2023-11-15T12:01:00Z"}
