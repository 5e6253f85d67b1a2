"""The members of Slack's user groups, as read within the last hour.

https://docs.slack.dev/reference/methods/usergroups.users.list
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection

import structlog

from bot.core import timing
from bot.core.retry import Backoff
from bot.errors import SlackError, SlackPermanentError, SlackRetryableError
from bot.slack.client import GROUP_METHOD, SlackClient

GONE = "no_such_subteam"

_TEAM_WANTED = "missing_argument"
"""Slack's answer if the app is installed for a whole organisation, and the call names none of its workspaces."""

Read = Callable[[str], Awaitable[Collection[str]]]
"""Returns the IDs of the members of a group. Raises SlackError."""

log = structlog.get_logger(__name__)


class UserGroups:
    """Keeps the members of some user groups up to date."""

    def __init__(self, ids: Collection[str], clock: Callable[[], float] = timing.steady_time) -> None:
        """clock counts seconds, and can't be set."""
        self._ids = ids
        self._clock = clock
        self._members: dict[str, Collection[str]] = {}
        self._read_at: dict[str, float] = {}
        self._one_at_a_time = asyncio.Lock()

    def members(self, group_id: str) -> Collection[str] | None:
        """The IDs of the members of a group; None if they are unknown, or were read too long ago."""
        age = self._clock() - self._read_at.get(group_id, float("-inf"))
        return self._members.get(group_id) if age <= timing.GROUPS_KEEP else None

    async def run(self, read: Read) -> None:
        """Read all groups again and again. They take turns, because Slack limits the method."""
        await asyncio.gather(*(self._keep(group_id, read) for group_id in self._ids))

    async def _keep(self, group_id: str, read: Read) -> None:
        pauses = Backoff(timing.GROUPS_RETRY, timing.GROUPS_REFRESH)
        fault: str | None = None
        while True:
            async with self._one_at_a_time:
                wait, apart, before = timing.GROUPS_REFRESH, timing.GROUPS_APART, fault
                try:
                    self._members[group_id], fault = await read(group_id), ""
                    self._read_at[group_id] = self._clock()
                    pauses.reset()
                except SlackError as failed:
                    wait, fault = pauses.pause(failed.wait), failed.code
                    apart = wait if failed.wait else apart
                    if fault == GONE:  # that is an answer, too: nobody is in it
                        self._members[group_id], self._read_at[group_id] = frozenset(), self._clock()
                except Exception:  # keep reading after a bug, too
                    log.exception("group_reading_failed", group=group_id)
                    wait = pauses.pause()
                if fault != before and fault:
                    log.warning("group_not_read", group=group_id, reason=fault)
                elif fault != before:
                    log.info("group_read", group=group_id, members=len(self._members[group_id]))
                await asyncio.sleep(apart)
            await asyncio.sleep(max(wait - apart, 0.0))


async def read_members(slack: SlackClient, group_id: str, *, apart: float = 0.0, **options: str) -> Collection[str]:
    """The IDs of a group's members, which needs the scope usergroups:read. Raises SlackError.

    If the app is installed for a whole organisation, its workspaces are asked for the group one after another, with a
    pause of apart seconds, because Slack limits the method. Listing them needs no scope, and returns a thousand
    at most: https://docs.slack.dev/reference/methods/auth.teams.list
    """
    try:
        return await _read(slack, usergroup=group_id, **options)
    except SlackError as error:
        if error.code != _TEAM_WANTED:
            raise
    teams = (await slack.read("auth.teams.list", limit="1000")).get("teams")
    if not isinstance(teams, list) or not all(isinstance(team, dict) for team in teams):
        raise SlackRetryableError("no_sense")
    for team in teams:
        await asyncio.sleep(apart)
        try:
            return await _read(slack, usergroup=group_id, team_id=str(team.get("id")), **options)
        except SlackError as error:
            if error.code != GONE:
                raise
    raise SlackPermanentError(GONE)


async def _read(slack: SlackClient, **options: str) -> Collection[str]:
    """The IDs in Slack's answer. Raises SlackError, for nonsense too, which must not look like an empty group."""
    users = (await slack.read(GROUP_METHOD, **options)).get("users")
    if not isinstance(users, list) or not all(isinstance(user, str) for user in users):
        raise SlackRetryableError("no_sense")
    return frozenset(users)
