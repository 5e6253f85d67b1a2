"""The bot's database, for commands that only read it beside a running bot; and how they print what they find."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TextIO

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from bot.errors import CannotStart
from bot.logs import Redactor
from bot.settings import Settings
from bot.storage import schema
from bot.storage.database import reading_engine
from bot.storage.engines.sqlite import sqlite_file

_FORMULA = ("=", "+", "-", "@")
"""How a cell begins that a spreadsheet would calculate: https://owasp.org/www-community/attacks/CSV_Injection."""


@contextmanager
def reading(settings: Settings) -> Iterator[Connection]:
    """A connection that only reads. Raises CannotStart, for what goes wrong while it is used, too."""
    url = settings.database_url
    if url.startswith("sqlite:"):
        try:
            sqlite_file(url).stat()
        except FileNotFoundError:
            what, fix = f"there is no file {sqlite_file(url)}", "the bot creates it when it starts"
            raise CannotStart("DATABASE_URL", what, fix) from None
        except OSError as error:
            raise CannotStart("DATABASE_URL", f"can't read {sqlite_file(url)} ({error.strerror})") from None
    try:
        with reading_engine(url).connect() as connection:
            found = schema.version_of(connection)
            if found > schema.VERSION:
                raise CannotStart(
                    "DATABASE_URL", "the database belongs to a newer version of this program", "run that one"
                )
            if found < schema.VERSION:
                state = f"has schema version {found}" if found else "has no tables"
                raise CannotStart("DATABASE_URL", f"the database {state}", "the bot updates it when it starts")
            yield connection
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        hidden = Redactor(settings.secrets)(reason)
        raise CannotStart("DATABASE_URL", f"the database can't be read: {hidden}") from None


def print_rows(out: TextIO, form: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as a "table" or "csv" with the names of the columns, or as "json": one object per line.

    JSON is ASCII only, so that it is JSON on every terminal.
    """
    if form == "json":
        for row in rows:
            values = [f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else value for value in row]
            print(json.dumps(dict(zip(columns, values, strict=True))), file=out)
    elif form == "csv":
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in map(_cell, row)])
    else:
        lines = [columns, *(list(map(_cell, row)) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            print("  ".join(padded).rstrip(), file=out)


def _cell(value: object) -> str:
    """For people and spreadsheets."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
