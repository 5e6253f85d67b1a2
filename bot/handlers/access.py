"""Who can do what: the allowlist as Bolt listener middleware, and the audit of all requests.

A listener behind it finds in its context:

- person: the authorized Person
- rule: the rule that allowed them, for the audit
- reply: a function that answers with a text, in the way of the surface

https://docs.slack.dev/tools/bolt-python/concepts/listener-middleware
"""

from collections.abc import Awaitable, Callable

import structlog
from slack_bolt.async_app import AsyncBoltContext
from slack_bolt.response import BoltResponse

from bot.core.access import Allowlist, Person
from bot.core.text import harmless
from bot.errors import Refusal
from bot.handlers.requests import Requests
from bot.ops import metrics
from bot.storage.history import Note
from bot.storage.requests import Requested

Next = Callable[[], Awaitable[None]]

Reply = Callable[[str], Awaitable[BoltResponse]]
"""Answers a request with mrkdwn, and acknowledges it."""

_WHAT_LIMIT = 128
_NAME_LIMIT = 40

log = structlog.get_logger(__name__)


def identify(context: AsyncBoltContext, person: Person, what: str | None, reply: Reply) -> None:
    """Put into the context who made the request, what it is (for the audit; None: no audit), and how to answer."""
    context["person"] = person
    context["what"] = what
    context["reply"] = reply
    context["rule"] = ""


class Access:
    """Lets people with access through. in_channel and anywhere are listener middleware, and raise Refused."""

    def __init__(self, allowlist: Allowlist, requests: Requests) -> None:
        self.allowlist = allowlist
        self._requests = requests

    def remember(self, person: Person) -> None:
        """Remember somebody who used the command: only members of the workspace or organisation can."""
        if self.allowlist.is_ours(person):
            self._requests.remember(person.user_id)

    async def in_channel(self, context: AsyncBoltContext, next_: Next) -> None:
        """Only people who can reload models in the channel that the interaction is about."""
        person = context["person"]
        context["rule"] = self.allowlist.check(person, known=await self._is_known(person))
        await next_()

    async def anywhere(self, context: AsyncBoltContext, next_: Next) -> None:
        """Only people who can reload models, regardless of the channel."""
        context["rule"] = await self.who(context["person"])
        await next_()

    async def who(self, person: Person) -> str:
        """Return the rule that allows the author of an interaction or an event. Raises Refused."""
        return self.allowlist.who(person, known=await self._is_known(person))

    async def _is_known(self, person: Person) -> bool:
        unclear = self.allowlist.home is not None and not self.allowlist.is_ours(person)
        return unclear and await self._requests.is_known(person.user_id)


class AuditTrail:
    """Records the outcome of each request: in the log, in the metrics, and in the database's audit."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def record(self, context: AsyncBoltContext, outcome: str, *, rule: str = "") -> None:
        """Record a request that was refused, or wasn't for a reload. rule is what refused it, if anything did."""
        person: Person = context["person"]
        rule = rule or context["rule"]
        self._log(person, outcome, rule=rule)
        what = harmless(context["what"].strip(), _WHAT_LIMIT)
        self._requests.note(Note(person.user_id, person.team_id, person.channel_id, what, outcome, rule))

    def requested(self, context: AsyncBoltContext, requested: Requested) -> None:
        """Record the request of a reload. Storage wrote its line of the audit in the same transaction."""
        reload = requested.reload
        self._log(context["person"], requested.outcome, rule=context["rule"], reload=reload.id, model=reload.model_id)

    def unknown_command(self, name: str) -> None:
        """Record a command with an unknown name: it has to be fixed on the Slack app's page."""
        metrics.COMMANDS.labels(Refusal.UNKNOWN_COMMAND).inc()
        log.warning("command", outcome=Refusal.UNKNOWN_COMMAND.value, command=harmless(name, _NAME_LIMIT))

    def _log(self, person: Person, outcome: str, **more: str) -> None:
        metrics.COMMANDS.labels(outcome).inc()
        log.info(
            "command", outcome=outcome, user=person.user_id, team=person.team_id, channel=person.channel_id, **more
        )
