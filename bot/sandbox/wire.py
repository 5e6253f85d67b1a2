"""JSON as it comes off the wire, and Slack's way of saying no."""

import json
from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]


class ApiError(Exception):
    """Slack refuses: `code` is its error code, `messages` what it says besides."""

    def __init__(self, code: str, *messages: str) -> None:
        super().__init__(": ".join([code, *messages]))
        self.code = code
        self.messages = messages


def read_object(data: str | bytes) -> JsonObject | None:
    """Read one JSON object; None for anything else."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
