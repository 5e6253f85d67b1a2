"""Reads a .env file: https://saurabh-kumar.com/python-dotenv/."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from dotenv.parser import parse_stream

from bot.urls import Fault

_LINE_FIX = "write NAME=value there, and close each quote on the same line"


def read(path: Path) -> tuple[Mapping[str, str], Sequence[Fault]]:
    """The values by name, and what is wrong with the file, which need not exist.

    ${NAME} stays as it is: docker run and kubectl, which read the same file, put nothing in, either.
    """
    try:
        text = path.read_text(encoding="utf-8-sig") if path.is_file() else ""  # some editors begin it with a mark
    except (OSError, ValueError) as error:
        return {}, [(f"can't be read ({why_unreadable(error)})", "make it a readable text file in UTF-8")]
    lines = list(parse_stream(io.StringIO(text)))
    wrong = [
        (f"has no setting in line {line.original.line}", _LINE_FIX)
        for line in lines
        if line.error or "\0" in line.original.string
    ]
    return {line.key: line.value for line in lines if line.key and line.value is not None}, wrong


def why_unreadable(error: OSError | ValueError) -> str:
    """What kept a text file from being read."""
    return str(error.strerror) if isinstance(error, OSError) else "it isn't UTF-8"
