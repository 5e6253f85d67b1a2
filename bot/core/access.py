"""Decides whether a person can reload models, and where. Pure: it compares IDs with those in the settings."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from bot.core.models import Person
from bot.settings.reader import EVERYONE, GROUP

ADMINS = "ADMIN_USERS"
"""The rule that allows an admin."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The workspace that the bot is installed in, and on Enterprise Grid its organisation: what auth.test says.

    team_id is "" where the bot is installed for a whole organisation.
    """

    team_id: str
    enterprise_id: str = ""


Members = Callable[[str], Collection[str] | None]
"""Returns the IDs of the members of a user group, or None if they are unknown."""


class Allowlist:
    """Decides by ID, never by name. Nobody has access until they are listed."""

    def __init__(
        self,
        users: Collection[str],
        channels: Sequence[str],
        members: Members = lambda _group: None,
        admins: Collection[str] = (),
    ) -> None:
        """users are IDs of people and user groups, or * for everyone in the workspace; no channels means all of them.

        members is called for each decision. admins are IDs of people, who can also give access to others.
        """
        self._groups = tuple(sorted(filter(GROUP.fullmatch, users)))
        self.people = frozenset(users) - {EVERYONE, *self._groups}
        self.everyone = EVERYONE in users
        self.channels = tuple(channels)
        self._members = members
        self.admins = frozenset(admins)
        self.workspace: Workspace | None = None

    def is_open(self, channel_id: str) -> bool:
        """Whether models can be reloaded in this channel at all."""
        return not self.channels or channel_id in self.channels

    def rules(self, user_ids: Collection[str]) -> Mapping[str, str]:
        """The rule of the settings that allows each of these people. People whom no rule allows are left out."""
        return {user_id: rule for user_id in user_ids if (rule := self.rule(user_id))}

    def group_sizes(self) -> Mapping[str, int | None]:
        """How many members each allowed user group has, None where that isn't known."""
        members = {group: self._members(group) for group in self._groups}
        return {group: None if ids is None else len(ids) for group, ids in members.items()}

    def is_ours(self, person: Person) -> bool:
        """Whether this person's own team or organisation is the bot's, according to the payload.

        https://docs.slack.dev/enterprise/developing-for-enterprise-orgs
        """
        if self.workspace is None:
            return False
        if person.team_id in {self.workspace.team_id, self.workspace.enterprise_id} - {""}:
            return True
        return self.workspace.enterprise_id != "" and person.enterprise_id == self.workspace.enterprise_id

    @property
    def unread_groups(self) -> Sequence[str]:
        """The allowed user groups whose members are unknown: they allow nobody."""
        return [group for group in self._groups if self._members(group) is None]

    def rule(self, user_id: str) -> str | None:
        """The most specific rule of the settings that allows somebody of the workspace, or None."""
        if user_id in self.people:
            return user_id
        if user_id in self.admins:
            return ADMINS
        group = next((group for group in self._groups if user_id in (self._members(group) or ())), None)
        return group or (EVERYONE if self.everyone else None)
