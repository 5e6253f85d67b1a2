"""Who can do what: the allowlist as Bolt listener middleware, and the audit of all requests.

A listener behind it finds in its context:

- person: the authorized Person
- rule: the rule that allowed them, for the audit
- what: what they want, as text for the audit; None if nothing is audited
- reply: how its surface answers with a Message, whether it is a success or a refusal
- invocation_id and response_url, where a reload can be requested: see bot.handlers.store.request_for
- of: the model that they want, or RELOAD_MARK and the ID of a reload of it, "" where that isn't known
- called: how the bot was called, if by a command or a mention

commands.py adds wanted (a Command, or the Refused of a slip). buttons.py adds button, pressed (which one of which
message), pressed_in (that message's place) and answer_url. picker.py adds model_id and errors (beside the fields) or
query, and grants.py adds chosen (people).

https://docs.slack.dev/tools/bolt-python/concepts/listener-middleware
"""

from collections.abc import Awaitable, Callable, Sequence

import structlog
from slack_bolt.async_app import AsyncBoltContext
from slack_bolt.response import BoltResponse

from bot import metrics
from bot.core.access import ADMINS, Allowlist
from bot.core.command import FOR_ADMINS, FOR_EVERYBODY
from bot.core.grants import Grant
from bot.core.models import Person, Requested
from bot.core.text import harmless
from bot.errors import Refusal, Refused
from bot.handlers.store import Store
from bot.storage import grants
from bot.storage.history import Note
from bot.ui.grants import LISTED, access_lines
from bot.ui.messages import Message, acknowledgement

Next = Callable[[], Awaitable[None]]

Reply = Callable[[Message], Awaitable[BoltResponse]]
"""Answers a request, and acknowledges it."""

_WHAT_LIMIT = 128

log = structlog.get_logger(__name__)


def identify(context: AsyncBoltContext, person: Person, what: str | None, reply: Reply, of: str = "") -> None:
    """Put into the context who asks for what, as text for the audit (None: nothing is audited), and how to answer."""
    context["of"] = of
    context["person"] = person
    context["what"] = what
    context["reply"] = reply
    context["rule"] = ""


def note_for(context: AsyncBoltContext, outcome: str, *, rule: str = "") -> Note:
    """A line of the audit; rule is what refused it, if not what allowed it."""
    person: Person = context["person"]
    what = harmless(context["what"].strip(), _WHAT_LIMIT)
    return Note(person.user_id, person.team_id, person.channel_id, what, outcome, rule or context["rule"])


class Access:
    """Lets authorized people through, by the settings or by a grant, which is read from the database each time.

    in_channel, anywhere, admin, colleague and to_word are listener middleware, and raise Refused. What people did is
    recorded in the log, in the metrics, and in the database's audit.
    """

    def __init__(self, allowlist: Allowlist, store: Store) -> None:
        self.allowlist = allowlist
        self.store = store

    async def remember(self, context: AsyncBoltContext, next_: Next) -> None:
        """Remember somebody who used the command: only members of the workspace or organisation can."""
        if self.allowlist.is_ours(context["person"]):
            self.store.remember(context["person"].user_id)
        await next_()

    async def in_channel(self, context: AsyncBoltContext, next_: Next) -> None:
        """Only people who can reload models in the channel that the interaction is about."""
        context["rule"] = await self.rule_for(context["person"])
        if not self.allowlist.is_open(context["person"].channel_id):
            raise Refused(Refusal.WRONG_CHANNEL, rule="ALLOWED_CHANNELS", channels=self.allowlist.channels)
        await next_()

    async def anywhere(self, context: AsyncBoltContext, next_: Next) -> None:
        """Only people who can reload models, regardless of the channel."""
        context["rule"] = await self.rule_for(context["person"])
        await next_()

    async def admin(self, context: AsyncBoltContext, next_: Next) -> None:
        """Only admins."""
        await self._check_workspace(context["person"])
        if context["person"].user_id not in self.allowlist.admins:
            raise Refused(Refusal.NOT_ADMIN, rule=ADMINS)
        context["rule"] = ADMINS
        await next_()

    async def colleague(self, context: AsyncBoltContext, next_: Next) -> None:
        """Everyone in the workspace. Strangers can't use the slash command, so it needs no check."""
        if not context["person"].by_command:
            await self._check_workspace(context["person"])
        await next_()

    async def to_word(self, context: AsyncBoltContext, next_: Next) -> None:
        """Check access to a subcommand: some are for everybody, some for admins, the rest for people who can reload."""
        if context["wanted"] in FOR_EVERYBODY:
            await self.colleague(context, next_)
        elif context["wanted"] in FOR_ADMINS:
            await self.admin(context, next_)
        else:
            await self.in_channel(context, next_)

    async def listed(self) -> Sequence[Message]:
        """Who can reload models, line by line, for an admin to read. Raises Refused."""
        found, count = await self.store.read(grants.granted, LISTED)
        return access_lines(self.allowlist, found, count)

    async def rule_for(self, person: Person) -> str:
        """Return the rule that allows somebody, in whatever channel. Raises Refused."""
        await self._check_workspace(person)
        try:
            return self.allowlist.rule(person.user_id)
        except Refused as refused:
            if not self.allowlist.admins or refused.reason not in (Refusal.NOT_ALLOWED, Refusal.GROUP_UNREAD):
                raise
            found = await self.store.read(grants.standing, person.user_id)
            if isinstance(found, Grant):
                return f"granted by {found.granted_by}"
            if refused.reason is Refusal.GROUP_UNREAD:
                raise
            asked = None if found is None else found.state
            rule, user_id = refused.rule, person.user_id
            raise Refused(refused.reason, rule=rule, user_id=user_id, has_admins=True, asked=asked) from None

    async def _check_workspace(self, person: Person) -> None:
        """Raises Refused for a stranger.

        The payload of an interaction can name another team of the organisation. So its author is also known if they
        have used the command here before.
        """
        try:
            self.allowlist.check_workspace(person)
        except Refused as refused:
            unclear = refused.reason is Refusal.OTHER_WORKSPACE and not person.by_command
            if not (unclear and await self.store.is_known(person.user_id)):
                raise

    def record(self, context: AsyncBoltContext, outcome: str, *, rule: str = "") -> None:
        """Record a request that asked for no reload, or was refused; rule is what refused it."""
        note = note_for(context, outcome, rule=rule)
        log_outcome(context, outcome, rule=note.rule)
        self.store.note(note)


def log_outcome(context: AsyncBoltContext, outcome: str, **more: str) -> None:
    """Log and count an outcome. Its line in the database's audit is the caller's."""
    person: Person = context["person"]
    who = {"user": person.user_id, "team": person.team_id, "channel": person.channel_id, "rule": context["rule"]}
    metrics.COMMANDS.labels(outcome).inc()
    log.info("command", outcome=outcome, **(who | more))


def answer_to(context: AsyncBoltContext, requested: Requested, reload_seconds: float, where: str = "here") -> str:
    """Log the request of a reload, and return the answer to it. where names the channel of the follow-up."""
    reload, outcome = requested.reload, "joined" if requested.joined else "requested"
    log_outcome(context, "repeated" if requested.repeated else outcome, reload=reload.id, model=reload.model_id)
    return acknowledgement(requested, context["person"], reload_seconds, where)
