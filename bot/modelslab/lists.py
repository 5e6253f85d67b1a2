"""Reads a list of models while it arrives: the public one is too long to keep or to parse in one go.

https://docs.modelslab.com/image-generation/model-operation/overview
"""

import codecs
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bot.core.command import MODEL_ID

BYTES_LIMIT = 32 * 1024 * 1024
"""How much of a list is read."""

HEAD_LIMIT = 64 * 1024
"""A list must begin within so many bytes, and no item can have more characters."""

_BEGINNING = re.compile(r'\s*(?:\{.*?"data"\s*:\s*)?\[', re.DOTALL)
_BETWEEN = " \t\r\n,"
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class ModelList:
    """Model IDs, each once. cut_off means that there are more."""

    ids: Sequence[str]
    cut_off: bool = False


class ListReader:
    """Reads a JSON array of IDs, or of objects with a model_id: the whole answer, or its field "data".

    Items that aren't IDs are left out. Reading ends at the end of the array, or at a limit.
    """

    def __init__(self, limit: int) -> None:
        """limit is the number of IDs to read."""
        self.head = b""
        self.found = False
        self.ended = False
        self._limit = limit
        self._ids: dict[str, None] = {}
        self._whole = False
        self._bytes = 0
        self._text = ""
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode

    @property
    def models(self) -> ModelList:
        """The models read so far."""
        return ModelList(list(self._ids), cut_off=not self._whole)

    def feed(self, chunk: bytes) -> None:
        """Read the next chunk."""
        self.head += chunk[: HEAD_LIMIT - len(self.head)]
        self._bytes += len(chunk)
        self._text += self._decode(chunk)
        if not self.found and (beginning := _BEGINNING.match(self._text)):
            self.found, self._text = True, self._text[beginning.end() :]
        if self.found:
            self._read_items()
        self.ended = self.ended or len(self._text) > HEAD_LIMIT or self._bytes >= BYTES_LIMIT

    def _read_items(self) -> None:
        """Take the items that have arrived completely, and leave the rest for the next chunk."""
        at = 0
        while not self.ended and at < len(self._text):
            if self._text[at] in _BETWEEN:
                at += 1
            elif self._text[at] == "]":
                self.ended = self._whole = True
            else:
                try:
                    item, at = _DECODER.raw_decode(self._text, at)
                except (ValueError, RecursionError):
                    break
                self._take(item)
        self._text = self._text[at:]

    def _take(self, item: object) -> None:
        id_ = item.get("model_id") if isinstance(item, dict) else item
        if not isinstance(id_, str) or MODEL_ID.fullmatch(id_) is None or id_ in self._ids:
            return
        if len(self._ids) == self._limit:
            self.ended = True
        else:
            self._ids[id_] = None
