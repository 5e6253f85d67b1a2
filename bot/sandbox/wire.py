"""JSON as it comes off the wire. Knows nothing of what it means."""

import json
from typing import TypeAlias

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | float | bool | None"
JsonObject: TypeAlias = dict[str, JsonValue]


def read_object(data: str | bytes) -> JsonObject | None:
    """Read one JSON object; None for whatever is not JSON, or is JSON of another kind."""
    try:
        value: JsonValue = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def text_of(value: JsonValue) -> str:
    """Take a field that should be a string; "" for anything else."""
    return value if isinstance(value, str) else ""
