"""`reload-model-bot health`: asks the bot on this machine whether it is alive or ready, as container engines do."""

import json
from http.client import HTTPConnection, HTTPException
from typing import Any, TextIO

from bot.settings import Settings

SECONDS = 4.0
"""Less than the usual 5 seconds of a health check, so that there is time to print the reason."""

_LIMIT = 4096
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a server that listens everywhere is reached


def ask(out: TextIO, settings: Settings, *, ready: bool) -> int:
    """Print what /healthz says, or /readyz, as JSON. Return 0 for a 200, else 1."""
    status, state = _get(settings, "/readyz" if ready else "/healthz")
    out.write(f"{json.dumps(state)}\n")
    return 0 if status == 200 else 1  # noqa: PLR2004 - HTTP's OK


def is_running(settings: Settings) -> bool:
    """Whether a bot with these settings runs on this machine, healthy or not."""
    _, state = _get(settings, "/healthz")
    return isinstance(state, dict) and "worker" in state


def _get(settings: Settings, path: str) -> tuple[int, Any]:
    """The status and the JSON of a path. The status is 0 if nothing answers."""
    host, port = _LOOPBACK.get(settings.host, settings.host), settings.admin_port or settings.port
    connection = HTTPConnection(host, port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read(_LIMIT))
    except (OSError, HTTPException, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        return 0, {"status": "no answer", "host": host, "port": port, "error": reason or type(error).__name__}
    finally:
        connection.close()
