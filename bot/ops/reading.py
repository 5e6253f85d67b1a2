"""The bot's database, for commands that only read it beside a running bot; and how they print tables."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from bot.errors import CannotStart
from bot.ops.logging import Redactor
from bot.settings import Settings
from bot.storage import schema
from bot.storage.database import reading_engine
from bot.storage.engines.sqlite import sqlite_file


@contextmanager
def reading(settings: Settings) -> Iterator[Connection]:
    """A connection that only reads. Raises CannotStart, for what goes wrong while it is used, too."""
    url = settings.database_url
    if url.startswith("sqlite:") and not sqlite_file(url).exists():
        raise CannotStart(f"DATABASE_URL: there is no file {sqlite_file(url)}: the bot creates it when it starts")
    try:
        with reading_engine(url).connect() as connection:
            _check_version(connection)
            yield connection
    except ImportError:
        raise CannotStart("DATABASE_URL: PostgreSQL's driver is missing: install reload-model-bot[postgres]") from None
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        hidden = Redactor(settings.secrets)(reason)
        raise CannotStart(f"DATABASE_URL: the database can't be read: {hidden}") from None


def _check_version(connection: Connection) -> None:
    """Raises CannotStart for the tables of another version."""
    found = schema.version_of(connection)
    if found > schema.VERSION:
        raise CannotStart("DATABASE_URL: the database belongs to a newer version of this program: run that one")
    if found < schema.VERSION:
        state = f"has schema version {found}" if found else "has no tables"
        raise CannotStart(f"DATABASE_URL: the database {state}: the bot updates it when it starts")


def print_table(out: TextIO, rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(padded).rstrip(), file=out)
