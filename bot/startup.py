"""What has to answer before commands are taken: the ports, the database, Slack. Waits for what waiting can fix."""

import asyncio
import errno
import socket
from collections.abc import Mapping

import structlog

from bot.core.access import Home
from bot.core.retry import Backoff
from bot.core.timing import Timing
from bot.errors import CannotStart, DatabaseUnavailable, SlackError, SlackRetryableError
from bot.slack.client import TOKEN_FAULTS, SlackClient
from bot.slack.server import WebServer
from bot.storage import jobs
from bot.storage.database import Database

_NOT_OURS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What the system says of an address that is another machine's, or of a kind that it does not have."""

log = structlog.get_logger(__name__)


async def open_port(setting: str, server: WebServer) -> None:
    """Listen on the port of a setting. Raises CannotStart."""
    try:
        await server.start()
    except (OSError, ValueError) as error:  # ValueError: a name that no name server can be asked for
        reason = (error.strerror if isinstance(error, OSError) else "") or "not a host's name"
        if isinstance(error, ValueError | socket.gaierror) or error.errno in _NOT_OURS:
            fix = "use an address of this machine, or 0.0.0.0 for all of them"
            raise CannotStart(f"HOST: cannot listen at {server.host} ({reason}): {fix}") from error
        raise CannotStart(f"{setting}: cannot listen on {server.port} ({reason}): use a free port") from error


async def open_database(database: Database, timing: Timing) -> float:
    """Create or upgrade the tables, however long the database is unavailable, and return the time now.

    Raises CannotStart for an SQLite file that cannot be used.
    """
    while True:
        try:
            return await database.run(jobs.open_database)
        except DatabaseUnavailable as error:
            if database.is_sqlite and "locked" not in str(error):
                raise CannotStart(f"DATABASE_URL: the SQLite file cannot be used: {error}") from error
        await asyncio.sleep(timing.start_retry)


async def sign_in(slack: SlackClient, timing: Timing) -> Home:
    """Ask Slack which workspace or organisation the token is for, however long Slack is unavailable.

    Raises CannotStart for a token that Slack refuses. https://docs.slack.dev/reference/methods/auth.test
    """
    pauses = Backoff(timing.slack_retry, timing.slack_retry_most)
    while True:
        try:
            answer = await slack.call("auth.test")
            home = _home(answer)
        except SlackError as error:
            if error.code in TOKEN_FAULTS:
                raise CannotStart(
                    f"SLACK_BOT_TOKEN: Slack refuses it ({error.code}): copy it again from the app's page, "
                    "OAuth & Permissions"
                ) from error
            wait = pauses.pause(error.wait if isinstance(error, SlackRetryableError) else None)
            log.warning("slack_away", part="auth.test", code=error.code, again_in=round(wait, 1))
        else:
            bot = str(answer.get("user_id") or "")
            log.info("signed_in", team=home.team_id, organisation=home.enterprise_id, bot=bot)
            return home
        await asyncio.sleep(wait)


def _home(answer: Mapping[str, object]) -> Home:
    """Whose token it is: that of an app which is installed for a whole organisation names no workspace.

    Raises SlackRetryableError if the answer names neither.
    """
    team, enterprise = answer.get("team_id") or "", answer.get("enterprise_id") or ""
    if not (isinstance(team, str) and isinstance(enterprise, str) and (team or enterprise)):
        raise SlackRetryableError("no_sense")
    return Home(team, enterprise)
