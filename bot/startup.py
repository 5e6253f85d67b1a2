"""Waits at the start until the database and Slack answer, unless the problem needs a person to fix it."""

import asyncio

import structlog

from bot.core import timing
from bot.core.access import Workspace
from bot.core.retry import Backoff
from bot.errors import CannotStart, DatabaseUnavailable, SlackError, SlackRetryableError
from bot.slack.client import TOKEN_FAULTS, SlackClient
from bot.storage import jobs
from bot.storage.database import Database
from bot.storage.engines.faults import fix_for

log = structlog.get_logger(__name__)


async def open_database(database: Database) -> float:
    """Create or upgrade the tables, waiting for as long as the database is unavailable. Returns the time now.

    Raises CannotStart if waiting can't help.
    """
    pauses = Backoff(timing.START_RETRY, timing.START_RETRY_MOST)
    while True:
        try:
            return await database.run(jobs.open_database)
        except DatabaseUnavailable as error:
            if database.is_sqlite and "locked" not in str(error):
                raise CannotStart("DATABASE_URL", f"can't use the SQLite file: {error}") from error
            if fix := fix_for(error):
                raise CannotStart("DATABASE_URL", f"can't use PostgreSQL ({error})", fix) from error
        await asyncio.sleep(pauses.pause())


async def sign_in(slack: SlackClient) -> Workspace:
    """Ask Slack which workspace or organisation the token is for, waiting for as long as Slack is unavailable.

    Raises CannotStart if Slack rejects the token. https://docs.slack.dev/reference/methods/auth.test
    """
    pauses = Backoff(timing.SLACK_RETRY, timing.SLACK_RETRY_MOST)
    while True:
        try:
            answer = await slack.call("auth.test")
            team, enterprise = answer.get("team_id") or "", answer.get("enterprise_id") or ""
            if not (isinstance(team, str) and isinstance(enterprise, str) and (team or enterprise)):
                raise SlackRetryableError("no_sense")
        except SlackError as error:
            if error.code in TOKEN_FAULTS:
                fix = "copy it again from OAuth & Permissions on your app's page"
                raise CannotStart("SLACK_BOT_TOKEN", f"Slack rejects it ({error.code})", fix) from error
            wait = pauses.pause(error.wait)
            log.warning("slack_unavailable", reason=error.code, host=error.host, retry_in=round(wait, 1))
        else:
            log.info("signed_in", team=team or enterprise, bot=answer.get("user_id"))
            return Workspace(team, enterprise)
        await asyncio.sleep(wait)
