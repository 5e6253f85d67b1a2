"""Decides whether a person may reload models, and where. Pure: ids against the settings' ids."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from bot.core.models import Place
from bot.errors import Refusal, Refused
from bot.settings import EVERYONE, GROUP


@dataclass(frozen=True, slots=True)
class Home:
    """The workspace that the bot is installed in, and on Enterprise Grid its organisation: what auth.test says.

    team_id is "" where the bot is installed for a whole organisation.
    """

    team_id: str
    enterprise_id: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """The author of a request, and the channel it is about ("" where there is none); private: not known to be public.

    thread_ts is the thread in it, "" for the channel itself.

    team_id and enterprise_id are the person's own, or "" where the payload doesn't say. team_id may be that of an
    organisation.
    """

    user_id: str
    team_id: str
    channel_id: str
    enterprise_id: str = ""
    private: bool = True
    thread_ts: str = ""

    @property
    def place(self) -> Place:
        """Where the person asked."""
        return Place(self.channel_id, self.thread_ts)


Members = Callable[[str], Collection[str] | None]
"""Returns the ids of the members of a user group, None where they are not known."""


def _not_known(_group: str) -> None:
    """No user group has been read."""


class Allowlist:
    """Decides from ids, never from names; nobody is allowed until named."""

    def __init__(self, users: Collection[str], channels: Sequence[str], members: Members = _not_known) -> None:
        """users are ids of people and user groups, or * for everyone in the workspace; no channels means all of them.

        members is called for each decision.
        """
        self._groups = tuple(sorted(filter(GROUP.fullmatch, users)))
        self._people = frozenset(users) - {EVERYONE, *self._groups}
        self._everyone = EVERYONE in users
        self._channels = tuple(channels)
        self._members = members
        self.home: Home | None = None

    def check(self, person: Person, *, known: bool | None = None) -> str:
        """Return the rule that allows this person in this channel. Raises Refused. known: see who()."""
        rule = self.who(person, known=known)
        if not self.is_open(person.channel_id):
            raise Refused(Refusal.WRONG_CHANNEL, rule="ALLOWED_CHANNELS", channels=self._channels)
        return rule

    def is_open(self, channel_id: str) -> bool:
        """Whether models can be reloaded in this channel at all."""
        return not self._channels or channel_id in self._channels

    @property
    def first_channel(self) -> str:
        """A channel in which models can be reloaded, where not all are; else ""."""
        return next(iter(self._channels), "")

    def who(self, person: Person, *, known: bool | None = None) -> str:
        """Return the rule that allows this person, in whatever channel. Raises Refused.

        For the author of an interaction, whose payload may name another team of the organisation, known is whether this
        person has used the command here.
        """
        if self.home is None:
            raise Refused(Refusal.NOT_READY)
        if not (known or self.is_ours(person)):
            raise Refused(Refusal.OTHER_WORKSPACE, rule="workspace", interaction=known is not None)
        return self._rule(person.user_id)

    def is_ours(self, person: Person) -> bool:
        """Whether this person's own team or organisation is that of the bot, as far as the payload says.

        https://docs.slack.dev/enterprise/developing-for-enterprise-orgs
        """
        if self.home is None:
            return False
        if person.team_id in {self.home.team_id, self.home.enterprise_id} - {""}:
            return True
        return self.home.enterprise_id != "" and person.enterprise_id == self.home.enterprise_id

    def _rule(self, user_id: str) -> str:
        """The most specific rule that allows this person. A group whose members are unknown allows nobody."""
        if user_id in self._people:
            return user_id
        members = {group: self._members(group) for group in self._groups}
        for group, ids in members.items():
            if ids is not None and user_id in ids:
                return group
        if self._everyone:
            return EVERYONE
        if unread := [group for group, ids in members.items() if ids is None]:
            raise Refused(Refusal.GROUP_UNREAD, rule=" ".join(unread[:5]), groups=unread)
        raise Refused(Refusal.NOT_ALLOWED, rule="ALLOWED_USERS", user_id=user_id)
