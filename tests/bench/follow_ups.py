"""A database in which many follow-ups fall due within seconds."""

from collections.abc import Sequence

from sqlalchemy import Connection, insert

from bot.core.clock import SteadyClock
from bot.core.models import PRIORITY, JobKind, State
from bot.storage import jobs, schema
from bot.storage.database import Database
from tests.bench.load import channel

REQUESTED_BEFORE = 120.0


async def seed(url: str, begin: float, seconds: float, status_ts: Sequence[str]) -> None:
    """Make one reload for each status message, accepted, whose follow-ups fall due evenly from begin on."""
    database = Database(url, SteadyClock())
    await database.start()
    await database.run(jobs.open_database)
    due = [begin + n * seconds / len(status_ts) for n in range(len(status_ts))]
    requested = begin - REQUESTED_BEFORE

    def insert_rows(connection: Connection) -> None:
        connection.execute(
            insert(schema.reloads),
            [
                {
                    "id": f"r{n:05d}",
                    "model_id": f"model-{n}",
                    "state": State.ACCEPTED,
                    "requested_at": requested,
                    "accepted_at": requested,
                    "ready_at": at,
                }
                for n, at in enumerate(due)
            ],
        )
        connection.execute(
            insert(schema.subscribers),
            [
                {
                    "reload_id": f"r{n:05d}",
                    "invocation_id": f"seed-{n}",
                    "button": "",
                    "user_id": f"U{n:05d}",
                    "channel_id": channel(n),
                    "requested_at": requested,
                    "response_url": "",
                }
                for n in range(len(due))
            ],
        )
        connection.execute(
            insert(schema.jobs),
            [
                {
                    "reload_id": f"r{n:05d}",
                    "kind": kind.value,
                    "priority": PRIORITY[kind],
                    "channel_id": channel(n),
                    "status_ts": status_ts[n] if kind is JobKind.STATUS else "",
                    "due_at": at,
                }
                for n, at in enumerate(due)
                for kind in (JobKind.STATUS, JobKind.NOTIFY)
            ],
        )

    await database.run(insert_rows)
    await database.stop()
