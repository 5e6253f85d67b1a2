"""Reads a .env file: https://saurabh-kumar.com/python-dotenv/."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from dotenv.parser import parse_stream

from bot.settings.urls import Fault


def read_env_file(path: Path) -> tuple[Mapping[str, str], Sequence[Fault]]:
    """The values of a .env file by name, and what is wrong with the file, which need not exist.

    ${NAME} isn't expanded, because docker run and kubectl, which read the same file, don't expand it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig") if path.is_file() else ""  # with a byte order mark or without
    except (OSError, ValueError) as error:
        return {}, [(f"can't be read ({why_unreadable(error)})", "make it a readable text file in UTF-8")]
    lines, fix = list(parse_stream(io.StringIO(text))), "write NAME=value there, and close each quote on the same line"
    values, wrong = {}, []
    for line in lines:
        if line.key and line.value is not None:
            values[line.key] = line.value
        if line.error or "\0" in line.original.string or (line.key and line.value is None):  # NAME, or NAME:value
            wrong.append((f"has no setting in line {line.original.line}", fix))
    return values, wrong


def why_unreadable(error: OSError | ValueError) -> str:
    """What kept a text file from being read."""
    return str(error.strerror) if isinstance(error, OSError) else "it isn't UTF-8"
