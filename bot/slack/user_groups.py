"""Who is in Slack's user groups, as read within the last minutes. Knows nothing of what groups may do.

https://docs.slack.dev/reference/methods/usergroups.users.list
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

import structlog

from bot.core.retry import PAUSE_LIMIT
from bot.errors import SlackError, SlackRetryableError
from bot.slack.client import SlackClient

METHOD = "usergroups.users.list"

REFRESH_SECONDS = 300.0
"""From one good reading of a group to the next."""

AGAIN_SECONDS = 30.0
"""From a reading that failed to the next, unless Slack asks for a longer pause."""

APART_SECONDS = 3.0
"""Between two readings, of whichever groups: twenty a minute, the least that the method's tier allows.

https://docs.slack.dev/apis/web-api/rate-limits
"""

KEEP_SECONDS = 3600.0
"""How long the last good reading of a group counts: whoever was taken out of it while Slack is away is in till then."""

GONE = "no_such_subteam"

Read = Callable[[str], Awaitable[Collection[str]]]
"""Returns the ids of those in a group. Raises SlackError."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Group:
    """A group, as it was read last; due_at is when it is to be read again."""

    id: str
    due_at: float
    read_at: float = 0.0
    members: Collection[str] | None = None
    fault: str = ""


class UserGroups:
    """Keeps the members of some groups, and reads them one after another, the most overdue first."""

    def __init__(self, ids: Collection[str], clock: Callable[[], float]) -> None:
        """clock counts seconds, and nobody can set it."""
        self._groups = {id_: _Group(id_, clock()) for id_ in ids}
        self._clock = clock

    def members(self, group_id: str) -> Collection[str] | None:
        """The ids of those in a group; None where that is not known, or not of late."""
        group = self._groups[group_id]
        return group.members if self._clock() - group.read_at <= KEEP_SECONDS else None

    async def run(self, read: Read) -> None:
        """Keep all groups fresh, for as long as there are any."""
        while self._groups:
            try:
                wait = await self.refresh(read)
            except Exception:  # whatever it is, what was read last must not count for longer than it may
                log.exception("groups_stumbled")
                wait = AGAIN_SECONDS
            await asyncio.sleep(wait)

    async def refresh(self, read: Read) -> float:
        """Read the group that is most overdue, if any is due, and return for how many seconds none should be read."""
        group = min(self._groups.values(), key=lambda group: group.due_at)
        wait = APART_SECONDS
        if group.due_at <= self._clock():
            wait = max(wait, await self._read(group, read))
        return max(wait, min(group.due_at for group in self._groups.values()) - self._clock())

    async def _read(self, group: _Group, read: Read) -> float:
        """Read a group, and return the pause that Slack asks for."""
        try:
            members = await read(group.id)
        except SlackError as failed:
            return self._not_read(group, failed)
        if group.fault or group.members is None:
            log.info("group_read", group=group.id, members=len(members))
        group.members, group.fault, group.read_at = members, "", self._clock()
        group.due_at = group.read_at + REFRESH_SECONDS
        return 0.0

    def _not_read(self, group: _Group, failed: SlackError) -> float:
        """Keep what was read before, unless Slack says that there is no such group any more."""
        if failed.code == GONE:
            group.members = None
        if failed.code != group.fault:
            log.warning("group_not_read", group=group.id, code=failed.code, again_in=AGAIN_SECONDS)
        group.fault, group.due_at = failed.code, self._clock() + AGAIN_SECONDS
        return min((failed.wait or 0.0) if isinstance(failed, SlackRetryableError) else 0.0, PAUSE_LIMIT)


def reading(slack: SlackClient) -> Read:
    """Read groups by the bot's token, which takes the scope usergroups:read."""

    async def read(group_id: str) -> Collection[str]:
        return members_in(await slack.read(METHOD, usergroup=group_id))

    return read


def members_in(answer: Mapping[str, object]) -> Collection[str]:
    """The ids in what Slack answers. Raises SlackRetryableError for nonsense: it must not look like nobody."""
    users = answer.get("users")
    if not isinstance(users, list) or not all(isinstance(user, str) for user in users):
        raise SlackRetryableError("no_sense")
    return frozenset(users)
