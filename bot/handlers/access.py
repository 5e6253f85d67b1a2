"""Who can do what: the allowlist as Bolt listener middleware, and the audit of all requests.

The middleware of each surface reads the payload, and puts a SlackRequest into the context. Bolt passes it to the
middleware here, and then to the listener, as the argument slack_request.
https://docs.slack.dev/tools/bolt-python/concepts/listener-middleware
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
from slack_bolt.response import BoltResponse

from bot import metrics
from bot.core.access import ADMINS, Allowlist
from bot.core.grants import Grant
from bot.core.models import Person, Requested
from bot.core.text import harmless
from bot.errors import Refusal, Refused
from bot.handlers.store import Store
from bot.storage import grants
from bot.storage.history import Note
from bot.storage.requests import Request
from bot.ui.grants import LISTED, access_lines
from bot.ui.messages import Message, acknowledgement

Next = Callable[[], Awaitable[None]]

Reply = Callable[[Message], Awaitable[BoltResponse]]
"""Answers a request, and acknowledges it."""

_WHAT_LIMIT = 128

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class SlackRequest:
    """What a person did in Slack. Each surface adds what only it knows.

    what is what they want, as text for the audit; None if nothing is audited. reply answers, whether it is a success or
    a refusal. of is the model that they want, or RELOAD_MARK and the ID of a reload of it, "" if that isn't known.
    called is how they called the bot, if by a command or a mention. rule is what allowed them: Access sets it.

    The rest is for requests for a reload. invocation_id is Slack's, and unique. pressed says which button of which
    message was pressed, if any.
    """

    person: Person
    what: str | None
    reply: Reply
    of: str = ""
    called: str = ""
    rule: str = ""
    invocation_id: str = ""
    response_url: str = ""
    pressed: str = ""

    def note(self, outcome: str, *, rule: str = "") -> Note:
        """A line of the audit; rule is what refused it, if not what allowed it."""
        who, what = self.person, harmless((self.what or "").strip(), _WHAT_LIMIT)
        return Note(who.user_id, who.team_id, who.channel_id, what, outcome, rule or self.rule)

    def for_reload(self, model_id: str = "", *, reload_id: str = "") -> Request:
        """A request for a reload of a model, or to join a reload, in the person's channel.

        A request that Slack delivers twice counts once. Its ID includes who wants what and where, in case a proxy or an
        emulator sends the same trigger_id each time. pressed is unique to a button, so a double click counts once.
        """
        parts = (self.pressed, self.invocation_id, self.person.user_id, *self.person.place, model_id or reload_id)
        id_, person, rule = "/".join(parts), self.person, self.rule
        return Request(id_, person, model_id, self.response_url, rule, button=self.pressed, reload_id=reload_id)


class Access:
    """Lets authorized people through, by the settings or by a grant, which is read from the database each time.

    in_channel, anywhere, admin and colleague are listener middleware, and raise Refused. What people did is
    recorded in the log, in the metrics, and in the database's audit.
    """

    def __init__(self, allowlist: Allowlist, store: Store) -> None:
        self.allowlist = allowlist
        self.store = store

    async def remember(self, slack_request: SlackRequest, next_: Next) -> None:
        """Remember somebody who used the command: only members of the workspace or organisation can."""
        if self.allowlist.is_ours(slack_request.person):
            self.store.remember(slack_request.person.user_id)
        await next_()

    async def in_channel(self, slack_request: SlackRequest, next_: Next) -> None:
        """Only people who can reload models in the channel that the interaction is about."""
        slack_request.rule = await self.rule_for(slack_request.person)
        if not self.allowlist.is_open(slack_request.person.channel_id):
            raise Refused(Refusal.WRONG_CHANNEL, rule="ALLOWED_CHANNELS", channels=self.allowlist.channels)
        await next_()

    async def anywhere(self, slack_request: SlackRequest, next_: Next) -> None:
        """Only people who can reload models, regardless of the channel."""
        slack_request.rule = await self.rule_for(slack_request.person)
        await next_()

    async def admin(self, slack_request: SlackRequest, next_: Next) -> None:
        """Only admins."""
        await self._check_workspace(slack_request.person)
        if slack_request.person.user_id not in self.allowlist.admins:
            raise Refused(Refusal.NOT_ADMIN, rule=ADMINS)
        slack_request.rule = ADMINS
        await next_()

    async def colleague(self, slack_request: SlackRequest, next_: Next) -> None:
        """Everyone in the workspace. Strangers can't use the slash command, so it needs no check."""
        if not slack_request.person.by_command:
            await self._check_workspace(slack_request.person)
        await next_()

    async def listed(self) -> Sequence[Message]:
        """Who can reload models, line by line, for an admin to read. Raises Refused."""
        found, count = await self.store.read(grants.granted, LISTED)
        return access_lines(self.allowlist, found, count)

    async def rule_for(self, person: Person) -> str:
        """Return the rule that allows somebody, in whatever channel. Raises Refused."""
        await self._check_workspace(person)
        user_id = person.user_id
        if rule := self.allowlist.rule(user_id):
            return rule
        unread, has_admins = self.allowlist.unread_groups, bool(self.allowlist.admins)
        found = await self.store.read(grants.standing, user_id) if has_admins else None
        if isinstance(found, Grant):
            return f"granted by {found.granted_by}"
        if unread:
            raise Refused(Refusal.GROUP_UNREAD, rule=" ".join(unread[:5]), groups=unread)
        raise Refused(Refusal.NOT_ALLOWED, rule="ALLOWED_USERS", user_id=user_id, has_admins=has_admins, asked=found)

    async def _check_workspace(self, person: Person) -> None:
        """Raises Refused for a stranger, and before it is known whose bot this is.

        The payload of an interaction can name another team of the organisation. So its author is also known if they
        have used the command here before.
        """
        if self.allowlist.workspace is None:
            raise Refused(Refusal.NOT_READY)
        if self.allowlist.is_ours(person) or (not person.by_command and await self.store.is_known(person.user_id)):
            return
        raise Refused(Refusal.OTHER_WORKSPACE, rule="workspace", interaction=not person.by_command)

    def record(self, slack_request: SlackRequest, outcome: str, *, rule: str = "") -> None:
        """Record a request that asked for no reload, or was refused; rule is what refused it."""
        note = slack_request.note(outcome, rule=rule)
        log_outcome(slack_request, outcome, rule=note.rule)
        self.store.note(note)

    def answer_to(self, slack_request: SlackRequest, requested: Requested, where: str = "here") -> str:
        """Log the request of a reload, and return the answer to it. where names the channel of the follow-up."""
        reload = requested.reload
        outcome = "repeated" if requested.repeated else "joined" if requested.joined else "requested"
        log_outcome(slack_request, outcome, reload=reload.id, model=reload.model_id)
        return acknowledgement(requested, slack_request.person, self.store.reload_seconds, where)


def log_outcome(slack_request: SlackRequest, outcome: str, **more: str) -> None:
    """Log and count an outcome. Its line in the database's audit is the caller's."""
    person = slack_request.person
    who = {"user": person.user_id, "team": person.team_id, "channel": person.channel_id, "rule": slack_request.rule}
    metrics.COMMANDS.labels(outcome).inc()
    log.info("command", outcome=outcome, **(who | more))
