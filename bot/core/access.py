"""May this person, here, do this? Knows the settings' ids, and nothing of what is asked."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from bot.errors import GroupUnread, NotAllowed, NotReady, OtherWorkspace, WrongChannel
from bot.settings import EVERYONE, GROUP


@dataclass(frozen=True, slots=True)
class Home:
    """The workspace that the bot is installed in, and on Enterprise Grid its organisation: what auth.test says."""

    team_id: str
    enterprise_id: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks, and from where, as Slack's payload says.

    team_id and enterprise_id are the person's own, or empty where the payload does not tell: an interaction in a
    channel that is shared through Slack Connect also names a team and an enterprise that are not those of its user,
    and whoever took them for the user's would let strangers in.
    https://docs.slack.dev/reference/interaction-payloads/block_actions-payload
    """

    user_id: str
    team_id: str
    channel_id: str
    enterprise_id: str = ""


Members = Callable[[str], Collection[str] | None]
"""Tells the ids of those in a user group, None where they are not known."""


def _not_known(_group: str) -> None:
    """Nobody has asked Slack."""


class Allowlist:
    """Decides from ids, never from names; nobody is allowed until named."""

    def __init__(self, users: Collection[str], channels: Sequence[str], members: Members = _not_known) -> None:
        """users are ids of people and user groups, or * for everyone of the workspace; no channels means every channel.

        members is asked anew each time.
        """
        self._groups = tuple(sorted(filter(GROUP.fullmatch, users)))
        self._people = frozenset(users) - {EVERYONE, *self._groups}
        self._everyone = EVERYONE in users
        self._channels = tuple(channels)
        self._members = members
        self.home: Home | None = None

    def check(self, person: Person) -> str:
        """Return the rule that allows this person here. Raises a Declined that says why not."""
        rule = self.who(person)
        if not self.is_open(person.channel_id):
            raise WrongChannel(self._channels)
        return rule

    def is_open(self, channel_id: str) -> bool:
        """Whether models may be asked for in this channel at all."""
        return not self._channels or channel_id in self._channels

    @property
    def first_channel(self) -> str:
        """A channel in which they may, where not all are such; else ""."""
        return next(iter(self._channels), "")

    def who(self, person: Person) -> str:
        """Return the rule that allows this person, wherever they ask. Raises a Declined that says why not."""
        if self.home is None:
            raise NotReady
        if not self._at_home(person, self.home):
            raise OtherWorkspace
        return self._rule(person.user_id)

    def _rule(self, user_id: str) -> str:
        """The rule that says the most of this person. A group that is not known admits nobody, and is said to be."""
        if user_id in self._people:
            return user_id
        members = {group: self._members(group) for group in self._groups}
        for group, ids in members.items():
            if ids is not None and user_id in ids:
                return group
        if self._everyone:
            return EVERYONE
        if unread := [group for group, ids in members.items() if ids is None]:
            raise GroupUnread(unread)
        raise NotAllowed(user_id)

    @staticmethod
    def _at_home(person: Person, home: Home) -> bool:
        """People of a Grid organisation share its enterprise_id, whichever of its workspaces they ask from.

        https://docs.slack.dev/enterprise/developing-for-enterprise-orgs
        """
        if home.enterprise_id and person.enterprise_id == home.enterprise_id:
            return True
        return home.team_id != "" and person.team_id == home.team_id
