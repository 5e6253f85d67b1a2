"""May this person, here, do this? Knows the settings' ids, and nothing of what is asked."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bot.errors import NotAllowed, NotReady, OtherWorkspace, WrongChannel
from bot.settings import EVERYONE


@dataclass(frozen=True, slots=True)
class Home:
    """The workspace that the bot is installed in, and on Enterprise Grid its organisation: what auth.test says."""

    team_id: str
    enterprise_id: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks, and from where, as Slack's payload says."""

    user_id: str
    team_id: str
    channel_id: str
    enterprise_id: str = ""


class Allowlist:
    """Decides from ids, never from names; nobody is allowed until named."""

    def __init__(self, users: Collection[str], channels: Sequence[str]) -> None:
        """users are ids of people, or * for everyone of the workspace; no channels means every channel."""
        self._users = frozenset(users)
        self._channels = tuple(channels)
        self.home: Home | None = None

    def check(self, person: Person) -> str:
        """Return the rule that allows this person here. Raises a Declined that says why not."""
        rule = self.who(person)
        if self._channels and person.channel_id not in self._channels:
            raise WrongChannel(self._channels)
        return rule

    def who(self, person: Person) -> str:
        """Return the rule that allows this person, wherever they ask. Raises a Declined that says why not."""
        if self.home is None:
            raise NotReady
        if not self._at_home(person, self.home):
            raise OtherWorkspace
        if person.user_id not in self._users and EVERYONE not in self._users:
            raise NotAllowed(person.user_id)
        return person.user_id if person.user_id in self._users else EVERYONE

    @staticmethod
    def _at_home(person: Person, home: Home) -> bool:
        """People of a Grid organisation share its enterprise_id, whichever of its workspaces they ask from.

        https://docs.slack.dev/enterprise/developing-for-enterprise-orgs
        """
        if home.enterprise_id and person.enterprise_id == home.enterprise_id:
            return True
        return person.team_id == home.team_id
