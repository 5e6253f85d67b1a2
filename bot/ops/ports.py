"""Opens a port, and says which setting to fix if that fails."""

import errno
import os
import socket

from bot.errors import CannotStart
from bot.slack.server import WebServer

_NOT_OURS = (None, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""The errors for an address that isn't this machine's, or of a kind that this machine doesn't support."""


async def open_port(setting: str, server: WebServer) -> None:
    """Listen on the port of a setting. Raises CannotStart."""
    try:
        await server.start()
    except (OSError, ValueError) as error:  # ValueError: a name that can't be looked up in DNS
        if isinstance(error, ValueError | socket.gaierror) or error.errno in _NOT_OURS:
            fix = "use an address of this machine, or 0.0.0.0 for all of them"
            raise CannotStart("HOST", f"can't listen at {server.host} ({_reason(error)})", fix) from error
        what = f"can't listen on port {server.port} ({_reason(error)})"
        raise CannotStart(setting, what, "use a free port") from error


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ValueError):
        return "not a host name"
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)
