"""Remembers who has used the command: on Enterprise Grid, people who press a button may otherwise look like strangers.

Rows are never deleted: there is one for each person. Each function runs inside one transaction of Database.run.
"""

from sqlalchemy import Connection, insert, select

from bot.storage.database import now
from bot.storage.schema import people


def remember(connection: Connection, user_id: str) -> None:
    """Remember that this person has used the command."""
    if not is_known(connection, user_id):
        connection.execute(insert(people).values(user_id=user_id, since=now(connection)))


def is_known(connection: Connection, user_id: str) -> bool:
    """Whether this person has used the command."""
    return connection.execute(select(people.c.user_id).where(people.c.user_id == user_id)).first() is not None
